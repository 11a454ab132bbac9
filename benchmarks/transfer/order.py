"""Whether an order held: differences between candidates and Kendall's tau, with what seeds leave open of them.

Letters: c candidates, s seeds, n draws.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

DRAWS = 100_000
CONFIDENCE = 0.95
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A number and the limits between which it lies with 95%."""

    value: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """Of all that is between the limits; 0 where that is not one."""
        return (self.low > 0) - (self.high < 0)


class Verdict(StrEnum):
    """What became of the order of two candidates."""

    HELD = "held"
    TURNED = "turned"
    TIE = "tie"  # within the noise of seeds at one of the budgets, or at both


@dataclass(frozen=True, slots=True)
class Pair:
    """Two candidates, and by how much the second one's loss is above the first one's at each budget."""

    first: str
    second: str
    small: Interval
    large: Interval

    @property
    def verdict(self) -> Verdict:
        signs = self.small.sign * self.large.sign
        return Verdict.TIE if not signs else Verdict.HELD if signs > 0 else Verdict.TURNED


def noise(losses_cs: Floats) -> float:
    """The standard deviation of a loss from seed to seed, one for all candidates."""
    return float(np.sqrt(losses_cs.var(axis=1, ddof=1).mean()))


def draw_means(losses_cs: Floats, seed: int) -> Floats:
    """Mean losses as the runs leave them possible (n, c): normal noise of one unknown variance, flat priors.

    A difference of two of them has the t distribution about that of the means (Gelman et al., Bayesian Data Analysis,
    section 3.2), so its quantiles are the usual interval.
    """
    rng = np.random.default_rng(seed)
    candidates, seeds = losses_cs.shape
    freedom = candidates * (seeds - 1)
    deviations = noise(losses_cs) * np.sqrt(freedom / rng.chisquare(freedom, DRAWS))
    errors_nc = deviations[:, None] / np.sqrt(seeds) * rng.standard_normal((DRAWS, candidates))
    return np.asarray(losses_cs.mean(axis=1) + errors_nc, dtype=np.float64)


def kendall(first: Floats, second: Floats) -> Floats:
    """Kendall's tau along the last axis: pairs in the same order less those in the other, over all pairs."""
    indices = np.array(list(itertools.combinations(range(first.shape[-1]), 2)))
    signs = [np.sign(own[..., indices[:, 1]] - own[..., indices[:, 0]]) for own in (first, second)]
    return np.asarray((signs[0] * signs[1]).mean(axis=-1), dtype=np.float64)


def tau(small_cs: Floats, large_cs: Floats, among: Sequence[int]) -> Interval:
    """Kendall's tau of the orders of mean losses at two budgets among some candidates; the noise is that of all."""
    means = [own.mean(axis=1)[list(among)] for own in (small_cs, large_cs)]
    drawn = [draw_means(own, seed)[:, list(among)] for seed, own in enumerate((small_cs, large_cs))]
    return _interval(float(kendall(*means)), kendall(*drawn))


def pairs(names: Sequence[str], small_cs: Floats, large_cs: Floats) -> list[Pair]:
    """All pairs, in the order of the names."""
    both = [(own.mean(axis=1), draw_means(own, seed)) for seed, own in enumerate((small_cs, large_cs))]
    return [
        Pair(
            names[i],
            names[j],
            *(_interval(float(means[j] - means[i]), drawn[:, j] - drawn[:, i]) for means, drawn in both),
        )
        for i, j in itertools.combinations(range(len(names)), 2)
    ]


def _interval(value: float, drawn: Floats) -> Interval:
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(value, float(low), float(high))
