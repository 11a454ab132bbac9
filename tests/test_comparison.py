"""Which candidates of other searches a search may learn from."""

from dataclasses import replace
from typing import Any

import pytest

from nas.adapters.memory_store import MemoryStore
from nas.comparison import earlier_results
from nas.records import CandidateRecord, CandidateState, Origin, SearchRecord, SearchState

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
