"""A search on several devices: each run is planned for the device that asked, and stays there while it can."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nas.appraise import Appraiser
from nas.data.texts import Texts
from nas.devices import GONE_SECONDS
from nas.forecast import allowance
from nas.plan import Speed
from nas.ports import Assignment, Done, Outcome, Wait
from nas.records import CandidateState, Origin
from nas.search import Search
from tests.helpers import SPEED, World, Worlds, spec_of

FAST, SLOW = "fast", "slow"
SPEEDS = {FAST: SPEED, SLOW: Speed(4 * SPEED.seconds_per_flop, 0.0, 0.0)}


@pytest.fixture
def make(tiny_texts: Texts, tmp_path: Path) -> Iterator[Worlds]:
    worlds = Worlds(tiny_texts, tmp_path)
    yield worlds
    worlds.close()


def enter(world: World) -> Search:
    """A driver of a search that knows both devices."""
    return world.enter(devices={name: Appraiser(world.texts, world.spec.limits, own) for name, own in SPEEDS.items()})


def run_on(search: Search, device: str) -> Assignment:
    answer = search.next(device)
    assert isinstance(answer, Assignment) and answer.plan.device == device
    return answer


def predicted(world: World, assignment: Assignment) -> float:
    """Seconds on the device of the assignment, as one who has seen nothing yet says."""
    appraiser = Appraiser(world.texts, world.spec.limits, SPEEDS[assignment.plan.device])
    return appraiser.plan(assignment.candidate, allowance(world.spec)).seconds


def ended(assignment: Assignment, kind: str = "completed") -> Outcome:
    flops, plan = assignment.plan.train_flops, assignment.plan
    return Outcome(assignment.number, assignment.attempt, kind, flops, flops, 0, plan.seconds, val_bpb=3.0)


def test_a_run_is_planned_for_the_device_that_asks(make: Worlds) -> None:
    world = make(spec_of())
    search = enter(world)
    for device in (FAST, SLOW):
        run = run_on(search, device)
        assert run.plan.seconds == predicted(world, run)
    assert [own.plan["device"] for own in world.candidates] == [FAST, SLOW]


@pytest.mark.parametrize("kind", ["lost", "interrupted"])
def test_a_run_goes_on_where_it_was_planned(make: Worlds, kind: str) -> None:
    world = make(spec_of())
    search = enter(world)
    first = run_on(search, SLOW)
    search.finish(ended(first, kind))
    assert run_on(search, FAST).number != first.number
    again = run_on(search, SLOW)
    assert (again.number, again.attempt, again.plan) == (first.number, 1, first.plan)


def test_another_driver_keeps_them_there(make: Worlds) -> None:
    world = make(spec_of())
    first = run_on(enter(world), SLOW)
    search = enter(world)
    assert run_on(search, FAST).number != first.number
    assert run_on(search, SLOW).number == first.number


def test_others_take_over_from_a_device_that_has_gone(make: Worlds) -> None:
    world = make(spec_of())
    search = enter(world)
    first = run_on(search, SLOW)
    search.finish(ended(first, "lost"))
    world.clock.seconds += GONE_SECONDS / 2
    other = run_on(search, FAST)
    world.clock.seconds += GONE_SECONDS
    taken = run_on(search, FAST)
    assert (taken.number, taken.attempt, other.number != first.number) == (first.number, 1, True)
    assert world.candidates[first.number].plan["device"] == FAST
    (said,) = (event.message for event in world.store.events("s") if event.kind == "resumed")
    assert said == "candidate 0, attempt 2, on fast: slow is gone"


def test_a_device_at_work_has_not_gone(make: Worlds) -> None:
    """However long it has not asked."""
    world = make(spec_of())
    search = enter(world)
    first, second = run_on(search, SLOW), run_on(search, SLOW)
    search.finish(ended(first, "lost"))
    world.clock.seconds += 10 * GONE_SECONDS
    assert run_on(search, FAST).number not in (first.number, second.number)


def test_the_final_run_is_for_the_fastest(make: Worlds) -> None:
    world = make(spec_of(budget={"total": {"compute": "3GFLOP", "candidates": 2}}))
    search = enter(world)
    for device in (FAST, SLOW):
        search.finish(ended(run_on(search, device)))
    assert isinstance(search.next(SLOW), Wait)
    final = run_on(search, FAST)
    assert final.final and world.candidates[final.number].origin is Origin.FINAL
    assert isinstance(search.next(SLOW), Wait)
    search.finish(ended(final))
    assert isinstance(search.next(SLOW), Done) and isinstance(search.next(FAST), Done)


def test_what_one_device_took_says_nothing_of_another(make: Worlds) -> None:
    world = make(spec_of())
    search = enter(world)
    first = run_on(search, SLOW)
    search.finish(replace(ended(first), seconds=3 * first.plan.seconds))
    fast, slow = run_on(search, FAST), run_on(search, SLOW)
    assert fast.plan.seconds == pytest.approx(predicted(world, fast))
    assert slow.plan.seconds == pytest.approx(3 * predicted(world, slow))
    assert world.candidates[0].state is CandidateState.COMPLETED
