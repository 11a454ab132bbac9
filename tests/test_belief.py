"""What is believed of losses at the end, and where a run is expected to end against those that cost no more."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nas.belief import DIVERGED, LEAST_ENDS, Beliefs
from nas.records import CandidateRecord, CandidateState, Origin
from nas.roster import Roster
from tests.rosters import COST, POINTS, encoding_of, record_of, roster_of

WORST = 4.0
COSTS = {COST: 100.0}


def beliefs(**own: Any) -> Beliefs:
    return Beliefs(encoding_of(), [COST], WORST, **own)


def done(number: int, loss: float, cost: float = 100.0) -> CandidateRecord:
    return record_of(number, POINTS[7 * number % len(POINTS)], loss, costs={COST: cost})


def test_what_each_state_stands_for() -> None:
    records = [
        *(done(number, 2.0 + 0.1 * number) for number in range(4)),
        record_of(4, POINTS[4], costs=COSTS, state=CandidateState.STOPPED),
        record_of(5, POINTS[5], costs=COSTS, state=CandidateState.DIVERGED),
        record_of(6, POINTS[6], costs=COSTS),  # in training, nothing reported
    ]
    losses = {number: {0.125: 3.0 + 0.1 * number} for number in range(4)} | {4: {0.125: 3.2}}
    roster = roster_of(records, losses)
    own = beliefs()
    belief = own.belief(roster, own.known(roster))
    assert list(belief.losses[:4]) == [2.0, 2.1, 2.2, 2.3] and not belief.doubt[:4].any()
    assert belief.losses[4] == pytest.approx(2.2, abs=0.1) and belief.doubt[4] > 0  # all lost 1.0 from there on
    assert (belief.losses[5], belief.doubt[5]) == (WORST, DIVERGED)
    assert len(belief) == 6
    assert np.allclose(belief.costs, math.log(100))


@pytest.mark.parametrize(
    "record",
    [
        replace(done(0, 2.0), state=CandidateState.REJECTED),
        replace(done(0, 2.0), state=CandidateState.FAILED),
        replace(done(0, 2.0), state=CandidateState.CANCELLED),
        replace(done(0, 2.0), origin=Origin.FINAL),
        replace(done(0, 2.0), knobs={}),
        replace(done(0, 2.0), costs={}),
    ],
    ids=["rejected", "failed", "cancelled", "final", "outside", "costs not known"],
)
def test_what_teaches_nothing(record: CandidateRecord) -> None:
    assert beliefs().known(roster_of([record])) == []


def test_earlier_searches_teach_the_model_and_are_not_known() -> None:
    earlier = [done(number, 2.0 + number) for number in range(3)]
    own, roster = beliefs(earlier=[*earlier, replace(done(3, 2.0), costs={})]), roster_of([done(9, 3.5)])
    known = own.known(roster)
    assert [one.record.number for one in known] == [9]
    assert sorted(own.belief(roster, known).losses) == [2.0, 3.0, 3.5, 4.0]


# --- where a run is expected to end ---


def searched(loss: float, ends: int = 8, cost: float = 100.0) -> Roster:
    """Completed runs that all lost 1.0 after p = 1/4, of which the best ended at 2.0, and one in training."""
    records = [done(number, 2.0 + 0.05 * number) for number in range(ends)]
    records.append(record_of(ends, POINTS[5], costs={COST: cost}))
    losses = {number: {0.25: 3.0 + 0.05 * number} for number in range(ends)}
    return roster_of(records, {**losses, ends: {0.25: loss}})


@pytest.mark.parametrize(("ends", "known"), [(LEAST_ENDS - 1, False), (LEAST_ENDS, True)])
def test_nothing_is_expected_before_enough_were_completed(ends: int, known: bool) -> None:
    assert (beliefs().outlook(searched(3.5, ends), ends, 0.25, 3.5) is not None) is known


def test_a_bad_curve_is_expected_to_end_badly() -> None:
    good, bad = (beliefs().outlook(searched(loss), 8, 0.25, loss) for loss in (3.0, 3.6))
    assert good is not None and bad is not None
    assert good.mean < bad.mean and (good.best, good.number) == (2.0, 0) == (bad.best, bad.number)
    assert bad.mean - 2 * bad.deviation > bad.best > good.mean - 2 * good.deviation


def test_there_is_nothing_to_beat_where_all_others_cost_more() -> None:
    assert beliefs().outlook(searched(3.6, cost=99.0), 8, 0.25, 3.6) is None


def test_what_a_run_reported_itself_is_counted_once() -> None:
    """The model is asked without it."""
    with_point, without = searched(3.6), searched(3.6)
    without._losses.pop(8)
    assert beliefs().outlook(with_point, 8, 0.25, 3.6) == beliefs().outlook(without, 8, 0.25, 3.6)


def test_a_candidate_that_is_not_known_has_no_outlook() -> None:
    assert beliefs().outlook(searched(3.6), 77, 0.25, 3.6) is None
