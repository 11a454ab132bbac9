import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.appraise import Appraiser, Correction
from nas.candidate import Architecture, Candidate, Recipe
from nas.cost import cost
from nas.gate import MINIMUM_STEPS, Admitted, Rejected
from nas.plan import Allowance, Speed, TextFacts
from nas.records import CandidateRecord, CandidateState, Origin
from nas.spec import Limits

CANDIDATE = Candidate(Architecture(1, 16, 2, 8, 2, 48, 256, 32), Recipe(batch_tokens=64))
STEP = cost(CANDIDATE, 2.0).step_flops
SPEED = Speed(1e-9, 0.0, 0.0)
SECONDS = STEP * 1e-9  # of a step


class Meter:
    """Text of two bytes a token, with little to evaluate."""

    def __init__(self, windows: int = 1) -> None:
        self.windows = windows
        self.asked: list[int] = []

    def bytes_per_token(self, vocabulary: int) -> float:
        self.asked.append(vocabulary)
        return 2.0

    def facts(self, vocabulary: int, context: int) -> TextFacts:
        windows, tokens = self.windows, 10 * self.windows
        return TextFacts(2.0, 10_000, windows, tokens, 2 * windows, 2 * tokens, 3 * windows, 3 * tokens)


def appraiser(**own: object) -> Appraiser:
    return Appraiser(Meter(), Limits(), **own)  # type: ignore[arg-type]


def test_costs_are_the_closed_forms_and_a_vocabulary_is_asked_for_once() -> None:
    meter = Meter()
    own = Appraiser(meter, Limits())
    assert own.cost(CANDIDATE) == own.cost(CANDIDATE) == cost(CANDIDATE, 2.0)
    assert meter.asked == [256]


@pytest.mark.parametrize(
    ("allowance", "limits", "broken"),
    [
        (Allowance(MINIMUM_STEPS * STEP), Limits(), []),
        (Allowance(MINIMUM_STEPS * STEP - 1), Limits(), ["compute"]),
        (Allowance(MINIMUM_STEPS * STEP), Limits(params=10), ["params"]),
        (Allowance(MINIMUM_STEPS * STEP, memory=1000), Limits(), ["memory"]),
        (Allowance(10**12, seconds=2 * MINIMUM_STEPS * SECONDS), Limits(), []),
        (Allowance(10**12, seconds=0.9 * MINIMUM_STEPS * SECONDS), Limits(), ["time"]),
        (Allowance(10**12, seconds=0.0), Limits(), ["time"]),
        (Allowance(10**12, seconds=-1.0), Limits(), ["time"]),
        (Allowance(MINIMUM_STEPS * STEP - 1, seconds=1e-9), Limits(), ["time", "compute"]),
    ],
)
def test_the_gate_knows_money_memory_limits_and_time(allowance: Allowance, limits: Limits, broken: list[str]) -> None:
    own = Appraiser(Meter(), limits, SPEED)
    verdict = own.admit(CANDIDATE, allowance)
    assert own.admits(CANDIDATE, allowance) is isinstance(verdict, Admitted) is (not broken)
    if isinstance(verdict, Rejected):
        assert [violation.limit for violation in verdict.violations] == broken
    assert {limit for limit, excess in verdict.excess.items() if excess > 0} == set(broken)
    assert ("time" in verdict.excess) is math.isfinite(allowance.seconds)


def test_without_a_measured_speed_time_refuses_nobody() -> None:
    verdict = appraiser().admit(CANDIDATE, Allowance(10**12, seconds=1e-9))
    assert isinstance(verdict, Admitted) and "time" not in verdict.excess


@given(st.floats(0.5, 20), st.floats(1, 100))
def test_who_is_admitted_in_time_can_make_the_fewest_steps(slowdown: float, steps: float) -> None:
    own = appraiser(speed=SPEED, slowdown=slowdown)
    allowance = Allowance(10**12, seconds=steps * SECONDS)
    plan = own.plan(CANDIDATE, allowance)
    assert own.admits(CANDIDATE, allowance) is (plan.steps >= MINIMUM_STEPS)


def test_a_slower_device_takes_longer_and_a_run_alone_is_faster() -> None:
    allowance = Allowance(100 * STEP)
    first, slow = appraiser(speed=SPEED), appraiser(speed=SPEED, slowdown=3.0, alone=2.0)
    assert slow.plan(CANDIDATE, allowance).seconds == pytest.approx(3 * first.plan(CANDIDATE, allowance).seconds)
    final = slow.plan(CANDIDATE, allowance, final=True)
    assert final.seconds == pytest.approx(1.5 * first.plan(CANDIDATE, allowance, final=True).seconds)
    assert appraiser().plan(CANDIDATE, allowance).seconds == 0.0


def test_a_final_plan_scores_the_test_split() -> None:
    own, allowance = appraiser(), Allowance(100 * STEP)
    plan, final = own.plan(CANDIDATE, allowance), own.plan(CANDIDATE, allowance, final=True)
    assert final.steps == plan.steps == 100
    assert final.eval_flops - plan.eval_flops == pytest.approx(plan.eval_flops * 3 / 5)  # 3 rungs, then 2 and 3 more


@given(st.integers(0, 10**9), st.integers(0, 50))
def test_a_final_plan_stays_within_its_money(flops: int, windows: int) -> None:
    """Or makes no step."""
    own = Appraiser(Meter(windows), Limits())
    plan = own.final_plan(CANDIDATE, Allowance(flops))
    assert plan.flops <= flops or plan.steps == 0
    if plan.steps > 8:
        assert flops - plan.flops < plan.step_flops, "all of it"


def test_a_final_run_is_scaled_to_what_it_can_train() -> None:
    own = appraiser(speed=SPEED)
    same, plan = own.final_run(CANDIDATE, 100 * STEP, Allowance(0))
    assert (same, plan.steps) == (CANDIDATE, 0)
    large, plan = own.final_run(CANDIDATE, 100 * STEP, Allowance(10_000 * STEP))
    assert large.architecture.width > CANDIDATE.architecture.width
    assert 9_000 * STEP < plan.flops <= 10_000 * STEP
    hurried, plan = own.final_run(CANDIDATE, 100 * STEP, Allowance(10_000 * STEP, seconds=200 * SECONDS))
    assert hurried.architecture.width < large.architecture.width, "what time allows counts, not what money would"
    assert plan.seconds <= 200 * SECONDS and plan.steps >= MINIMUM_STEPS
    lean, _ = own.final_run(CANDIDATE, 100 * STEP, Allowance(10_000 * STEP, memory=800_000))
    assert own.admits(lean, Allowance(10_000 * STEP, memory=800_000))


RECORD = CandidateRecord(
    "s", 0, "id", Origin.PROPOSED, CandidateState.COMPLETED, 0.0, {}, plan={"seconds": 2.0}, seconds=6.0
)


@pytest.mark.parametrize(
    ("records", "slowdown"),
    [
        ([RECORD], 3.0),
        ([RECORD, replace(RECORD, seconds=2.0)], 3.0),
        ([RECORD, replace(RECORD, seconds=2.0), replace(RECORD, seconds=2.2)], 1.1),
        ([replace(RECORD, state=CandidateState.STOPPED)], 1.0),
        ([replace(RECORD, time_bound=True)], 1.0),
        ([replace(RECORD, origin=Origin.FINAL)], 1.0),
        ([replace(RECORD, plan={"seconds": 0.0})], 1.0),
    ],
)
def test_the_speed_is_corrected_by_the_median_of_whole_runs(records: list[CandidateRecord], slowdown: float) -> None:
    """Of runs that were planned side by side."""
    own = appraiser(speed=SPEED)
    correction = Correction(own)
    for number in range(len(records)):
        correction.started(number)
    for number, record in enumerate(records):
        correction.ended(replace(record, number=number))
    assert own.slowdown == pytest.approx(slowdown)


def test_a_prediction_that_was_corrected_already_counts_with_its_correction() -> None:
    own = appraiser(speed=SPEED)
    correction = Correction(own)
    for number, predicted in enumerate((2.0, 6.0, 6.0)):
        correction.started(number)
        correction.ended(replace(RECORD, number=number, plan={"seconds": predicted}))
        assert own.slowdown == pytest.approx(3.0)
