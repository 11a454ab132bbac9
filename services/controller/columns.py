"""Candidates as columns: what pages draw, and nothing else of them."""

import math
from collections.abc import Iterable
from typing import Any

from nas.adapters.sql.reader import Reader
from nas.client.models import Columns
from nas.spec import LOSS, OBJECTIVES
from services.controller.latest import Latest

COSTS = tuple(name for name in OBJECTIVES if name != LOSS)
LISTS = tuple(name for name in Columns.model_fields if name not in ("revision", "costs"))
SEARCHES = 16
"""That are kept, those asked for last."""
NAMED = 500
"""So many candidates are asked for by their numbers; for more of them, all are read."""


class AllColumns:
    """All candidates of searches. Any number of threads."""

    def __init__(self, reader: Reader) -> None:
        self._reader, self._latest = reader, Latest(self._read, SEARCHES)

    def of(self, search_id: str, revision: int) -> Columns:
        """As of that revision of the search, or a later one."""
        return self._latest.of(search_id, revision)

    def _read(self, search_id: str, revision: int, known: Columns | None) -> Columns:
        changed = columns_of(self._reader, search_id, None if known is None else known.revision, revision)
        return changed if known is None else merged(known, changed)


def merged(known: Columns, changed: Columns) -> Columns:
    """With those that have changed in the place of what was known of them, and others behind; by number."""
    places = {number: place for place, number in enumerate(known.number)}
    rows = [places.setdefault(number, len(places)) for number in changed.number]
    order = sorted(range(len(places)), key=list(places).__getitem__)
    in_order = order == list(range(len(places)))

    def put(old: list[Any], new: list[Any]) -> list[Any]:
        column = [*old, *[None] * (len(places) - len(old))]
        for row, value in zip(rows, new, strict=True):
            column[row] = value
        return column if in_order else [column[place] for place in order]

    lists = {name: put(getattr(known, name), getattr(changed, name)) for name in LISTS}
    costs = {name: put(known.costs[name], changed.costs[name]) for name in COSTS}
    return known.model_copy(update={**lists, "costs": costs, "revision": changed.revision})


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
