"""A search's candidates and their losses at the rungs, kept by the driver as it writes them: it is the only writer, so
that reading them again costs no query."""

from collections.abc import Iterator, Mapping
from typing import Any

from nas.curve import rung_losses
from nas.ports import Store
from nas.records import CandidateRecord, CurvePoint

Losses = Mapping[float, float]
"""Validation loss by rung."""


class Roster:
    """Reads what the store holds of a search when it is made; from then on writes go through it."""

    def __init__(self, store: Store, search_id: str) -> None:
        self._store, self._search_id = store, search_id
        self._records = {own.number: own for own in store.candidates(search_id)}
        self._losses: dict[int, dict[float, float]] = {}
        for point in sorted(store.points(search_id), key=lambda own: own.attempt):  # as they were reported
            self._take(point)

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[CandidateRecord]:
        """By number."""
        return iter(self._records.values())

    def __getitem__(self, number: int) -> CandidateRecord:
        return self._records[number]

    def losses(self, number: int) -> Losses:
        """Of a candidate, at the rungs that it has reached."""
        return self._losses.get(number, {})

    def add(self, record: CandidateRecord) -> None:
        """The next candidate."""
        self._store.add_candidate(record)
        self._records[record.number] = record

    def update(self, number: int, **changes: Any) -> CandidateRecord:
        """Replaces the named fields; returns the new record."""
        record = self._records[number] = self._store.update_candidate(self._search_id, number, **changes)
        return record

    def note(self, record: CandidateRecord) -> None:
        """A record that was written elsewhere."""
        self._records[record.number] = record

    def add_point(self, point: CurvePoint) -> None:
        self._store.add_points([point])
        self._take(point)

    def _take(self, point: CurvePoint) -> None:
        self._losses.setdefault(point.number, {}).update(rung_losses([point]))
