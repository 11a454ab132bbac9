"""What a method did with its budget, and how good its front was after every FLOP."""

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.search.problem import Objectives, Problem
from nas.pareto import dominates


@dataclass(frozen=True, slots=True)
class Completed:
    """A candidate that was trained to the end, and the FLOPs that the search had spent by then."""

    spent: int
    id: str
    objectives: Objectives


@dataclass(frozen=True, slots=True)
class Stopped:
    """One that was not: it was stopped at a progress, or diverged."""

    spent: int
    id: str
    progress: float


@dataclass(frozen=True, slots=True)
class Trace:
    """In the order of spending."""

    completed: tuple[Completed, ...]
    stopped: tuple[Stopped, ...] = ()

    @property
    def spent(self) -> int:
        """FLOPs."""
        return max((*(own.spent for own in self.completed), *(own.spent for own in self.stopped)), default=0)

    def to_dict(self) -> dict[str, Any]:
        return {
            "completed": [[own.spent, own.id, list(own.objectives)] for own in self.completed],
            "stopped": [[own.spent, own.id, own.progress] for own in self.stopped],
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "Trace":
        completed = tuple(Completed(spent, own, tuple(values)) for spent, own, values in raw["completed"])
        return cls(completed, tuple(Stopped(*own) for own in raw["stopped"]))


@dataclass(frozen=True, slots=True)
class History:
    """Hypervolume as a step function of FLOPs: ``volumes[i]`` from ``flops[i]`` on, 0 before the first."""

    flops: tuple[int, ...]
    volumes: tuple[float, ...]

    def at(self, flops: float) -> float:
        place = bisect_right(self.flops, flops)
        return self.volumes[place - 1] if place else 0.0

    def flops_to(self, volume: float) -> float:
        """The first FLOPs at which so much is reached; infinite if it never is."""
        return next((at for at, own in zip(self.flops, self.volumes, strict=True) if own >= volume), math.inf)


def history(trace: Trace, problem: Problem) -> History:
    front: list[Objectives] = []
    steps: list[tuple[int, float]] = []
    for own in trace.completed:
        if not any(dominates(other, own.objectives) or other == own.objectives for other in front):
            front = [other for other in front if not dominates(own.objectives, other)] + [own.objectives]
            steps.append((own.spent, problem.hypervolume(front)))
    return History(tuple(at for at, _ in steps), tuple(volume for _, volume in steps))
