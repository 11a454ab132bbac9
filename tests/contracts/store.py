"""What every `nas.ports.Store` must do. A test class inherits `StoreContract` and supplies the ``store`` fixture."""

import inspect
import math
import threading
import time
from collections.abc import Callable
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas import ports
from nas.errors import LeaseError, NotFoundError, StateError
from nas.records import (
    AttemptRecord,
    CandidateRecord,
    CandidateState,
    CurvePoint,
    EventRecord,
    LeaseRecord,
    LedgerRecord,
    RequestKind,
    RequestRecord,
    SearchRecord,
)
from tests.contracts.samples import (
    ATTEMPT,
    CANDIDATE,
    DECISION,
    DOCUMENT,
    FULL_ATTEMPT,
    FULL_CANDIDATE,
    FULL_POINT,
    FULL_SEARCH,
    HUGE,
    LEDGER,
    LINE,
    LOG,
    NOTHING,
    POINT,
    SEARCH,
    contents,
    fill,
    write_a_search,
)

if TYPE_CHECKING:
    from nas.ports import Store

Act = Callable[["Store"], object]

UNKNOWN: list[tuple[str, Act]] = [
    ("no search 'x'", lambda s: s.search("x")),
    ("no search 'x'", lambda s: s.update_search("x", reason="r")),
    ("no search 'x'", lambda s: s.update_search("x")),
    ("no search 'x'", lambda s: s.add_candidate(replace(CANDIDATE, search_id="x"))),
    ("no search 'x'", lambda s: s.add_ledger([replace(LEDGER, sequence=2), replace(LEDGER, search_id="x")])),
    ("no search 'x'", lambda s: s.add_event("x", "kind", "message", at=1.0)),
    ("no search 'x'", lambda s: s.add_request("x", RequestKind.STOP, {}, at=1.0)),
    ("no search 'x'", lambda s: s.take_lease("x", "host:1", 60)),
    ("no request 7 of search 's'", lambda s: s.answer_request("s", 7, "done", at=1.0)),
    ("no candidate 0 in search 'x'", lambda s: s.candidate("x", 0)),
    ("no candidate 7 in search 's'", lambda s: s.candidate("s", 7)),
    ("no candidate 7 in search 's'", lambda s: s.update_candidate("s", 7, reason="r")),
    ("no candidate 7 in search 's'", lambda s: s.add_attempt(replace(ATTEMPT, number=7))),
    ("no candidate 7 in search 's'", lambda s: s.add_points([replace(POINT, step=9), replace(POINT, number=7)])),
    ("no candidate 7 in search 's'", lambda s: s.add_decision(replace(DECISION, number=7))),
    ("no candidate 7 in search 's'", lambda s: s.add_log("s", 7, 0, [LINE])),
    ("no attempt 7 of candidate 0 in search 's'", lambda s: s.update_attempt("s", 0, 7, outcome="lost")),
]

TWICE: list[tuple[str, Act]] = [
    ("search 's'", lambda s: s.add_search(SEARCH)),
    ("candidate 0 in search 's'", lambda s: s.add_candidate(CANDIDATE)),
    ("attempt 1 of candidate 0 in search 's'", lambda s: s.add_attempt(ATTEMPT)),
    ("ledger line 1 of search 's'", lambda s: s.add_ledger([replace(LEDGER, sequence=2), LEDGER])),
]

WRITES: dict[str, Act] = {
    "add_search": lambda s: s.add_search(replace(SEARCH, id="t")),
    "update_search": lambda s: s.update_search("s", reason="late"),
    "add_candidate": lambda s: s.add_candidate(replace(CANDIDATE, number=1)),
    "update_candidate": lambda s: s.update_candidate("s", 0, reason="late"),
    "add_attempt": lambda s: s.add_attempt(replace(ATTEMPT, attempt=2)),
    "update_attempt": lambda s: s.update_attempt("s", 0, 1, outcome="late"),
    "add_points": lambda s: s.add_points([replace(POINT, step=200)]),
    "add_decision": lambda s: s.add_decision(DECISION),
    "add_log": lambda s: s.add_log("s", 0, 1, [LINE]),
    "add_ledger": lambda s: s.add_ledger([replace(LEDGER, sequence=2)]),
    "add_event": lambda s: s.add_event("s", "late", "late", at=1.0),
    "add_request": lambda s: s.add_request("s", RequestKind.STOP, {}, at=1.0),
    "answer_request": lambda s: s.answer_request("s", 1, "late", at=1.0),
    "save_device_profile": lambda s: s.save_device_profile("cpu", {"late": True}, at=1.0),
    "take_lease": lambda s: s.take_lease("s", "late", 60, replacing=s.lease("s")),
    "renew_lease": lambda s: s.renew_lease(_lease(s), 120),
    "drop_lease": lambda s: s.drop_lease(_lease(s)),
}
ACTS = ["take", "take_dead", "renew", "drop", "write"]  # what holders of leases do
READS = {
    "search", "searches", "candidate", "candidates", "attempts", "points", "decisions", "log", "ledger", "events",
    "requests", "lease", "device_profile", "now", "fenced", "transaction",
}  # fmt: skip

# Whether a search's lease can be taken, by its state and by which lease the caller says is of a dead holder.
TAKING = """
            none    current  older
never       yes     -        yes
held        no      yes      no
expired     yes     yes      yes
dropped     yes     yes      yes
"""


def _taking() -> list[tuple[str, str, bool]]:
    header, *rows = (line.split() for line in TAKING.strip().splitlines())
    cells = [(row[0], name, answer) for row in rows for name, answer in zip(header, row[1:], strict=True)]
    return [(state, replacing, answer == "yes") for state, replacing, answer in cells if answer != "-"]


class _Oops(Exception):
    """An error of the caller."""


def _lease(store: "Store", search_id: str = "s") -> LeaseRecord:
    found = store.lease(search_id)
    assert found is not None
    return found


def _with_lease(store: "Store", state: str) -> None:
    """Bring the lease of the search into a state, as the second of its leases."""
    if state == "never":
        return
    store.drop_lease(store.take_lease("s", "a", 60))
    lease = store.take_lease("s", "b", 0.02 if state == "expired" else 60)
    if state == "dropped":
        store.drop_lease(lease)
    while state == "expired" and store.now() < lease.expires_at:
        time.sleep(0.005)


def _changes(record: Any, keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """The values of a record as one change for each field outside its key."""
    return [{spec.name: getattr(record, spec.name)} for spec in fields(record) if spec.name not in keys]


class StoreContract:
    """Tests of the promises of `nas.ports.Store`."""

    @pytest.fixture
    def filled(self, store: "Store") -> "Store":
        fill(store)
        return store

    @pytest.mark.parametrize("record", [SEARCH, FULL_SEARCH], ids=["sparse", "full"])
    def test_a_search_comes_back_as_it_was(self, store: "Store", record: SearchRecord) -> None:
        store.add_search(record)
        assert store.search("s") == record
        assert store.searches() == [record]

    @pytest.mark.parametrize("record", [CANDIDATE, FULL_CANDIDATE], ids=["sparse", "full"])
    def test_a_candidate_comes_back_as_it_was(self, store: "Store", record: CandidateRecord) -> None:
        store.add_search(SEARCH)
        store.add_candidate(record)
        assert store.candidate("s", 0) == record
        assert store.candidates("s") == [record]
        assert isinstance(store.candidate("s", 0).state, CandidateState)
        assert isinstance(store.candidate("s", 0).train_flops_spent, int)

    @pytest.mark.parametrize("attempt", [ATTEMPT, FULL_ATTEMPT], ids=["sparse", "full"])
    @pytest.mark.parametrize("point", [POINT, FULL_POINT], ids=["sparse", "full"])
    def test_what_belongs_to_a_candidate_comes_back_as_it_was(
        self, store: "Store", attempt: AttemptRecord, point: CurvePoint
    ) -> None:
        store.add_search(SEARCH)
        store.add_candidate(CANDIDATE)
        store.add_attempt(attempt)
        store.add_points([point])
        store.add_decision(DECISION)
        assert store.attempts("s") == [attempt]
        assert store.points("s") == [point]
        assert store.decisions("s") == [DECISION]

    def test_ledger_and_events_come_back_as_they_were(self, store: "Store") -> None:
        store.add_search(SEARCH)
        lines = [LEDGER, LedgerRecord("s", 2, "charge", "final", None, -HUGE, 0.0, "", 2.0)]
        store.add_ledger(lines)
        full = store.add_event("s", "pruned", "日本 🦙", at=1.25, number=3, level="warning")
        sparse = store.add_event("s", "note", "", at=2.0)
        assert full == EventRecord("s", 1, 1.25, "pruned", "日本 🦙", 3, "warning")
        assert sparse == EventRecord("s", 2, 2.0, "note", "")
        assert store.ledger("s") == lines
        assert store.events("s") == [full, sparse]

    def test_a_log_is_numbered_within_its_candidate_and_read_by_pages(self, filled: "Store") -> None:
        filled.add_candidate(replace(CANDIDATE, number=1))
        filled.add_log("s", 1, 0, [LINE])
        more = [replace(LINE, message=f"line {place}", level="info") for place in range(2, 6)]
        filled.add_log("s", 0, 1, more[:2])
        filled.add_log("s", 0, 2, more[2:])
        filled.add_log("s", 0, 2, [])
        whole = filled.log("s", 0)
        assert whole[0] == LOG and whole[1] == replace(LOG, sequence=2, message="line 2", level="info")
        assert [(own.attempt, own.sequence) for own in whole] == [(1, 1), (1, 2), (1, 3), (2, 4), (2, 5)]
        assert filled.log("s", 0, attempt=2) == whole[3:] and filled.log("s", 0, attempt=0) == []
        assert filled.log("s", 0, after=1, limit=2) == whole[1:3]
        assert filled.log("s", 0, attempt=2, after=4) == whole[4:]
        assert filled.log("s", 0, limit=9) == whole
        assert filled.log("s", 1) == [replace(LOG, number=1, attempt=0)]
        assert filled.log("s", 7) == filled.log("x", 0) == []

    def test_device_profiles_are_inserted_or_replaced(self, store: "Store") -> None:
        assert store.device_profile("cpu") is None
        store.save_device_profile("cpu", {"flops": 1}, at=1.0)
        store.save_device_profile("gpu", {}, at=1.0)
        store.save_device_profile("cpu", DOCUMENT, at=2.0)
        assert store.device_profile("cpu") == DOCUMENT
        assert store.device_profile("gpu") == {}

    def test_records_are_values(self, store: "Store") -> None:
        spec: dict[str, Any] = {"budget": [1]}
        store.add_search(replace(SEARCH, spec=spec))
        spec["budget"].append(2)
        assert store.search("s").spec == {"budget": [1]}
        store.search("s").spec["budget"].append(3)
        store.update_search("s", setting=spec).setting["budget"].append(4)
        before = store.search("s")
        store.update_search("s", name="other")
        assert (before.name, before.spec, before.setting) == ("a name", {"budget": [1]}, {"budget": [1, 2]})

    def test_what_is_missing_is_named(self, filled: "Store") -> None:
        before = contents(filled)
        for message, act in UNKNOWN:
            with pytest.raises(NotFoundError, match=f"^{message}$"):
                act(filled)
            assert contents(filled) == before, message

    def test_a_second_row_of_the_same_key_is_refused(self, filled: "Store") -> None:
        before = contents(filled)
        for name, act in TWICE:
            with pytest.raises(StateError, match=name):
                act(filled)
            assert contents(filled) == before, name

    def test_an_unknown_search_has_no_rows(self, filled: "Store") -> None:
        assert contents(filled, "x") == NOTHING
        assert [filled.attempts("s", 7), filled.points("s", 7), filled.decisions("s", 7)] == [[], [], []]

    def test_every_field_of_a_search_can_change(self, filled: "Store") -> None:
        expected = SEARCH
        for change in _changes(FULL_SEARCH, keys=("id",)):
            expected = replace(expected, **change)
            assert filled.update_search("s", **change) == filled.search("s") == expected

    def test_every_field_of_a_candidate_can_change(self, filled: "Store") -> None:
        expected = CANDIDATE
        for change in _changes(FULL_CANDIDATE, keys=("search_id", "number")):
            expected = replace(expected, **change)
            assert filled.update_candidate("s", 0, **change) == filled.candidate("s", 0) == expected

    def test_every_field_of_an_attempt_can_change(self, filled: "Store") -> None:
        expected = ATTEMPT
        for change in _changes(FULL_ATTEMPT, keys=("search_id", "number", "attempt")):
            expected = replace(expected, **change)
            assert filled.update_attempt("s", 0, 1, **change) == expected
            assert filled.attempts("s") == [expected]

    def test_an_update_touches_one_row_and_may_clear_a_field(self, filled: "Store") -> None:
        other = replace(FULL_CANDIDATE, number=1)
        filled.add_candidate(other)
        filled.update_candidate("s", 1, val_bpb=None, finished_at=None)
        assert filled.candidate("s", 1) == replace(other, val_bpb=None, finished_at=None)
        assert filled.candidate("s", 0) == CANDIDATE

    def test_no_change_is_no_error(self, filled: "Store") -> None:
        assert filled.update_search("s") == SEARCH
        assert filled.update_candidate("s", 0) == CANDIDATE

    @pytest.mark.parametrize("changes", [{"colour": "red"}, {"id": "t"}])
    def test_an_unknown_field_and_the_key_are_mistakes(self, filled: "Store", changes: dict[str, Any]) -> None:
        with pytest.raises(TypeError, match=next(iter(changes))):
            filled.update_search("s", **changes)
        assert filled.searches() == [SEARCH]

    def test_a_transaction_makes_a_group_atomic(self, store: "Store") -> None:
        with pytest.raises(_Oops), store.transaction():
            fill(store)
            store.save_device_profile("cpu", {}, at=1.0)
            assert store.search("s") == SEARCH, "a transaction sees its own writes"
            raise _Oops
        assert contents(store) == NOTHING
        assert store.device_profile("cpu") is None
        with store.transaction():
            fill(store)
        assert store.candidate("s", 0) == CANDIDATE

    def test_the_outermost_transaction_decides(self, store: "Store") -> None:
        with pytest.raises(_Oops), store.transaction():
            with store.transaction():
                store.add_search(SEARCH)
            raise _Oops
        assert store.searches() == []
        with store.transaction(), store.transaction():
            store.add_search(SEARCH)
        assert store.searches() == [SEARCH]

    def test_an_inner_transaction_may_fail_alone(self, store: "Store") -> None:
        with store.transaction():
            store.add_search(SEARCH)
            with pytest.raises(_Oops), store.transaction():
                store.add_search(replace(SEARCH, id="t"))
                raise _Oops
            with pytest.raises(StateError):
                store.add_search(SEARCH)
            with pytest.raises(NotFoundError):
                store.add_candidate(replace(CANDIDATE, search_id="x"))
            store.add_candidate(CANDIDATE)
        assert store.searches() == [SEARCH]
        assert store.candidates("s") == [CANDIDATE]

    def test_a_point_replaces_the_one_at_its_position(self, filled: "Store") -> None:
        again = replace(POINT, attempt=2, flops=HUGE, train_bpb=1.0, rung=0.125)
        later, final = replace(POINT, step=200), replace(POINT, final=True)
        filled.add_points([later, final])
        filled.add_points([again])
        filled.add_points([])
        assert filled.points("s") == [again, final, later]

    @pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
    def test_a_loss_that_is_no_number_is_none(self, filled: "Store", loss: float) -> None:
        filled.add_points([replace(POINT, train_bpb=loss, val_bpb=loss)])
        assert filled.points("s") == [POINT]
        assert filled.update_candidate("s", 0, val_bpb=loss).val_bpb is None
        filled.add_decision(replace(DECISION, inputs={"losses": [loss, 1.0]}))
        assert filled.decisions("s")[-1].inputs == {"losses": [None, 1.0]}

    def test_a_required_value_must_be_there_and_finite(self, filled: "Store") -> None:
        changes: list[dict[str, Any]] = [{"seconds": math.nan}, {"reason": None}, {"eval_flops": None}, {"plan": None}]
        for change in changes:
            with pytest.raises(StateError, match="candidate 0 in search 's'"):
                filled.update_candidate("s", 0, **change)
        assert filled.candidate("s", 0) == CANDIDATE

    def test_rows_come_in_order(self, store: "Store") -> None:
        for search_id, created in (("b", 2.0), ("c", 1.0), ("a", 3.0)):
            store.add_search(replace(SEARCH, id=search_id, created_at=created))
        store.add_search(SEARCH)
        assert [record.id for record in store.searches()] == ["c", "b", "a", "s"]
        for number in (10, 2, 1):
            store.add_candidate(replace(CANDIDATE, number=number))
            store.add_attempt(replace(ATTEMPT, number=number, attempt=2))
            store.add_attempt(replace(ATTEMPT, number=number, attempt=1))
            store.add_points([replace(POINT, number=number, step=step) for step in (30, 4)])
            store.add_decision(replace(DECISION, number=number, at=5.0 - number))
            store.add_ledger([replace(LEDGER, sequence=number)])
        assert [record.number for record in store.candidates("s")] == [1, 2, 10]
        assert [(r.number, r.attempt) for r in store.attempts("s")] == [(n, a) for n in (1, 2, 10) for a in (1, 2)]
        assert [(r.number, r.step) for r in store.points("s")] == [(n, s) for n in (1, 2, 10) for s in (4, 30)]
        assert [record.number for record in store.decisions("s")] == [10, 2, 1]
        assert [record.sequence for record in store.ledger("s")] == [1, 2, 10]
        assert [record.step for record in store.points("s", 2)] == [4, 30]
        assert [record.attempt for record in store.attempts("s", 2)] == [1, 2]
        assert [record.number for record in store.decisions("s", 2)] == [2]

    def test_events_are_numbered_within_their_search(self, filled: "Store") -> None:
        filled.add_search(replace(SEARCH, id="t"))
        other = filled.add_event("t", "note", "first of t", at=1.0)
        second = filled.add_event("s", "note", "second of s", at=0.5)
        assert (other.sequence, second.sequence) == (1, 2)
        assert filled.events("s", after=1) == [second]
        assert filled.events("s", after=2) == []

    def test_threads_write_different_searches(self, store: "Store") -> None:
        errors: list[BaseException] = []

        def write(search_id: str) -> None:
            try:
                write_a_search(store, search_id)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=write, args=(f"thread-{index}",)) for index in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        for index in range(4):
            assert [event.sequence for event in store.events(f"thread-{index}")] == [1, 2, 3, 4, 5]
            assert len(store.points(f"thread-{index}")) == len(store.ledger(f"thread-{index}")) == 5

    def test_requests_are_numbered_within_their_search(self, filled: "Store") -> None:
        filled.add_search(replace(SEARCH, id="t"))
        content = {"candidate": DOCUMENT}
        other = filled.add_request("t", RequestKind.CANCEL, {}, at=3.0)
        second = filled.add_request("s", RequestKind.ENQUEUE, content, at=0.5)
        content["candidate"] = {}
        assert other == RequestRecord("t", 1, RequestKind.CANCEL, {}, 3.0)
        assert second == RequestRecord("s", 2, RequestKind.ENQUEUE, {"candidate": DOCUMENT}, 0.5)
        first = RequestRecord("s", 1, RequestKind.PAUSE, {}, 1.0)
        assert filled.requests("s") == [first, second]
        assert isinstance(filled.requests("s")[0].kind, RequestKind)

    def test_a_request_is_answered_once(self, filled: "Store") -> None:
        second = filled.add_request("s", RequestKind.STOP, {}, at=2.0)
        answered = filled.answer_request("s", 1, "paused — «1»", at=3.5)
        assert answered == RequestRecord("s", 1, RequestKind.PAUSE, {}, 1.0, 3.5, "paused — «1»")
        with pytest.raises(StateError, match="request 1 of search 's' has an answer already: paused"):
            filled.answer_request("s", 1, "refused", at=4.0)
        assert filled.requests("s") == [answered, second]
        assert filled.requests("s", unanswered=True) == [second]
        filled.answer_request("s", 2, "", at=0.0)
        assert filled.requests("s", unanswered=True) == []

    def test_the_clock_goes_on(self, store: "Store") -> None:
        with store.transaction():
            before = store.now()
            time.sleep(0.01)
            assert before + 0.005 < store.now() < before + 60
        assert abs(store.now() - time.time()) < 60, "seconds since the epoch"

    def test_a_lease_is_timed_by_the_clock_of_the_store(self, store: "Store") -> None:
        store.add_search(SEARCH)
        times = [store.now()]
        lease = store.take_lease("s", "höst:1", 60)
        times += [lease.renewed_at, store.now()]
        assert (lease.search_id, lease.holder, lease.token) == ("s", "höst:1", 1)
        assert lease.expires_at - lease.renewed_at == pytest.approx(60, abs=1e-3)
        assert store.lease("s") == lease
        renewed = store.renew_lease(lease, 120)
        times += [renewed.renewed_at, store.now()]
        assert renewed == replace(lease, renewed_at=renewed.renewed_at, expires_at=renewed.expires_at)
        assert renewed.expires_at - renewed.renewed_at == pytest.approx(120, abs=1e-3)
        assert store.lease("s") == renewed
        store.drop_lease(lease)
        times += [_lease(store).expires_at, store.now()]
        assert times == sorted(times)
        assert store.lease("s") == replace(renewed, expires_at=times[-2])

    @pytest.mark.parametrize(("state", "replacing", "taken"), _taking())
    def test_who_may_take_a_lease(self, store: "Store", state: str, replacing: str, taken: bool) -> None:
        store.add_search(SEARCH)
        _with_lease(store, state)
        before = store.lease("s")
        dead = {"none": None, "current": before, "older": LeaseRecord("s", "a", 1, 0.0, 0.0)}[replacing]
        if not taken:
            with pytest.raises(
                LeaseError, match=r"^search 's' is driven by 'b', whose lease expires in (60.0|59.\d) s"
            ):
                store.take_lease("s", "c", 60, replacing=dead)
            assert store.lease("s") == before
            return
        lease = store.take_lease("s", "c", 60, replacing=dead)
        assert (lease.holder, lease.token) == ("c", 3 if before else 1)
        assert store.lease("s") == lease

    def test_a_dead_holder_of_another_search_is_no_help(self, filled: "Store") -> None:
        filled.add_search(replace(SEARCH, id="t"))
        other = filled.take_lease("t", "a", 60)
        assert other.token == _lease(filled).token
        with pytest.raises(LeaseError):
            filled.take_lease("s", "b", 60, replacing=other)

    @pytest.mark.parametrize("state", ["held", "expired", "dropped"])
    def test_a_lease_that_nobody_took_is_renewed(self, store: "Store", state: str) -> None:
        store.add_search(SEARCH)
        _with_lease(store, state)
        renewed = store.renew_lease(_lease(store), 60)
        assert (renewed.holder, renewed.token) == ("b", 2)
        with pytest.raises(LeaseError):
            store.take_lease("s", "c", 60)

    def test_a_lease_that_another_took_is_lost(self, filled: "Store") -> None:
        old = _lease(filled)
        new = filled.take_lease("s", "host:2", 60, replacing=old)
        with pytest.raises(
            LeaseError, match=r"^search 's' is driven by 'host:2' \(lease 2\), no more by 'host:1' \(lease 1\)$"
        ):
            filled.renew_lease(old, 60)
        filled.drop_lease(old)
        assert filled.lease("s") == new

    def test_a_lease_that_never_was(self, filled: "Store") -> None:
        lease = replace(_lease(filled), search_id="x")
        filled.drop_lease(lease)
        for kind in ("renew", "write"):
            with pytest.raises(LeaseError, match="search 'x' is gone, and the lease of 'host:1' with it"):
                _act(filled, kind, lease, "host:1", 60)
        assert contents(filled, "x") == NOTHING

    @settings(
        max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]
    )
    @given(steps=st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 9), st.booleans()), min_size=3, max_size=12))
    def test_one_drives_at_any_time(self, store: "Store", steps: list[tuple[str, int, bool]]) -> None:
        """Against a model: the last token, and whether its time has run out (a lease of no seconds has at once)."""
        name = uuid4().hex
        store.add_search(replace(SEARCH, id=name))
        known: list[LeaseRecord] = []
        live = False
        for kind, index, lasting in steps:
            one = known[index % len(known)] if known else LeaseRecord(name, "nobody", 0, 0.0, 0.0)
            newest = bool(known) and one is known[-1]
            allowed = {"take": not live, "take_dead": not live or newest, "drop": True}.get(kind, newest)
            if not allowed:
                with pytest.raises(LeaseError):
                    _act(store, kind, one, str(index), 60.0 if lasting else 0.0)
                continue
            found = _act(store, kind, one, str(index), 60.0 if lasting else 0.0)
            if kind in ("take", "take_dead"):
                assert isinstance(found, LeaseRecord)
                known.append(found)
                assert (found.holder, found.token) == (str(index), len(known))
            live = {"drop": live and not newest, "write": live}.get(kind, lasting)
        assert (lease.token if (lease := store.lease(name)) else 0) == len(known)

    def test_of_threads_that_want_a_lease_one_gets_it(self, store: "Store") -> None:
        store.add_search(SEARCH)
        winners: list[LeaseRecord] = []
        errors: list[BaseException] = []
        rounds, wanting = 8, 3
        start = threading.Barrier(wanting, timeout=60)

        def want(holder: str) -> None:
            for _ in range(rounds):
                dead = store.lease("s")
                start.wait()  # all have read it
                try:
                    winners.append(store.take_lease("s", holder, 60, replacing=dead))
                except BaseException as error:
                    errors.append(error)
                start.wait()  # nobody reads the next one too early

        threads = [threading.Thread(target=want, args=(f"thread-{index}",)) for index in range(wanting)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [lease.token for lease in winners] == list(range(1, rounds + 1))
        assert {type(error) for error in errors} == {LeaseError}
        assert len(errors) == rounds * (wanting - 1)

    def test_every_kind_of_write_is_known_here(self) -> None:
        promised = {**vars(ports.PublicStore), **vars(ports.Store)}
        methods = {name for name, member in promised.items() if inspect.isfunction(member) and name[0] != "_"}
        assert methods == READS | WRITES.keys()

    @pytest.mark.parametrize("write", WRITES)
    def test_the_holder_of_a_lease_writes_and_the_one_before_does_not(self, filled: "Store", write: str) -> None:
        old = _lease(filled)
        new = filled.take_lease("s", "host:2", 0, replacing=old)
        before = contents(filled)
        for act in (WRITES[write], lambda s: _in_transaction(s, WRITES[write])):
            with pytest.raises(LeaseError, match="driven by 'host:2'"):
                act(filled.fenced(old))
            assert contents(filled) == before
            assert len(filled.searches()) == 1
            assert filled.device_profile("cpu") is None
        assert contents(filled.fenced(old)) == before, "reading is free"
        WRITES[write](filled.fenced(new))
        changed = (contents(filled) != before, len(filled.searches()) == 2, filled.device_profile("cpu") is not None)
        assert any(changed)

    def test_a_lease_is_not_taken_in_the_middle_of_a_write(self, filled: "Store") -> None:
        """A late write comes before the new lease or not at all."""
        lease = _lease(filled)
        old = filled.fenced(lease)
        taken: list[LeaseRecord] = []
        other = threading.Thread(target=lambda: taken.append(filled.take_lease("s", "b", 60, replacing=lease)))
        with old.transaction():
            old.update_search("s", reason="in time")
            other.start()
            other.join(timeout=0.2)
            assert other.is_alive(), "it waits until the write is settled"
            old.update_candidate("s", 0, reason="in time")
        other.join()
        assert (filled.search("s").reason, filled.candidate("s", 0).reason) == ("in time", "in time")
        assert filled.lease("s") == taken[0]
        with pytest.raises(LeaseError):
            old.update_search("s", reason="late")

    def test_a_fenced_store_takes_part_in_the_transactions_of_its_origin(self, filled: "Store") -> None:
        lease = _lease(filled)
        with filled.transaction():
            filled.update_search("s", reason="ours")
            filled.fenced(lease).update_candidate("s", 0, reason="ours")
            filled.take_lease("s", "host:2", 60, replacing=lease)
            with pytest.raises(LeaseError):
                filled.fenced(lease).update_candidate("s", 0, reason="late")
        assert (filled.search("s").reason, filled.candidate("s", 0).reason) == ("ours", "ours")
        holder = filled.fenced(_lease(filled))
        with pytest.raises(_Oops), holder.transaction():
            filled.update_search("s", reason="undone")
            raise _Oops
        assert filled.search("s").reason == "ours"


def _act(store: "Store", kind: str, lease: LeaseRecord, holder: str, seconds: float) -> object:
    """One of `ACTS` with a lease: ``holder`` is who takes it, for some seconds."""
    match kind:
        case "take":
            return store.take_lease(lease.search_id, holder, seconds)
        case "take_dead":
            return store.take_lease(lease.search_id, holder, seconds, replacing=lease)
        case "renew":
            return store.renew_lease(lease, seconds)
        case "write":
            return store.fenced(lease).add_event(lease.search_id, "kind", "message", at=1.0)
        case _:
            store.drop_lease(lease)
            return None


def _in_transaction(store: "Store", act: Act) -> None:
    with store.transaction():
        act(store)
