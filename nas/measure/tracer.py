"""Traces that are kept, and between which is interpolated: a step's needs grow evenly with its depth."""

import gc
import math
from dataclasses import fields, replace
from functools import cache

from nas.calibration import Phase, Trace
from nas.candidate import VALUE_EMBEDDINGS, Architecture, Candidate, Recipe
from nas.measure.trace import trace_step
from nas.plan import Layout

SHALLOW = 3
"""Layers, or patterns of windows, up to which a candidate is traced as it is."""


class Tracer:
    """`nas.ports.Tracer` for one kind of device and precision. Keeps what it found.

    A trace takes as long as there are operators, however many sequences are in a pass; so a deep candidate is put
    together from two shallow ones, each phase by itself. Layers are alike, and windows and value embeddings repeat in a
    pattern, so depth grows by whole patterns. Known error of the peak against a trace of the whole: at most 0.5% (a
    test holds that).
    """

    def __init__(self, backend: str, precision: str) -> None:
        self.backend, self.precision = backend, precision
        self._traced = cache(self._trace)

    def trace(self, candidate: Candidate, layout: Layout) -> Trace:
        """One optimizer step."""
        own = candidate.recipe
        recipe = Recipe(own.batch_tokens, own.optimizer, dropout=own.dropout)  # what else it says changes no step
        depths = _shallow(candidate.architecture)
        if depths is None:
            return self._traced(Candidate(candidate.architecture, recipe), layout)
        one, two = (
            self._traced(Candidate(replace(candidate.architecture, depth=depth), recipe), layout) for depth in depths
        )
        return _extrapolated(one, two, (candidate.architecture.depth - depths[0]) // (depths[1] - depths[0]))

    def _trace(self, candidate: Candidate, layout: Layout) -> Trace:
        found = trace_step(candidate, layout, backend=self.backend, precision=self.precision)
        _settle()
        return found


@cache
def _settle() -> None:
    """Once in a process, when the first trace has loaded all it needs of torch: Python's collector need not look at
    that again. It took 0.2 s each time, longer than any trace."""
    gc.collect()
    gc.freeze()


def _shallow(architecture: Architecture) -> tuple[int, int] | None:
    """Two depths to trace in place of the candidate's; ``None`` where it is to be traced itself."""
    windows = len(architecture.window_pattern) if architecture.window else 1
    period = math.lcm(windows, VALUE_EMBEDDINGS[architecture.value_embeddings] or 1)
    if architecture.deviations or architecture.depth <= SHALLOW * period:
        return None
    second = (SHALLOW - 1) * period + architecture.depth % period
    return second, second + period


def _extrapolated(one: Trace, two: Trace, steps: int) -> Trace:
    """The line through two traces, so many steps beyond the first."""

    def beyond(first: int, second: int) -> int:
        return first + steps * (second - first)

    forward, backward, optimizer = (
        Phase(*(beyond(getattr(a, spec.name), getattr(b, spec.name)) for spec in fields(Phase)))
        for a, b in zip(one.phases, two.phases, strict=True)
    )
    return Trace(
        beyond(one.resident_bytes, two.resident_bytes),
        forward,
        backward,
        optimizer,
        beyond(one.checkpoints, two.checkpoints),
    )
