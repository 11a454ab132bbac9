"""`nas.ports.Store` in the memory of one process: for replays and tests, a search of which is over in seconds."""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cache
from typing import Any, TypeVar, get_type_hints

from nas.errors import LeaseError, NotFoundError, StateError
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
)

Record = TypeVar("Record")
Key = tuple[Any, ...]

KEYS: Mapping[type, tuple[str, ...]] = {
    SearchRecord: ("id",),
    CandidateRecord: ("search_id", "number"),
    AttemptRecord: ("search_id", "number", "attempt"),
    CurvePoint: ("search_id", "number", "step", "final"),
    LedgerRecord: ("search_id", "sequence"),
    LogRecord: ("search_id", "number", "sequence"),
    EventRecord: ("search_id", "sequence"),
    RequestRecord: ("search_id", "sequence"),
    LeaseRecord: ("search_id",),
}
"""Fields that name a row, in the order in which rows are read. Decisions are numbered as they come."""
_SEARCH = "search {id!r}"
_CANDIDATE = "candidate {number} in search {search_id!r}"
LABELS: Mapping[type, str] = {
    SearchRecord: _SEARCH,
    CandidateRecord: _CANDIDATE,
    AttemptRecord: "attempt {attempt} of " + _CANDIDATE,
    CurvePoint: "curve point {step} of " + _CANDIDATE,
    DecisionRecord: "decision on " + _CANDIDATE,
    LogRecord: "line {sequence} of the log of " + _CANDIDATE,
    LedgerRecord: "ledger line {sequence} of search {search_id!r}",
    EventRecord: "event {sequence} of search {search_id!r}",
    RequestRecord: "request {sequence} of search {search_id!r}",
    LeaseRecord: "lease of search {search_id!r}",
}
OF_CANDIDATES = (AttemptRecord, CurvePoint, DecisionRecord, LogRecord)


@dataclass
class _Shared:
    """What a store and those that are fenced share.

    Attributes:
        lock: of the thread whose transaction is open; all others wait for its end, also to read.
        undo: takes back, last first, what the open transaction has done.
    """

    rows: dict[type, dict[Key, Any]] = field(default_factory=lambda: {kind: {} for kind in LABELS})
    profiles: dict[Key, Any] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    undo: list[Callable[[], object]] = field(default_factory=list)
    depth: int = 0


class MemoryStore:
    """The truth about searches, as long as its process lives; see `nas.ports.Store` for the promises.

    Concurrency: any number of threads, one at a time. Without arguments it is new and empty; with them it is another's,
    fenced.
    """

    def __init__(self, shared: _Shared | None = None, lease: LeaseRecord | None = None) -> None:
        self._shared, self._lease = shared or _Shared(), lease

    @contextmanager
    def transaction(self) -> Iterator[None]:
        shared = self._shared
        with shared.lock:
            begun = len(shared.undo)
            shared.depth += 1
            try:
                self._ask_fence()
                yield
            except BaseException:
                while len(shared.undo) > begun:
                    shared.undo.pop()()
                raise
            finally:
                shared.depth -= 1
                if not shared.depth:
                    shared.undo.clear()

    def now(self) -> float:
        return time.time()

    # --- leases ---

    def take_lease(
        self, search_id: str, holder: str, seconds: float, replacing: LeaseRecord | None = None
    ) -> LeaseRecord:
        with self.transaction():
            current, now = self.lease(search_id), self.now()
            dead = replacing is not None and (replacing.search_id, replacing.token) == _of(current)
            if current is not None and now < current.expires_at and not dead:
                raise LeaseError(
                    f"search {search_id!r} is driven by {current.holder!r}, "
                    f"whose lease expires in {current.expires_at - now:.1f} s unless it is renewed"
                )
            self._parent(LeaseRecord, search_id, 0)
            token = current.token + 1 if current is not None else 1
            return self._write(LeaseRecord(search_id, holder, token, now, now + seconds))

    def renew_lease(self, lease: LeaseRecord, seconds: float) -> LeaseRecord:
        with self.transaction():
            now = self.now()
            return self._write(replace(self._unlost(lease), renewed_at=now, expires_at=now + seconds))

    def drop_lease(self, lease: LeaseRecord) -> None:
        with self.transaction():
            current = self.lease(lease.search_id)
            if current is not None and current.token == lease.token:
                self._write(replace(current, expires_at=self.now()))

    def lease(self, search_id: str) -> LeaseRecord | None:
        return next(iter(self._read(LeaseRecord, search_id)), None)

    def fenced(self, lease: LeaseRecord) -> "MemoryStore":
        return MemoryStore(self._shared, lease)

    def _ask_fence(self) -> None:
        if self._lease is not None:
            self._unlost(self._lease)

    def _unlost(self, lease: LeaseRecord) -> LeaseRecord:
        """The lease as it is now, if nobody took it."""
        current = self.lease(lease.search_id)
        if current is None:
            raise LeaseError(f"search {lease.search_id!r} is gone, and the lease of {lease.holder!r} with it")
        if current.token != lease.token:
            raise LeaseError(
                f"search {lease.search_id!r} is driven by {current.holder!r} (lease {current.token}), "
                f"no more by {lease.holder!r} (lease {lease.token})"
            )
        return current

    # --- records ---

    def add_search(self, record: SearchRecord) -> None:
        self._add([record])

    def search(self, search_id: str) -> SearchRecord:
        return self._one(SearchRecord, search_id)

    def searches(self) -> list[SearchRecord]:
        return sorted(self._read(SearchRecord), key=lambda own: (own.created_at, own.id))

    def update_search(self, search_id: str, **changes: Any) -> SearchRecord:
        return self._update(SearchRecord, (search_id,), changes)

    def add_candidate(self, record: CandidateRecord) -> None:
        self._add([record])

    def candidate(self, search_id: str, number: int) -> CandidateRecord:
        return self._one(CandidateRecord, search_id, number)

    def candidates(self, search_id: str) -> list[CandidateRecord]:
        return self._read(CandidateRecord, search_id)

    def update_candidate(self, search_id: str, number: int, **changes: Any) -> CandidateRecord:
        return self._update(CandidateRecord, (search_id, number), changes)

    def add_attempt(self, record: AttemptRecord) -> None:
        self._add([record])

    def attempts(self, search_id: str, number: int | None = None) -> list[AttemptRecord]:
        return self._read(AttemptRecord, search_id, number)

    def update_attempt(self, search_id: str, number: int, attempt: int, **changes: Any) -> AttemptRecord:
        return self._update(AttemptRecord, (search_id, number, attempt), changes)

    def add_log(self, search_id: str, number: int, attempt: int, lines: Sequence[LogLine]) -> None:
        with self.transaction():
            if lines:
                self._parent(LogRecord, search_id, number)
            first = len(self._read(LogRecord, search_id, number)) + 1
            for sequence, own in enumerate(lines, first):
                content = (own.at, own.level, own.logger, own.message)
                self._write(LogRecord(search_id, number, attempt, sequence, *content))

    def log(
        self, search_id: str, number: int, *, attempt: int | None = None, after: int = 0, limit: int | None = None
    ) -> list[LogRecord]:
        found = [own for own in self._read(LogRecord, search_id, number) if own.sequence > after]
        return [own for own in found if attempt in (None, own.attempt)][:limit]

    def add_points(self, points: Sequence[CurvePoint]) -> None:
        with self.transaction():
            for point in points:
                self._parent(CurvePoint, point.search_id, point.number)
                self._write(point)

    def points(self, search_id: str, number: int | None = None) -> list[CurvePoint]:
        return self._read(CurvePoint, search_id, number)

    def add_decision(self, record: DecisionRecord) -> None:
        with self.transaction():
            self._parent(DecisionRecord, record.search_id, record.number)
            self._write(record, (record.search_id, len(self._shared.rows[DecisionRecord])))

    def decisions(self, search_id: str, number: int | None = None) -> list[DecisionRecord]:
        return self._read(DecisionRecord, search_id, number)

    def add_ledger(self, records: Sequence[LedgerRecord]) -> None:
        self._add(records)

    def ledger(self, search_id: str) -> list[LedgerRecord]:
        return self._read(LedgerRecord, search_id)

    def add_event(
        self, search_id: str, kind: str, message: str, *, at: float, number: int | None = None, level: str = "info"
    ) -> EventRecord:
        with self.transaction():
            self._parent(EventRecord, search_id, 0)
            sequence = self._next_sequence(EventRecord, search_id)
            return self._write(EventRecord(search_id, sequence, at, kind, message, number, level))

    def events(self, search_id: str, after: int = 0) -> list[EventRecord]:
        return [own for own in self._read(EventRecord, search_id) if own.sequence > after]

    def add_request(self, search_id: str, kind: RequestKind, content: Mapping[str, Any], *, at: float) -> RequestRecord:
        with self.transaction():
            self._parent(RequestRecord, search_id, 0)
            sequence = self._next_sequence(RequestRecord, search_id)
            return self._write(RequestRecord(search_id, sequence, kind, dict(content), at))

    def requests(self, search_id: str, *, unanswered: bool = False) -> list[RequestRecord]:
        return [own for own in self._read(RequestRecord, search_id) if not unanswered or own.answered_at is None]

    def answer_request(self, search_id: str, sequence: int, answer: str, *, at: float) -> RequestRecord:
        with self.transaction():
            own = self._one(RequestRecord, search_id, sequence)
            if own.answered_at is not None:
                raise StateError(f"{_label(own)} has an answer already: {own.answer}")
            return self._write(replace(own, answered_at=at, answer=answer))

    def save_device_profile(self, fingerprint: str, profile: Mapping[str, Any], *, at: float) -> None:
        with self.transaction():
            self._set(self._shared.profiles, (fingerprint,), _plain(profile))

    def device_profile(self, fingerprint: str) -> dict[str, Any] | None:
        with self._shared.lock:
            profile: dict[str, Any] | None = _plain(self._shared.profiles.get((fingerprint,)))
            return profile

    # --- rows ---

    def _add(self, records: Sequence[Any]) -> None:
        with self.transaction():
            for record in records:
                if not isinstance(record, SearchRecord):
                    self._parent(type(record), record.search_id, getattr(record, "number", 0))
                if _key(record) in self._shared.rows[type(record)]:
                    raise StateError(f"{_label(record)} exists already")
                self._write(record)

    def _parent(self, kind: type, search_id: str, number: int | None) -> None:
        """Raises `NotFoundError` when there is none that a row of that kind could belong to."""
        rows = self._shared.rows
        if kind in OF_CANDIDATES and (search_id, number) not in rows[CandidateRecord]:
            raise NotFoundError(f"no {_CANDIDATE.format(search_id=search_id, number=number)}")
        if (search_id,) not in rows[SearchRecord]:
            raise NotFoundError(f"no {_SEARCH.format(id=search_id)}")

    def _next_sequence(self, kind: type, search_id: str) -> int:
        return max((key[1] for key in self._shared.rows[kind] if key[0] == search_id), default=0) + 1

    def _write(self, record: Record, key: Key | None = None) -> Record:
        """Keeps a copy of a record, in place of one with the same key, within a transaction."""
        kept = _kept(record)
        self._set(self._shared.rows[type(record)], key or _key(kept), kept)
        return _copy(kept)

    def _set(self, rows: dict[Key, Any], key: Key, value: Any) -> None:
        before = rows.get(key, MISSING)
        self._shared.undo.append(lambda: rows.pop(key) if before is MISSING else rows.update({key: before}))
        rows[key] = value

    def _one(self, kind: type[Record], *key: Any) -> Record:
        with self._shared.lock:
            if key not in self._shared.rows[kind]:
                raise NotFoundError(f"no {LABELS[kind].format(**dict(zip(KEYS[kind], key, strict=True)))}")
            found: Record = self._shared.rows[kind][key]
            return _copy(found)

    def _read(self, kind: type[Record], search_id: str | None = None, number: int | None = None) -> list[Record]:
        """Those of a search and a candidate (``None``: of all), in the order of their keys."""
        with self._shared.lock:
            own = self._shared.rows[kind]
            keys = sorted(key for key in own if search_id is None or key[0] == search_id)
            return [_copy(own[key]) for key in keys if number is None or own[key].number == number]

    def _update(self, kind: type[Record], key: Key, changes: Mapping[str, Any]) -> Record:
        wrong = sorted(changes.keys() - {own.name for own in fields(kind)} | changes.keys() & set(KEYS[kind]))  # type: ignore[arg-type]
        if wrong:
            raise TypeError(f"{kind.__name__} has no field to change of the name {', '.join(wrong)}")
        if not changes:
            return self._one(kind, *key)
        with self.transaction():
            return self._write(replace(self._one(kind, *key), **changes))  # type: ignore[type-var]


def _of(lease: LeaseRecord | None) -> tuple[str, int] | None:
    return None if lease is None else (lease.search_id, lease.token)


def _key(record: Any) -> Key:
    return tuple(getattr(record, name) for name in KEYS[type(record)])


def _label(record: Any) -> str:
    return LABELS[type(record)].format(**{own.name: getattr(record, own.name) for own in fields(record)})


# --- values ---


@cache
def _nullable(kind: Any) -> Mapping[str, bool]:
    """The fields of a record, and whether each may be ``None``."""
    return {name: type(None) in getattr(hint, "__args__", ()) for name, hint in get_type_hints(kind).items()}


@cache
def _documents(kind: Any) -> tuple[str, ...]:
    """The fields of a record that hold mappings."""
    return tuple(name for name, hint in get_type_hints(kind).items() if "dict" in str(hint))


def _kept(record: Record) -> Record:
    """A copy to keep: a number that is not finite becomes ``None``, which a field may refuse."""
    own: dict[str, Any] = {}
    kind: Any = type(record)
    for name, nullable in _nullable(kind).items():
        value = getattr(record, name)
        plain = _plain(value)
        if plain is None and not nullable:
            raise StateError(f"{_label(record)} cannot be stored, a required value is missing or not finite: {name}")
        if plain is not value:
            own[name] = plain
    return replace(record, **own) if own else record  # type: ignore[type-var]


def _copy(record: Record) -> Record:
    """A record that its holder may do with as he likes."""
    kind: Any = type(record)
    names = _documents(kind)
    return replace(record, **{name: _plain(getattr(record, name)) for name in names}) if names else record  # type: ignore[type-var]


def _plain(value: Any) -> Any:
    """A copy as JSON would bring it back."""
    if isinstance(value, Mapping):
        return {key: _plain(own) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(own) for own in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
