"""The hypervolume of searches over what they spent, kept and extended: what has ended stays as it is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from nas.adapters.sql.reader import Ended, Reader
from nas.client.models import Hypervolume, VolumeStep
from nas.curve import VolumeHistory
from nas.outcome import in_log_costs
from nas.ports import PublicStore
from nas.spec import OBJECTIVES
from services.controller.completed import Completed
from services.controller.latest import Latest

SEARCHES = 16
"""That are kept, those asked for last."""


class _Row(NamedTuple):
    """A candidate that is over; rows are in the order in which they ended. ``point``: of one that was trained to the
    end."""

    undated: bool
    finished_at: float
    number: int
    flops: int
    point: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class _Kept:
    """``trained``: number and point of those that were trained to the end, in the order in which they ended;
    ``revision`` of the search when the rows were read."""

    objectives: tuple[str, ...]
    reference: tuple[float, ...]
    rows: Mapping[int, _Row]
    trained: list[tuple[int, tuple[float, ...]]]
    history: VolumeHistory
    steps: Sequence[VolumeStep]
    revision: int


class Volumes:
    """Any number of threads."""

    def __init__(self, store: PublicStore, reader: Reader, completed: Completed) -> None:
        self._store, self._reader, self._completed = store, reader, completed
        self._latest = Latest(self._read, SEARCHES)

    def of(self, search_id: str, revision: int) -> Hypervolume:
        """As of that revision of the search, or a later one."""
        known = self._latest.of(search_id, revision)
        return Hypervolume(reference=list(known.reference), steps=list(known.steps))

    def _read(self, search_id: str, revision: int, known: _Kept | None) -> _Kept:
        """With what has ended since. Nothing where the search has no reference yet."""
        search = self._store.search(search_id)
        objectives, reference = tuple(search.spec["minimize"]), tuple(search.setting.get("reference") or ())
        if len(reference) != len(objectives):
            return _Kept((), (), {}, [], VolumeHistory.begun(()), (), revision)
        if known is None or (known.objectives, known.reference) != (objectives, reference):
            known = _nothing(objectives, reference)
        ended = self._reader.ended(search_id, known.revision)
        table = self._completed.of(search_id, self._reader.revision(search_id))  # which has all of those
        places = [OBJECTIVES.index(name) for name in objectives]
        chosen = np.isin(table.numbers, [own.number for own in ended])
        found = zip(table.numbers[chosen].tolist(), table.values[chosen][:, places].tolist(), strict=True)
        points = {
            number: in_log_costs(objectives, values) for number, values in found if not any(map(math.isnan, values))
        }
        return _with(known, [_row(own, points.get(own.number)) for own in ended], revision)


def _nothing(objectives: tuple[str, ...], reference: tuple[float, ...]) -> _Kept:
    history = VolumeHistory.begun(in_log_costs(objectives, reference))
    return _Kept(objectives, reference, {}, [], history, (), -1)


def _with(known: _Kept, changed: Sequence[_Row], revision: int) -> _Kept:
    """The history goes on where further ones come after it, and begins anew where they do not. What was spent until
    then may change alone."""
    if not changed:
        return replace(known, revision=revision)
    rows = {**known.rows, **{own.number: own for own in changed}}
    spent, flops, trained = 0, list[int](), list[tuple[int, tuple[float, ...]]]()
    for row in sorted(rows.values()):
        spent += row.flops
        if row.point is not None:
            trained.append((row.number, row.point))
            flops.append(spent)
    goes_on = trained[: len(known.trained)] == known.trained
    history = known.history if goes_on else _nothing(known.objectives, known.reference).history
    history = history.extended([point for _, point in trained[len(history.volumes) :]])
    steps = [
        VolumeStep(flops=until, volume=volume, number=number)
        for (number, _), until, volume in zip(trained, flops, history.volumes, strict=True)
    ]
    return _Kept(known.objectives, known.reference, rows, trained, history, steps, revision)


def _row(own: Ended, point: tuple[float, ...] | None) -> _Row:
    return _Row(own.finished_at is None, own.finished_at or 0.0, own.number, own.flops, point)
