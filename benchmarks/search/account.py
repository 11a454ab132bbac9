"""What a peer may do: train candidates, stop them, see losses. Every FLOP is charged, and none beyond the budget."""

from collections.abc import Sequence

from benchmarks.search.problem import Objectives, Problem
from benchmarks.search.trace import Completed, Stopped, Trace


class Account:
    """The peer's only way to a problem's losses. A run may be continued where it was left; a candidate has one run.

    Args:
        rungs: at which the peer scores runs, in 16ths of progress; only these scores are charged, and the last.
    """

    def __init__(self, problem: Problem, rungs: Sequence[float] = ()) -> None:
        self._problem, self._rungs = problem, tuple(rungs)
        self._paid: dict[str, int] = {}
        self._completed: list[Completed] = []
        self._stopped: list[Stopped] = []
        self.spent = 0

    @property
    def left(self) -> int:
        return self._problem.budget - self.spent

    @property
    def trace(self) -> Trace:
        return Trace(tuple(self._completed), tuple(self._stopped))

    def is_known(self, own: str) -> bool:
        return own in self._paid

    def price(self, own: str) -> int:
        """FLOPs that are needed to bring a candidate's run to its end."""
        return self._problem.price(own, self._rungs) - self._paid.get(own, 0)

    def affords(self, own: str) -> bool:
        """Whether its run could go to the end: as in a search, a run that could not is not begun."""
        return self.price(own) <= self.left

    def advance(self, own: str, rung: float) -> float | None:
        """Trains on to a rung; the loss there, or ``None`` if the run has diverged, which ends it."""
        loss = self._problem.loss_at(own, rung)
        self._charge(own, rung)
        if loss is None:
            self.stop(own, rung)
        return loss

    def complete(self, own: str) -> Objectives | None:
        """Trains to the end; ``None`` if the run diverges."""
        found = self._problem.objectives(own)
        self._charge(own, 1.0)
        if found is None:
            self.stop(own, 1.0)
        else:
            self._completed.append(Completed(self.spent, own, found))
        return found

    def stop(self, own: str, progress: float) -> None:
        """Its run will not go on."""
        self._stopped.append(Stopped(self.spent, own, progress))

    def pay(self, flops: int) -> None:
        """For what is none of the problem's own runs."""
        if flops > self.left:
            raise ValueError(f"flops must be at most what is left, {self.left}; found {flops}")
        self.spent += flops

    def _charge(self, own: str, progress: float) -> None:
        flops = self._problem.spent(own, progress, self._rungs)
        self.pay(flops - self._paid.get(own, 0))
        self._paid[own] = flops
