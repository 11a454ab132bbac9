"""Dominance, fronts, hypervolume and knee: arrays in, arrays out. All objectives are minimised.

Shape legend: points are (N, M), N candidates by M objectives.
"""

from bisect import bisect_left, bisect_right

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def dominates(a: ArrayLike, b: ArrayLike) -> bool:
    """``a`` is nowhere worse than ``b`` and somewhere better."""
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return bool(np.all(left <= right) and np.any(left < right))


def front_mask(points: ArrayLike) -> Mask:
    """(N,), true for the points that no other dominates; equal points are all kept.

    In lexicographic order nothing is dominated by what comes after it, so the first of what is left is on the front,
    and what it dominates is left no more: F passes over arrays for a front of F. Raises `ValueError` for a value that
    is not finite.
    """
    array = _finite(points)
    mask = np.zeros(len(array), dtype=np.bool_)
    if not len(array):
        return mask
    left = np.lexsort(array.T[::-1])
    while len(left):
        first, left = left[0], left[1:]
        mask[first] = True
        point, others = array[first], array[left]
        left = left[np.any(others < point, axis=1) | np.all(others == point, axis=1)]
    return mask


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """Volume that the points dominate below ``reference`` (M,); points beyond it count nothing.

    Two objectives by a sweep; more by slicing along the last objective (the HSO scheme of While et al., IEEE TEC
    10(1), 2006): O(F^(M-1)), for three objectives in passes over arrays alone.
    """
    corner = np.asarray(reference, dtype=np.float64)
    array = _finite(points)
    if not len(array):
        return 0.0
    if array.shape[1] != len(corner):
        raise ValueError(f"points must have the {len(corner)} objectives of the reference, found {array.shape[1]}")
    array = array[np.all(array < corner, axis=1)]
    return _volume(array[front_mask(array)], corner) if len(array) else 0.0


def _volume(front: Floats, corner: Floats) -> float:
    if front.shape[1] == 1:
        return float(corner[0] - front.min())
    if front.shape[1] == 2:
        ordered = front[np.argsort(front[:, 0])]
        right = np.append(ordered[1:, 0], corner[0])
        return float(np.sum((right - ordered[:, 0]) * (corner[1] - np.minimum.accumulate(ordered[:, 1]))))
    ordered = front[np.argsort(front[:, -1])]
    upper = np.append(ordered[1:, -1], corner[-1])
    stairs, total = _Stairs(), 0.0
    for count, thickness in enumerate(upper - ordered[:, -1], start=1):
        below = ordered[:count, :-1]
        if front.shape[1] == 3:
            stairs.add(*below[-1].tolist())
        if thickness > 0:
            slice_ = stairs.points() if front.shape[1] == 3 else below[front_mask(below)]
            total += float(thickness) * _volume(slice_, corner[:-1])
    return total


class _Stairs:
    """The front of points of two objectives that come one by one: what `front_mask` finds among all of them, in order,
    without looking at all of them each time."""

    def __init__(self) -> None:
        self._x: list[float] = []
        self._y: list[float] = []  # descending

    def add(self, x: float, y: float) -> None:
        place = bisect_right(self._x, x)
        if place and self._y[place - 1] <= y and (self._x[place - 1], self._y[place - 1]) != (x, y):
            return
        first = bisect_left(self._x, x)
        last = first
        while last < len(self._x) and self._y[last] >= y and (self._x[last], self._y[last]) != (x, y):
            last += 1
        self._x[first:last], self._y[first:last] = [x], [y]

    def points(self) -> Floats:
        return np.array([self._x, self._y]).T


def knee(points: ArrayLike) -> int:
    """Index of the front's knee: the point farthest below the hyperplane through the front's extremes, objectives
    scaled to [0, 1] over the front (Das, Structural Optimization 18, 1999). The first objective breaks ties."""
    array = _finite(points)
    if not len(array):
        raise ValueError("points must not be empty")
    candidates = np.flatnonzero(front_mask(array))
    front = array[candidates]
    low, span = front.min(axis=0), np.ptp(front, axis=0)
    scaled = (front - low) / np.where(span > 0, span, 1.0)
    order = np.lexsort((front[:, 0], scaled.sum(axis=1).round(12)))
    return int(candidates[order[0]])


def reference_point(worst: ArrayLike, margin: float = 0.1) -> Floats:
    """A reference a ``margin`` beyond the worst values that are expected, fixed before a search starts."""
    values = np.asarray(worst, dtype=np.float64)
    return values + np.abs(values) * margin


def _finite(points: ArrayLike) -> Floats:
    array = np.asarray(points, dtype=np.float64)
    array = array.reshape(len(array), -1) if array.size else array.reshape(0, array.shape[-1] if array.ndim > 1 else 0)
    if not np.all(np.isfinite(array)):
        raise ValueError(f"points must be finite, found {array[~np.isfinite(array)][0]}")
    return array
