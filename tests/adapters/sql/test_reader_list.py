"""What a list of searches shows, read from both databases."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.dialects import sqlite

from nas.adapters.sql.reader import ORDERS, RANKS, Reader, Wanted
from nas.adapters.sql.store import SqlStore
from nas.records import CandidateState, Origin, SearchState
from tests.contracts.samples import CANDIDATE, SEARCH

#        id   name         state        created  losses of candidates trained to the end
TABLE = [
    ("a", "Beta", "completed", 30.0, [2.5, 2.25]),
    ("b", "alpha", "running", 10.0, []),
    ("c", "beta", "running", 20.0, [2.25]),
    ("d", "50%_off", "paused", 20.0, [1.5]),
    ("e", "gamma", "cancelled", 40.0, []),
]  # fmt: skip
INDEX = "USING INDEX ix_candidates_search_id_val_bpb (search_id=?"
SORTED = {
    ("created", True): "eacdb",
    ("created", False): "bcdae",
    ("name", False): "dbace",
    ("name", True): "eacbd",
    ("state", False): "bcdae",
    ("state", True): "eadbc",
    ("best", False): "dacbe",
    ("best", True): "acdbe",
}
"""Of equal ones the lower id is first; those without a value are last, whichever way."""


@pytest.fixture
def reader(store: SqlStore) -> Reader:
    for own, name, state, created, losses in TABLE:
        store.add_search(replace(SEARCH, id=own, name=name, state=SearchState(state), created_at=created))
        done = replace(CANDIDATE, search_id=own, state=CandidateState.COMPLETED)
        for number, loss in enumerate(losses):
            store.add_candidate(replace(done, number=number, val_bpb=loss, costs={"params": 10 - number}))
        # none of these counts: of the final run, and of one that was stopped
        store.add_candidate(replace(done, number=8, val_bpb=0.5, origin=Origin.FINAL))
        store.add_candidate(replace(done, number=9, val_bpb=0.25, state=CandidateState.STOPPED))
    return Reader(store)


def test_every_state_has_a_rank() -> None:
    assert sorted(RANKS) == sorted(SearchState) and {order for order, _ in SORTED} == set(ORDERS)


@pytest.mark.parametrize(("order", "descending"), SORTED)
def test_sorted(reader: Reader, order: str, descending: bool) -> None:
    """In whole, and a page of any size after the other."""
    expected = SORTED[order, descending]
    found = reader.listed(order=order, descending=descending, limit=10)
    assert "".join(own.id for own, _ in found) == expected
    for size in (1, 2, 3):
        shown, after = "", None
        while page := reader.listed(order=order, descending=descending, after=after, limit=size):
            shown += "".join(own.id for own, _ in page)
            after = (page[-1][1], page[-1][0].id)
        assert shown == expected, size


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("BETA", "ac"), ("a", "abce"), ("", "abcde"),
        ("%", "d"), ("_", "d"), ("0%_o", "d"), ("50_", ""), ("\\", ""), ("'", ""),
    ],
)  # fmt: skip
def test_part_of_a_name_is_no_pattern(reader: Reader, name: str, found: str) -> None:
    shown = reader.listed(name=name, order="created", limit=10)
    assert "".join(sorted(own.id for own, _ in shown)) == found


def test_filters_hold_together(reader: Reader) -> None:
    states = [SearchState.RUNNING, SearchState.PAUSED]
    assert [own.id for own, _ in reader.listed(states=states, order="best", descending=False, limit=10)] == [
        "d",
        "c",
        "b",
    ]
    assert [own.id for own, _ in reader.listed(states=states, name="beta", limit=10)] == ["c"]
    first = reader.listed(states=states, order="name", descending=False, limit=1)[0]
    rest = reader.listed(states=states, order="name", descending=False, after=(first[1], first[0].id), limit=10)
    assert [own.id for own, _ in rest] == ["b", "c"]


def test_searches_come_whole(reader: Reader, store: SqlStore) -> None:
    assert [own for own, _ in reader.listed(limit=1)] == [store.search("e")]


def test_costs_of_the_best(reader: Reader, store: SqlStore) -> None:
    """Of all that have that loss, of the asked searches alone."""
    twin = replace(
        CANDIDATE, search_id="a", number=5, state=CandidateState.COMPLETED, val_bpb=2.25, costs={"params": 3}
    )
    store.add_candidate(twin)
    assert reader.cheapest({"a": 2.25, "d": 1.5, "b": 1.0}) == {
        "a": [{"params": 9}, {"params": 3}],
        "d": [{"params": 10}],
    }
    assert reader.cheapest({}) == {}


def test_leases_that_hold(reader: Reader, store: SqlStore) -> None:
    lease = store.take_lease("c", "host:1", 60)
    assert reader.leases(store.now()) == [lease]
    assert reader.leases(lease.expires_at) == []


LOSSES = [2.5, None, 1.5, 2.5, None, 0.5, 2.5]
BY_LOSS = {False: [5, 2, 0, 3, 6, 1, 4], True: [0, 3, 6, 2, 5, 1, 4]}
"""Numbers decide between equal ones; those without a loss are last, whichever way."""


@pytest.mark.parametrize("descending", BY_LOSS)
def test_candidates_by_loss(store: SqlStore, descending: bool) -> None:
    """In whole, and a page of any size after the other."""
    store.add_search(SEARCH)
    for number, loss in enumerate(LOSSES):
        store.add_candidate(replace(CANDIDATE, number=number, val_bpb=loss))
    reader = Reader(store)
    for size in (1, 2, 3, 10):
        shown: list[int] = []
        after = None
        while page := reader.candidates("s", Wanted(), order="val_bpb", descending=descending, after=after, limit=size):
            shown += [own.number for own, _ in page]
            after = (page[-1][0].val_bpb, page[-1][0].number)
        assert shown == BY_LOSS[descending], size


def test_what_is_sorted_by_loss_goes_along_an_index(sqlite_url: str, open_: Callable[[str], SqlStore]) -> None:
    """None of it reads all candidates; only the order of equal losses, the other way round, is left to be made."""
    store = open_(sqlite_url)
    reader, plans = Reader(store), list[list[str]]()

    def explained(statement: Any) -> list[Any]:
        literal = statement.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
        with store.transactions.read() as connection:
            plans.append([row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {literal}")])
        return []

    reader._rows = explained  # type: ignore[method-assign]
    reader.candidates("s", Wanted(), order="val_bpb", limit=100)
    reader.candidates("s", Wanted(), order="val_bpb", after=(2.0, 3), limit=100)
    reader.candidates("s", Wanted(), order="val_bpb", after=(None, 3), limit=100)
    reader.candidates("s", Wanted(), order="val_bpb", descending=True, limit=100)
    reader.listed(order="best", limit=100)
    reader.cheapest({"s": 2.0, "t": 3.0})
    for plan in plans:
        looks = [step for step in plan if " candidates " in step]
        assert looks and all(INDEX in step for step in looks), plan
    ascending, after, none, descending, *_ = plans
    assert not any("TEMP B-TREE" in step for plan in (ascending, after, none) for step in plan)
    assert "USE TEMP B-TREE FOR ORDER BY" not in descending
