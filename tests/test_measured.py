"""Searches whose candidates are measured: memory that runs out, devices that others fill, models that write slowly."""

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial

from nas.adapters.inline_engine import InlineEngine
from nas.calibration import DecodeFit, MemoryFit, TimeFit, Trace
from nas.candidate import Candidate
from nas.comparison import choose
from nas.cost import latency_ms_per_kb
from nas.data.texts import Texts
from nas.errors import CrowdedError
from nas.outcome import OUT_OF_MEMORY_EXCESS, objectives
from nas.pareto import front_mask
from nas.plan import Layout, bound, step_flops
from nas.ports import Assignment
from nas.predict import Predictor
from nas.records import CandidateRecord, CandidateState, Origin, measured_cost, predicted_cost
from nas.search import Search
from nas.train import containment, worker
from nas.train.worker import Probed
from tests.helpers import SMALL, SPEED, World, Worlds, spec_of, study_of
from tests.profiles import Written, profile_of, trace_of

MIB = 2**20


@pytest.fixture
def make(tiny_texts: Texts, tmp_path: Path) -> Iterator[Worlds]:
    worlds = Worlds(tiny_texts, tmp_path)
    yield worlds
    worlds.close()


def trials(world: World) -> dict[int, FrozenTrial]:
    with study_of(world.study) as study:
        told = study.get_trials(deepcopy=False)
    return {trial.user_attrs["number"]: trial for trial in told if "number" in trial.user_attrs}


def outcomes(world: World, number: int) -> list[str]:
    return [own.outcome for own in world.store.attempts("s", number)]


# --- memory that runs out ---

ALLOWED = 256 * MIB
HOPE = 8
"""Times that predictions are too low."""
LARGE = 2**18
WIDE: dict[str, Any] = {
    "knobs": {
        **{"depth": 1, "width": 16, "vocabulary": 256, "head_size": 8, "context": 64},
        **{"batch_tokens": [128, LARGE], "matrix_rate": {"min": 0.3, "max": 3, "log": True}},
    }
}


def hoped(candidate: Candidate, layout: Layout) -> Trace:
    """Far too little memory, and a hundredth of a second for any step."""
    return trace_of(bound(candidate, layout) // HOPE, 10**6)


def hopeful() -> Predictor:
    profile = profile_of(MemoryFit(error=0.01), TimeFit(per_flop=1e-8))
    return Predictor(Written(hoped), profile, profile)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts mappings on Linux alone")
def test_a_search_goes_on_after_one_that_needs_more_than_was_predicted(
    make: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real limits, which real steps break. What was learned from the first has the others laid out leaner."""
    monkeypatch.setattr(containment, "BESIDE_BYTES", 64 * MIB)
    budget = {
        **{"total": {"compute": "200TFLOP", "candidates": 4}, "final": 0},
        "candidate": {"compute": "10TFLOP", "memory": "256MiB", "time": "1s"},
    }
    spec = spec_of(space=WIDE, budget=budget, limits={}, method={"policy": "none"})
    world = make(spec, predictor=hopeful())
    search = world.enter()
    world.run(search)
    large, small = (
        [own for own in world.candidates if (own.candidate["recipe"]["batch_tokens"] == LARGE) is is_large]
        for is_large in (True, False)
    )
    first = large[0]
    assert (first.state, first.train_flops_spent) == (CandidateState.REJECTED, 0)
    predicted = first.plan["memory_bytes"]
    assert first.plan["micro_batch"] == LARGE // 64 and predicted < ALLOWED < HOPE * predicted
    needed = round(ALLOWED * (1 + OUT_OF_MEMORY_EXCESS))
    assert (first.costs["peak_memory"], first.costs["peak_memory_predicted"]) == (needed, predicted)
    assert first.reason.startswith("out of memory, ")
    assert trials(world)[first.number].constraints["peak_memory_measured"] == pytest.approx(OUT_OF_MEMORY_EXCESS)
    crowding = search._devices.appraiser("").crowding
    assert crowding >= needed / predicted > 1
    assert large[1:] and all(own.plan["micro_batch"] < first.plan["micro_batch"] for own in large[1:])
    assert small and {own.state for own in small} == {CandidateState.COMPLETED}
    assert {own.outcome for own in world.store.attempts("s")} <= {"completed", "out_of_memory"}


# --- devices that others fill ---


class Crowd:
    """Fills the device at looks ``begin`` to ``end``."""

    def __init__(self, begin: int, end: int) -> None:
        self.begin, self.end, self.looks = begin, end, 0

    @contextmanager
    def __call__(self, device: str, cap: int | None, *, compiles: bool = False) -> Iterator[None]:
        self.looks += 1
        if self.begin <= self.looks - 1 < self.end:
            raise CrowdedError(f"{device} is used by others")
        yield


def test_while_others_fill_the_device_a_search_waits_and_then_is_the_same(
    make: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often: no attempt is lost, nobody is rejected, and nothing is paid for it."""
    undisturbed = make(spec_of(budget=SMALL)).run()
    crowd = Crowd(2, 8)
    monkeypatch.setattr(worker, "contained", crowd)
    world = make(spec_of(budget=SMALL)).run()
    assert world.fate() == undisturbed.fate()
    trained = [own.number for own in world.candidates if own.plan]
    waited = trained[2]
    assert outcomes(world, waited)[:-1] == 6 * ["interrupted"]
    assert outcomes(world, waited)[-1] == outcomes(undisturbed, waited)[-1] != "lost"
    assert all(len(outcomes(world, number)) == 1 for number in trained if number != waited)
    assert crowd.looks == len(trained) + 6
    events = [(own.kind, own.number) for own in world.store.events("s") if own.kind in ("interrupted", "lost")]
    assert events == 6 * [("interrupted", waited)]
    assert [message for _, message in world.notes].count("cpu is used by others") == 6
    lines, expected = ([line.flops for line in own.store.ledger("s")] for own in (world, undisturbed))
    assert lines == expected


# --- models that write slowly ---

TOKEN = {1: 0.001, 2: 0.003}  # seconds by depth; predicted is a half of it
SLOW = 1500.0  # milliseconds for a kB, which the shallow ones keep
DECODE = DecodeFit(per_operator=0.0005 / 58, per_byte=0.0)


class Prober:
    """Stands for a process that makes real steps."""

    def __init__(self) -> None:
        self.asked: list[Assignment] = []

    def __call__(self, assignment: Assignment, device: str, threads: int) -> Probed:
        self.asked.append(assignment)
        seconds = TOKEN[min(2, assignment.candidate.architecture.depth)] if assignment.latency_limit else None
        return Probed(10 * MIB + assignment.number, seconds)


def predictor() -> Predictor:
    """A second for a GFLOP, and the closed form's memory."""
    profile = profile_of(MemoryFit(error=0.01), TimeFit(per_flop=1e-9), decode=DECODE)
    traced = Written(lambda candidate, layout: trace_of(bound(candidate, layout), step_flops(candidate)))
    return Predictor(traced, profile, profile)


def latent(make: Worlds, **changes: Any) -> World:
    spec = spec_of(**{"minimize": ["val_bpb", "latency_ms_per_kb"], "method": {"policy": "none"}, **changes})
    own = predictor()
    return make(spec, SPEED, predictor=own, decode=own.profile.decode, measures_latency=spec.names_latency)


def engine_of(world: World, prober: Prober) -> InlineEngine:
    return InlineEngine(replace(world.workshop, probe=prober), world.note)


def measured_latency(world: World, record: CandidateRecord) -> float:
    architecture = Candidate.from_dict(record.candidate).architecture
    token_bytes = world.texts.bytes_per_token(architecture.vocabulary)
    return latency_ms_per_kb(TOKEN[min(2, architecture.depth)], token_bytes)


def test_the_front_is_of_what_was_measured(make: Worlds) -> None:
    minimize = ["val_bpb", "latency_ms_per_kb", "peak_memory", "train_seconds"]
    world, prober = latent(make, minimize=minimize), Prober()
    world.run(engine=engine_of(world, prober))
    *searched, final = world.candidates
    completed = [own for own in searched if own.state is CandidateState.COMPLETED]
    assert len(completed) > 3 and {own.number for own in completed} <= {own.number for own in prober.asked}
    for own in (*completed, final):
        assert (
            own.costs["latency_ms_per_kb"]
            == measured_cost(own.costs, "latency_ms_per_kb")
            == measured_latency(world, own)
        )
        assert own.costs["peak_memory"] == measured_cost(own.costs, "peak_memory") == 10 * MIB + own.number
        assert predicted_cost(own.costs, "peak_memory") == own.plan["memory_bytes"]
        assert measured_cost(own.costs, "train_seconds") is None and own.costs["train_seconds"] > 0
        assert predicted_cost(own.costs, "latency_ms_per_kb") < own.costs["latency_ms_per_kb"]
    told = trials(world)
    points = [objectives(world.spec.minimize, own) for own in completed]
    assert [told[own.number].values for own in completed] == points
    assert any(front_mask(points)) and choose(world.spec, searched) in completed


@pytest.mark.parametrize("minimize", [["val_bpb", "params"], ["val_bpb", "latency_ms_per_kb"]])
def test_who_is_slower_than_its_limit_is_rejected_by_what_was_measured(make: Worlds, minimize: list[str]) -> None:
    """And the final run is not: it is measured, and that is said."""
    world, prober = latent(make, minimize=minimize, limits={"latency_ms_per_kb": SLOW}), Prober()
    world.run(engine=engine_of(world, prober))
    *searched, final = world.candidates
    assert {own.state for own in searched} == {CandidateState.COMPLETED, CandidateState.REJECTED}
    told = trials(world)
    for own in searched:
        measured, predicted = measured_latency(world, own), predicted_cost(own.costs, "latency_ms_per_kb")
        assert own.plan and predicted <= SLOW, "the gate had let all of them pass"
        assert (own.state is CandidateState.REJECTED) is (measured > SLOW)
        constraint = told[own.number].constraints.get("latency_ms_per_kb_measured")
        if own.state is CandidateState.REJECTED:
            assert own.costs["latency_ms_per_kb"] == measured
            assert own.reason == f"latency_ms_per_kb: {measured:.3g} ms measured, {SLOW:.3g} ms allowed"
            assert constraint == pytest.approx(measured / SLOW - 1)
            assert own.train_flops_spent == 0 and own.eval_flops == 3 * own.plan["step_flops"], "the probe"
        else:
            assert constraint is None
    assert (final.origin, final.state) == (Origin.FINAL, CandidateState.COMPLETED)
    assert prober.asked[-1].final and prober.asked[-1].latency_limit == math.inf
    warnings = [(own.kind, own.number, own.level) for own in world.store.events("s") if own.kind == "over-limit"]
    over = measured_latency(world, final) > SLOW
    assert warnings == ([("over-limit", final.number, "warning")] if over else [])


def test_a_final_run_that_is_too_slow_is_said_and_kept(make: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its larger model takes longer than any that was tried."""

    class Late(Prober):
        def __call__(self, assignment: Assignment, device: str, threads: int) -> Probed:
            found = super().__call__(assignment, device, threads)
            return replace(found, token_seconds=1.0) if assignment.final else found

    world = latent(make, limits={"latency_ms_per_kb": SLOW})
    world.run(engine=engine_of(world, Late()))
    final = world.candidates[-1]
    assert (final.origin, final.state) == (Origin.FINAL, CandidateState.COMPLETED)
    (said,) = [own for own in world.store.events("s") if own.kind == "over-limit"]
    measured = final.costs["latency_ms_per_kb"]
    assert (said.number, said.level) == (final.number, "warning")
    assert said.message == f"the final run's model takes {measured:.3g} ms for a kB, 1.5e+03 ms are allowed"


def test_nobody_is_measured_where_it_does_not_matter(make: Worlds) -> None:
    world, prober = latent(make, minimize=["val_bpb", "params"], budget=SMALL), Prober()
    world.run(engine=engine_of(world, prober))
    assert [own.final for own in prober.asked] == [True]
    assert all(own.latency_limit is None for own in prober.asked)
    assert all(measured_cost(own.costs, "latency_ms_per_kb") is None for own in world.candidates)


def test_what_was_measured_survives_an_interruption_and_its_driver(
    make: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later attempts measure nothing."""
    world, prober = latent(make, budget=SMALL), Prober()
    monkeypatch.setattr(worker, "contained", Crowd(0, 1))
    looks = iter([False, True])
    engine_of(world, prober).run(world.enter(), lambda: next(looks, True))
    (waiting,) = world.candidates
    assert (waiting.state, outcomes(world, 0)) == (CandidateState.QUEUED, ["interrupted"])
    before = dict(waiting.costs)
    assert measured_cost(before, "latency_ms_per_kb") == measured_latency(world, waiting)
    monkeypatch.setattr(worker, "contained", lambda *_, **__: nullcontext())
    world.run(world.enter(), engine_of(world, prober))
    done = world.candidates[0]
    assert done.state is CandidateState.COMPLETED and done.costs == before
    assert [own.number for own in prober.asked].count(0) == 1


def test_who_was_lost_before_anybody_heard_is_measured_by_the_next_attempt(make: Worlds) -> None:
    world, prober = latent(make, budget=SMALL), Prober()
    lost = world.enter().next()  # the driver dies with its worker
    assert isinstance(lost, Assignment) and lost.latency_limit is not None
    world.run(world.enter(), engine_of(world, prober))
    done = world.candidates[lost.number]
    assert done.state is CandidateState.COMPLETED
    assert measured_cost(done.costs, "latency_ms_per_kb") == measured_latency(world, done)
    assert [(own.number, own.attempt) for own in prober.asked].count((lost.number, 1)) == 1


def test_candidates_in_training_compare_by_what_was_predicted(make: Worlds) -> None:
    """Whether they were measured or not: else who was measured first would be judged by another cost."""
    world, prober = latent(make, method={"policy": "default"}), Prober()
    world.run(engine=engine_of(world, prober))
    decisions = world.store.decisions("s")
    assert any(decision.inputs["peers"] for decision in decisions)
    records = {own.number: own for own in world.candidates}
    for decision in decisions:
        for standing in (decision.inputs["own"], *decision.inputs["peers"]):
            costs = records[standing["number"]].costs
            assert standing["costs"] == [predicted_cost(costs, "latency_ms_per_kb")]
            assert standing["costs"] != [costs["latency_ms_per_kb"]], "all of them were measured"


def test_the_driver_that_comes_after_knows_what_was_learned(make: Worlds) -> None:
    """Of memory: a probe measured a half more than was predicted of the first."""

    class Fuller(Prober):
        def __call__(self, assignment: Assignment, device: str, threads: int) -> Probed:
            return Probed(round(1.5 * assignment.plan.memory_bytes), 0.001)

    world = latent(make, budget=SMALL)
    world.run(engine=engine_of(world, Fuller()))
    after: Search = world.enter()
    assert after._devices.appraiser("").crowding == pytest.approx(1.5, rel=1e-3)
