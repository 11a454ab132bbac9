import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.appraise import Appraiser, Correction
from nas.calibration import Calibration, DecodeFit, MemoryFit, TimeFit, Trace
from nas.candidate import Architecture, Candidate, Recipe
from nas.cost import LOGITS_CHUNKS, cost, memory_bound
from nas.gate import MINIMUM_STEPS, Admitted, Rejected
from nas.measure.tracer import Tracer
from nas.plan import Allowance, Compiles, Layout, Speed, TextFacts, bound, step_flops
from nas.predict import Predictor
from nas.records import CandidateRecord, CandidateState, Origin, with_measured
from nas.space import Space, load_space
from nas.spec import LATENCY, LOSS, OBJECTIVES, PEAK_MEMORY, TRAIN_SECONDS, Limits
from tests.profiles import FINGERPRINT, Written, profile_of, trace_of

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


def test_a_slower_device_takes_longer() -> None:
    allowance = Allowance(100 * STEP)
    first, slow = appraiser(speed=SPEED), appraiser(speed=SPEED, slowdown=3.0)
    for final in (False, True):
        expected = 3 * first.plan(CANDIDATE, allowance, final=final).seconds
        assert slow.plan(CANDIDATE, allowance, final=final).seconds == pytest.approx(expected) and expected
    assert appraiser().plan(CANDIDATE, allowance).seconds == 0.0


def test_a_final_plan_scores_the_test_split() -> None:
    own, allowance = appraiser(), Allowance(100 * STEP)
    plan, final = own.plan(CANDIDATE, allowance), own.plan(CANDIDATE, allowance, final=True)
    assert final.steps == plan.steps == 100
    assert final.eval_flops - plan.eval_flops == pytest.approx(plan.eval_flops * 3 / 6)  # 4 rungs, then 2 and 3 more


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


# --- with predictions ---

BOUND = memory_bound(CANDIDATE, 2)
"""Of the plain step by closed forms; there is one layout with all sequences, one with each by itself, and the same
computed again. Its logits are fewer than any chunk."""
LEANEST = Layout(1, True, LOGITS_CHUNKS["cpu"][-1])


def traced(candidate: Candidate, layout: Layout) -> Trace:
    """A million FLOPs a pass and as many again with recompute; 1000 bytes a sequence, half of them with recompute."""
    passes = candidate.sequences // layout.micro_batch
    each, times = (500, 2) if layout.recompute else (1000, 1)
    return trace_of(each * layout.micro_batch, 10**6 * times * passes)


PROFILE = profile_of(MemoryFit(100.0, 1.0, 0.5), TimeFit(per_flop=1e-6))
"""A pass takes a second."""
ALONE = profile_of(MemoryFit(10.0**9), TimeFit(per_flop=0.25e-6))


def predicting(
    answer: Callable[[Candidate, Layout], Trace] = traced, **own: object
) -> tuple[Appraiser, list[tuple[Candidate, Layout]]]:
    """And what its tracer was asked for."""
    tracer = Written(answer)
    return appraiser(predictor=Predictor(tracer, PROFILE, ALONE), **own), tracer.asked


@pytest.mark.parametrize(
    ("memory", "layout", "bytes_"),
    [
        (None, Layout(2), 2100),  # 100 + 2000
        (BOUND, Layout(2), 2100),
        (BOUND // 2, Layout(2), 2100),  # which the closed form would not have let pass
    ],
)
def test_a_layout_by_what_is_predicted(memory: int | None, layout: Layout, bytes_: int) -> None:
    own, asked = predicting()
    assert own.layout(CANDIDATE, memory) == (layout, bytes_)
    assert asked == [(CANDIDATE, layout)]


@pytest.mark.parametrize(
    ("factor", "layout", "admitted"),
    [
        (1, Layout(2), True),
        (100, Layout(1), True),
        (250, Layout(1, recompute=True), True),
        (1000, LEANEST, False),
    ],
)
def test_the_gate_by_predicted_memory(factor: int, layout: Layout, admitted: bool) -> None:
    """Of a step that takes more the larger the factor, within 200 kB: factor x (1000 or 500 a sequence)."""

    def larger(candidate: Candidate, layout: Layout) -> Trace:
        trace = traced(candidate, layout)
        return trace_of(factor * trace.peak_bytes, trace.flops)

    own, asked = predicting(larger)
    memory = 200_000
    verdict = own.admit(CANDIDATE, Allowance(100 * STEP, memory=memory))
    assert isinstance(verdict, Admitted) is admitted
    assert (verdict.excess["memory"] > 0) is not admitted
    assert (CANDIDATE, layout) in asked
    if isinstance(verdict, Rejected):
        assert [own.limit for own in verdict.violations] == ["memory"]
        assert verdict.violations[0].value == 100 + factor * 500


@pytest.mark.parametrize(
    ("allowance", "limits", "asks"),
    [
        (Allowance(100 * STEP, memory=10**9), Limits(), True),
        (Allowance(100 * STEP, memory=BOUND // 2), Limits(), True),
        (Allowance(100 * STEP), Limits(), False),  # nothing to be compared with
        (Allowance(STEP, memory=10**9), Limits(), False),
        (Allowance(STEP, memory=BOUND // 2), Limits(), False),
        (Allowance(100 * STEP, memory=10**9), Limits(params=10), False),
        (Allowance(100 * STEP, 1e-9, memory=10**9), Limits(), False),
        (Allowance(100 * STEP, 1e9, memory=10**9), Limits(), True),
    ],
)
def test_only_who_is_in_all_else_admitted_is_traced(allowance: Allowance, limits: Limits, asks: bool) -> None:
    own, asked = predicting(speed=SPEED)
    own = replace(own, limits=limits)
    verdict = own.admit(CANDIDATE, allowance)
    assert bool(asked) is asks
    if asks:
        assert isinstance(verdict, Admitted), "it is predicted to take 2 kB"
    else:
        assert verdict == own.rough().admit(CANDIDATE, allowance)


def test_the_rough_one_traces_nobody() -> None:
    own, asked = predicting(speed=SPEED, slowdown=2.0)
    rough, plain = own.rough(), appraiser(speed=SPEED, slowdown=2.0)
    allowance = Allowance(100 * STEP, seconds=1e6, memory=BOUND)
    assert rough.predictor is None and rough.rough() is rough and plain.rough() is plain
    assert rough.admit(CANDIDATE, allowance) == plain.admit(CANDIDATE, allowance)
    assert rough.plan(CANDIDATE, allowance) == plain.plan(CANDIDATE, allowance)
    assert asked == [] and own.predictor is not None


@given(st.floats(0.1, 20), st.integers(0, 1000))
def test_a_plan_takes_predicted_seconds_times_the_slowdown(slowdown: float, steps: int) -> None:
    """Of a second for a step; scoring takes what its FLOPs take in steps."""
    own, _ = predicting(slowdown=slowdown)
    plan = own.plan(CANDIDATE, Allowance(steps * STEP, memory=2 * 10**6))
    assert (plan.steps, plan.layout, plan.memory_bytes) == (steps, Layout(2), 2100)
    assert plan.eval_flops and plan.seconds == pytest.approx(slowdown * (steps + plan.eval_flops / STEP))


@pytest.mark.parametrize(
    ("factor", "layout", "step"),
    [(1, Layout(2), 1), (100, Layout(1), 2), (250, Layout(1, recompute=True), 4)],
)
def test_lean_layouts_are_predicted_to_be_slower(factor: int, layout: Layout, step: int) -> None:
    def larger(candidate: Candidate, layout: Layout) -> Trace:
        trace = traced(candidate, layout)
        return trace_of(factor * trace.peak_bytes, trace.flops)

    own, _ = predicting(larger)
    plan = own.plan(CANDIDATE, Allowance(100 * STEP, memory=200_000))
    assert plan.layout == layout
    assert plan.seconds == pytest.approx(step * (100 + plan.eval_flops / STEP))


def test_a_final_run_has_the_device_to_itself() -> None:
    """It takes a quarter of the time; its memory is that of the device all the same."""
    own, _ = predicting(slowdown=2.0)
    allowance = Allowance(100 * STEP, memory=10**6)
    plan, final = own.plan(CANDIDATE, allowance), own.plan(CANDIDATE, allowance, final=True)
    assert plan.seconds == pytest.approx(2 * (100 + plan.eval_flops / STEP))
    assert final.seconds == pytest.approx(2 * 0.25 * (100 + final.eval_flops / STEP))
    assert final.memory_bytes == plan.memory_bytes == 2100


@pytest.mark.parametrize(
    ("memory", "final", "probes"),
    [
        (None, False, 0),
        (300_150, False, 0),
        (300_149, False, 3),
        (200_100, False, 3),
        (None, True, 3),
        (10**6, True, 3),
    ],
)
def test_what_is_not_sure_to_fit_is_probed_first(memory: int | None, final: bool, probes: int) -> None:
    """200100 bytes, give or take half of them; and every final run."""
    own, _ = predicting(lambda *step: trace_of(100 * traced(*step).peak_bytes, traced(*step).flops))
    plan = own.plan(CANDIDATE, Allowance(100 * STEP, memory=memory), final=final)
    plain = appraiser().plan(CANDIDATE, Allowance(100 * STEP), final=final)
    assert plan.probe_steps == probes and plain.probe_steps == 0
    assert (plan.memory_bytes, plan.micro_batch) == (200_100, 2)
    assert plan.eval_flops - plain.eval_flops == probes * STEP


def test_time_bounds_a_predicted_plan() -> None:
    own, _ = predicting(speed=SPEED)
    plan = own.plan(CANDIDATE, Allowance(100 * STEP, seconds=50.0))
    assert plan.bound == "time" and plan.steps == int(50 - plan.eval_flops / STEP)
    assert 49 < plan.seconds <= 50


# --- corrections ---

RECORD = CandidateRecord(
    "s",
    0,
    "id",
    Origin.PROPOSED,
    CandidateState.COMPLETED,
    0.0,
    {},
    plan={"seconds": 2.0, "memory_bytes": 1000},
    seconds=6.0,
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
        ([replace(RECORD, plan={"seconds": 0.0, "memory_bytes": 1000})], 1.0),
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
        correction.ended(replace(RECORD, number=number, plan={"seconds": predicted, "memory_bytes": 1000}))
        assert own.slowdown == pytest.approx(3.0)


# --- caps and shares ---


def on_gpu(operators: int) -> Appraiser:
    """A pass computes for a second and waits one for each operator; 100 bytes are the context's."""

    def launched(candidate: Candidate, layout: Layout) -> Trace:
        return trace_of(1000, 10**6, operators=operators)

    profile = profile_of(MemoryFit(), TimeFit(per_flop=1e-6, per_operator=1.0), context_bytes=100)
    profile = replace(profile, fingerprint=replace(FINGERPRINT, backend="cuda", memory_bytes=10_000))
    return appraiser(predictor=Predictor(Written(launched), profile, profile))


@pytest.mark.parametrize(("operators", "share"), [(0, 1.0), (1, 0.5), (3, 0.25), (99, 0.11)])
def test_a_plan_takes_its_share_of_a_gpu(operators: int, share: float) -> None:
    """At least its memory, 1100 bytes of 10000; the final run has it to itself."""
    own, allowance = on_gpu(operators), Allowance(100 * STEP)
    assert own.plan(CANDIDATE, allowance).share == share
    assert replace(own, crowding=2.0).plan(CANDIDATE, allowance).share == min(1.0, 2 * share)
    assert own.plan(CANDIDATE, allowance, final=True).share == 1.0


def test_on_a_cpu_threads_are_what_is_shared() -> None:
    own, _ = predicting()
    assert own.plan(CANDIDATE, Allowance(100 * STEP)).share == 1.0


@pytest.mark.parametrize(
    ("memory", "share", "cap"),
    [(None, 1.0, 9_900), (None, 0.25, 2_400), (5_000, 1.0, 4_900), (5_000, 0.25, 2_400)],
)
def test_tensors_may_take_what_is_allowed_of_the_share_less_the_context(
    memory: int | None, share: float, cap: int
) -> None:
    assert on_gpu(0).cap(Allowance(STEP, memory=memory), share) == cap


@given(
    st.lists(st.tuples(st.integers(1, 2**35), st.integers(0, 200)), min_size=1, max_size=40),
    st.integers(2**33, 2**38),
    st.integers(0, 2**29),
    st.floats(0.0, 0.5),
    st.floats(1.0, 3.0),
    st.none() | st.integers(2**28, 2**36),
)
def test_caps_of_runs_side_by_side_come_to_no_more_than_the_device_has(
    steps: list[tuple[int, int]], memory: int, context: int, error: float, crowding: float, limit: int | None
) -> None:
    """Whatever the runs: each joins those that are there if its share leaves them theirs. And each has room for what it
    was predicted to take."""
    fit = profile_of(MemoryFit(error=error), TimeFit(per_flop=1e-6, per_operator=1.0), context_bytes=context)
    profile = replace(fit, fingerprint=replace(FINGERPRINT, backend="cuda", memory_bytes=memory))
    allowance = Allowance(100 * STEP, memory=limit)
    shares, capped = 0.0, 0
    for peak, operators in steps:
        tracer = Written(lambda *_, peak=peak, operators=operators: trace_of(peak, 10**6, operators=operators))  # type: ignore[misc]
        own = appraiser(predictor=Predictor(tracer, profile, profile), crowding=crowding)
        plan = own.plan(CANDIDATE, allowance)
        cap = own.cap(allowance, plan.share)
        assert cap is not None and 0 < plan.share <= 1
        if shares + plan.share <= 1:
            shares, capped = shares + plan.share, capped + cap + context
        if plan.share < 1:
            assert cap + context >= min(plan.memory_bytes - 1, limit or memory)
    assert capped <= memory


def test_on_a_cpu_the_cap_is_what_is_allowed() -> None:
    own, _ = predicting()
    assert [own.cap(Allowance(STEP, memory=memory), 0.5) for memory in (None, 5_000)] == [None, 5_000]
    assert appraiser().cap(Allowance(STEP, memory=5_000), 1.0) == 5_000


# --- probes, and what they teach ---


@pytest.mark.parametrize(
    ("memory", "final", "steps"),
    [
        (None, False, 0),
        (None, True, 3),
        (10**9, False, 0),
        (3_000_149, False, 3),  # 2 000 100 predicted, up to 3 000 150
        (3_000_150, False, 0),
        (3_000_150, True, 3),
    ],
)
def test_who_may_not_fit_is_probed_and_so_is_the_final_run(memory: int | None, final: bool, steps: int) -> None:
    own, _ = predicting(lambda candidate, layout: trace_of(10**6 * layout.micro_batch, 10**6))
    allowance = Allowance(100 * STEP, memory=memory)
    plan, free = own.plan(CANDIDATE, allowance, final=final), appraiser().plan(CANDIDATE, allowance, final=final)
    assert plan.probe_steps == steps
    assert plan.eval_flops == free.eval_flops + steps * STEP


@pytest.mark.parametrize(("measured", "crowding"), [(None, 1.0), (1050, 1.0), (2100, 1.0), (3150, 1.5)])
def test_what_a_probe_measures_corrects_the_predictions(measured: int | None, crowding: float) -> None:
    """And again from the same record: corrections do not pile up."""
    own, _ = predicting()
    plan = own.plan(CANDIDATE, Allowance(100 * STEP))
    costs = with_measured({PEAK_MEMORY: 2100}, {} if measured is None else {PEAK_MEMORY: measured})
    record = CandidateRecord(
        "s", 1, "x", Origin.PROPOSED, CandidateState.REJECTED, 0.0, {}, costs=costs, plan=plan.to_dict()
    )
    for _ in range(2):
        Correction(own).ended(record)
        assert own.crowding == crowding
        assert own.plan(CANDIDATE, Allowance(100 * STEP)).memory_bytes == 2100
    assert own.layout(CANDIDATE, None) == (Layout(2), 2100 * crowding)


@pytest.mark.parametrize("known", [1.0, 2.0])
def test_running_out_of_memory_teaches_too(known: float) -> None:
    """It needed at least what it was allowed; corrections only grow."""
    own, _ = predicting(crowding=known)
    plan = own.plan(CANDIDATE, Allowance(100 * STEP))
    costs = with_measured({PEAK_MEMORY: 2100}, {PEAK_MEMORY: 3150})
    rejected = CandidateRecord(
        "s", 1, "x", Origin.PROPOSED, CandidateState.REJECTED, 0.0, {}, costs=costs, plan=plan.to_dict()
    )
    Correction(own).ended(rejected)
    assert own.crowding == max(known, 1.5)


# --- what it costs, and how fast it writes ---

DECODE = DecodeFit(1e-5, 0.0)
LATENCY_MS = 1e6 * 58e-5 / 2  # 58 operators a token, of two bytes of text


def test_latency_is_told_where_something_is_known_of_it() -> None:
    assert appraiser().latency(CANDIDATE) is None
    assert appraiser(decode=DECODE).latency(CANDIDATE) == pytest.approx(LATENCY_MS)


@pytest.mark.parametrize(
    ("limit", "decode", "admitted"),
    [(None, DECODE, True), (291.0, DECODE, True), (289.0, DECODE, False), (1e-9, None, True)],
)
def test_the_gate_by_predicted_latency(limit: float | None, decode: DecodeFit | None, admitted: bool) -> None:
    own = Appraiser(Meter(), Limits(latency_ms_per_kb=limit), decode=decode)
    verdict = own.admit(CANDIDATE, Allowance(100 * STEP))
    assert isinstance(verdict, Admitted) is own.admits(CANDIDATE, Allowance(100 * STEP)) is admitted
    assert own.rough().admits(CANDIDATE, Allowance(100 * STEP)) is admitted
    if isinstance(verdict, Rejected):
        assert str(verdict) == "latency_ms_per_kb: needs 290 ms, allowed 289 ms (+0%)"


@pytest.mark.parametrize(("decode", "names"), [(None, set()), (DECODE, {LATENCY})])
def test_costs_are_all_that_an_objective_may_name(decode: DecodeFit | None, names: set[str]) -> None:
    own = appraiser(speed=SPEED, decode=decode)
    plan = own.plan(CANDIDATE, Allowance(100 * STEP))
    costs = own.costs(CANDIDATE, plan)
    assert costs.keys() == {*own.cost(CANDIDATE).to_dict(), PEAK_MEMORY, TRAIN_SECONDS, *names}
    assert costs.keys() >= {*OBJECTIVES} - {LOSS} - ({LATENCY} - names)
    assert (costs[PEAK_MEMORY], costs[TRAIN_SECONDS]) == (plan.memory_bytes, pytest.approx(100 * SECONDS))
    assert costs.get(LATENCY) == (None if decode is None else pytest.approx(LATENCY_MS))


@given(st.floats(0.1, 20))
def test_seconds_compare_whatever_was_learned_meanwhile(slowdown: float) -> None:
    early, late = (appraiser(speed=SPEED, slowdown=own) for own in (1.0, slowdown))
    costs = [own.costs(CANDIDATE, own.plan(CANDIDATE, Allowance(100 * STEP))) for own in (early, late)]
    assert costs[0][TRAIN_SECONDS] == pytest.approx(costs[1][TRAIN_SECONDS])


@pytest.mark.parametrize(("measures", "final", "steps"), [(False, False, 0), (True, False, 3), (True, True, 3)])
def test_who_is_to_be_measured_is_probed(measures: bool, final: bool, steps: int) -> None:
    own, _ = predicting(measures_latency=measures)
    assert own.plan(CANDIDATE, Allowance(100 * STEP), final=final).probe_steps == steps


# --- whether it is compiled ---


@pytest.mark.parametrize(
    ("per_flop", "factor", "memory", "compiled"),
    [
        (None, None, None, True),  # nothing was measured: by what the device says of all
        (0.5e-6, 500.0, None, True),  # twice as fast
        (0.99e-6, 1.0, None, False),  # next to nothing
        (2e-6, 1.0, None, False),  # slower
        (0.5e-6, 500.0, 10**7, True),
        (0.5e-6, 500.0, 10**6, True),
        (0.5e-6, 500.0, 10**6 - 1, False),  # a million bytes compiled do not fit
    ],
)
def test_predictions_decide_about_compiling(
    per_flop: float | None, factor: float | None, memory: int | None, compiled: bool
) -> None:
    """Of 1000 steps of a second, where compiling takes 33 s and is said to be twice as fast."""
    fit = None if per_flop is None else Calibration(MemoryFit(0.0, factor or 0.0), TimeFit(per_flop=per_flop))
    profile = replace(PROFILE, compiled=fit)
    own = appraiser(predictor=Predictor(Written(traced), profile, ALONE), compiles=Compiles(33.0, 2.0))
    plan = own.plan(CANDIDATE, Allowance(1000 * STEP, memory=memory))
    assert plan.compile is compiled
    assert plan.memory_bytes == (10**6 if compiled and fit else 2100)
    if compiled:
        assert plan.train_seconds == pytest.approx(33 + 500)


# --- laws of both ---

SIZE = st.integers(0, 10**7)
MORE = st.integers(0, 10**7) | st.none()


@given(
    st.integers(0, 40),
    st.tuples(SIZE, SIZE, SIZE, SIZE, SIZE),
    st.tuples(MORE, MORE, MORE, MORE, MORE),
    st.sampled_from([1.0, 1.5]),
)
@settings(max_examples=200)
def test_a_larger_budget_never_rejects_more(
    index: int, tight: tuple[int, ...], more: tuple[int | None, ...], crowding: float
) -> None:
    """Of compute, time, memory, latency or parameters, by predictions and by closed forms; ``None`` is no limit."""
    candidate = tiny().decode(tiny().uniform(index))
    step = cost(candidate, 2.0).step_flops

    def admits(values: tuple[int | None, ...], *, rough: bool) -> bool:
        compute, milliseconds, memory, latency, params = values
        limits = Limits(params=params, latency_ms_per_kb=latency)
        own, _ = predicting(by_the_bound, speed=SPEED, decode=DECODE, crowding=crowding)
        own = replace(own.rough() if rough else own, limits=limits)
        seconds = math.inf if milliseconds is None else milliseconds / 1000
        return own.admits(candidate, Allowance(10**15 if compute is None else compute * step // 10**5, seconds, memory))

    wide = tuple(None if extra is None else own + extra for own, extra in zip(tight, more, strict=True))
    for rough in (False, True):
        assert admits(wide, rough=rough) or not admits(tight, rough=rough)


@cache
def tiny() -> Space:
    return load_space("llama-tiny")


def by_the_bound(candidate: Candidate, layout: Layout) -> Trace:
    """A third of what the closed form says."""
    return trace_of(bound(candidate, layout) // 3, step_flops(candidate), operators=candidate.sequences)


TRACER = Tracer("cpu", "float32")


@given(st.integers(0, 12), st.integers(2**20, 2**26), st.integers(0, 2**26))
@settings(max_examples=15)
def test_more_memory_never_makes_a_slower_plan(index: int, memory: int, more: int) -> None:
    """By real traces, and what fits is found: none of the leaner layouts needs less than the one where nothing does."""
    candidate = tiny().decode({**tiny().uniform(index), "depth": 1 + index % 2, "context": 128})
    profile = profile_of(MemoryFit(), TimeFit(2e-11, 3e-11, 1e-10, 2e-6))
    own = appraiser(predictor=Predictor(TRACER, profile, profile))
    tight, wide = (own.plan(candidate, Allowance(100 * STEP * 10**4, memory=size)) for size in (memory, memory + more))
    if tight.memory_bytes <= memory:
        assert wide.memory_bytes <= memory + more
        assert own.predictor is not None
        seconds = [own.predictor.seconds(candidate, plan.layout).value for plan in (tight, wide)]
        assert seconds[1] <= seconds[0]
    else:
        assert tight.layout == Layout(1, True, LOGITS_CHUNKS["cpu"][-1])
