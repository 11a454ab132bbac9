"""Which candidates of other searches a search may learn from, and which one the final run is made with."""

from dataclasses import replace
from typing import Any

import pytest

from nas.adapters.memory_store import MemoryStore
from nas.comparison import TIED, choose, earlier_results, tied
from nas.records import CandidateRecord, CandidateState, Origin, SearchRecord, SearchState
from nas.spec import SearchSpec
from tests.helpers import spec_of

SETTING = {"corpus": {"fingerprint": "text"}, "space": {"name": "s"}}
SPEC: dict[str, Any] = {"budget": {"candidate": {"compute": 100}}}
NOW = SearchRecord("now", "now", SearchState.RUNNING, 10.0, SPEC, SETTING)
BEFORE = SearchRecord("before", "before", SearchState.COMPLETED, 1.0, SPEC, SETTING, finished_at=9.0)
DONE = CandidateRecord("before", 0, "id", Origin.PROPOSED, CandidateState.COMPLETED, 2.0, {}, val_bpb=2.0)


def learned(search: SearchRecord, *candidates: CandidateRecord, now: SearchRecord = NOW) -> list[int]:
    store = MemoryStore()
    for own in (search, now):
        store.add_search(own)
    for own in candidates:
        store.add_candidate(own)
    return [own.number for own in earlier_results(store, now)]


def test_what_was_completed_before_on_the_same_terms() -> None:
    assert learned(BEFORE, DONE, replace(DONE, number=1, id="other")) == [0, 1]


@pytest.mark.parametrize(
    "search",
    [
        replace(BEFORE, setting={**SETTING, "corpus": {"fingerprint": "other"}}),
        replace(BEFORE, setting={**SETTING, "space": {"name": "other"}}),
        replace(BEFORE, spec={"budget": {"candidate": {"compute": 200}}}),
        replace(BEFORE, finished_at=11.0),  # after this search was made: a driver that comes later must see the same
        replace(BEFORE, finished_at=None, state=SearchState.RUNNING),
    ],
    ids=["text", "space", "compute", "later", "running"],
)
def test_searches_on_other_terms_teach_nothing(search: SearchRecord) -> None:
    assert learned(search, DONE) == []


@pytest.mark.parametrize(
    "candidate",
    [
        replace(DONE, state=CandidateState.STOPPED, val_bpb=None),
        replace(DONE, origin=Origin.FINAL),
        replace(DONE, time_bound=True),
    ],
    ids=["stopped", "final", "time"],
)
def test_runs_that_do_not_compare_teach_nothing(candidate: CandidateRecord) -> None:
    assert learned(BEFORE, candidate) == []


def test_without_a_fingerprint_nothing_is_known_to_be_alike() -> None:
    bare = {"space": {"name": "s"}}
    assert learned(replace(BEFORE, setting=bare), DONE, now=replace(NOW, setting=bare)) == []


# --- the final run's candidate ---

SPECS = {name: spec_of(method={"choose": name}) for name in ("best", "knee")}
COSTS = {"flops_per_byte": 1.0}


def ended(number: int, val_bpb: float | None, **fields: Any) -> CandidateRecord:
    return replace(DONE, number=number, id=str(number), val_bpb=val_bpb, costs=COSTS, **fields)


@pytest.mark.parametrize(
    ("losses", "expected", "chosen"),
    [
        ([2.0, 1.9, 1.95], [1.0, 3.0, 2.0], 1),  # 0.05 is no luck
        ([2.0, 1.9, 1.915], [1.0, 3.0, 2.0], 2),  # tied: rules expect more of it
        ([1.915, 1.9, 1.91], [1.0, 1.0, 1.0], 1),  # tied, and rules expect the same: the better loss
        ([1.9, 1.9], [2.0, 2.0], 0),  # the same in all: the first
        ([1.9, 1.9 + TIED], [2.0, 1.0], 1),
        ([1.9], [2.0], 0),
    ],
)
def test_rules_decide_between_those_that_only_luck_tells_apart(
    losses: list[float], expected: list[float], chosen: int
) -> None:
    records = [ended(number, loss) for number, loss in enumerate(losses)]
    found = choose(SPECS["best"], records, lambda own: expected[own.number])
    assert found is not None and found.number == chosen
    alone = choose(SPECS["best"], records)
    assert alone is not None and alone.val_bpb == min(losses), "without rules the loss alone decides"


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_what_did_not_end_well_or_is_the_final_run_is_never_chosen(spec: SearchSpec) -> None:
    others = [ended(1, None, state=CandidateState.STOPPED), ended(2, 1.0, origin=Origin.FINAL)]
    assert choose(spec, others, lambda own: 0.0) is None
    assert choose(spec, [*others, ended(0, 2.0)], lambda own: float(own.number)) == ended(0, 2.0)


def test_the_knee_asks_no_rules() -> None:
    def refused(own: CandidateRecord) -> float:
        raise AssertionError("not asked for")

    assert choose(SPECS["knee"], [ended(0, 2.0), ended(1, 2.5)], refused) == ended(0, 2.0)


def test_ties_come_the_best_first() -> None:
    records = [ended(0, 1.91), ended(1, 1.9), ended(2, 1.95), ended(3, 1.9), ended(4, None)]
    assert [own.number for own in tied(records[1], records)] == [1, 3, 0]
