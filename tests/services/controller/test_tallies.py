"""What searches have spent, kept: always what a fresh reading of everything gives."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas.adapters.sql.course import Course
from nas.adapters.sql.reader import Reader
from nas.adapters.sql.store import SqlStore, open_store
from nas.ledger import FINAL, SEARCH, Ledger
from nas.records import CandidateState, LedgerRecord, Origin
from services.controller.tallies import Spent, Tallies
from tests.contracts.samples import CANDIDATE
from tests.contracts.samples import SEARCH as EMPTY

CHANGE = st.tuples(
    st.integers(0, 5), st.sampled_from([*CandidateState]), st.integers(0, 10**18), st.integers(0, 10**18)
)


def plain(store: SqlStore) -> dict[CandidateState, Spent]:
    """From the records alone."""
    found: dict[CandidateState, Spent] = {}
    for own in store.candidates("s"):
        if own.origin is not Origin.FINAL:
            former = found.get(own.state, Spent())
            found[own.state] = Spent(
                former.candidates + 1,
                former.train + own.train_flops_spent,
                former.evaluation + own.eval_flops,
                former.spared + max(0, own.train_flops_planned - own.train_flops_spent),
            )
    return found


@pytest.fixture
def store() -> Any:
    own = open_store("sqlite://")
    own.add_search(EMPTY)
    yield own
    own.close()


@given(rounds=st.lists(st.lists(CHANGE, max_size=6), min_size=1, max_size=5))
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_sums_are_those_of_the_candidates(rounds: list[list[tuple[int, CandidateState, int, int]]]) -> None:
    """From whatever state they come to whatever other; number 5 is the final run."""
    store = open_store("sqlite://")
    store.add_search(EMPTY)
    reader, course, ended = Reader(store), Course(store), set[int]()
    kept, known = Tallies(course), set[int]()
    for changes in rounds:
        for number, state, train, planned in changes:
            if number not in known:
                origin = Origin.FINAL if number == 5 else Origin.PROPOSED
                store.add_candidate(replace(CANDIDATE, number=number, origin=origin))
                known.add(number)
            if number in ended:
                continue  # what is over stays as it is
            ended |= {number} if state.terminal else set()
            store.update_candidate(
                "s", number, state=state, train_flops_spent=train, train_flops_planned=planned, eval_flops=number
            )
        revision = reader.revision("s")
        found = kept.of("s", revision)
        assert found.by_state == Tallies(course).of("s", revision).by_state == plain(store)
        assert found.candidates_spent == sum(own.train + own.evaluation for own in plain(store).values())
        assert all(found.of(state) == plain(store).get(state, Spent()) for state in CandidateState)
    store.close()


def test_the_account_is_that_of_the_ledger(store: SqlStore) -> None:
    """A book with everything in it: charged, settled, still reserved, reserved again, handed over. Line by line."""
    granted = {SEARCH: 1000, FINAL: 500}
    book = Ledger("s", granted[SEARCH], granted[FINAL])
    lines: list[LedgerRecord] = [book.charge(SEARCH, 10, 1.0, 0.0, "probe")]
    for number, spent in ((0, 70), (1, 90), (2, None), (3, 100)):
        lines.append(book.reserve(SEARCH, number, 100, 1.0))
        if spent is not None:
            lines.append(book.settle(number, spent, 2.0, 2.0))
    lines += [book.reserve(SEARCH, 0, 50, 3.0), book.transfer_rest(4.0), book.reserve(FINAL, 4, 600, 5.0)]
    reader, kept, before = Reader(store), Tallies(Course(store)), None
    for end in range(len(lines)):
        store.add_ledger([lines[end]])
        told = Ledger("s", granted[SEARCH], granted[FINAL], lines[: end + 1])
        found = kept.of("s", reader.revision("s"))
        for name, own in ((SEARCH, found.search), (FINAL, found.final)):
            assert replace(own, granted=own.granted + granted[name]) == told.balance(name)
        assert found != before
        before = found
