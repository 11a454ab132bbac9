"""Coefficients from measurements: least squares on the relative error, none of them negative, and what the fit is worth
on measurements that it has not seen."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


def non_negative(rows: Matrix, values: Matrix) -> Matrix:
    """Coefficients c >= 0 that make rows @ c / values come nearest to 1: the best of all sets of free ones.

    Args:
        rows: (measurements, features), non-negative.
        values: (measurements,), above 0.
    """
    scaled = rows / values[:, None]
    count = rows.shape[1]
    best, least = np.zeros(count), np.inf
    for size in range(1, count + 1):
        for free in itertools.combinations(range(count), size):
            own, *_ = np.linalg.lstsq(scaled[:, free], np.ones(len(values)), rcond=None)
            coefficients = np.zeros(count)
            coefficients[list(free)] = own
            error = float(np.square(scaled @ coefficients - 1).sum())
            if (own >= 0).all() and error < least * (1 - 1e-9):
                best, least = coefficients, error
    return best


def held_out(rows: Matrix, values: Matrix, fit: Callable[[Matrix, Matrix], Matrix] = non_negative) -> Matrix:
    """Relative errors, signed, of each measurement by a fit to all others."""
    errors = []
    for left in range(len(values)):
        others = np.arange(len(values)) != left
        errors.append(rows[left] @ fit(rows[others], values[others]) / values[left] - 1)
    return np.array(errors)


def matrix(rows: Sequence[Sequence[float]]) -> Matrix:
    return np.array(rows, dtype=np.float64)
