"""What is proposed: on a planted loss, and what must hold whatever the losses are."""

import random
from collections.abc import Callable

import numpy as np
import pytest

from nas.advise import NEIGHBOURS, POOL, Advisor
from nas.appraise import Appraiser
from nas.candidate import Candidate
from nas.pareto import front_mask
from nas.plan import Allowance
from nas.records import CandidateRecord, CandidateState, CurvePoint
from nas.roster import Roster
from nas.space import Knobs, Space, load_space
from nas.spec import Limits
from tests.rosters import COST, FLOPS, POINTS, SPACE, Meter, law, record_of, store_of

MINIMIZE = ("val_bpb", COST)
REFERENCE = (4.0, 1e8)
GRANT = Allowance(FLOPS)
LIMITS = Limits(params=200_000)


def appraiser(limits: Limits = LIMITS) -> Appraiser:
    return Appraiser(Meter(), limits)


def advisor(space: Space = SPACE, seed: int = 0, limits: Limits = LIMITS) -> Advisor:
    return Advisor(space, appraiser(limits), GRANT, MINIMIZE, REFERENCE, seed)


def planted(candidate: Candidate) -> float:
    """Smooth over the space; AdamW is worse, and four layers are too many."""
    own, worse = candidate.architecture, 0.1 * (candidate.recipe.optimizer == "adamw")
    return 1.5 + 0.05 * law(candidate) + worse + 0.05 * (own.depth - 2) ** 2


class Play:
    """A search in which each proposal ends at its planted loss."""

    def __init__(self, own: Advisor, space: Space = SPACE) -> None:
        self.advisor, self.space, self.taken, self.roster = own, space, set[str](), Roster(store_of(), "s")

    def start(self, knobs: Knobs) -> CandidateRecord:
        candidate = self.space.decode(knobs)
        costs = appraiser().cost(candidate).to_dict()
        record = record_of(len(self.roster), knobs, space=self.space, costs=costs, train_flops_planned=FLOPS)
        self.taken.add(candidate.id)
        self.roster.add(record)
        return record

    def end(self, record: CandidateRecord) -> None:
        loss = planted(Candidate.from_dict(record.candidate))
        spent = {"train_flops_spent": FLOPS, "val_bpb": loss}
        self.roster.update(record.number, state=CandidateState.COMPLETED, **spent)
        self.roster.add_point(CurvePoint("s", record.number, 0, 10, 0.25, 1, 1.0, val_bpb=loss + 1, rung=0.25))

    def propose(self) -> Knobs:
        knobs = self.advisor.propose(self.roster, self.taken, len(self.roster))
        assert knobs is not None
        return knobs

    def run(self, count: int, choose: Callable[[], Knobs] | None = None) -> "Play":
        for _ in range(count):
            self.end(self.start((choose or self.propose)()))
        return self


def admitted() -> list[Candidate]:
    return [own for own in map(SPACE.decode, POINTS) if appraiser().admits(own, GRANT)]


def true_front() -> set[str]:
    own = admitted()
    values = [[planted(one), appraiser().cost(one).flops_per_byte] for one in own]
    return {one.id for one, kept in zip(own, front_mask(values), strict=True) if kept}


def test_the_front_is_found_with_a_part_of_the_space() -> None:
    front = true_front()
    found = front & Play(advisor()).run(30).taken
    by_lot = []
    for seed in range(10):
        rng = random.Random(seed)
        drawn = rng.sample([own.id for own in admitted()], 30)
        by_lot.append(len(front & set(drawn)))
    assert len(front) > 3 and len(found) >= 0.8 * len(front)
    assert len(found) > np.mean(by_lot) + 2 * np.std(by_lot)


def test_only_what_is_new_and_admitted_is_proposed_and_at_last_nothing() -> None:
    play, allowed = Play(advisor()), {own.id for own in admitted()}
    assert 20 < len(allowed) < len(POINTS)
    play.run(len(allowed))
    assert play.taken == allowed
    assert play.advisor.propose(play.roster, play.taken, 0) is None


def test_before_anything_is_known_the_law_is_followed() -> None:
    first = SPACE.decode(Play(advisor()).propose())
    assert law(first) == min(map(law, admitted()))


def test_an_advisor_that_is_made_again_goes_on_as_if_it_had_never_died() -> None:
    play = Play(advisor()).run(12)
    assert advisor().propose(play.roster, play.taken, 12) == play.propose()


def test_what_is_in_training_counts_with_where_it_is_expected_to_end() -> None:
    play = Play(advisor()).run(12)
    first = play.start(play.propose())
    second = play.propose()
    assert SPACE.decode(second).id != first.id
    assert len(play.roster) == 13


@pytest.mark.parametrize("minimize", [("val_bpb",), ("val_bpb", COST, "params")])
def test_any_number_of_costs(minimize: tuple[str, ...]) -> None:
    own = Advisor(SPACE, appraiser(), GRANT, minimize, (4.0, 1e8, 1e7)[: len(minimize)], 0)
    play = Play(own).run(12)
    assert len(play.taken) == 12


def test_a_space_that_is_too_large_to_weigh_whole() -> None:
    space = load_space("llama-tiny")
    own = advisor(space, limits=Limits())
    assert space.size > POOL
    play = Play(own, space).run(8)
    neighbours = own._neighbours(own._beliefs.known(play.roster), 3)
    assert 0 < len(neighbours) <= NEIGHBOURS
    assert neighbours != own._neighbours(own._beliefs.known(play.roster), 4)
    play.run(3)
    assert advisor(space, limits=Limits()).propose(play.roster, play.taken, 11) == play.propose()


# --- what further search is expected to bring ---


def test_prospects_shrink_as_the_front_is_found() -> None:
    early, late = Play(advisor()).run(6), Play(advisor()).run(40)
    first, last = (own.advisor.prospects(own.roster, own.taken, 4 * FLOPS, 0) for own in (early, late))
    assert first is not None and last is not None
    assert 1 <= last.runs <= 5 and first.flops == 4 * FLOPS
    for own in (first.widening, first.loss, last.widening, last.loss):
        assert 0 <= own.low <= own.high
    assert last.widening.mean < first.widening.mean


def test_there_are_no_prospects_where_nothing_is_known_or_left() -> None:
    nothing, everything = Play(advisor()), Play(advisor()).run(len(admitted()))
    assert nothing.advisor.prospects(nothing.roster, nothing.taken, FLOPS, 0) is None
    assert everything.advisor.prospects(everything.roster, everything.taken, FLOPS, 0) is None


def test_a_longer_final_run_ends_lower_and_each_addition_brings_less() -> None:
    play = Play(advisor()).run(20)
    best = min(play.roster, key=lambda own: own.val_bpb or 9.0)
    grants = [Allowance(FLOPS * times) for times in (4, 5, 20, 21)]
    early, late = (play.advisor.final_gain(play.roster, best, more, less) for less, more in (grants[:2], grants[2:]))
    assert early > late > 0
