"""Hypervolumes that are kept: always what a fresh reading gives, to the last bit."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas.adapters.sql.reader import Reader
from nas.adapters.sql.store import SqlStore, open_store
from nas.client.models import Hypervolume
from nas.curve import Progress, hypervolume_history
from nas.outcome import in_log_costs
from nas.records import CandidateState, Origin
from services.controller.completed import Completed
from services.controller.volumes import Volumes
from tests.contracts.samples import CANDIDATE, SEARCH

OBJECTIVES, REFERENCE = ("val_bpb", "params"), (4.0, 1e6)
BEGUN = replace(SEARCH, spec={"minimize": list(OBJECTIVES)}, setting={"reference": list(REFERENCE)})
CHANGE = st.fixed_dictionaries(
    {
        "number": st.integers(0, 9),
        "state": st.sampled_from([*CandidateState]),
        "origin": st.sampled_from([*Origin]),
        "val_bpb": st.one_of(st.floats(1, 5), st.sampled_from([2.0, 3.0]), st.none()),
        "params": st.one_of(st.floats(1, 1e7), st.just(1e5), st.none()),
        "flops": st.integers(0, 10**20),
        "finished_at": st.one_of(st.sampled_from([1.0, 2.0]), st.floats(0, 100), st.none()),
    }
)


def volumes(store: SqlStore) -> Volumes:
    reader = Reader(store)
    return Volumes(store, reader, Completed(reader))


def plain(store: SqlStore) -> Hypervolume:
    """From the records alone."""
    records = [own for own in store.candidates("s") if own.state.terminal and own.origin is not Origin.FINAL]
    records.sort(key=lambda own: (own.finished_at is None, own.finished_at or 0.0, own.number))
    spent, found = 0, []
    for own in records:
        spent += own.train_flops_spent + own.eval_flops
        point = (own.val_bpb, own.costs.get("params"))
        if own.state is CandidateState.COMPLETED and None not in point:
            found.append((own.number, Progress(spent, in_log_costs(OBJECTIVES, point))))  # type: ignore[arg-type]
    history = hypervolume_history([own for _, own in found], in_log_costs(OBJECTIVES, REFERENCE))
    steps: list[Any] = [
        {"flops": flops, "volume": volume, "number": number}
        for (number, _), (flops, volume) in zip(found, history, strict=True)
    ]
    return Hypervolume(reference=list(REFERENCE), steps=steps)


@given(rounds=st.lists(st.lists(CHANGE, max_size=8), min_size=1, max_size=5))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_kept_is_what_is_there(rounds: list[list[dict[str, Any]]]) -> None:
    """In whatever order they end, and whatever is written of them afterwards."""
    store = open_store("sqlite://")
    store.add_search(BEGUN)
    reader = Reader(store)
    kept, known, ended = volumes(store), set[int](), set[int]()
    for changes in rounds:
        for change in changes:
            number = change["number"]
            if number in ended:
                store.update_candidate("s", number, reason="said afterwards")
                continue
            if number not in known:
                store.add_candidate(replace(CANDIDATE, number=number, origin=change["origin"]))
                known.add(number)
            costs = {} if change["params"] is None else {"params": change["params"]}
            store.update_candidate(
                "s",
                number,
                state=change["state"],
                val_bpb=change["val_bpb"],
                costs=costs,
                train_flops_spent=change["flops"],
                finished_at=change["finished_at"],
            )
            ended |= {number} if change["state"].terminal else set()
        revision = reader.revision("s")
        assert kept.of("s", revision) == volumes(store).of("s", revision) == plain(store)
    store.close()


def complete(store: SqlStore, number: int, loss: float, finished_at: float) -> None:
    store.add_candidate(replace(CANDIDATE, number=number, origin=Origin.PROPOSED, costs={"params": 100}))
    store.update_candidate(
        "s", number, state=CandidateState.COMPLETED, val_bpb=loss, train_flops_spent=10, finished_at=finished_at
    )


@pytest.fixture
def store() -> Any:
    own = open_store("sqlite://")
    yield own
    own.close()


def test_what_comes_later_extends_and_what_came_before_begins_anew(store: SqlStore) -> None:
    store.add_search(BEGUN)
    reader = Reader(store)
    kept = volumes(store)
    numbers = []
    for number, finished_at in ((0, 1.0), (1, 2.0), (2, 0.5), (3, 2.0)):
        complete(store, number, 3.0 - number / 10, finished_at)
        found = kept.of("s", reader.revision("s"))
        assert found == plain(store)
        numbers.append([step.number for step in found.steps])
    assert numbers == [[0], [0, 1], [2, 0, 1], [2, 0, 1, 3]]
    flops = CANDIDATE.eval_flops + 10
    assert [step.flops for step in found.steps] == [flops, 2 * flops, 3 * flops, 4 * flops]


def test_a_reference_that_comes_later(store: SqlStore) -> None:
    """One that was only submitted has none; with another all volumes are others."""
    store.add_search(replace(BEGUN, setting={}))
    reader = Reader(store)
    kept = volumes(store)
    complete(store, 0, 3.0, 1.0)
    assert kept.of("s", reader.revision("s")) == Hypervolume(reference=[], steps=[])
    found_volumes = []
    for reference in ([4.0, 1e6], [5.0, 1e6]):
        store.update_search("s", setting={"reference": reference})
        found = kept.of("s", reader.revision("s"))
        assert found == volumes(store).of("s", reader.revision("s")) and found.reference == reference
        found_volumes.append(found.steps[0].volume)
    assert found_volumes[1] == pytest.approx(2 * found_volumes[0])
