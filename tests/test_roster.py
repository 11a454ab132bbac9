import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.data.texts import Texts
from nas.errors import NotFoundError, StateError
from nas.ports import Store
from nas.records import CandidateState
from nas.roster import Roster
from tests.helpers import Simulation, Worlds
from tests.rosters import POINTS, point_of, record_of, store_of


@pytest.fixture
def make(tiny_texts: Texts, tmp_path: Path) -> Iterator[Worlds]:
    worlds = Worlds(tiny_texts, tmp_path)
    yield worlds
    worlds.close()


def seen(roster: Roster) -> list[Any]:
    return [(own, dict(roster.losses(own.number))) for own in roster]


def same(roster: Roster, store: Store) -> bool:
    """Whether it says what one says that is made now."""
    return seen(roster) == seen(Roster(store, "s")) and list(roster) == store.candidates("s")


def test_what_is_written_is_in_the_store_and_is_read_back() -> None:
    store = store_of()
    roster = Roster(store, "s")
    assert len(roster) == 0 and list(roster) == []
    for number in range(3):
        roster.add(record_of(number, POINTS[number]))
    changed = roster.update(1, state=CandidateState.COMPLETED, val_bpb=2.5)
    assert (changed.state, changed.val_bpb) == (CandidateState.COMPLETED, 2.5)
    assert roster[1] == changed == store.candidate("s", 1)
    assert [own.number for own in roster] == [0, 1, 2] and len(roster) == 3
    roster.add_point(point_of(2, 0.25, 3.0))
    assert store.points("s") == [point_of(2, 0.25, 3.0)]
    assert (roster.losses(2), roster.losses(1), roster.losses(9)) == ({0.25: 3.0}, {}, {})
    assert same(roster, store)


def test_what_the_store_refuses_is_not_kept() -> None:
    store = store_of([record_of(0, POINTS[0])])
    roster = Roster(store, "s")
    with pytest.raises(StateError, match="exists already"):
        roster.add(record_of(0, POINTS[1]))
    with pytest.raises(NotFoundError):
        roster.add_point(point_of(5, 0.25, 3.0))
    with pytest.raises(TypeError):
        roster.update(0, loss=1.0)
    assert list(roster) == [record_of(0, POINTS[0])] and roster.losses(5) == {}


def test_a_record_that_was_written_elsewhere() -> None:
    store = store_of([record_of(0, POINTS[0])])
    roster = Roster(store, "s")
    elsewhere = store.update_candidate("s", 0, state=CandidateState.FAILED)
    assert roster[0].state is CandidateState.TRAINING
    roster.note(elsewhere)
    assert same(roster, store) and roster[0] == elsewhere


def test_only_losses_at_rungs_count() -> None:
    roster = Roster(store_of([record_of(0, POINTS[0])]), "s")
    roster.add_point(point_of(0, 0.125, None))  # no validation loss
    final = point_of(0, 1.0, 2.0, final=True, step=1000)
    roster.add_point(final)
    assert roster.losses(0) == {1.0: 2.0}


@pytest.mark.parametrize("step", [125, 100, 150])
def test_a_rung_that_is_reported_again_is_replaced(step: int) -> None:
    """After an attempt was lost; where time had become short, its rungs lie at other steps."""
    store = store_of([record_of(0, POINTS[0])])
    roster = Roster(store, "s")
    roster.add_point(point_of(0, 0.125, 3.0))
    roster.add_point(point_of(0, 0.25, 2.8))
    roster.add_point(point_of(0, 0.125, 3.1, step=step, attempt=1))
    assert roster.losses(0) == {0.125: 3.1, 0.25: 2.8}
    assert same(roster, store)


WRITES = st.lists(
    st.tuples(st.sampled_from("aupp"), st.integers(0, 3), st.sampled_from([0.125, 0.25]), st.floats(1, 4)), max_size=15
)


@given(WRITES)
def test_a_roster_that_is_made_again_says_the_same(writes: list[tuple[str, int, float, float]]) -> None:
    store = store_of()
    roster = Roster(store, "s")
    for attempt, (kind, number, rung, loss) in enumerate(writes):
        if kind == "a" or not len(roster):
            roster.add(record_of(len(roster), POINTS[len(roster)]))
        elif kind == "u":
            roster.update(number % len(roster), val_bpb=loss, state=CandidateState.COMPLETED)
        else:
            own = number % len(roster)
            roster.add_point(point_of(own, rung, loss, attempt=attempt, step=int(1000 * rung + 10 * loss)))
    assert same(roster, store)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_search_needs_no_second_look(make: Worlds, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """The driver's roster is, whenever the driver is asked, what one says that is made then."""
    made: list[Roster] = []
    begin = Roster.__init__

    def remembered(self: Roster, *of: Any) -> None:
        begin(self, *of)
        made.append(self)

    world = make()
    simulation, done = Simulation(seed, parallel=2), False
    with monkeypatch.context() as patched:
        patched.setattr(Roster, "__init__", remembered)
        driver = world.enter()
    (roster,) = made
    rounds = random.Random(seed)
    while not done:
        done = simulation.run(driver, rounds.randint(1, 9))
        assert seen(roster) == seen(Roster(world.store, "s"))
    assert len(roster) > 5 and any(roster.losses(own.number) for own in roster)
