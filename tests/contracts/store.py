"""What every `nas.ports.Store` must do. A test class inherits `StoreContract` and supplies the ``store`` fixture."""

import math
import threading
from collections.abc import Callable
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest

from nas.errors import NotFoundError, StateError
from nas.records import (
    AttemptRecord,
    CandidateRecord,
    CandidateState,
    CurvePoint,
    EventRecord,
    LedgerRecord,
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
    ("no candidate 0 in search 'x'", lambda s: s.candidate("x", 0)),
    ("no candidate 7 in search 's'", lambda s: s.candidate("s", 7)),
    ("no candidate 7 in search 's'", lambda s: s.update_candidate("s", 7, reason="r")),
    ("no candidate 7 in search 's'", lambda s: s.add_attempt(replace(ATTEMPT, number=7))),
    ("no candidate 7 in search 's'", lambda s: s.add_points([replace(POINT, step=9), replace(POINT, number=7)])),
    ("no candidate 7 in search 's'", lambda s: s.add_decision(replace(DECISION, number=7))),
    ("no attempt 7 of candidate 0 in search 's'", lambda s: s.update_attempt("s", 0, 7, outcome="lost")),
]

TWICE: list[tuple[str, Act]] = [
    ("search 's'", lambda s: s.add_search(SEARCH)),
    ("candidate 0 in search 's'", lambda s: s.add_candidate(CANDIDATE)),
    ("attempt 1 of candidate 0 in search 's'", lambda s: s.add_attempt(ATTEMPT)),
    ("ledger line 1 of search 's'", lambda s: s.add_ledger([replace(LEDGER, sequence=2), LEDGER])),
]


class _Oops(Exception):
    """An error of the caller."""


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
        assert contents(filled, "x") == [[]] * 7
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
        assert contents(store) == [[]] * 7
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
