"""Loss over FLOPs: the rungs at which candidates are compared, and hypervolume over money spent."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from nas.pareto import Floats, hypervolume
from nas.records import CurvePoint

RUNGS = (0.0625, 0.125, 0.25, 0.5)
"""Progress at which candidates are compared. Kendall's tau with the final loss was 0.56, 0.64, 0.75 and 0.87 over all
runs on Austen's novels (benchmarks.tabular)."""
BLOCK = 256
"""Candidates that are compared with the front at a time."""


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


@dataclass(frozen=True, slots=True)
class VolumeHistory:
    """The hypervolume after each of some finished candidates, and what it takes to go on.

    Attributes:
        front: (F, M), what was on the front, in the order in which it came.
        volumes: (N,), the hypervolume after each candidate.
    """

    reference: tuple[float, ...]
    front: Floats
    volumes: tuple[float, ...] = ()

    @classmethod
    def begun(cls, reference: Sequence[float]) -> "VolumeHistory":
        """Before the first candidate."""
        return cls(tuple(reference), np.empty((0, len(reference))))

    def extended(self, finished: Sequence[Sequence[float]]) -> "VolumeHistory":
        """With the values of further candidates, in the order in which they finished: the same, to the last bit, as if
        begun with all of them."""
        front, volume = self.front, self.volumes[-1] if self.volumes else 0.0
        volumes = list(self.volumes)
        for start in range(0, len(finished), BLOCK):
            points = np.array(finished[start : start + BLOCK], dtype=np.float64)
            left = ~np.any(np.all(front <= points[:, None], axis=2), axis=1)  # what is dominated now stays so
            for point, may_matter in zip(points, left, strict=True):
                if may_matter and not np.any(np.all(front <= point, axis=1)):  # else it changes nothing
                    front = np.vstack((front[np.any(front < point, axis=1)], point))
                    volume = hypervolume(front, self.reference)
                volumes.append(volume)
        return VolumeHistory(self.reference, front, tuple(volumes))


def hypervolume_history(finished: Sequence[Progress], reference: Sequence[float]) -> list[tuple[int, float]]:
    """(search FLOPs spent, hypervolume) after each finished candidate, in order of spending."""
    ordered = sorted(finished, key=lambda item: item.spent_flops)
    found = VolumeHistory.begun(reference).extended([item.values for item in ordered])
    return [(item.spent_flops, volume) for item, volume in zip(ordered, found.volumes, strict=True)]
