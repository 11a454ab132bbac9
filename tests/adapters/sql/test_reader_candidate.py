"""What the page of a candidate asks the database, on each database."""

from dataclasses import replace

from nas.adapters.sql.reader import Reader
from nas.adapters.sql.store import SqlStore
from tests.contracts.samples import CANDIDATE, SEARCH


def filled(store: SqlStore, *numbers: int) -> Reader:
    for search_id in ("s", "t"):
        store.add_search(replace(SEARCH, id=search_id))
    for number in numbers:
        store.add_candidate(replace(CANDIDATE, number=number))
    store.add_candidate(replace(CANDIDATE, search_id="t", number=3))
    return Reader(store)


def test_neighbours_are_those_of_the_search(store: SqlStore) -> None:
    reader = filled(store, 0, 2, 7)
    assert [reader.neighbours("s", number) for number in (0, 2, 7)] == [(None, 2), (0, 7), (2, None)]
    assert reader.neighbours("s", 5) == (2, 7), "of one that is not there"
    assert reader.neighbours("t", 3) == reader.neighbours("nothing", 0) == (None, None)


def test_events_of_a_candidate(store: SqlStore) -> None:
    reader = filled(store, 0, 2)
    for place in range(5):
        store.add_event("s", "kind", f"of 2: {place}", at=float(place), number=2)
        store.add_event("s", "kind", "of 0", at=float(place), number=0)
        store.add_event("s", "kind", "of all", at=float(place))
    store.add_event("t", "kind", "of another", at=0.0, number=2)
    assert [own.message for own in reader.events_of("s", 2, 3)] == ["of 2: 2", "of 2: 3", "of 2: 4"], "the last ones"
    assert reader.events_of("s", 2, 100) == [own for own in store.events("s") if own.number == 2]
    assert reader.events_of("s", 9, 100) == []
