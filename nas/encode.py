"""Points of a space as rows of numbers in [0, 1], for what learns from them."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from nas.candidate import Candidate
from nas.space import Choice, Knob, Knobs, Range, Space, Value

Floats = NDArray[np.float64]


class Encoding:
    """A column for each number and two-valued knob, one for each value of a knob of several words, and a last one for
    what a scaling law expects of the loss, which says more of it than all others before anything was trained.

    An inactive knob is at the value that a candidate has without it.

    Args:
        law: of a candidate, any number that grows with its expected loss.
        drawn: candidates over which the law's column is spread from 0 to 1.
    """

    def __init__(self, space: Space, law: Callable[[Candidate], float], drawn: Sequence[Candidate]) -> None:
        self._space, self._law = space, law
        expected = [math.log(law(candidate)) for candidate in drawn]
        self._low, self._span = min(expected), max(max(expected) - min(expected), 1e-9)

    def __call__(self, knobs: Knobs, candidate: Candidate) -> Floats:
        """(D,)"""
        row = [
            number
            for knob in self._space.knobs
            for number in _numbers(knob, knobs.get(knob.name, self._space.defaults.get(knob.name, 1.0)))
        ]
        expected = (math.log(self._law(candidate)) - self._low) / self._span
        return np.array([*row, min(max(expected, -0.5), 1.5)])


def _numbers(knob: Knob, value: Value) -> list[float]:
    domain = knob.domain
    if isinstance(domain, Range):
        return [_place(float(value), domain.low, domain.high, domain.log)]
    numbers = [own for own in domain.values if isinstance(own, int | float) and not isinstance(own, bool)]
    if len(numbers) == len(domain.values):
        low, high = float(min(numbers)), float(max(numbers))
        return [_place(float(value), low, high, low > 0)]
    if len(domain.values) <= 2:
        return [float(_index(domain, value))]
    return [float(position == _index(domain, value)) for position in range(len(domain.values))]


def _index(domain: Choice, value: Value) -> int:
    return domain.values.index(domain.nearest(value))


def _place(value: float, low: float, high: float, log: bool) -> float:
    if log:
        value, low, high = math.log(max(value, 1e-12)), math.log(low), math.log(high)
    return (value - low) / (high - low) if high > low else 0.0
