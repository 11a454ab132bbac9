import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import nas.belief
from nas.advise import NEIGHBOURS, POOL, Advisor
from nas.appraise import Appraiser
from nas.belief import LEARNED_FROM
from nas.pareto import front_mask, hypervolume
from nas.plan import Allowance
from nas.records import CandidateState
from nas.roster import Roster
from nas.space import Knobs, Space, load_space
from nas.spec import LOSS, Limits
from nas.surrogate import Surrogate
from tests.rosters import COST, FLOPS, POINTS, SPACE, Meter, encoding_of, point_of, record_of, roster_of

GRANT = Allowance(FLOPS)
MINIMIZE = (LOSS, COST)
WORST = 4.0
OPEN = Limits()


def appraiser_of(limits: Limits = OPEN) -> Appraiser:
    return Appraiser(Meter(), limits)


APPRAISER = appraiser_of()


def cost_of(knobs: Knobs, space: Space = SPACE, name: str = COST) -> float:
    return float(getattr(APPRAISER.cost(space.decode(knobs)), name))


def loss_of(knobs: Knobs) -> float:
    """What is planted: larger is better, one optimizer too, and the vocabulary has an optimum."""
    size = math.log2(float(knobs["width"]) / 16) * 0.25 + 0.08 * float(knobs["depth"])
    return 3.2 - size + 0.2 * (knobs["optimizer"] == "adamw") + 0.15 * (knobs["vocabulary"] != 512)


def advisor_of(
    seed: int = 0,
    space: Space = SPACE,
    limits: Limits = OPEN,
    minimize: Sequence[str] = MINIMIZE,
    worst: float = 1e7,
    grant: Allowance = GRANT,
) -> Advisor:
    reference = [WORST if name == LOSS else worst for name in minimize]
    return Advisor(space, appraiser_of(limits), grant, minimize, reference, seed)


def small() -> Advisor:
    """A new one: an advisor is of one search, whose candidates it knows by their numbers."""
    return advisor_of()


def own_of(number: int, knobs: Knobs, loss: float | None = None, /, space: Space = SPACE, **own: Any) -> Any:
    costs = {name: cost_of(knobs, space, name) for name in (COST, "params")}
    return record_of(number, knobs, loss, **{"space": space, "costs": costs, **own})


def completed(points: Sequence[Knobs], loss: Callable[[Knobs], float] = loss_of, space: Space = SPACE) -> Roster:
    return roster_of([own_of(number, knobs, loss(knobs), space=space) for number, knobs in enumerate(points)])


def taken_by(roster: Roster) -> set[str]:
    return {own.id for own in roster}


def proposals(advisor: Advisor, roster: Roster, count: int, end: Callable[[Knobs], float | None]) -> list[Knobs]:
    """One after another, each answered by a loss or left in training."""
    made = []
    for _ in range(count):
        knobs = advisor.propose(roster, taken_by(roster), len(roster))
        assert knobs is not None
        roster.add(own_of(len(roster), knobs, end(knobs)))
        made.append(knobs)
    return made


def drawn(seed: int, count: int) -> list[Knobs]:
    return random.Random(seed).sample(POINTS, count)


# --- what it finds ---

ALL = np.array([(loss_of(knobs), cost_of(knobs)) for knobs in POINTS])
FRONT = [knobs for knobs, kept in zip(POINTS, front_mask(ALL), strict=True) if kept]
REFERENCE = (WORST, 1.1 * float(np.log(ALL[:, 1]).max()))


def volume(points: Sequence[Knobs]) -> float:
    """Of what the whole space has, in the loss and the logarithm of the cost."""
    whole, part = ([(loss_of(own), math.log(cost_of(own))) for own in each] for each in (POINTS, points))
    return hypervolume(part, REFERENCE) / hypervolume(whole, REFERENCE)


def test_it_finds_the_front_sooner_than_by_drawing() -> None:
    """Though the law, which it begins with, expects more of the largest vocabulary than is planted."""
    found, by_lot = [], []
    for seed in range(6):
        advisor, roster = advisor_of(seed), completed(drawn(seed, 3))
        made = proposals(advisor, roster, 12, loss_of)
        found.append(sum(own in FRONT for own in made))
        by_lot.append(sum(own in FRONT for own in drawn(seed + 100, 12)))
        assert volume([own.knobs for own in roster]) > max(0.88, volume(drawn(seed + 100, 15))), seed
    assert len(FRONT) < len(POINTS) / 5
    assert sum(found) > 2 * sum(by_lot)


@pytest.mark.parametrize(("better", "other"), [("muon", "adamw"), ("adamw", "muon")])
def test_it_learns_what_no_law_knows(better: str, other: str) -> None:
    """Of the optimizer, which costs nothing."""
    called = {better: "muon", other: "adamw"}

    def loss(knobs: Knobs) -> float:
        return loss_of({**knobs, "optimizer": called[str(knobs["optimizer"])]})

    made = proposals(small(), completed(drawn(0, 12), loss), 8, loss)
    assert sum(own["optimizer"] == better for own in made) >= 7


def test_before_it_has_learned_the_law_proposes() -> None:
    """The same order, whether nothing or two losses are known."""
    encode = encoding_of()
    expected = sorted(POINTS, key=lambda knobs: encode(knobs, SPACE.decode(knobs))[-1])
    made = proposals(small(), roster_of([]), 4, lambda knobs: None)
    assert [encode(own, SPACE.decode(own))[-1] for own in made] == [
        encode(own, SPACE.decode(own))[-1] for own in expected[:4]
    ]
    knobs = small().propose(completed(POINTS[:2]), {SPACE.decode(own).id for own in POINTS[:2]}, 2)
    assert knobs is not None and encode(knobs, SPACE.decode(knobs))[-1] == encode(made[0], SPACE.decode(made[0]))[-1]


def test_the_loss_as_the_only_objective() -> None:
    advisor, roster = advisor_of(minimize=(LOSS,)), completed(drawn(1, 4))
    made = proposals(advisor, roster, 12, loss_of)
    assert min(map(loss_of, made)) == pytest.approx(min(map(loss_of, POINTS)))


def test_two_costs() -> None:
    advisor, roster = advisor_of(minimize=("params", LOSS, COST)), completed(drawn(2, 4))
    before = hypervolume([_three(own.knobs) for own in roster], (20.0, WORST, 20.0))
    proposals(advisor, roster, 8, loss_of)
    by_lot = [own.knobs for own in completed(drawn(2, 4))] + drawn(77, 8)
    after = hypervolume([_three(own.knobs) for own in roster], (20.0, WORST, 20.0))
    assert after > before and after > hypervolume([_three(own) for own in by_lot], (20.0, WORST, 20.0))


def _three(knobs: Knobs) -> tuple[float, float, float]:
    return math.log(cost_of(knobs, name="params")), loss_of(knobs), math.log(cost_of(knobs))


# --- what it never proposes ---


def test_it_goes_through_the_whole_space_once() -> None:
    roster = completed(drawn(0, 4))
    made = proposals(small(), roster, len(POINTS) - 4, loss_of)
    assert len({SPACE.decode(own).id for own in made} | {own.id for own in roster}) == len(POINTS)
    assert small().propose(roster, taken_by(roster), 999) is None


def test_what_is_taken_is_not_proposed_whoever_took_it() -> None:
    roster = completed(drawn(0, 5))
    first = small().propose(roster, taken_by(roster), 5)
    assert first is not None
    second = small().propose(roster, {*taken_by(roster), SPACE.decode(first).id}, 5)
    assert second is not None and second != first


@pytest.mark.parametrize("losses", [0, 6])
def test_what_closed_forms_refuse_is_not_proposed(losses: int) -> None:
    limits = Limits(params=60_000)
    admitted = {own.id for own in map(SPACE.decode, POINTS) if appraiser_of(limits).admits(own, GRANT)}
    roster = completed([knobs for knobs in POINTS if SPACE.decode(knobs).id in admitted][:losses])
    made = proposals(advisor_of(limits=limits), roster, len(admitted) - losses, loss_of)
    assert 10 < len(admitted) < len(POINTS) and {SPACE.decode(own).id for own in made} <= admitted
    assert advisor_of(limits=limits).propose(roster, admitted, 0) is None


def test_nothing_is_proposed_where_all_is_refused() -> None:
    assert advisor_of(limits=Limits(params=1)).propose(roster_of([]), set(), 0) is None


# --- from the records alone ---


@pytest.mark.parametrize("space", ["small", "llama-tiny"])
def test_an_advisor_that_is_built_again_goes_on(space: str) -> None:
    own = SPACE if space == "small" else load_space(space)
    rng = random.Random(4)
    loss: dict[str, float] = {}
    points = [own.sample(rng) for _ in range(8)]
    roster = completed(points, lambda knobs: loss.setdefault(own.decode(knobs).id, rng.uniform(2, 3)), own)
    roster.add(own_of(8, own.sample(rng), space=own))
    roster.add_point(point_of(8, 0.25, 2.9))
    grant = Allowance(10**12)
    first = advisor_of(3, own, grant=grant)
    first.propose(roster, set(), 1)  # what it was asked before leaves no trace
    rebuilt = Roster(roster._store, "s")
    again = advisor_of(3, own, grant=grant)
    for key in (9, 10, 11):
        mine = first.propose(roster, taken_by(roster), key)
        assert mine is not None and mine == again.propose(rebuilt, taken_by(rebuilt), key)
        for each in (roster, rebuilt):
            record = own_of(len(each), mine, space=own)
            each.add(record) if each is roster else each.note(record)


# --- what is in training ---


def test_what_is_in_training_counts_where_it_is_expected_to_end() -> None:
    """Asked again without an answer, it turns elsewhere on the front."""
    roster = completed(drawn(0, 8))
    made = proposals(small(), roster, 5, lambda knobs: None)
    assert len({SPACE.decode(own).id for own in made}) == 5
    costs = sorted(map(cost_of, made))
    assert costs[-1] > 1.5 * costs[0]


@pytest.mark.parametrize(
    ("state", "counts"),
    [
        (CandidateState.TRAINING, True),
        (CandidateState.QUEUED, True),
        (CandidateState.STOPPED, False),
        (CandidateState.FAILED, False),
    ],
)
def test_what_will_not_end_holds_no_place(state: CandidateState, counts: bool) -> None:
    """Five points like the one that would be proposed are under way: they leave little to be gained beside them."""
    roster = completed(drawn(0, 8))
    best = small().propose(roster, taken_by(roster), 8)
    assert best is not None
    gains = []
    for own in (None, state):
        again = completed(drawn(0, 8))
        if own is not None:
            again.add(own_of(8, best, state=own))
        known = small()._beliefs.known(again)
        model = small()._beliefs.model(small()._beliefs.belief(again, known))
        gains.append(float(small()._best(known, model).mean()))
    assert (gains[1] < gains[0]) == counts


# --- large spaces ---


def large() -> tuple[Space, Advisor]:
    space = load_space("llama-tiny")
    return space, advisor_of(0, space, grant=Allowance(10**12))


def planted(space: Space, seed: int, count: int) -> Roster:
    rng = random.Random(seed)
    rate = {"muon": 0.0, "adamw": 0.3}
    points = [space.sample(rng) for _ in range(count)]
    return completed(
        points, lambda own: 3.0 - 0.2 * math.log2(float(own["width"]) / 32) + rate[str(own["optimizer"])], space
    )


def test_a_large_space_is_weighed_by_a_part_of_it_and_beside_its_front() -> None:
    space, advisor = large()
    assert space.size > POOL and 100 < len(advisor._pool) <= POOL
    roster = planted(space, 0, 12)
    known = advisor._beliefs.known(roster)
    beside = advisor._neighbours(known, 12)
    front = [
        own
        for own, kept in zip(roster, front_mask([(own.val_bpb, own.costs[COST]) for own in roster]), strict=True)
        if kept
    ]
    assert 10 < len(beside) <= NEIGHBOURS

    def apart(knobs: Knobs, other: Knobs) -> int:
        return sum(knobs[name] != other[name] for name in knobs if name in other)

    assert all(min(apart(own.knobs, other.knobs) for other in front) <= 2 for own in beside)
    assert {own.id for own in advisor._neighbours(known, 13)} != {own.id for own in beside}, "drawn anew"
    assert [own.id for own in advisor._neighbours(known, 12)] == [own.id for own in beside]


def test_neighbours_are_proposed_too() -> None:
    """Where the pool is used up, and where one of them is the best."""
    space, advisor = large()
    roster = planted(space, 1, 12)
    pool = {own.id for own in advisor._pool}
    knobs = advisor.propose(roster, taken_by(roster) | pool, 5)
    assert knobs is not None and space.decode(knobs).id not in pool
    assert APPRAISER.admits(space.decode(knobs), Allowance(10**12))
    assert advisor.propose(roster_of([]), pool, 5) is None, "there is no front yet"


def test_a_small_space_has_no_neighbours() -> None:
    assert SPACE.size == len(POINTS) <= POOL and len(small()._pool) == len(POINTS)
    assert small()._neighbours(small()._beliefs.known(completed(drawn(0, 9))), 1) == []


# --- many candidates ---


def test_a_thousand_losses_are_not_all_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proposal's time grows with the cube of what the model holds."""
    space, advisor = large()
    roster, fit, sizes = planted(space, 2, 1000), nas.belief.fit, list[int]()

    def counting(inputs: Any, *of: Any) -> Surrogate:
        sizes.append(len(inputs))
        return fit(inputs, *of)

    monkeypatch.setattr(nas.belief, "fit", counting)
    assert advisor.propose(roster, taken_by(roster), 1000) is not None
    assert sizes == [LEARNED_FROM]


def test_the_outlook_is_that_of_the_losses() -> None:
    roster = completed(drawn(3, 9))
    for own in list(roster):
        roster.add_point(point_of(own.number, 0.25, loss_of(own.knobs) + 0.5))
    large_one: Knobs = {"depth": 4, "width": 96, "vocabulary": 512, "optimizer": "muon"}
    record = own_of(9, large_one)
    roster.add(record)
    outlook = small().outlook(roster, record, 0.25, loss_of(large_one) + 0.5)
    assert outlook is not None and outlook.mean == pytest.approx(loss_of(large_one), abs=0.2)
    assert outlook.best == min(own.val_bpb for own in roster if own.val_bpb is not None)
    assert small().outlook(roster, replace(record, number=77), 0.25, 2.0) is None


# --- what further search is expected to bring ---

LIMITS = Limits(params=200_000)


def searched(count: int, loss: Callable[[Knobs], float] = loss_of) -> tuple[Advisor, Roster]:
    """So many proposals that each ended where it was planted."""
    advisor, roster = advisor_of(limits=LIMITS), roster_of([])
    for number in range(count):
        knobs = advisor.propose(roster, taken_by(roster), number)
        assert knobs is not None
        flops = {"train_flops_planned": FLOPS, "train_flops_spent": FLOPS}
        roster.add(own_of(number, knobs, loss(knobs), **flops))
    return advisor, roster


def admitted() -> int:
    return sum(appraiser_of(LIMITS).admits(own, GRANT) for own in map(SPACE.decode, POINTS))


def test_prospects_shrink_as_the_front_is_found() -> None:
    found = []
    for count in (6, 40):
        advisor, roster = searched(count)
        found.append(advisor.prospects(roster, taken_by(roster), 4 * FLOPS, 0))
    first, last = found
    assert first is not None and last is not None
    assert 1 <= last.runs <= 5 and first.flops == 4 * FLOPS
    for own in (first.widening, first.loss, last.widening, last.loss):
        assert 0 <= own.low <= own.high
    assert last.widening.mean < first.widening.mean


@pytest.mark.parametrize("left", [True, False])
def test_there_are_no_prospects_where_nothing_is_known_or_left(left: bool) -> None:
    advisor, roster = searched(0 if left else admitted())
    assert advisor.prospects(roster, taken_by(roster), FLOPS, 0) is None


def test_a_longer_final_run_ends_lower_and_each_addition_brings_less() -> None:
    """By as much as the law says, in whose unit losses are."""
    advisor, roster = searched(20)
    best = min(roster, key=lambda own: own.val_bpb or 9.0)
    grants = [Allowance(FLOPS * times) for times in (4, 5, 20, 21)]
    early, late = (advisor.final_gain(best, more, less) for less, more in (grants[:2], grants[2:]))
    assert early > late > 0
    assert advisor.final_gain(best, grants[3], grants[0]) == pytest.approx(
        early + late + advisor.final_gain(best, grants[2], grants[1])
    )


def test_earlier_searches_say_what_to_begin_with() -> None:
    """Though the front is not theirs."""
    earlier = [own_of(number, knobs, loss_of(knobs)) for number, knobs in enumerate(drawn(5, 40))]
    reference = (WORST, 1e7)
    advisor = Advisor(SPACE, APPRAISER, GRANT, MINIMIZE, reference, 0, earlier)
    roster = completed(drawn(6, 1))
    made = proposals(advisor, roster, 6, loss_of)
    blind = proposals(small(), completed(drawn(6, 1)), 6, loss_of)
    assert sum(own in FRONT for own in made) > sum(own in FRONT for own in blind)
