"""Loss over FLOPs: the rungs at which candidates are compared, and hypervolume over money spent."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from nas.pareto import hypervolume
from nas.records import CurvePoint

RUNGS = (0.0625, 0.125, 0.25, 0.5)
"""Progress at which candidates are compared. Kendall's tau with the final loss was 0.56, 0.64, 0.75 and 0.87 over all
runs on Austen's novels (benchmarks.tabular)."""


def rung_losses(points: Iterable[CurvePoint]) -> dict[float, float]:
    """Validation loss of one candidate by rung."""
    return {p.rung: p.val_bpb for p in points if p.rung is not None and p.val_bpb is not None}


def rung_steps(steps: int, rungs: Sequence[float] = RUNGS) -> dict[int, float]:
    """The step after which each rung is measured: the first at which progress has reached it, before the last."""
    reached = {}
    for rung in rungs:
        step = -int(-rung * steps // 1)
        if 0 < step < steps:
            reached[step] = rung
    return reached


@dataclass(frozen=True, slots=True)
class Progress:
    """A finished candidate as the hypervolume's history sees it."""

    spent_flops: int
    values: tuple[float, ...]


def hypervolume_history(finished: Sequence[Progress], reference: Sequence[float]) -> list[tuple[int, float]]:
    """(search FLOPs spent, hypervolume) after each finished candidate, in order of spending."""
    history: list[tuple[int, float]] = []
    front, volume = np.empty((0, len(reference))), 0.0
    for item in sorted(finished, key=lambda item: item.spent_flops):
        point = np.asarray(item.values, dtype=np.float64)
        if not np.any(np.all(front <= point, axis=1)):  # else it changes nothing
            front = np.vstack((front[np.any(front < point, axis=1)], point))
            volume = hypervolume(front, reference)
        history.append((item.spent_flops, volume))
    return history
