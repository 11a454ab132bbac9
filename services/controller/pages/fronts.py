"""Who is on a front, from what is kept of the candidates that were trained to the end."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nas.pareto import front_mask
from nas.spec import LOSS, OBJECTIVES
from services.controller.completed import Table


def front_of(table: Table, objectives: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Numbers (F,) and values (F, objectives) of the front, ascending by the first objective that is not the loss."""
    points = table.values[:, [OBJECTIVES.index(name) for name in objectives]]
    known = np.isfinite(points).all(axis=1)
    numbers, points = table.numbers[known], points[known]
    mask = front_mask(points)
    numbers, points = numbers[mask], points[mask]
    first = next((place for place, name in enumerate(objectives) if name != LOSS), 0)
    order = np.lexsort((numbers, points[:, first]))
    return numbers[order], points[order]
