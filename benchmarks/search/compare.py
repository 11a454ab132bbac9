"""Statistics of the comparison. Pure: numbers in, numbers out."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import wilcoxon

Floats = NDArray[np.float64]
RESAMPLES = 2000
LEVEL = 0.95


def median(values: ArrayLike) -> float:
    """Of values that may be infinite: between a finite one and infinity lies infinity."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return float(low if low == high else (low + high) / 2)


def bootstrap(
    groups: Sequence[ArrayLike],
    statistic: Callable[[Floats], float] = median,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> tuple[float, float]:
    """The percentile interval (Efron, 1979) of a statistic of all values together.

    Two stages where there are several groups: groups are drawn with replacement, then the values of each.
    """
    rng = np.random.default_rng(seed)
    arrays = [np.asarray(own, dtype=np.float64) for own in groups]
    found = []
    for _ in range(resamples):
        drawn = [arrays[place] for place in rng.integers(len(arrays), size=len(arrays))]
        found.append(statistic(np.concatenate([rng.choice(own, size=len(own)) for own in drawn])))
    ordered, tail = np.sort(found), (1 - level) / 2
    last = resamples - 1  # order statistics, because infinity cannot be interpolated
    return float(ordered[math.floor(tail * last)]), float(ordered[math.ceil((1 - tail) * last)])


def signed_rank(ours: ArrayLike, theirs: ArrayLike) -> float:
    """The two-sided p of Wilcoxon's signed rank test of pairs; 1 when no pair differs."""
    differences = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    if not np.any(differences):
        return 1.0
    return float(wilcoxon(differences).pvalue)


def holm(values: Sequence[float]) -> list[float]:
    """p adjusted for so many tests by steps down (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    adjusted, highest = [0.0] * len(values), 0.0
    for place, index in enumerate(sorted(range(len(values)), key=lambda own: values[own])):
        highest = max(highest, min(1.0, (len(values) - place) * values[index]))
        adjusted[index] = highest
    return adjusted
