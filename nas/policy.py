"""How a search spends: what it begins with, what it tries next, and what it stops. Named, so that each part of a gain
can be told from the others (`python -m benchmarks.search`)."""

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, slots=True)
class Policy:
    """One way to search.

    Attributes:
        sampler: where proposals come from: ``model`` (`nas.acquire`), or ``suggester``, which is Optuna's TPE.
        baselines: whether the dial and the largest candidate are trained first.
        seeds: candidates spread evenly over the space, before anything is learned from.
        margin: bits per byte by which a peer that costs no more must be better at a rung to stop a candidate. Below
            about 0.05 a difference is seed noise at small scale.
        dominators: how many such peers it takes; with 0 nothing is stopped.
        audit_share: of the stops, which are not executed, so that the rate of false stops is known.
    """

    name: str
    sampler: Literal["model", "suggester"] = "model"
    baselines: bool = True
    seeds: int = 8
    margin: float = 0.1
    dominators: int = 1
    audit_share: float = 0.1

    @property
    def prunes(self) -> bool:
        return self.dominators > 0


DEFAULT = Policy("default")
NONE = replace(DEFAULT, name="none", dominators=0, margin=0.0)
TPE = replace(DEFAULT, name="tpe", sampler="suggester")
POLICIES = {own.name: own for own in (DEFAULT, NONE, TPE)}
