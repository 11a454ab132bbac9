"""How a search spends: what it begins with, what it tries next, and what it stops. Named, so that each part of a gain
can be told from the others (`python -m benchmarks.search`)."""

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, slots=True)
class Policy:
    """One way to search.

    Attributes:
        sampler: where proposals come from: ``model`` (`nas.advise`), ``suggester`` (Optuna's TPE) or ``random``.
        baselines: whether the dial and the largest candidate are trained first.
        seeds: candidates spread evenly over the space, before anything is learned from.
        margin: bits per byte by which a peer that costs no more must be better at a rung to stop a candidate. Below
            about 0.05 a difference is seed noise at small scale.
        dominators: how many such peers it takes; with 0 nothing is stopped.
        deviations: standard deviations by which the loss that a run is expected to end at must lie above one that costs
            no more to stop it, once six candidates were completed; from then on the margin stops nothing. ``None``:
            nothing is expected, and the margin holds throughout.
        audit_share: of the stops, which are not executed, so that the rate of false stops is known.
    """

    name: str
    sampler: Literal["model", "suggester", "random"] = "model"
    baselines: bool = True
    seeds: int = 2
    margin: float = 0.1
    dominators: int = 1
    deviations: float | None = 3.0
    audit_share: float = 0.05

    @property
    def prunes(self) -> bool:
        return self.dominators > 0


DEFAULT = Policy("default")
NONE = replace(DEFAULT, name="none", dominators=0)
TPE = Policy("tpe", sampler="suggester", seeds=8, deviations=None, audit_share=0.1)
MARGIN = replace(DEFAULT, name="margin", deviations=None)
RANDOM = replace(DEFAULT, name="random", sampler="random")
STARTUP = 2 + TPE.seeds
"""Candidates that Optuna's TPE looks at before it proposes: the baselines and the seeds."""
POLICIES = {own.name: own for own in (DEFAULT, NONE, TPE, MARGIN, RANDOM)}
"""``none`` stops nothing, ``margin`` compares losses at rungs alone, ``random`` draws its proposals; ``tpe`` is what
Optuna proposes, with the margin."""
