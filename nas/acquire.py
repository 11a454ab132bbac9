"""Which candidate is worth its training: the loss is uncertain, the costs are known.

A front says what each limit on the costs buys: the least loss among the candidates that keep it. The mean over limits
of that loss, spread evenly over the logarithms of the costs, is the hypervolume below the front up to a constant. So
the expected gain of hypervolume is the mean over limits of the expected improvement there, which has a closed form
(Jones, Schonlau and Welch, "Efficient global optimization of expensive black-box functions", 1998, eq. 15): no
sampling of the front, any number of costs, thousands of candidates at a time.

Shape legend: N candidates, M limits, K costs; costs are logarithms.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from nas.space import plastic

Floats = NDArray[np.float64]
LIMITS = 512


def cost_limits(low: Floats, high: Floats, count: int = LIMITS) -> Floats:
    """(count, K) limits, even over the box: an additive recurrence (Roberts 2018, as `nas.space.Space.uniform`)."""
    dimensions = len(low)
    steps = plastic(dimensions) ** -np.arange(1.0, dimensions + 1)
    places = (0.5 + np.arange(1, count + 1)[:, None] * steps) % 1.0
    return np.asarray(low + places * (high - low), dtype=np.float64)


def best_within(limits: Floats, costs: Floats, losses: Floats, otherwise: float) -> Floats:
    """(M,) the least loss within each limit; ``otherwise`` where nothing keeps it."""
    if not len(losses):
        return np.full(len(limits), otherwise)
    keeps = np.all(costs[None, :, :] <= limits[:, None, :], axis=2)
    least = np.where(keeps, losses[None, :], np.inf).min(axis=1)
    return np.asarray(np.minimum(least, otherwise), dtype=np.float64)


def expected_gain(limits: Floats, best: Floats, costs: Floats, mean: Floats, deviation: Floats) -> Floats:
    """(N,) by how much training a candidate is expected to lower the mean over limits of the best loss.

    Args:
        best: (M,) of `best_within`.
        costs, mean, deviation: (N, K), (N,) and (N,): of the candidates, what is believed of their losses.
    """
    levels, level_of = np.unique(best, return_inverse=True)  # as many as the front has members, and not M
    keeps = np.all(costs[:, None, :] <= limits[None, :, :], axis=2)
    shares = keeps.astype(np.float64) @ np.eye(len(levels))[level_of] / len(limits)
    improved = expected_improvement(levels[None, :], mean[:, None], deviation[:, None])
    return np.asarray(np.sum(shares * improved, axis=1), dtype=np.float64)


def gains(limits: Floats, best: Floats, costs: Floats, losses: Floats) -> Floats:
    """(S,) by how much N more candidates lower the mean over limits of the best loss, in S cases of their losses.

    Args:
        costs, losses: (N, K) and (S, N).
    """
    keeps = np.all(costs[:, None, :] <= limits[None, :, :], axis=2)
    least = np.where(keeps[None, :, :], losses[:, :, None], np.inf).min(axis=1)
    return np.asarray(np.maximum(best - least, 0.0).mean(axis=1), dtype=np.float64)


def expected_improvement(best: Floats, mean: Floats, deviation: Floats) -> Floats:
    """Mean of max(0, best - loss) where the loss is normal."""
    z = (best - mean) / deviation
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return np.asarray(np.maximum(deviation * (z * ndtr(z) + density), 0.0), dtype=np.float64)
