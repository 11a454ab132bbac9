"""What candidates came to, kept: always what a fresh reading gives."""

from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas.adapters.sql.reader import Reader
from nas.adapters.sql.store import open_store
from nas.records import CandidateState, Origin
from nas.spec import OBJECTIVES
from services.controller.completed import Completed
from tests.contracts.samples import CANDIDATE, SEARCH

CHANGES = st.lists(
    st.tuples(st.integers(0, 6), st.sampled_from([*CandidateState]), st.floats(1, 3), st.sampled_from([*Origin])),
    max_size=12,
)


@given(rounds=st.lists(CHANGES, min_size=1, max_size=4))
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_kept_is_what_is_there(rounds: list[list[tuple[int, CandidateState, float, Origin]]]) -> None:
    store = open_store("sqlite://")
    store.add_search(SEARCH)
    reader = Reader(store)
    kept, known = Completed(reader), set[int]()
    ended = set[int]()
    for changes in rounds:
        for number, state, loss, origin in changes:
            if number in ended:
                continue  # what is over stays as it is
            if number not in known:
                store.add_candidate(replace(CANDIDATE, number=number, origin=origin, costs={"params": 10 * number}))
                known.add(number)
            store.update_candidate("s", number, state=state, val_bpb=loss)
            ended |= {number} if state.terminal else set()
        revision = reader.revision("s")
        found, fresh = kept.of("s", revision), Completed(reader).of("s", revision)
        assert np.array_equal(found.numbers, fresh.numbers)
        assert np.array_equal(found.values, fresh.values, equal_nan=True)
        assert found.values.shape == (len(found.numbers), len(OBJECTIVES))
    store.close()


def test_a_front_is_found_once_for_what_the_candidates_came_to() -> None:
    """Losses 3, 2, 4 for 10, 20, 30 weights: the first two. What else changes of them changes no front."""
    store = open_store("sqlite://")
    store.add_search(SEARCH)
    reader = Reader(store)
    kept, objectives = Completed(reader), ("val_bpb", "params")

    def front() -> tuple[object, list[int], list[list[float]]]:
        numbers, values = kept.of("s", reader.revision("s")).front(objectives)
        return numbers, numbers.tolist(), values.tolist()

    for number, loss in enumerate((3.0, 2.0, 4.0)):
        store.add_candidate(
            replace(CANDIDATE, number=number, origin=Origin.PROPOSED, costs={"params": 10 * (number + 1)})
        )
        store.update_candidate("s", number, state=CandidateState.COMPLETED, val_bpb=loss)
    first, numbers, values = front()
    assert (numbers, values) == ([0, 1], [[3.0, 10.0], [2.0, 20.0]])
    for change in ({"train_flops_spent": 7}, {"reason": "said afterwards"}):
        store.update_candidate("s", 1, **change)
        assert front()[0] is first
    store.update_candidate("s", 2, costs={"params": 5})
    assert front()[1] == [2, 0, 1]
    store.close()
