"""What the candidates of searches came to, kept and brought up to date: one of thousands is read once, and then only
what has changed."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from nas.adapters.sql.reader import Reader
from nas.pareto import front_mask
from nas.spec import LOSS, OBJECTIVES
from services.controller.latest import Latest

Numbers = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Table:
    """Candidates that were trained to the end, by number.

    Attributes:
        numbers: (N,).
        values: (N, objectives of `nas.spec.OBJECTIVES`); not a number where one has none.
        revision: of the search when it was read.
    """

    numbers: Numbers
    values: Values
    revision: int
    _fronts: dict[tuple[str, ...], tuple[Numbers, Values]] = field(default_factory=dict, repr=False, compare=False)

    def front(self, objectives: Sequence[str]) -> tuple[Numbers, Values]:
        """Numbers (F,) and values (F, objectives) of the front, ascending by the first objective that is not the
        loss. Found once for what the candidates came to."""
        own = self._fronts.get(tuple(objectives))
        if own is None:
            own = self._fronts[tuple(objectives)] = _front(self, objectives)
        return own


def _front(table: Table, objectives: Sequence[str]) -> tuple[Numbers, Values]:
    points = table.values[:, [OBJECTIVES.index(name) for name in objectives]]
    known = np.isfinite(points).all(axis=1)
    numbers, points = table.numbers[known], points[known]
    mask = front_mask(points)
    numbers, points = numbers[mask], points[mask]
    first = next((place for place, name in enumerate(objectives) if name != LOSS), 0)
    order = np.lexsort((numbers, points[:, first]))
    return numbers[order], points[order]


EMPTY = Table(np.empty(0, dtype=np.int64), np.empty((0, len(OBJECTIVES))), -1)


class Completed:
    """Any number of threads."""

    def __init__(self, reader: Reader) -> None:
        self._reader, self._latest = reader, Latest(self._read)

    def of(self, search_id: str, revision: int) -> Table:
        """As of that revision of the search, or a later one."""
        return self._latest.of(search_id, revision)

    def _read(self, search_id: str, revision: int, earlier: Table | None) -> Table:
        """With what has changed since the table was read."""
        known = earlier or EMPTY
        rows = self._reader.completed(search_id, known.revision)
        if not rows:
            return replace(known, revision=revision)
        numbers = np.array([number for number, _, _ in rows], dtype=np.int64)
        values = np.array([_values(loss, costs) for _, loss, costs in rows])
        stays = ~np.isin(known.numbers, numbers)
        numbers = np.concatenate((known.numbers[stays], numbers))
        order = np.argsort(numbers)
        numbers, values = numbers[order], np.concatenate((known.values[stays], values))[order]
        if np.array_equal(numbers, known.numbers) and np.array_equal(values, known.values, equal_nan=True):
            return replace(known, revision=revision)  # something else of them has changed
        return Table(numbers, values, revision)


def _values(loss: float, costs: object) -> list[float]:
    assert isinstance(costs, dict)
    found = (loss if name == LOSS else costs.get(name) for name in OBJECTIVES)
    return [float(own) if isinstance(own, (int, float)) else np.nan for own in found]
