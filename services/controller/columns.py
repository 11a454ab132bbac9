"""Candidates as columns: what pages draw, and nothing else of them."""

import math
from collections.abc import Iterable
from typing import Any

from nas.adapters.sql.reader import Reader
from nas.client.models import Columns
from nas.spec import LOSS, OBJECTIVES

COSTS = tuple(name for name in OBJECTIVES if name != LOSS)


NAMED = 500
"""So many candidates are asked for by their numbers; for more of them, all are read."""


def columns_of(reader: Reader, search_id: str, since: int | None, revision: int) -> Columns:
    """Those that have changed after a revision; all without one."""
    rows = reader.briefs(search_id, since)
    numbers = [row.number for row in rows]
    these = numbers if len(numbers) <= NAMED else None
    last, audited = reader.last_losses(search_id, these), reader.audited(search_id, these)
    return Columns(
        revision=revision,
        number=numbers,
        state=[row.state for row in rows],
        origin=[row.origin for row in rows],
        val_bpb=_short(row.val_bpb for row in rows),
        val_error=_short(row.val_error for row in rows),
        test_bpb=_short(row.test_bpb for row in rows),
        test_error=_short(row.test_error for row in rows),
        last_bpb=_short(last.get(number) for number in numbers),
        flops=[float(f"{row.flops:.6g}") for row in rows],
        audited=[number in audited for number in numbers],
        costs={name: _short(row.costs.get(name) for row in rows) for name in COSTS},
    )


def _short(values: Iterable[Any]) -> list[float | None]:
    """Six digits; ``None`` for what is no number that JSON has."""
    return [float(f"{own:.6g}") if isinstance(own, (int, float)) and math.isfinite(own) else None for own in values]
