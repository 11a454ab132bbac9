"""What a service shows: parts of what the store holds, read without loading all of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, Double, RowMapping, and_, case, cast, func, or_, select

from nas.adapters.sql.models import Base
from nas.adapters.sql.schema import Versions, versions
from nas.adapters.sql.store import SqlStore
from nas.errors import NotFoundError
from nas.records import (
    CandidateRecord,
    CandidateState,
    EventRecord,
    LeaseRecord,
    Origin,
    RequestKind,
    SearchRecord,
    SearchState,
    Verdict,
)

_SEARCHES, _CANDIDATES, _POINTS, _DECISIONS, _EVENTS, _REQUESTS, _PROFILES = (
    Base.metadata.tables[name]
    for name in (
        "searches",
        "candidates",
        "curve_points",
        "decisions",
        "events",
        "requests",
        "device_profiles",
    )
)
_LEASES = Base.metadata.tables["leases"]
NUMBERS = ("number", "val_bpb", "seconds", "started_at", "finished_at")
"""Columns that candidates can be sorted by: numbers that every database compares."""
ORDERS = ("created", "name", "state", "best")
"""What searches can be sorted by: time, name, how far they are, lowest validation loss."""
RANKS = ("running", "stopping", "paused", "queued", "failed", "completed", "cancelled")
"""States in the order in which somebody wants to see them."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which candidates; nothing given means all.

    Attributes:
        numbers: these only.
        since: changed after that revision.
    """

    states: Sequence[CandidateState] = ()
    origins: Sequence[Origin] = ()
    numbers: Sequence[int] | None = None
    since: int | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A candidate that is over. ``flops``: training and evaluation."""

    number: int
    flops: int
    finished_at: float | None


@dataclass(frozen=True, slots=True)
class Brief:
    """What is drawn of a candidate. ``flops``: training and evaluation."""

    number: int
    state: CandidateState
    origin: Origin
    val_bpb: float | None
    val_error: float | None
    test_bpb: float | None
    test_error: float | None
    costs: Mapping[str, Any]
    flops: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a search is. FLOPs are sums of floats: exact to some fifteen digits.

    Attributes:
        counts: candidates by state, without the final run.
        best: the lowest validation loss of those trained to the end.
        flops: spent in training and evaluation, without the final run; ``final_flops`` by that.
        seconds: of workers.
    """

    counts: Mapping[str, int]
    best: float | None
    flops: float
    final_flops: float
    seconds: float


NOTHING = Progress({}, None, 0.0, 0.0, 0.0)
"""Of a search that has no candidates yet."""


@dataclass(frozen=True, slots=True)
class Total:
    """Of several candidates. FLOPs are sums of floats: exact to some fifteen digits."""

    candidates: int
    planned_flops: float
    train_flops: float
    eval_flops: float
    repeated_flops: float


@dataclass(frozen=True, slots=True)
class Kind:
    """Of a database: ``sqlite`` or ``postgresql``, its version, its schema beside the newest."""

    kind: str
    version: str
    schema: Versions


class Reader:
    """Reads from a store that somebody else closes. Any number of threads."""

    def __init__(self, store: SqlStore) -> None:
        self._transactions = store.transactions

    def revision(self, search_id: str) -> int:
        """Rises with every change to a search or to what belongs to it. Raises `NotFoundError`."""
        found = self._rows(select(_SEARCHES.c.revision).where(_SEARCHES.c.id == search_id))
        if not found:
            raise NotFoundError(f"no search {search_id!r}")
        return int(found[0]["revision"])

    def revisions(self, search_ids: Sequence[str]) -> dict[str, int]:
        """Of each search that is there."""
        rows = self._rows(select(_SEARCHES.c.id, _SEARCHES.c.revision).where(_SEARCHES.c.id.in_(search_ids)))
        return {row["id"]: int(row["revision"]) for row in rows}

    def newest(self) -> tuple[int, int]:
        """How many searches there are, and the sum of their revisions: it changes whenever anything does."""
        row = self._rows(select(func.count().label("searches"), func.sum(_SEARCHES.c.revision).label("revisions")))[0]
        return int(row["searches"]), int(row["revisions"] or 0)

    def searches(
        self, *, states: Sequence[SearchState] = (), before: tuple[float, str] | None = None, limit: int
    ) -> list[SearchRecord]:
        """The newest first, ``before`` the one of that (time, id)."""
        at, own = _SEARCHES.c.created_at, _SEARCHES.c.id
        where: list[ColumnElement[bool]] = [_SEARCHES.c.state.in_(states)] if states else []
        if before is not None:
            where.append(or_(at < before[0], and_(at == before[0], own < before[1])))
        columns = [_SEARCHES.c[field.name] for field in fields(SearchRecord)]
        statement = select(*columns).where(*where).order_by(at.desc(), own.desc()).limit(limit)
        return [SearchRecord(**row) for row in self._rows(statement)]

    def listed(
        self,
        *,
        states: Sequence[SearchState] = (),
        name: str = "",
        order: str = "created",
        descending: bool = True,
        after: tuple[float | str | None, str] | None = None,
        limit: int,
    ) -> list[tuple[SearchRecord, float | str | None]]:
        """Searches, each with what it is sorted by; those without a value come last, and of equal ones ids decide.

        Args:
            name: a part of it, in large letters or small ones.
            order: of `ORDERS`.
            after: only what follows the search with that (value, id).
        """
        searches = _SEARCHES.c
        where: list[ColumnElement[bool]] = [searches.state.in_(states)] if states else []
        if name:
            where.append(searches.name.icontains(name, autoescape=True))
        places = select(searches.id, _place(order).label("place")).where(*where).subquery()
        own, place = places.c.id, places.c.place
        direction = place.desc() if descending else place.asc()
        columns = [searches[field.name] for field in fields(SearchRecord)]
        statement = select(*columns, place).join(places, own == searches.id)
        if after is not None:
            statement = statement.where(_following(place, own, after, descending))
        rows = self._rows(statement.order_by(place.is_(None), direction, own).limit(limit))
        return [(SearchRecord(**{key: row[key] for key in row if key != "place"}), row["place"]) for row in rows]

    def candidates(
        self,
        search_id: str,
        wanted: Wanted,
        *,
        order: str = "number",
        descending: bool = False,
        after: tuple[float | None, int] | None = None,
        limit: int | None = None,
    ) -> list[tuple[CandidateRecord, int]]:
        """Candidates with their revisions, by a column of `NUMBERS`; those without a value come last.

        Args:
            after: only what follows the candidate with that (value, number).
        """
        column, number = _CANDIDATES.c[order], _CANDIDATES.c.number
        where = [_CANDIDATES.c.search_id == search_id, *_wanted(wanted)]
        if after is not None:
            where.append(_following(column, number, after, descending))
        columns = [_CANDIDATES.c[field.name] for field in fields(CandidateRecord)]
        # in words that an index of (search, column, number) has too: with "column IS NULL" first none would serve
        direction = (column.desc() if descending else column.asc()).nulls_last()
        statement = select(*columns, _CANDIDATES.c.revision).where(*where)
        statement = statement.order_by(direction, number).limit(limit)
        rows = [dict(row) for row in self._rows(statement)]
        return [(CandidateRecord(**{name: row[name] for name in row if name != "revision"}), row["revision"])
                for row in rows]  # fmt: skip

    def neighbours(self, search_id: str, number: int) -> tuple[int | None, int | None]:
        """The numbers before and after that of a candidate; ``None`` at the ends."""
        own = _CANDIDATES.c
        before = select(func.max(own.number)).where(own.search_id == search_id, own.number < number)
        after = select(func.min(own.number)).where(own.search_id == search_id, own.number > number)
        row = self._rows(select(before.scalar_subquery().label("before"), after.scalar_subquery().label("after")))[0]
        return row["before"], row["after"]

    def events_of(self, search_id: str, number: int, limit: int) -> list[EventRecord]:
        """The last events of a candidate, ascending."""
        own = _EVENTS.c
        columns = [own[field.name] for field in fields(EventRecord)]
        statement = select(*columns).where(own.search_id == search_id, own.number == number)
        rows = self._rows(statement.order_by(own.sequence.desc()).limit(limit))
        return [EventRecord(**row) for row in reversed(rows)]

    def completed(self, search_id: str, since: int = -1) -> list[tuple[int, float, Mapping[str, Any]]]:
        """Number, loss and costs of the candidates of the search itself that were trained to the end, and have changed
        after a revision."""
        own = _CANDIDATES.c
        statement = select(own.number, own.val_bpb, own.costs).where(
            own.search_id == search_id,
            own.state == CandidateState.COMPLETED,
            own.origin != Origin.FINAL,
            own.val_bpb.is_not(None),
            own.revision > since,
        )
        rows = self._rows(statement.order_by(own.number))
        return [(row["number"], row["val_bpb"], row["costs"]) for row in rows]

    def briefs(self, search_id: str, since: int | None = None) -> list[Brief]:
        """By number; those that have changed after a revision."""
        own = _CANDIDATES.c
        columns = (own.number, own.state, own.origin, own.val_bpb, own.val_error, own.test_bpb)
        statement = select(*columns, own.test_error, own.costs, own.train_flops_spent, own.eval_flops)
        where = [own.search_id == search_id, *_wanted(Wanted(since=since))]
        with self._transactions.read() as connection, self._transactions.refusals():
            rows = connection.execute(statement.where(*where).order_by(own.number))
            return [Brief(*row[:8], row[8] + row[9]) for row in rows]

    def ended(self, search_id: str, since: int = -1) -> list["Ended"]:
        """The candidates of the search itself that are over and have changed after a revision, in no order."""
        own = _CANDIDATES.c
        statement = select(own.number, own.train_flops_spent, own.eval_flops, own.finished_at).where(
            own.search_id == search_id,
            own.origin != Origin.FINAL,
            own.state.in_([s for s in CandidateState if s.terminal]),
            own.revision > since,
        )
        with self._transactions.read() as connection, self._transactions.refusals():
            rows = connection.execute(statement).all()
        return [Ended(number, train + evaluation, at) for number, train, evaluation, at in rows]

    def progress(self, search_ids: Sequence[str]) -> dict[str, Progress]:
        """Of each search that has candidates."""
        own = _CANDIDATES.c
        final = case((own.origin == Origin.FINAL, 1), else_=0).label("final")
        flops = func.sum(cast(own.train_flops_spent, Double) + cast(own.eval_flops, Double)).label("flops")
        columns = (own.search_id, own.state, final, func.count().label("candidates"), flops)
        statement = select(*columns, func.min(own.val_bpb).label("best"), func.sum(own.seconds).label("seconds"))
        rows = self._rows(statement.where(own.search_id.in_(search_ids)).group_by(own.search_id, own.state, final))
        grouped: dict[str, list[RowMapping]] = {}
        for row in rows:
            grouped.setdefault(row["search_id"], []).append(row)
        return {search_id: _progress(group) for search_id, group in grouped.items()}

    def cheapest(self, best: Mapping[str, float]) -> dict[str, list[Mapping[str, Any]]]:
        """The costs of the candidates that were trained to exactly that loss, by search."""
        own = _CANDIDATES.c
        exact = [and_(own.search_id == search_id, own.val_bpb == loss) for search_id, loss in best.items()]
        if not exact:
            return {}
        statement = select(own.search_id, own.costs).where(
            or_(*exact), own.state == CandidateState.COMPLETED, own.origin != Origin.FINAL
        )
        found: dict[str, list[Mapping[str, Any]]] = {}
        for row in self._rows(statement.order_by(own.search_id, own.number)):
            found.setdefault(row["search_id"], []).append(row["costs"])
        return found

    def leases(self, now: float) -> list[LeaseRecord]:
        """Those that have not run out."""
        columns = [_LEASES.c[field.name] for field in fields(LeaseRecord)]
        rows = self._rows(select(*columns).where(_LEASES.c.expires_at > now).order_by(_LEASES.c.search_id))
        return [LeaseRecord(**row) for row in rows]

    def last_losses(self, search_id: str, numbers: Sequence[int] | None = None) -> dict[int, float]:
        """The last validation loss on the curve of each candidate that was stopped, of these numbers only."""
        own, points = _CANDIDATES.c, _POINTS.c
        where = [own.search_id == search_id, own.state == CandidateState.STOPPED]
        if numbers is not None:
            where.append(own.number.in_(numbers))
        stopped = select(own.number).where(*where)
        place = func.row_number().over(partition_by=points.number, order_by=points.step.desc()).label("place")
        ranked = select(points.number, points.val_bpb, place).where(
            points.search_id == search_id, points.val_bpb.is_not(None), points.number.in_(stopped)
        )
        last = ranked.subquery()
        rows = self._rows(select(last.c.number, last.c.val_bpb).where(last.c.place == 1))
        return {row["number"]: row["val_bpb"] for row in rows}

    def audited(self, search_id: str, numbers: Sequence[int] | None = None) -> set[int]:
        """Candidates that a stop was recorded of, and not executed; of these numbers only."""
        own = _DECISIONS.c
        where = [own.search_id == search_id, own.verdict == Verdict.AUDIT]
        if numbers is not None:
            where.append(own.number.in_(numbers))
        return {row["number"] for row in self._rows(select(own.number).where(*where).distinct())}

    def reasons(self, search_id: str, state: CandidateState) -> list[str]:
        """Why candidates came to a state, one line for each of them."""
        own = _CANDIDATES.c
        statement = select(own.reason).where(own.search_id == search_id, own.state == state).order_by(own.number)
        return [row["reason"] for row in self._rows(statement)]

    def counts_of(self, search_id: str) -> dict[str, int]:
        """How many candidates of a search by state."""
        own = _CANDIDATES.c
        statement = select(own.state, func.count().label("candidates")).where(own.search_id == search_id)
        return {str(row["state"]): row["candidates"] for row in self._rows(statement.group_by(own.state))}

    def last_event(self, search_id: str) -> int:
        """The number of the last event; 0 before the first."""
        last = func.max(_EVENTS.c.sequence).label("last")
        return int(self._rows(select(last).where(_EVENTS.c.search_id == search_id))[0]["last"] or 0)

    def asked(self) -> dict[str, list[RequestKind]]:
        """What nobody has answered, by search."""
        own = _REQUESTS.c
        found: dict[str, list[RequestKind]] = {}
        for row in self._rows(select(own.search_id, own.kind).where(own.answered_at.is_(None))):
            found.setdefault(row["search_id"], []).append(row["kind"])
        return found

    def devices(self) -> list[dict[str, Any]]:
        """Fingerprint, time and profile of the devices that were profiled."""
        own = _PROFILES.c
        return [dict(row) for row in self._rows(select(own.fingerprint, own.at, own.profile).order_by(own.at))]

    # --- of everything ---

    def database(self) -> Kind:
        transactions = self._transactions
        with transactions.read() as connection, transactions.refusals():
            dialect = connection.dialect
            version = ".".join(map(str, dialect.server_version_info or ()))
            return Kind(dialect.name, version, versions(connection, ""))

    def searches_by_state(self) -> dict[str, int]:
        own = _SEARCHES.c
        rows = self._rows(select(own.state, func.count().label("searches")).group_by(own.state))
        return {str(row["state"]): row["searches"] for row in rows}

    def totals(self) -> dict[str, "Total"]:
        """Of the candidates by state."""
        own = _CANDIDATES.c
        columns = (own.train_flops_planned, own.train_flops_spent, own.eval_flops, own.repeated_flops)
        sums = [func.sum(cast(column, Double)) for column in columns]  # SQLite keeps exact ones as text
        statement = select(own.state, func.count(), *sums).group_by(own.state)
        with self._transactions.read() as connection, self._transactions.refusals():
            return {str(state): Total(*numbers) for state, *numbers in connection.execute(statement)}

    def gate_saved_flops(self) -> int:
        """At most this: what the rejected would have been given."""
        own = _CANDIDATES.c
        rejected = select(own.search_id, func.count().label("count")).where(own.state == CandidateState.REJECTED)
        counted = rejected.group_by(own.search_id).subquery()
        statement = select(_SEARCHES.c.spec, counted.c.count).join(counted, counted.c.search_id == _SEARCHES.c.id)
        return sum(int(row["spec"]["budget"]["candidate"]["compute"]) * row["count"] for row in self._rows(statement))

    def _rows(self, statement: Any) -> Sequence[RowMapping]:
        with self._transactions.read() as connection, self._transactions.refusals():
            return connection.execute(statement).mappings().all()


def _progress(rows: Sequence[RowMapping]) -> Progress:
    """Rows of states, the final run's apart."""
    searched = [row for row in rows if not row["final"]]
    losses = [row["best"] for row in searched if row["state"] is CandidateState.COMPLETED and row["best"] is not None]
    return Progress(
        counts={str(row["state"]): row["candidates"] for row in searched},
        best=min(losses, default=None),
        flops=sum(row["flops"] for row in searched),
        final_flops=sum(row["flops"] for row in rows if row["final"]),
        seconds=sum(row["seconds"] or 0.0 for row in rows),
    )


def _wanted(wanted: Wanted) -> list[ColumnElement[bool]]:
    own = _CANDIDATES.c
    return [
        *([own.state.in_(wanted.states)] if wanted.states else []),
        *([own.origin.in_(wanted.origins)] if wanted.origins else []),
        *([own.number.in_(wanted.numbers)] if wanted.numbers is not None else []),
        *([own.revision > wanted.since] if wanted.since is not None else []),
    ]


def _place(order: str) -> ColumnElement[Any]:
    """What a search is sorted by."""
    searches, own = _SEARCHES.c, _CANDIDATES.c
    if order == "best":
        # the first by index, where the least of all would be looked for among all
        trained = (own.state == CandidateState.COMPLETED, own.origin != Origin.FINAL, own.val_bpb.is_not(None))
        least = select(own.val_bpb).where(own.search_id == searches.id, *trained).order_by(own.val_bpb).limit(1)
        return least.correlate(_SEARCHES).scalar_subquery()
    if order == "state":
        return case({SearchState(name): rank for rank, name in enumerate(RANKS)}, value=searches.state)
    return func.lower(searches.name) if order == "name" else searches.created_at


def _following(
    column: ColumnElement[Any], number: ColumnElement[Any], after: tuple[Any, Any], descending: bool
) -> ColumnElement[bool]:
    """After that (value, number or id)."""
    value, last = after
    if value is None:
        return and_(column.is_(None), number > last)
    further = column < value if descending else column > value
    return or_(further, and_(column == value, number > last), column.is_(None))
