"""`nas.ports.Store` over SQLAlchemy: SQLite for one machine, PostgreSQL for several.

Every kind of record has a table of the same columns, so one insert, one select and one update serve all of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from sqlalchemy import Column, ColumnElement, Connection, Engine, Table, and_, delete, func, insert, select, update

from nas.adapters.sql import leases, schema
from nas.adapters.sql.dialects import clock, insert_into
from nas.adapters.sql.engine import create, redacted_url, sqlalchemy_url
from nas.adapters.sql.errors import refusals
from nas.adapters.sql.models import Base
from nas.adapters.sql.revisions import touch
from nas.adapters.sql.studies import delete_study
from nas.adapters.sql.transactions import Transactions
from nas.adapters.sql.upkeep import copy_searches
from nas.errors import NotFoundError, StateError
from nas.records import (
    AttemptRecord,
    CandidateRecord,
    CurvePoint,
    DecisionRecord,
    EventRecord,
    LeaseRecord,
    LedgerRecord,
    LogLine,
    LogRecord,
    RequestKind,
    RequestRecord,
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
_LOG = _Kind(LogRecord, _TABLES["log_lines"], "line {sequence} of the log of " + _CANDIDATE_LABEL, _CANDIDATE_LABEL)
_LEDGER = _Kind(LedgerRecord, _TABLES["ledger"], "ledger line {sequence} of " + _SEARCH_LABEL, _SEARCH_LABEL)
_EVENT = _Kind(EventRecord, _TABLES["events"], "event {sequence} of " + _SEARCH_LABEL, _SEARCH_LABEL)
_REQUEST = _Kind(RequestRecord, _TABLES["requests"], "request {sequence} of " + _SEARCH_LABEL, _SEARCH_LABEL)
_UNANSWERED = _REQUEST.table.c.answered_at.is_(None)
_PROFILES, _ANSWERS = _TABLES["device_profiles"], _TABLES["answers"]


class SqlStore:
    """The truth about searches, in a relational database; see `nas.ports.Store` for the promises.

    Ownership: whoever opens it closes it. Concurrency: any number of threads; a transaction belongs to its thread.
    After a fork the child must open its own.
    """

    def __init__(self, engine: Engine, transactions: Transactions) -> None:
        self._engine = engine
        self._open = transactions

    @property
    def url(self) -> str:
        """The address with its password, in SQLAlchemy's form."""
        return self._engine.url.render_as_string(hide_password=False)

    @property
    def transactions(self) -> Transactions:
        """For those who read and write beside the store, in the same database and the same transactions."""
        return self._open

    def close(self) -> None:
        """Close all connections. The store is not to be used any more."""
        self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside happen together or not at all, also those of an inner transaction that fails alone."""
        with self._open.write():
            yield

    def now(self) -> float:
        """The time of day by the database's clock."""
        with self._open.read() as connection, self._open.refusals():
            return clock(connection)

    def take_lease(
        self, search_id: str, holder: str, seconds: float, replacing: LeaseRecord | None = None
    ) -> LeaseRecord:
        """Become the driver of a search for some seconds, unless another is."""
        with self._open.write() as connection, self._of_lease(search_id):
            return leases.take(connection, search_id, holder, seconds, replacing)

    def renew_lease(self, lease: LeaseRecord, seconds: float) -> LeaseRecord:
        """Hold it for some seconds from now, as long as nobody took it."""
        with self._open.write() as connection, self._of_lease(lease.search_id):
            return leases.renew(connection, lease, seconds)

    def drop_lease(self, lease: LeaseRecord) -> None:
        """Let go: it expires now. Does nothing when another took it."""
        with self._open.write() as connection, self._of_lease(lease.search_id):
            leases.drop(connection, lease)

    def lease(self, search_id: str) -> LeaseRecord | None:
        """The last lease of a search, also an expired one."""
        with self._open.read() as connection, self._open.refusals():
            return leases.find(connection, search_id)

    def fenced(self, lease: LeaseRecord) -> "SqlStore":
        """This store for the holder of a lease. It shares the connections, which whoever opened this store closes."""
        return _FencedStore(self._engine, self._open.fenced(partial(leases.check, lease=lease)))

    def add_search(self, record: SearchRecord) -> None:
        self._add(_SEARCH, [record])

    def search(self, search_id: str) -> SearchRecord:
        return self._one(_SEARCH, id=search_id)

    def searches(self) -> list[SearchRecord]:
        """All searches, oldest first."""
        return self._all(_SEARCH, "created_at", "id")

    def update_search(self, search_id: str, **changes: Any) -> SearchRecord:
        return self._update(_SEARCH, changes, id=search_id)

    def delete_search(self, search_id: str) -> None:
        """With everything that belongs to it, also its study; does nothing for one that is not there."""
        with self._open.write() as connection, self._open.refusals(f"search {search_id!r}"):
            delete_study(connection, search_id)
            connection.execute(delete(_ANSWERS).where(_ANSWERS.c.search_id == search_id))
            connection.execute(delete(_SEARCH.table).where(_SEARCH.table.c.id == search_id))

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

    def add_log(self, search_id: str, number: int, attempt: int, lines: Sequence[LogLine]) -> None:
        """Append what a worker logged; the store numbers the lines of a candidate, from 1."""
        if not lines:
            return
        key = {"search_id": search_id, "number": number}
        of = f"log of {_CANDIDATE_LABEL.format(**key)}"
        last = select(func.max(_LOG.table.c.sequence)).where(_matches(_LOG, key))
        with self._open.write() as connection, self._open.refusals(of, _CANDIDATE_LABEL.format(**key)):
            first = (connection.execute(last).scalar_one() or 0) + 1
            rows = [
                {**key, "attempt": attempt, "sequence": sequence, **to_dict(own)}
                for sequence, own in enumerate(lines, first)
            ]
            connection.execute(insert(_LOG.table), rows)
            touch(connection, _LOG.table.name, key)

    def log(
        self, search_id: str, number: int, *, attempt: int | None = None, after: int = 0, limit: int | None = None
    ) -> list[LogRecord]:
        """The first lines of a candidate's log with a sequence number above ``after``, ascending."""
        where = [_LOG.table.c.sequence > after]
        return self._all(
            _LOG, "sequence", where=where, limit=limit, search_id=search_id, number=number, attempt=attempt
        )

    def add_points(self, points: Sequence[CurvePoint]) -> None:
        """Append curve points; one of the same (search, number, step, final) is replaced."""
        with self._open.write() as connection:
            for point in points:
                self._replace(connection, _POINT.table, to_dict(point), _POINT.parent)
            for number in {(point.search_id, point.number) for point in points}:
                touch(connection, _POINT.table.name, dict(zip(("search_id", "number"), number, strict=True)))

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
            sequence = _next_sequence(connection, _EVENT.table, search_id)
            record = EventRecord(search_id, sequence, at, kind, message, number, level)
            statement = insert(_EVENT.table).values(to_dict(record)).returning(*_EVENT.columns)
            touch(connection, _EVENT.table.name, to_dict(record))
            return EventRecord(**connection.execute(statement).mappings().one())

    def events(self, search_id: str, after: int = 0) -> list[EventRecord]:
        """The events of a search with a sequence number above ``after``, ascending."""
        return self._all(_EVENT, "sequence", where=[_EVENT.table.c.sequence > after], search_id=search_id)

    def add_request(self, search_id: str, kind: RequestKind, content: Mapping[str, Any], *, at: float) -> RequestRecord:
        """Ask something of the driver; the store gives it the next sequence number of its search, from 1."""
        with self._open.write() as connection, self._open.refusals(f"request of search {search_id!r}"):
            sequence = _next_sequence(connection, _REQUEST.table, search_id)
            record = RequestRecord(search_id, sequence, kind, dict(content), at)
            statement = insert(_REQUEST.table).values(to_dict(record)).returning(*_REQUEST.columns)
            touch(connection, _REQUEST.table.name, to_dict(record))
            return RequestRecord(**connection.execute(statement).mappings().one())

    def requests(self, search_id: str, *, unanswered: bool = False) -> list[RequestRecord]:
        """The requests of a search in the order they were made; optionally only those without an answer."""
        return self._all(_REQUEST, "sequence", search_id=search_id, where=[_UNANSWERED] if unanswered else [])

    def answer_request(self, search_id: str, sequence: int, answer: str, *, at: float) -> RequestRecord:
        """Say what became of a request, once."""
        key = {"search_id": search_id, "sequence": sequence}
        row = _REQUEST.label.format(**key)
        statement = update(_REQUEST.table).where(_matches(_REQUEST, key), _UNANSWERED)
        statement = statement.values(answered_at=at, answer=answer)
        with self._open.write() as connection, self._open.refusals(row):
            found = connection.execute(statement.returning(*_REQUEST.columns)).mappings().one_or_none()
            touch(connection, _REQUEST.table.name, key)
        if found is None:
            raise StateError(f"{row} has an answer already: {self._one(_REQUEST, **key).answer}")
        return RequestRecord(**found)

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
                    touch(connection, kind.table.name, values)

    def _replace(self, connection: Connection, table: Table, values: Mapping[str, Any], parent: str = "") -> None:
        statement = insert_into(connection, table).values(values)
        excluded = {column.name: column for column in statement.excluded if not column.primary_key}
        statement = statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=excluded)
        with self._open.refusals(f"row of {table.name}", parent.format(**values)):
            connection.execute(statement)

    def _of_lease(self, search_id: str) -> AbstractContextManager[None]:
        return self._open.refusals(f"lease of search {search_id!r}", f"search {search_id!r}")

    def _one(self, kind: _Kind[Record], **key: Any) -> Record:
        found = self._all(kind, **key)
        if not found:
            raise NotFoundError(f"no {kind.label.format(**key)}")
        return found[0]

    def _all(
        self,
        kind: _Kind[Record],
        *order: str,
        where: Sequence[ColumnElement[bool]] = (),
        limit: int | None = None,
        **equal: Any,
    ) -> list[Record]:
        """The records whose fields equal the given values (``None``: any value)."""
        wanted = {name: value for name, value in equal.items() if value is not None}
        statement = select(*kind.columns).where(_matches(kind, wanted), *where)
        statement = statement.order_by(*(kind.table.c[name] for name in order)).limit(limit)
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
            touch(connection, kind.table.name, key)
        if found is None:
            raise NotFoundError(f"no {row}")
        return kind.record(**found)


class _FencedStore(SqlStore):
    """A store over the connections of another; see `SqlStore.fenced`."""

    def close(self) -> None:
        """Does nothing: whoever opened the store that this one came from closes it."""


def open_store(url: str) -> SqlStore:
    """Open a database, creating it or bringing its tables up to date where needed.

    An older SQLite file that holds searches is copied first (`nas.adapters.sql.upkeep`).

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
            schema.upgrade(engine, place, copy_searches)
        except BaseException:
            engine.dispose()
            raise
    return SqlStore(engine, Transactions(engine, place))


def _matches(kind: _Kind[Record], equal: Mapping[str, Any]) -> ColumnElement[bool]:
    return and_(True, *(kind.table.c[name] == value for name, value in equal.items()))


def _next_sequence(connection: Connection, table: Table, search_id: str) -> int:
    searches = _SEARCH.table
    # The lock makes concurrent writers number one after the other; SQLite has one writer anyway.
    lock = select(searches.c.id).where(searches.c.id == search_id).with_for_update(key_share=True)
    if connection.execute(lock).one_or_none() is None:
        raise NotFoundError(f"no search {search_id!r}")
    last = select(func.max(table.c.sequence)).where(table.c.search_id == search_id)
    return (connection.execute(last).scalar_one() or 0) + 1
