"""What a search needs from the outside, as protocols. Adapters implement them; `nas.search` only calls them."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from nas.calibration import Trace
from nas.candidate import Candidate
from nas.plan import Layout, Plan, TextFacts
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
    Verdict,
)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A point of the space, by knobs. ``key`` names it to its suggester."""

    key: int
    knobs: Mapping[str, Any]


class Suggester(Protocol):
    """Proposes points of a space and learns from what became of them.

    Ownership: one driver per search calls it, from one thread. A suggestion is answered by one of
    `tell_completed`, `tell_stopped`, `tell_infeasible` or `forget`; a second answer changes nothing, so that a driver
    may tell again what it is not sure to have told. Kept from the moment it has a name or is answered: one that was
    only asked for is gone with its driver, and its key is given again. Deterministic: the same seed and the same
    sequence of calls give the same suggestions; each ask is seeded by (seed, key) alone, so that a suggester
    rebuilt from its history goes on as if it had never died.
    """

    def ask(self, knobs: Mapping[str, Any] | None = None) -> Suggestion:
        """The next point; with ``knobs`` that very point, recorded as if it had been proposed."""
        ...

    def asked(self) -> int:
        """How many points were asked for. Keys count from 0, so this is the next."""
        ...

    def keys(self) -> Mapping[int, int]:
        """Keys of the suggestions that became candidates, by the candidate's number."""
        ...

    def name(self, key: int, candidate_id: str, number: int, excess: Mapping[str, float]) -> None:
        """Bind a suggestion to the candidate that it became, with the gate's findings: relative excess by limit,
        above 0 where the limit is violated."""
        ...

    def tell_completed(self, key: int, values: Sequence[float]) -> None:
        """Trained to the end: one value per objective, in the order of the spec."""
        ...

    def tell_stopped(self, key: int) -> None:
        """Stopped by the pruner or diverged: feasible, and worse than what finished."""
        ...

    def tell_infeasible(self, key: int, excess: Mapping[str, float] | None = None) -> None:
        """Not to be had: refused by the gate, or found to break a limit while it ran (``excess``, as in `name`)."""
        ...

    def forget(self, key: int) -> None:
        """Nothing is to be learned from it (a duplicate, a cancelled candidate)."""
        ...


class TextMeter(Protocol):
    """Sizes of the corpus as a vocabulary and a context see it. Pure and cached; may take seconds at first."""

    def bytes_per_token(self, vocabulary: int) -> float: ...
    def facts(self, vocabulary: int, context: int) -> TextFacts: ...


class Tracer(Protocol):
    """Finds what a training step does to a kind of device, without the device. Pure and cached; a candidate's first
    trace takes a tenth of a second."""

    def trace(self, candidate: Candidate, layout: Layout) -> Trace:
        """One optimizer step."""
        ...


class PublicStore(Protocol):
    """What of a store is for everybody: to read, and to ask something of a search's driver.

    Records are values: a caller may keep them, and changing the database never changes them.
    Errors: `NotFoundError` for a missing search or candidate, `StorageError` when the database refuses.
    """

    def now(self) -> float:
        """The time of day by the database's clock, which all that share the database share (SQLite: this machine's)."""
        ...

    def lease(self, search_id: str) -> LeaseRecord | None:
        """The last lease of a search, also an expired one; ``None`` when there never was one."""
        ...

    def search(self, search_id: str) -> SearchRecord: ...

    def searches(self) -> list[SearchRecord]:
        """All searches, oldest first."""
        ...

    def candidate(self, search_id: str, number: int) -> CandidateRecord: ...

    def candidates(self, search_id: str) -> list[CandidateRecord]:
        """The candidates of a search by number; empty for an unknown search."""
        ...

    def attempts(self, search_id: str, number: int | None = None) -> list[AttemptRecord]: ...

    def points(self, search_id: str, number: int | None = None) -> list[CurvePoint]:
        """Curve points by (number, step, final)."""
        ...

    def decisions(self, search_id: str, number: int | None = None) -> list[DecisionRecord]:
        """Decisions in the order they were made."""
        ...

    def log(
        self, search_id: str, number: int, *, attempt: int | None = None, after: int = 0, limit: int | None = None
    ) -> list[LogRecord]:
        """What the workers of a candidate logged, in the order in which it was heard: the first ``limit`` lines with a
        sequence number above ``after``."""
        ...

    def ledger(self, search_id: str) -> list[LedgerRecord]:
        """The account of a search by sequence."""
        ...

    def events(self, search_id: str, after: int = 0) -> list[EventRecord]: ...

    def add_request(self, search_id: str, kind: RequestKind, content: Mapping[str, Any], *, at: float) -> RequestRecord:
        """Ask something of the driver; the store gives it the next sequence number of its search, from 1."""
        ...

    def requests(self, search_id: str, *, unanswered: bool = False) -> list[RequestRecord]:
        """The requests of a search in the order they were made; optionally only those without an answer."""
        ...

    def device_profile(self, fingerprint: str) -> dict[str, Any] | None: ...


class Store(PublicStore, Protocol):
    """The truth about searches.

    Concurrency: any number of readers; the driver of a search, who holds its lease, is the only writer of its rows
    and writes them through `fenced`; all others only ask (`add_request`). Every method is one short transaction,
    unless it runs inside `transaction`, which makes a group atomic. Records are values: a caller may keep them, and
    changing the database never changes them.
    Errors: `NotFoundError` for a missing search or candidate, `StorageError` (`DiskFullError`) when the database
    refuses, `StateError` for a second row of the same key, `LeaseError` for a lease that another holds.
    """

    def transaction(self) -> AbstractContextManager[None]:
        """All writes inside happen together or not at all; may be nested (the outermost commits)."""
        ...

    def take_lease(
        self, search_id: str, holder: str, seconds: float, replacing: LeaseRecord | None = None
    ) -> LeaseRecord:
        """Become the driver of a search for some seconds, with the next token. Of several callers one succeeds.

        Args:
            replacing: the lease of a holder that the caller knows to be dead; need not have expired.

        Raises:
            LeaseError: another holds it; the message says who, and in how many seconds it expires.
        """
        ...

    def renew_lease(self, lease: LeaseRecord, seconds: float) -> LeaseRecord:
        """Hold it for some seconds from now, also when it has expired or was dropped, as long as nobody took it.

        Raises:
            LeaseError: another took it, or the search is gone.
        """
        ...

    def drop_lease(self, lease: LeaseRecord) -> None:
        """Let go: it expires now. Does nothing when another took it."""
        ...

    def fenced(self, lease: LeaseRecord) -> "Store":
        """This store for the holder of a lease: every write transaction, of whatever table, first makes sure that
        nobody took the lease, and nobody can until it has committed. An expired lease that nobody took will do.

        Ownership: shares this store's connections and transactions. Whoever opened this store closes it; the fenced
        one needs no closing, and closing it leaves this one open.

        Its writes raise:
            LeaseError: another took the lease, or the search is gone.
        """
        ...

    def add_search(self, record: SearchRecord) -> None: ...

    def update_search(self, search_id: str, **changes: Any) -> SearchRecord:
        """Replace the named fields; returns the new record."""
        ...

    def add_candidate(self, record: CandidateRecord) -> None: ...

    def update_candidate(self, search_id: str, number: int, **changes: Any) -> CandidateRecord: ...

    def add_attempt(self, record: AttemptRecord) -> None: ...

    def update_attempt(self, search_id: str, number: int, attempt: int, **changes: Any) -> AttemptRecord: ...

    def add_log(self, search_id: str, number: int, attempt: int, lines: Sequence[LogLine]) -> None:
        """Append what a worker logged; the store gives each line the next sequence number of its candidate, from 1."""
        ...

    def add_points(self, points: Sequence[CurvePoint]) -> None:
        """Append curve points. A point of the same (search, number, step, final) is replaced, so that repeated
        work after a lost attempt never doubles a position."""
        ...

    def add_decision(self, record: DecisionRecord) -> None: ...

    def add_ledger(self, records: Sequence[LedgerRecord]) -> None: ...

    def add_event(
        self, search_id: str, kind: str, message: str, *, at: float, number: int | None = None, level: str = "info"
    ) -> EventRecord:
        """Append an event; the store gives it the next sequence number of its search, from 1."""
        ...

    def answer_request(self, search_id: str, sequence: int, answer: str, *, at: float) -> RequestRecord:
        """Say what became of a request.

        Raises:
            StateError: it has an answer already, which stays.
        """
        ...

    def save_device_profile(self, fingerprint: str, profile: Mapping[str, Any], *, at: float) -> None:
        """Insert or replace."""
        ...


@dataclass(frozen=True, slots=True)
class Assignment:
    """What an engine is to run: a candidate with its plan."""

    search_id: str
    number: int
    attempt: int
    candidate: Candidate
    plan: Plan
    seed: int
    deadline_seconds: float | None  # seconds from now by which the run must have ended; None: no time limit
    final: bool = False  # alone on the machine, and scored on the test split
    memory_cap: int | None = None  # bytes that its tensors may take of the device; None: no limit but the device's
    context_bytes: int = 0  # that its process takes of the device beside them
    latency_limit: float | None = None  # milliseconds to write a kB, by its probe; None: is not measured


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. ``kind`` is completed, stopped, diverged, cancelled, out_of_memory, over_limit, lost or
    interrupted.

    FLOPs and seconds are those of the candidate up to here, over all its attempts. Of a run that was out of memory the
    peak is a little more than it was allowed.
    """

    number: int
    attempt: int
    kind: str
    train_flops: int
    hardware_flops: int
    eval_flops: int
    seconds: float
    val_bpb: float | None = None
    val_error: float | None = None
    test_bpb: float | None = None
    test_error: float | None = None
    artifact: str = ""
    time_bound: bool = False
    detail: str = ""
    measured: Mapping[str, float] = field(default_factory=dict)  # costs that were predicted, by their names


class Driver(Protocol):
    """A search as an engine sees it: three answers, and two things that it is told. Called from one thread, the
    engine's."""

    def next(self, device: str = "") -> "Assignment | Wait | Done":
        """What to run now on a device that is free, by the name that plans know it under."""
        ...

    def began(self, number: int, attempt: int, worker: str) -> None:
        """An attempt is at work on a machine and a device, for people: ``node-3, cuda:0``."""
        ...

    def logged(self, number: int, attempt: int, lines: Sequence[LogLine], *, more: bool = False) -> None:
        """What the worker of an attempt logged; recorded before this returns, or with what the engine tells of any
        attempt next. With ``more`` that comes at once."""
        ...

    def report(self, point: CurvePoint) -> Verdict:
        """A curve point; the answer is to be obeyed at once (AUDIT means go on)."""
        ...

    def finish(self, outcome: Outcome) -> None:
        """An attempt ended; its reservation is settled and its result recorded before this returns."""
        ...


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to run on that device until a running candidate reports or ends, or another device asks."""


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing to run any more."""

    reason: str


class Engine(Protocol):
    """Runs what a driver hands out until it is done, ``parallel`` candidates at a time.

    Ownership: owns its worker processes and leaves none behind, whatever way it ends. Concurrency: calls the driver
    from the thread that called `run`. Errors: a worker that dies is told to the driver as ``lost``; an error of
    the driver, or of a worker that is not the candidate's fault, ends the run and is raised.
    """

    def run(self, driver: Driver, halted: Callable[[], bool] = lambda: False) -> None:
        """``halted`` is asked a few times a second, from the same thread. Once it says yes, what is in training saves a
        checkpoint and is told to the driver as ``interrupted``. An error ends what is in training where it is: a
        checkpoint made now would leave behind it points that nobody has recorded."""
        ...
