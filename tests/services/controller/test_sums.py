"""How far searches are, kept: always what a fresh reading gives."""

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas.adapters.sql.reader import Progress, Reader
from nas.adapters.sql.store import open_store
from nas.records import CandidateState
from services.controller.sums import SEARCHES, Sums
from tests.contracts.samples import CANDIDATE, SEARCH

IDS = ("a", "b", "c")
CHANGES = st.lists(
    st.tuples(st.sampled_from(IDS), st.integers(0, 3), st.sampled_from([*CandidateState]), st.floats(1, 3)), max_size=6
)


class Counting(Reader):
    """Says what it was asked to sum up."""

    asked: Sequence[str] = ()

    def progress(self, search_ids: Sequence[str]) -> dict[str, Progress]:
        self.asked = search_ids
        return super().progress(search_ids)


@given(rounds=st.lists(CHANGES, min_size=1, max_size=4))
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_kept_is_what_is_there(rounds: list[list[tuple[str, int, CandidateState, float]]]) -> None:
    store = open_store("sqlite://")
    for own in IDS:
        store.add_search(replace(SEARCH, id=own))
    reader = Counting(store)
    kept, known = Sums(reader), set[tuple[str, int]]()
    assert kept.of(IDS) == {} and set(reader.asked) == set(IDS)
    for changes in rounds:
        for own, number, state, loss in changes:
            if (own, number) not in known:
                store.add_candidate(replace(CANDIDATE, search_id=own, number=number))
                known.add((own, number))
            store.update_candidate(own, number, state=state, val_bpb=loss)
        reader.asked = ()
        found = kept.of((*IDS, "none"))
        assert set(reader.asked) == {own for own, *_ in changes}, "only what has changed"
        assert found == Reader(store).progress(IDS)
    store.close()


def test_a_search_that_is_gone_is_not_told_of() -> None:
    store = open_store("sqlite://")
    store.add_search(SEARCH)
    store.add_candidate(CANDIDATE)
    kept = Sums(Reader(store))
    assert list(kept.of(["s"])) == ["s"]
    store.delete_search("s")
    assert kept.of(["s"]) == {}
    store.close()


def test_only_so_many_are_kept() -> None:
    store = open_store("sqlite://")
    kept = Sums(Reader(store))
    names = [f"s{place}" for place in range(SEARCHES + 3)]
    with store.transaction():
        for own in names:
            store.add_search(replace(SEARCH, id=own))
    for own in names:
        kept.of([own])
    assert list(kept._known) == names[3:]
    store.close()
