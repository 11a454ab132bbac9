"""The all-in compute multiplier (ACM): FLOPs that the dial needs for a loss, over those that a search spent for it.

Letters: r rungs of the ladder, s seeds of a rung.
"""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

DRAWS = 10_000
CONFIDENCE = 0.95
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ladder:
    """Losses of the dial at growing budgets.

    Attributes:
        flops_r: spent on a run, scores included.
        losses_rs: on the test text.
    """

    flops_r: Floats
    losses_rs: Floats

    def drawn(self, rng: np.random.Generator) -> "Ladder":
        """With the seeds of each rung drawn anew, with replacement."""
        rungs, seeds = self.losses_rs.shape
        picked = rng.integers(seeds, size=(rungs, seeds))
        return Ladder(self.flops_r, np.take_along_axis(self.losses_rs, picked, axis=1))

    def flops_for(self, loss: float) -> float:
        """The least budget whose mean loss is no higher, between rungs along a line in loss and log FLOPs.

        Nothing is extrapolated: ``inf`` for a loss that the last rung does not reach, 0 for one that the first is
        already below.
        """
        means = self.losses_rs.mean(axis=1)
        if means[0] <= loss:
            return 0.0 if means[0] < loss else float(self.flops_r[0])
        for (before, after), (low, high) in zip(
            itertools.pairwise(means), itertools.pairwise(np.log(self.flops_r)), strict=True
        ):
            if after <= loss:
                return math.exp(low + (before - loss) / (before - after) * (high - low))
        return math.inf


@dataclass(frozen=True, slots=True)
class Spent:
    """A search: everything that it cost, and the test loss of its model."""

    flops: float
    loss: float


@dataclass(frozen=True, slots=True)
class Multiplier:
    """The median over searches, with the interval of a bootstrap over searches and over the ladder's seeds.

    ``inf`` and 0 where the ladder ends before, as `Ladder.flops_for`.

    Attributes:
        least, most: between which the ladder can tell; what is ``inf`` is above ``most``, what is 0 below ``least``.
    """

    value: float
    low: float
    high: float
    least: float
    most: float

    def told(self) -> str:
        low, high = self.number(self.low), self.number(self.high)
        return f"{self.number(self.value)} ({low} to {high})"

    def number(self, value: float) -> str:
        if math.isinf(value):
            return f"> {self.most:.2f}"
        return f"< {self.least:.2f}" if value == 0 else f"{value:.2f}"

    def within(self, value: float) -> float:
        """What the ladder can tell of it."""
        return min(max(value, self.least), self.most)


def acm(ladder: Ladder, search: Spent) -> float:
    """Above 1 the search has paid for itself."""
    return ladder.flops_for(search.loss) / search.flops


def multiplier(ladder: Ladder, searches: Sequence[Spent], seed: int = 0) -> Multiplier:
    """Of searches of one budget."""
    rng = np.random.default_rng(seed)
    draws = [
        _median(ladder.drawn(rng), [searches[own] for own in rng.integers(len(searches), size=len(searches))])
        for _ in range(DRAWS)
    ]
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(draws, [tail, 100 - tail], method="nearest")
    spent = statistics.median(own.flops for own in searches)
    ends = float(ladder.flops_r[0]) / spent, float(ladder.flops_r[-1]) / spent
    return Multiplier(_median(ladder, searches), float(low), float(high), *ends)


def _median(ladder: Ladder, searches: Sequence[Spent]) -> float:
    """Of an even number the lower one of the two in the middle: between a number and ``inf`` there is none."""
    ordered = sorted(acm(ladder, own) for own in searches)
    return ordered[(len(ordered) - 1) // 2]


def break_even(found: Mapping[float, float]) -> float | None:
    """The total budget where the ACM passes 1 for good, along a line in the logarithms; ``None`` where the largest
    budget is below 1, and the smallest budget where none is.

    Args:
        found: ACM by total budget.
    """
    budgets = sorted(found)
    if found[budgets[-1]] < 1:
        return None
    for before, after in reversed(list(itertools.pairwise(budgets))):
        if found[before] < 1:
            low, high = found[before], found[after]
            if low == 0 or math.isinf(high):
                return after
            share = -math.log(low) / (math.log(high) - math.log(low))
            return math.exp(math.log(before) + share * (math.log(after) - math.log(before)))
    return budgets[0]
