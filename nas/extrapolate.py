"""From the loss at a rung to the loss at the end: what completed runs lost from there on says what others will lose.

Shape legend: N runs, D features.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LEAST_RUNS = 3
UNKNOWN = 0.3
"""Bits per byte by which an end may differ from its expectation while hardly any run has got there."""
_RATIOS = np.geomspace(1e-2, 1e2, 9)  # of the prior's deviation to the noise


@dataclass(frozen=True)
class Drop:
    """How the loss falls from a rung to the end: a linear regression over features and the loss at the rung, with the
    prior's width by the greatest evidence (Bishop, "Pattern recognition and machine learning", 2006, section 3.5)."""

    mean: float
    noise: float
    _centre: Floats
    _scale: Floats
    _weights: Floats
    _covariance: Floats

    def predict(self, features: Floats, losses: Floats) -> tuple[Floats, Floats]:
        """(mean, standard deviation) of the losses at the end."""
        if not len(self._weights):
            return losses - self.mean, np.full(len(losses), self.noise)
        rows = (_rows(features, losses) - self._centre) / self._scale
        spread = np.einsum("ij,jk,ik->i", rows, self._covariance, rows)
        return losses - self.mean - rows @ self._weights, self.noise * np.sqrt(1 + spread)


def fit_drop(features: Floats, losses: Floats, ends: Floats) -> Drop:
    """By the runs that were completed: features (N, D), losses at the rung and at the end (N,)."""
    drops = losses - ends
    empty = np.empty(0)
    if len(drops) < LEAST_RUNS:
        return Drop(float(drops.mean()) if len(drops) else 0.0, UNKNOWN, empty, empty, empty, empty)
    rows = _rows(features, losses)
    centre, scale = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-9)
    rows, mean = (rows - centre) / scale, float(drops.mean())
    best = max((_regress(rows, drops - mean, ratio) for ratio in _RATIOS), key=lambda own: own[0])
    _, weights, covariance, noise = best
    return Drop(mean, noise, centre, scale, weights, covariance)


def _rows(features: Floats, losses: Floats) -> Floats:
    return np.column_stack((features, losses))


def _regress(rows: Floats, targets: Floats, ratio: float) -> tuple[float, Floats, Floats, float]:
    """(log evidence, weights, their covariance over the noise's variance, noise). The noise is integrated out; known of
    it before is one run's worth, three hundredths of a bit per byte."""
    count, dimensions = rows.shape
    precision = rows.T @ rows + np.eye(dimensions) / ratio**2
    covariance = np.asarray(np.linalg.inv(precision), dtype=np.float64)
    weights = covariance @ rows.T @ targets
    squares = float(targets @ targets - targets @ rows @ weights) + 1e-3
    free = count + 1 - (dimensions - np.trace(covariance) / ratio**2)  # less what the weights took up (eq. 3.91)
    variance = squares / max(1.0, free)
    _, log_determinant = np.linalg.slogdet(precision)
    evidence = -0.5 * (count + 1) * np.log(squares) - 0.5 * log_determinant - dimensions * np.log(ratio)
    return float(evidence), weights, covariance, float(np.sqrt(variance))
