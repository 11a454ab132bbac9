"""How a search goes: curves, sums, what is in training and what was said last, read without loading all of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Double, RowMapping, and_, case, cast, func, or_, select

from nas.adapters.sql.models import Base
from nas.adapters.sql.store import SqlStore
from nas.records import CandidateState, DecisionRecord, EventRecord, LedgerRecord, Origin, Verdict

_CANDIDATES, _ATTEMPTS, _POINTS, _DECISIONS, _LEDGER, _EVENTS = (
    Base.metadata.tables[name] for name in ("candidates", "attempts", "curve_points", "decisions", "ledger", "events")
)


@dataclass(frozen=True, slots=True)
class Head:
    """Whose curve it is. ``revision`` is that of its search when anything of it changed."""

    number: int
    state: CandidateState
    origin: Origin
    reason: str
    planned: int
    revision: int


@dataclass(frozen=True, slots=True)
class Place:
    """A point of a curve: training FLOPs, and the loss on training text, or else on the validation split."""

    flops: float
    loss: float


@dataclass(frozen=True, slots=True)
class Taken:
    """FLOPs that a candidate has taken, and those of training that were planned."""

    number: int
    state: CandidateState
    train: int
    evaluation: int
    planned: int


@dataclass(frozen=True, slots=True)
class AtWork:
    """A candidate in training. ``progress``: the share of its plan at which it was heard of last."""

    number: int
    origin: Origin
    planned: int
    attempt: int | None
    since: float | None
    worker: str
    progress: float


@dataclass(frozen=True, slots=True)
class Audited:
    """The first stop of a candidate that was recorded and not executed."""

    number: int
    rung: float
    reason: str
    state: CandidateState
    planned: int
    spent: int


class Course:
    """Reads from a store that somebody else closes. Any number of threads."""

    def __init__(self, store: SqlStore) -> None:
        self._transactions = store.transactions

    # --- curves ---

    def begun(self, search_id: str, most: int) -> list[tuple[int, bool]]:
        """Candidates that training has begun with: the final run and those in training, which are marked, then the
        others, the latest first."""
        own = _CANDIDATES.c
        now = case((or_(own.origin == Origin.FINAL, own.state == CandidateState.TRAINING), 1), else_=0).label("now")
        statement = select(own.number, now).where(own.search_id == search_id, own.started_at.is_not(None))
        rows = self._rows(statement.order_by(now.desc(), own.number.desc()).limit(most))
        return [(row["number"], bool(row["now"])) for row in rows]

    def heads(self, search_id: str, numbers: Sequence[int]) -> list[Head]:
        """Of these candidates, by number."""
        own = _CANDIDATES.c
        columns = (own.number, own.state, own.origin, own.reason, own.train_flops_planned.label("planned"))
        statement = select(*columns, own.revision).where(own.search_id == search_id, own.number.in_(numbers))
        return [Head(**row) for row in self._rows(statement.order_by(own.number))]

    def curves(self, search_id: str, numbers: Sequence[int], points: int) -> dict[int, list[Place]]:
        """Losses over FLOPs of these candidates, at most so many points of each, evenly left out; ends are kept."""
        own = _POINTS.c
        flops, loss = cast(own.flops, Double).label("flops"), func.coalesce(own.train_bpb, own.val_bpb).label("loss")
        order = (own.step, own.final)
        place = func.row_number().over(partition_by=own.number, order_by=order).label("place")
        count = func.count().over(partition_by=own.number).label("count")
        known = select(own.number, flops, loss, place, count).where(
            own.search_id == search_id, own.number.in_(numbers), loss > 0, flops > 0
        )
        all_ = known.subquery()
        stride = case((all_.c.count == 1, 1), else_=(all_.c.count + points - 3) // (points - 1))
        kept = or_((all_.c.place - 1) % stride == 0, all_.c.place == all_.c.count)
        statement = select(all_.c.number, all_.c.flops, all_.c.loss).where(kept).order_by(all_.c.number, all_.c.place)
        found: dict[int, list[Place]] = {}
        for row in self._rows(statement):
            found.setdefault(row["number"], []).append(Place(row["flops"], row["loss"]))
        return found

    def rungs(self, search_id: str, numbers: Sequence[int]) -> list[float]:
        """That these candidates have reached."""
        own = _POINTS.c
        where = (own.search_id == search_id, own.number.in_(numbers), own.rung.is_not(None))
        return sorted(row["rung"] for row in self._rows(select(own.rung).where(*where).distinct()))

    # --- the account ---

    def taken(self, search_id: str, since: int = -1) -> list[Taken]:
        """By the candidates of the search itself, without the final run, that have changed after a revision."""
        own = _CANDIDATES.c
        columns = (own.number, own.state, own.train_flops_spent, own.eval_flops, own.train_flops_planned)
        where = (own.search_id == search_id, own.origin != Origin.FINAL, own.revision > since)
        with self._transactions.read() as connection, self._transactions.refusals():
            return [Taken(*row) for row in connection.execute(select(*columns).where(*where))]

    def booked(self, search_id: str, after: int = 0) -> list[LedgerRecord]:
        """Lines of the account with a sequence number above that."""
        own = _LEDGER.c
        columns = [own[field.name] for field in fields(LedgerRecord)]
        statement = select(*columns).where(own.search_id == search_id, own.sequence > after).order_by(own.sequence)
        return [LedgerRecord(**row) for row in self._rows(statement)]

    # --- now ---

    def at_work(self, search_id: str) -> list[AtWork]:
        """What is in training, by number."""
        own, tries, points, earlier = _CANDIDATES.c, _ATTEMPTS.c, _POINTS.c, _ATTEMPTS.alias().c
        here = and_(own.search_id == search_id, own.state == CandidateState.TRAINING)
        attempt = select(func.max(earlier.attempt)).where(earlier.search_id == search_id, earlier.number == own.number)
        heard = select(func.max(points.progress)).where(points.search_id == search_id, points.number == own.number)
        latest = attempt.correlate(_CANDIDATES).scalar_subquery()
        last = and_(tries.search_id == search_id, tries.number == own.number, tries.attempt == latest)
        columns = (own.number, own.origin, own.train_flops_planned.label("planned"), tries.attempt)
        more = (tries.started_at.label("since"), tries.worker, heard.scalar_subquery().label("progress"))
        statement = select(*columns, *more).join_from(_CANDIDATES, _ATTEMPTS, last, isouter=True).where(here)
        return [
            AtWork(**{**row, "worker": row["worker"] or "", "progress": row["progress"] or 0.0})
            for row in self._rows(statement.order_by(own.number))
        ]

    def waiting(self, search_id: str, most: int) -> list[tuple[int, Origin]]:
        """What waits for a worker, by number."""
        own = _CANDIDATES.c
        statement = select(own.number, own.origin).where(own.search_id == search_id, own.state == CandidateState.QUEUED)
        return [(row["number"], row["origin"]) for row in self._rows(statement.order_by(own.number).limit(most))]

    # --- what was said ---

    def decisions(self, search_id: str, most: int) -> list[DecisionRecord]:
        """The latest first."""
        own = _DECISIONS.c
        columns = [own[field.name] for field in fields(DecisionRecord)]
        statement = select(*columns).where(own.search_id == search_id).order_by(own.id.desc()).limit(most)
        return [DecisionRecord(**row) for row in self._rows(statement)]

    def stops(self, search_id: str, numbers: Sequence[int]) -> dict[int, str]:
        """Why the pruner stopped those of these candidates that it did."""
        own = _DECISIONS.c
        where = (own.search_id == search_id, own.number.in_(numbers), own.verdict == Verdict.STOP)
        rows = self._rows(select(own.number, own.reason).where(*where).order_by(own.id))
        return {row["number"]: row["reason"] for row in rows}

    def verdicts(self, search_id: str) -> Mapping[Verdict, int]:
        """How many of each."""
        own = _DECISIONS.c
        statement = select(own.verdict, func.count().label("count")).where(own.search_id == search_id)
        return {row["verdict"]: row["count"] for row in self._rows(statement.group_by(own.verdict))}

    def audits(self, search_id: str) -> list[Audited]:
        """Of the search's own candidates, in the order in which they were decided."""
        own, record = _DECISIONS.c, _CANDIDATES.c
        first = select(func.min(own.id).label("id")).where(own.search_id == search_id, own.verdict == Verdict.AUDIT)
        firsts = first.group_by(own.number).subquery()
        spent = (record.train_flops_planned.label("planned"), record.train_flops_spent.label("spent"))
        statement = select(own.number, own.rung, own.reason, record.state, *spent).join(firsts, firsts.c.id == own.id)
        of = and_(record.search_id == own.search_id, record.number == own.number)
        statement = statement.join(_CANDIDATES, of).where(record.origin != Origin.FINAL).order_by(own.id)
        return [Audited(**row) for row in self._rows(statement)]

    def events(self, search_id: str, most: int) -> list[EventRecord]:
        """The latest first."""
        own = _EVENTS.c
        columns = [own[field.name] for field in fields(EventRecord)]
        statement = select(*columns).where(own.search_id == search_id).order_by(own.sequence.desc()).limit(most)
        return [EventRecord(**row) for row in self._rows(statement)]

    def _rows(self, statement: Any) -> Sequence[RowMapping]:
        with self._transactions.read() as connection, self._transactions.refusals():
            return connection.execute(statement).mappings().all()
