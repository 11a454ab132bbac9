"""A Gaussian process over points of the unit cube: what the losses that were measured say of those that were not.

Shape legend: inputs are (N, D), N points by D features in [0, 1]; targets (N,).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

Floats = NDArray[np.float64]

LEAST_NOISE = 1e-6
FITTED = 96
"""Targets of which the kernel's scales are fitted; more bring no other scales, and take the cube of their number."""
# Priors of the logarithms of length scales, signal and noise (of standardised targets): mean and deviation. Length
# scales grow with the root of the dimension, so that the prior's functions are as smooth in many dimensions as in few
# (Hvarfner et al., "Vanilla Bayesian optimization performs great in high dimensions", 2024).
_LENGTH, _SIGNAL, _NOISE = (0.3, 1.0), (-0.5, 1.0), (-2.5, 0.7)
_DIMENSIONS = 6.0  # for which the prior's length scale is meant


@dataclass(frozen=True)
class Surrogate:
    """The posterior, by a Matérn 5/2 kernel with a length scale for each feature (Rasmussen and Williams, "Gaussian
    processes for machine learning", 2006, eq. 4.17 and 2.25 to 2.26).

    Attributes:
        noise: standard deviation of a target around the function, in its units.
        doubt: factor of the predicted deviations by which the targets, each predicted from the others, lie around their
            predictions; at least 1.
    """

    inputs: Floats
    lengths: Floats
    signal: float
    noise: float
    doubt: float
    _mean: float
    _scale: float
    _factor: Floats
    _weights: Floats

    def predict(self, inputs: Floats) -> tuple[Floats, Floats]:
        """(mean, standard deviation) of the function at (N, D) points, without the noise of a measurement."""
        cross = self.signal**2 * _matern(_distances(inputs / self.lengths, self.inputs / self.lengths))
        solved = solve_triangular(self._factor, cross.T, lower=True, check_finite=False)
        variance = np.maximum(self.signal**2 - np.einsum("ij,ij->j", solved, solved), LEAST_NOISE**2)
        deviation = np.sqrt(variance) * self._scale * self.doubt
        return cross @ self._weights * self._scale + self._mean, deviation

    def draw(self, inputs: Floats, count: int, seed: int) -> Floats:
        """(count, N) functions that the targets allow, at (N, D) points, without the noise of a measurement."""
        scaled = inputs / self.lengths
        cross = self.signal**2 * _matern(_distances(scaled, self.inputs / self.lengths))
        solved = solve_triangular(self._factor, cross.T, lower=True, check_finite=False)
        covariance = self.signal**2 * _matern(_distances(scaled, scaled)) - solved.T @ solved
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0)) * self._scale * self.doubt
        normal = np.random.default_rng(seed).standard_normal((count, len(inputs)))
        return np.asarray(cross @ self._weights * self._scale + self._mean + normal @ root.T, dtype=np.float64)


def fit(inputs: Floats, targets: Floats, extra: Floats | None = None) -> Surrogate:
    """The posterior given targets.

    Args:
        extra: (N,) standard deviation of each target's own error, beside the noise that all share and that is
            estimated; ``None`` for none.
    """
    mean = float(targets.mean())
    scale = float(targets.std()) if np.ptp(targets) else 1.0  # rounding gives equal targets a deviation above 0
    standard = (targets - mean) / scale
    own = (np.zeros(len(targets)) if extra is None else extra / scale) ** 2
    chosen = _spread(targets, FITTED)
    lengths, signal, noise = _scales(inputs[chosen], standard[chosen], own[chosen])
    kernel = signal**2 * _matern(_distances(inputs / lengths, inputs / lengths))
    kernel[np.diag_indices_from(kernel)] += noise**2 + own
    factor = cholesky(kernel, lower=True, check_finite=False)
    weights = cho_solve((factor, True), standard, check_finite=False)
    doubt = _doubt(factor, weights)
    return Surrogate(inputs, lengths, signal, noise * scale, doubt, mean, scale, factor, weights)


def _spread(targets: Floats, most: int) -> NDArray[np.intp]:
    """Indices of at most so many targets, evenly over their order."""
    order = np.argsort(targets, kind="stable")
    return order[np.unique(np.linspace(0, len(order) - 1, min(most, len(order))).round().astype(np.intp))]


def _doubt(factor: Floats, weights: Floats) -> float:
    """By leave-one-out predictions (Rasmussen and Williams, eq. 5.10 to 5.12)."""
    inverse = cho_solve((factor, True), np.eye(len(factor)), check_finite=False)
    standardised = weights / np.sqrt(np.diag(inverse))
    return max(1.0, float(np.sqrt(np.mean(standardised**2))))


def _distances(a: Floats, b: Floats) -> Floats:
    """(N, M) Euclidean distances of (N, D) from (M, D) points."""
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2 * a @ b.T
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)), dtype=np.float64)


def _matern(distances: Floats) -> Floats:
    scaled = np.sqrt(5.0) * distances
    return np.asarray((1 + scaled + scaled**2 / 3) * np.exp(-scaled), dtype=np.float64)


def _scales(inputs: Floats, targets: Floats, own: Floats) -> tuple[Floats, float, float]:
    """(length scales, signal, noise) of the greatest posterior density."""
    dimensions = inputs.shape[1]
    centre = _LENGTH[0] + 0.5 * np.log(dimensions / _DIMENSIONS)
    start = np.array([centre] * dimensions + [_SIGNAL[0], _NOISE[0]])
    width = np.array([_LENGTH[1]] * dimensions + [_SIGNAL[1], _NOISE[1]])
    squares = (inputs[:, None, :] - inputs[None, :, :]) ** 2

    def cost(logs: Floats) -> tuple[float, Floats]:
        return _cost(logs, start, width, squares, targets, own)

    found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=[(-5.0, 5.0)] * len(start))
    scales = np.exp(found.x)
    return scales[:-2], float(scales[-2]), float(scales[-1])


def _cost(
    logs: Floats, centre: Floats, width: Floats, squares: Floats, targets: Floats, own: Floats
) -> tuple[float, Floats]:
    """Negative logarithm of the density, less what is constant, and its gradient (Rasmussen and Williams, eq. 5.9)."""
    scales = np.exp(logs)
    lengths, signal, noise = scales[:-2], scales[-2], scales[-1]
    root = np.sqrt(5.0 * np.maximum(squares @ lengths**-2, 0.0))
    decay = np.exp(-root)
    smooth = signal**2 * (1 + root + root**2 / 3) * decay
    kernel = smooth.copy()
    kernel[np.diag_indices_from(kernel)] += noise**2 + own + LEAST_NOISE
    factor = cholesky(kernel, lower=True, check_finite=False)
    weights = cho_solve((factor, True), targets, check_finite=False)
    inverse = cho_solve((factor, True), np.eye(len(targets)), check_finite=False)
    slope = 0.5 * (inverse - np.outer(weights, weights))
    by_distance = slope * (signal**2 * 5 / 3 * (1 + root) * decay)
    gradient = np.concatenate(
        (
            np.einsum("ij,ijk->k", by_distance, squares) * lengths**-2,
            [2 * np.sum(slope * smooth), 2 * noise**2 * np.trace(slope)],
        )
    )
    away = (logs - centre) / width
    value = 0.5 * targets @ weights + np.log(np.diag(factor)).sum() + 0.5 * away @ away
    return float(value), gradient + away / width
