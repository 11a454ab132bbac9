import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.acquire import best_within
from nas.belief import DIVERGED, LEARNED_FROM, LEAST_ENDS, Beliefs, _product
from nas.data.texts import Texts
from nas.extrapolate import UNKNOWN
from nas.ports import Assignment
from nas.records import CandidateRecord, CandidateState, CurvePoint, Origin
from nas.roster import Roster
from nas.space import Knobs
from tests.helpers import Simulation, Worlds, spec_of
from tests.rosters import POINTS, SPACE, encoding_of, point_of, record_of, roster_of

WORST = 4.0
ENCODE = encoding_of()
STATE = CandidateState


def beliefs_of(*names: str, **own: Any) -> Beliefs:
    return Beliefs(ENCODE, names or ("cost",), WORST, **own)


def size_of(knobs: Knobs) -> float:
    return float(knobs["depth"]) * float(knobs["width"])


def end_of(knobs: Knobs) -> float:
    """Larger is better."""
    return 3.2 - 0.25 * float(np.log2(size_of(knobs) / 16)) + 0.1 * (knobs["optimizer"] == "adamw")


def at_rung(knobs: Knobs, rung: float) -> float:
    return end_of(knobs) + 0.8 * (1 - rung)


def own_of(number: int, knobs: Knobs, loss: float | None = None, /, **own: Any) -> CandidateRecord:
    return record_of(number, knobs, loss, **{"costs": {"cost": size_of(knobs)}, **own})


def completed(number: int, knobs: Knobs) -> CandidateRecord:
    return own_of(number, knobs, end_of(knobs))


def curves(records: list[CandidateRecord], *rungs: float) -> dict[int, dict[float, float]]:
    return {own.number: {rung: at_rung(own.knobs, rung) for rung in rungs} for own in records}


def by_number(beliefs: Beliefs, roster: Roster) -> Mapping[int, tuple[float, float]]:
    """What is believed: (loss, doubt)."""
    known = beliefs.known(roster)
    having = [
        own.record.number for own in known if own.record.state is not STATE.TRAINING or roster.losses(own.record.number)
    ]
    belief = beliefs.belief(roster, known)
    return dict(zip(having, zip(belief.losses.tolist(), belief.doubt.tolist(), strict=True), strict=True))


# --- whom it is learned from ---


@pytest.mark.parametrize(
    ("changes", "taught"),
    [
        ({"state": STATE.COMPLETED, "val_bpb": 2.0}, True),
        ({"state": STATE.STOPPED}, True),
        ({"state": STATE.DIVERGED}, True),
        ({"state": STATE.TRAINING}, True),
        ({"state": STATE.QUEUED}, True),
        ({"state": STATE.REJECTED}, False),
        ({"state": STATE.FAILED}, False),
        ({"state": STATE.CANCELLED}, False),
        ({"state": STATE.COMPLETED, "val_bpb": 2.0, "origin": Origin.FINAL}, False),  # of another budget
        ({"state": STATE.COMPLETED, "val_bpb": 2.0, "knobs": {}}, False),  # from outside the space
        ({"state": STATE.COMPLETED, "val_bpb": 2.0, "origin": Origin.GIVEN}, True),
        ({"state": STATE.QUEUED, "costs": {}, "origin": Origin.GIVEN}, False),  # its costs are not known yet
    ],
)
def test_whom_it_is_learned_from(changes: dict[str, Any], taught: bool) -> None:
    roster = roster_of([completed(0, POINTS[0]), own_of(1, POINTS[50], **changes)])
    assert [own.record.number for own in beliefs_of().known(roster)] == ([0, 1] if taught else [0])


def test_what_is_known_of_a_candidate() -> None:
    """Costs as they were before anything was measured, as logarithms."""
    costs = {"cost": 9.0, "cost_predicted": 8.0, "free": 0}
    (known,) = beliefs_of("cost", "free").known(roster_of([own_of(0, POINTS[7], costs=costs)]))
    assert known.costs == pytest.approx([np.log(8.0), np.log(1e-9)])
    assert known.features.tolist() == pytest.approx(ENCODE(POINTS[7], SPACE.decode(POINTS[7])).tolist())


def test_without_cost_objectives() -> None:
    beliefs, roster = Beliefs(ENCODE, (), WORST), roster_of([completed(n, POINTS[9 * n]) for n in range(8)])
    belief = beliefs.belief(roster, beliefs.known(roster))
    assert belief.costs.shape == (8, 0) and len(beliefs.model(belief).inputs) == 8


# --- what is believed ---


def test_what_was_measured_has_no_doubt() -> None:
    own = completed(0, POINTS[3])
    roster = roster_of([own], {0: {0.25: 3.9}})
    assert by_number(beliefs_of(), roster) == {0: (end_of(POINTS[3]), 0.0)}


def test_what_diverged_stands_for_the_worst() -> None:
    """Whatever it had before."""
    roster = roster_of([own_of(0, POINTS[3], state=STATE.DIVERGED)], {0: {0.25: 2.0}})
    assert by_number(beliefs_of(), roster) == {0: (WORST, DIVERGED)}


def test_of_what_has_no_loss_nothing_is_believed() -> None:
    roster = roster_of([own_of(0, POINTS[3]), own_of(1, POINTS[4], state=STATE.QUEUED)])
    beliefs = beliefs_of()
    belief = beliefs.belief(roster, beliefs.known(roster))
    assert len(belief) == 0 and belief.costs.shape == (0, 1)


def test_of_a_run_before_others_were_completed_its_loss_is_all() -> None:
    roster = roster_of([own_of(0, POINTS[3], state=STATE.STOPPED)], {0: {0.125: 3.0, 0.25: 2.8}})
    assert by_number(beliefs_of(), roster) == {0: (2.8, UNKNOWN)}, "the last rung's"


@pytest.mark.parametrize("state", [STATE.STOPPED, STATE.TRAINING])
@pytest.mark.parametrize("rung", [0.125, 0.5])
def test_where_a_run_would_end_is_told_by_those_that_ended(state: CandidateState, rung: float) -> None:
    whole = [completed(number, POINTS[11 * number]) for number in range(10)]
    own = own_of(10, POINTS[55], state=state)
    roster = roster_of(
        [*whole, own],
        {**curves(whole, 0.125, 0.25, 0.5), **curves([own], *(r for r in (0.125, 0.25, 0.5) if r <= rung))},
    )
    loss, doubt = by_number(beliefs_of(), roster)[10]
    assert loss == pytest.approx(end_of(POINTS[55]), abs=0.05)
    assert 0 < doubt < 0.1


def test_only_those_that_had_a_loss_at_the_rung_tell_the_drop() -> None:
    """They all were past another one."""
    whole = [completed(number, POINTS[11 * number]) for number in range(10)]
    own = own_of(10, POINTS[55], state=STATE.STOPPED)
    roster = roster_of([*whole, own], {**curves(whole, 0.5), 10: {0.125: 3.0}})
    assert by_number(beliefs_of(), roster)[10] == (3.0, UNKNOWN)


def test_earlier_searches_teach_the_model_and_are_not_known() -> None:
    earlier = [completed(number, POINTS[number]) for number in (0, 40, 80)]
    unlike = [replace(earlier[0], costs={}), replace(earlier[0], knobs={}), own_of(3, POINTS[9])]
    beliefs, roster = beliefs_of(earlier=[*earlier, *unlike]), roster_of([completed(0, POINTS[100])])
    known = beliefs.known(roster)
    belief = beliefs.belief(roster, known)
    assert [own.record.id for own in known] == [SPACE.decode(POINTS[100]).id]
    assert belief.losses.tolist() == [end_of(POINTS[number]) for number in (0, 40, 80, 100)]
    assert belief.features.tolist() == [ENCODE(POINTS[n], SPACE.decode(POINTS[n])).tolist() for n in (0, 40, 80, 100)]
    assert not belief.doubt.any()


# --- the model ---


def test_of_many_losses_those_nearest_to_the_front_are_held() -> None:
    rng = random.Random(0)
    losses = [2.0 + rng.random() + (1.0 if number % 2 else 0.0) for number in range(1000)]
    points = [POINTS[number % len(POINTS)] for number in range(1000)]
    roster = roster_of([own_of(n, knobs, loss) for n, (knobs, loss) in enumerate(zip(points, losses, strict=True))])
    beliefs = beliefs_of()
    belief = beliefs.belief(roster, beliefs.known(roster))
    assert len(belief) == 1000
    model = beliefs.model(belief)
    assert len(model.inputs) == LEARNED_FROM < 1000
    behind = belief.losses - best_within(belief.costs, belief.costs, belief.losses, WORST)
    nearest = np.sort(np.argsort(behind, kind="stable")[:LEARNED_FROM])
    assert model.inputs.tolist() == belief.features[nearest].tolist()
    assert behind[nearest].max() <= np.delete(behind, nearest).min()
    assert np.all(nearest % 2 == 0)


def test_what_is_in_doubt_pulls_less() -> None:
    """The same loss, measured or of a run that would have ended there if nothing dropped."""
    whole = [completed(number, POINTS[number]) for number in (0, 20, 40, 60, 80, 100)]
    odd = end_of(POINTS[50]) + 1.0
    told = []
    for own in (own_of(200, POINTS[50], odd), own_of(200, POINTS[50], state=STATE.STOPPED)):
        beliefs, roster = beliefs_of(), roster_of([*whole, own], {200: {0.5: odd}})
        model = beliefs.model(beliefs.belief(roster, beliefs.known(roster)))
        told.append(float(model.predict(ENCODE(POINTS[50], SPACE.decode(POINTS[50]))[None])[0][0]))
    assert told[0] > told[1] + 0.05


# --- the outlook ---

ENDED = [POINTS[number] for number in (0, 13, 26, 39, 52, 65, 78, 91, 104)]
HOPELESS = {"depth": 4, "width": 96, "vocabulary": 1024, "optimizer": "adamw"}  # were its loss not like that of others


def searched(ends: int, own: Knobs, rung: float, loss: float, place: int | None = None) -> tuple[Roster, int]:
    """So many completed runs and one in training that had a loss; its number is ``place``, the last without."""
    place = ends if place is None else place
    numbers = [number for number in range(ends + 1) if number != place]
    whole = [completed(number, knobs) for number, knobs in zip(numbers, ENDED[:ends], strict=True)]
    records = sorted([*whole, own_of(place, own)], key=lambda record: record.number)
    return roster_of(records, {**curves(whole, 0.125, 0.25, 0.5), place: {rung: loss}}), place


def test_too_little_is_known_before_some_were_completed() -> None:
    for ends in range(len(ENDED)):
        roster, number = searched(ends, HOPELESS, 0.25, 3.5)
        outlook = beliefs_of().outlook(roster, number, 0.25, 3.5)
        assert (outlook is None) == (ends < LEAST_ENDS)


def test_what_is_cheaper_than_all_has_no_outlook() -> None:
    cheapest: Knobs = {"depth": 1, "width": 16, "vocabulary": 256, "optimizer": "muon"}
    roster, number = searched(9, cheapest, 0.25, 3.5)
    assert beliefs_of().outlook(roster, number, 0.25, 3.5) is not None, "one costs as much"
    numbered = [completed(n, knobs) for n, knobs in enumerate(ENDED[2:])]
    roster = roster_of([*numbered, own_of(7, cheapest)], curves(numbered, 0.25))
    assert min(size_of(knobs) for knobs in ENDED[2:]) > size_of(cheapest)
    assert beliefs_of().outlook(roster, 7, 0.25, 3.5) is None


def test_of_what_teaches_nothing_there_is_no_outlook() -> None:
    roster, number = searched(9, HOPELESS, 0.25, 3.5)
    roster.update(number, knobs={})
    assert beliefs_of().outlook(roster, number, 0.25, 3.5) is None


@pytest.mark.parametrize("rung", [0.125, 0.25, 0.5])
def test_where_a_run_is_expected_to_end(rung: float) -> None:
    own = POINTS[70]
    roster, number = searched(9, own, rung, at_rung(own, rung))
    outlook = beliefs_of().outlook(roster, number, rung, at_rung(own, rung))
    assert outlook is not None
    assert outlook.mean == pytest.approx(end_of(own), abs=0.1)
    assert 0 < outlook.deviation < 0.15


def test_it_stands_against_the_best_that_costs_no_more() -> None:
    own: Knobs = {"depth": 2, "width": 32, "vocabulary": 256, "optimizer": "muon"}
    roster, number = searched(9, own, 0.25, 3.0)
    outlook = beliefs_of().outlook(roster, number, 0.25, 3.0)
    cheaper = [record for record in roster if record.val_bpb is not None and size_of(record.knobs) <= size_of(own)]
    best = min(cheaper, key=lambda record: record.val_bpb or 9.0)
    assert 1 < len(cheaper) < 9 and best.val_bpb != min(record.val_bpb or 9.0 for record in roster)
    assert outlook is not None and (outlook.best, outlook.number) == (best.val_bpb, best.number)


def test_a_worse_loss_looks_worse() -> None:
    means = []
    for loss in (2.5, 3.0, 3.5):
        roster, number = searched(9, HOPELESS, 0.25, loss)
        outlook = beliefs_of().outlook(roster, number, 0.25, loss)
        assert outlook is not None
        means.append(outlook.mean)
    assert means[0] < means[1] - 0.05 < means[2] - 0.1


def test_what_was_stopped_does_not_confirm_itself() -> None:
    """Neither its end, which is expected as that of the run in question is, nor that of one in training."""
    roster, number = searched(9, HOPELESS, 0.25, 3.0)
    alone = beliefs_of().outlook(roster, number, 0.25, 3.0)
    for place, state in enumerate((CandidateState.STOPPED, CandidateState.TRAINING), start=number + 1):
        roster.add(own_of(place, {**HOPELESS, "width": 64 if place % 2 else 48}, state=state))
        roster.add_point(CurvePoint("s", place, 0, 1, 0.25, 1, 0.0, val_bpb=2.0, rung=0.25))
    assert beliefs_of().outlook(roster, number, 0.25, 3.0) == alone
    roster.update(number + 1, state=CandidateState.DIVERGED)
    assert beliefs_of().outlook(roster, number, 0.25, 3.0) != alone, "that it diverged is known"


@pytest.mark.parametrize("place", range(9))
def test_its_place_among_the_others_does_not_matter(place: int) -> None:
    first, last = (beliefs_of().outlook(*searched(9, HOPELESS, 0.25, 3.0, at), 0.25, 3.0) for at in (place, 9))
    assert first is not None and last is not None
    assert (first.mean, first.deviation, first.best) == pytest.approx((last.mean, last.deviation, last.best), abs=1e-6)
    assert first.number == last.number + (last.number >= place)


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ((1.0, 0.1), (2.0, 0.1), (1.5, 0.1 / 2**0.5)),
        ((1.0, 0.1), (2.0, 0.2), (1.2, 0.2 / 5**0.5)),  # four parts of the surer one
        ((2.0, 0.2), (1.0, 0.1), (1.2, 0.2 / 5**0.5)),
        ((1.0, 0.1), (2.0, 1e3), (1.0, 0.1)),  # who knows nothing changes nothing
    ],
)
def test_two_opinions(one: tuple[float, float], other: tuple[float, float], together: tuple[float, float]) -> None:
    """As much weight as each is sure, by the square."""
    assert _product(one, other) == pytest.approx(together, abs=1e-6)


def test_its_own_loss_is_no_opinion_of_its_like() -> None:
    """Whether it is in the roster already or comes with the question."""
    roster, number = searched(9, HOPELESS, 0.25, 3.0)
    before = beliefs_of().outlook(roster, number, 0.25, 3.0)
    roster.add_point(point_of(number, 0.5, 1.0))
    assert beliefs_of().outlook(roster, number, 0.25, 3.0) == before


# --- in a search ---


@pytest.fixture
def make(tiny_texts: Texts, tmp_path: Path) -> Iterator[Worlds]:
    worlds = Worlds(tiny_texts, tmp_path)
    yield worlds
    worlds.close()


def test_a_candidate_that_was_given_and_waits_for_its_costs(make: Worlds) -> None:
    """What the device makes of it is not known until it is planned."""
    world = make(spec_of(minimize=["val_bpb", "peak_memory"]))
    driver, simulation = world.enter(), Simulation(1, parallel=1)
    assignment = driver.next()
    assert isinstance(assignment, Assignment)
    simulation.assignments[assignment.number] = assignment
    simulation.running[assignment.number] = simulation.curve(assignment)
    given = (world.space.decode(world.space.uniform(index)) for index in range(50, 99))
    assert any(driver.enqueue(own).endswith("queued") for own in given)
    while not simulation.run(driver, 20):
        pass
    (own,) = (own for own in world.candidates if own.origin is Origin.GIVEN and own.plan)
    assert own.state.terminal and own.costs["peak_memory"] > 0
