"""`nas.ports.Store` over SQLAlchemy: SQLite for one machine, PostgreSQL for several.

Every kind of record has a table of the same columns, so one insert, one select and one update serve all of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from sqlalchemy import Column, ColumnElement, Connection, Engine, Table, and_, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from nas.adapters.sql import schema
from nas.adapters.sql.engine import create, redacted_url, sqlalchemy_url
from nas.adapters.sql.errors import refusals
from nas.adapters.sql.models import Base
from nas.adapters.sql.transactions import Transactions
from nas.errors import NotFoundError
from nas.records import (
    AttemptRecord,
    CandidateRecord,
    CurvePoint,
    DecisionRecord,
    EventRecord,
    LedgerRecord,
    SearchRecord,
    to_dict,
)

__all__ = ["SqlStore", "open_store", "sqlalchemy_url"]


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


Record = TypeVar("Record", bound=_Dataclass)


@dataclass(frozen=True)
class _Kind(Generic[Record]):
    """How a kind of record is kept. ``label`` and ``parent`` name a row and what it belongs to, in messages."""

    record: type[Record]
    table: Table
    label: str
    parent: str = ""

    @property
    def columns(self) -> list[Column[Any]]:
        return [self.table.c[field.name] for field in fields(self.record)]

    def check_changes(self, changes: Mapping[str, Any]) -> None:
        """An unknown field, or one of the key, is a mistake of the caller."""
        keys = {column.name for column in self.table.primary_key}
        wrong = sorted(changes.keys() - {column.name for column in self.columns} | changes.keys() & keys)
        if wrong:
            raise TypeError(f"{self.record.__name__} has no field to change of the name {', '.join(wrong)}")


_SEARCH_LABEL = "search {search_id!r}"
_CANDIDATE_LABEL = "candidate {number} in search {search_id!r}"
_TABLES = Base.metadata.tables
_SEARCH = _Kind(SearchRecord, _TABLES["searches"], "search {id!r}")
_CANDIDATE = _Kind(CandidateRecord, _TABLES["candidates"], _CANDIDATE_LABEL, _SEARCH_LABEL)
_ATTEMPT = _Kind(AttemptRecord, _TABLES["attempts"], "attempt {attempt} of " + _CANDIDATE_LABEL, _CANDIDATE_LABEL)
_POINT = _Kind(CurvePoint, _TABLES["curve_points"], "curve point {step} of " + _CANDIDATE_LABEL, _CANDIDATE_LABEL)
_DECISION = _Kind(DecisionRecord, _TABLES["decisions"], "decision on " + _CANDIDATE_LABEL, _CANDIDATE_LABEL)
_LEDGER = _Kind(LedgerRecord, _TABLES["ledger"], "ledger line {sequence} of " + _SEARCH_LABEL, _SEARCH_LABEL)
_EVENT = _Kind(EventRecord, _TABLES["events"], "event {sequence} of " + _SEARCH_LABEL, _SEARCH_LABEL)
_PROFILES = _TABLES["device_profiles"]

_INSERT: dict[str, Callable[[Table], sqlite.Insert | postgresql.Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


class SqlStore:
    """The truth about searches, in a relational database; see `nas.ports.Store` for the promises.

    Ownership: whoever opens it closes it. Concurrency: any number of threads; a transaction belongs to its thread.
    After a fork the child must open its own.
    """

    def __init__(self, engine: Engine, place: str) -> None:
        self._engine = engine
        self._open = Transactions(engine, place)

    @property
    def url(self) -> str:
        """The address with its password, in SQLAlchemy's form."""
        return self._engine.url.render_as_string(hide_password=False)

    def close(self) -> None:
        """Close all connections. The store is not to be used any more."""
        self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside happen together or not at all, also those of an inner transaction that fails alone."""
        with self._open.write():
            yield

    def add_search(self, record: SearchRecord) -> None:
        self._add(_SEARCH, [record])

    def search(self, search_id: str) -> SearchRecord:
        return self._one(_SEARCH, id=search_id)

    def searches(self) -> list[SearchRecord]:
        """All searches, oldest first."""
        return self._all(_SEARCH, "created_at", "id")

    def update_search(self, search_id: str, **changes: Any) -> SearchRecord:
        return self._update(_SEARCH, changes, id=search_id)

    def add_candidate(self, record: CandidateRecord) -> None:
        self._add(_CANDIDATE, [record])

    def candidate(self, search_id: str, number: int) -> CandidateRecord:
        return self._one(_CANDIDATE, search_id=search_id, number=number)

    def candidates(self, search_id: str) -> list[CandidateRecord]:
        """The candidates of a search by number; empty for an unknown search."""
        return self._all(_CANDIDATE, "number", search_id=search_id)

    def update_candidate(self, search_id: str, number: int, **changes: Any) -> CandidateRecord:
        return self._update(_CANDIDATE, changes, search_id=search_id, number=number)

    def add_attempt(self, record: AttemptRecord) -> None:
        self._add(_ATTEMPT, [record])

    def attempts(self, search_id: str, number: int | None = None) -> list[AttemptRecord]:
        return self._all(_ATTEMPT, "number", "attempt", search_id=search_id, number=number)

    def update_attempt(self, search_id: str, number: int, attempt: int, **changes: Any) -> AttemptRecord:
        return self._update(_ATTEMPT, changes, search_id=search_id, number=number, attempt=attempt)

    def add_points(self, points: Sequence[CurvePoint]) -> None:
        """Append curve points; one of the same (search, number, step, final) is replaced."""
        with self._open.write() as connection:
            for point in points:
                self._replace(connection, _POINT.table, to_dict(point), _POINT.parent)

    def points(self, search_id: str, number: int | None = None) -> list[CurvePoint]:
        """Curve points by (number, step, final)."""
        return self._all(_POINT, "number", "step", "final", search_id=search_id, number=number)

    def add_decision(self, record: DecisionRecord) -> None:
        self._add(_DECISION, [record])

    def decisions(self, search_id: str, number: int | None = None) -> list[DecisionRecord]:
        """Decisions in the order they were made."""
        return self._all(_DECISION, "id", search_id=search_id, number=number)

    def add_ledger(self, records: Sequence[LedgerRecord]) -> None:
        self._add(_LEDGER, records)

    def ledger(self, search_id: str) -> list[LedgerRecord]:
        """The account of a search by sequence."""
        return self._all(_LEDGER, "sequence", search_id=search_id)

    def add_event(
        self, search_id: str, kind: str, message: str, *, at: float, number: int | None = None, level: str = "info"
    ) -> EventRecord:
        """Append an event; the store gives it the next sequence number of its search, from 1."""
        with self._open.write() as connection, self._open.refusals(f"event of search {search_id!r}"):
            sequence = _next_event(connection, search_id)
            record = EventRecord(search_id, sequence, at, kind, message, number, level)
            statement = insert(_EVENT.table).values(to_dict(record)).returning(*_EVENT.columns)
            return EventRecord(**connection.execute(statement).mappings().one())

    def events(self, search_id: str, after: int = 0) -> list[EventRecord]:
        """The events of a search with a sequence number above ``after``, ascending."""
        return self._all(_EVENT, "sequence", where=[_EVENT.table.c.sequence > after], search_id=search_id)

    def save_device_profile(self, fingerprint: str, profile: Mapping[str, Any], *, at: float) -> None:
        """Insert or replace."""
        with self._open.write() as connection:
            self._replace(connection, _PROFILES, {"fingerprint": fingerprint, "profile": profile, "at": at})

    def device_profile(self, fingerprint: str) -> dict[str, Any] | None:
        statement = select(_PROFILES.c.profile).where(_PROFILES.c.fingerprint == fingerprint)
        with self._open.read() as connection, self._open.refusals():
            profile: dict[str, Any] | None = connection.execute(statement).scalar_one_or_none()
            return profile

    def _add(self, kind: _Kind[Record], records: Sequence[Record]) -> None:
        # Row by row, so that an error can name its row; there are a few at a time.
        with self._open.write() as connection:
            for record in records:
                values = to_dict(record)
                with self._open.refusals(kind.label.format(**values), kind.parent.format(**values)):
                    connection.execute(insert(kind.table).values(values))

    def _replace(self, connection: Connection, table: Table, values: Mapping[str, Any], parent: str = "") -> None:
        statement = _INSERT[self._engine.dialect.name](table).values(values)
        excluded = {column.name: column for column in statement.excluded if not column.primary_key}
        statement = statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=excluded)
        with self._open.refusals(f"row of {table.name}", parent.format(**values)):
            connection.execute(statement)

    def _one(self, kind: _Kind[Record], **key: Any) -> Record:
        found = self._all(kind, **key)
        if not found:
            raise NotFoundError(f"no {kind.label.format(**key)}")
        return found[0]

    def _all(
        self, kind: _Kind[Record], *order: str, where: Sequence[ColumnElement[bool]] = (), **equal: Any
    ) -> list[Record]:
        """The records whose fields equal the given values (``None``: any value)."""
        wanted = {name: value for name, value in equal.items() if value is not None}
        statement = select(*kind.columns).where(_matches(kind, wanted), *where)
        statement = statement.order_by(*(kind.table.c[name] for name in order))
        with self._open.read() as connection, self._open.refusals():
            return [kind.record(**row) for row in connection.execute(statement).mappings()]

    def _update(self, kind: _Kind[Record], changes: Mapping[str, Any], **key: Any) -> Record:
        kind.check_changes(changes)
        if not changes:
            return self._one(kind, **key)
        row = kind.label.format(**key)
        statement = update(kind.table).where(_matches(kind, key)).values(**changes).returning(*kind.columns)
        with self._open.write() as connection, self._open.refusals(row):
            found = connection.execute(statement).mappings().one_or_none()
        if found is None:
            raise NotFoundError(f"no {row}")
        return kind.record(**found)


def open_store(url: str) -> SqlStore:
    """Open a database, creating it or bringing its tables up to date where needed.

    Args:
        url: ``sqlite:///path/to/file``, ``sqlite://`` (in memory, for tests) or
            ``postgresql://user:password@host/name``; a PostgreSQL database must exist.

    Raises:
        SpecError: another kind of address.
        SchemaError: the database is newer than this code.
        StorageError: it cannot be opened.
    """
    place = redacted_url(url)
    with refusals(place):
        engine = create(url)
        try:
            schema.upgrade(engine, place)
        except BaseException:
            engine.dispose()
            raise
    return SqlStore(engine, place)


def _matches(kind: _Kind[Record], equal: Mapping[str, Any]) -> ColumnElement[bool]:
    return and_(True, *(kind.table.c[name] == value for name, value in equal.items()))


def _next_event(connection: Connection, search_id: str) -> int:
    searches, events = _SEARCH.table, _EVENT.table
    # The lock makes concurrent writers number one after the other; SQLite has one writer anyway.
    lock = select(searches.c.id).where(searches.c.id == search_id).with_for_update(key_share=True)
    if connection.execute(lock).one_or_none() is None:
        raise NotFoundError(f"no search {search_id!r}")
    last = select(func.max(events.c.sequence)).where(events.c.search_id == search_id)
    return (connection.execute(last).scalar_one() or 0) + 1
