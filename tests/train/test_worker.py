"""An assignment carried out by the real training."""

import math
import resource
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nas.candidate import Architecture, Candidate, Recipe
from nas.cost import cost, memory_bound
from nas.curve import RUNGS
from nas.data.depot import Depot
from nas.data.evaluation import EvaluationSet
from nas.data.texts import Texts
from nas.errors import CrowdedError, ProbeError
from nas.plan import Allowance, plan_run
from nas.ports import Assignment, Outcome
from nas.records import CurvePoint, Verdict
from nas.train import worker
from nas.train.artifact import FILES, load_artifact
from nas.train.checkpoint import CHECKPOINT
from nas.train.containment import BESIDE_BYTES
from nas.train.worker import Probed, Workshop, carry_out, is_out_of_memory
from nas.units import format_bytes

ARCHITECTURE = Architecture(
    depth=1, width=16, heads=2, head_size=8, kv_heads=1, mlp_width=24, vocabulary=256, context=32
)
CANDIDATE = Candidate(ARCHITECTURE, Recipe(batch_tokens=64))
WILD = Candidate(ARCHITECTURE, Recipe(batch_tokens=64, matrix_rate=1e30, embedding_rate=1e30))
STEPS = 40

Report = Callable[[CurvePoint], Verdict]


def assignment_of(texts: Texts, candidate: Candidate = CANDIDATE, *, final: bool = False) -> Assignment:
    own = cost(candidate, texts.bytes_per_token(256))
    allowance = Allowance(STEPS * own.step_flops)
    plan = plan_run(candidate, own, texts.facts(256, 32), allowance, rungs=len(RUNGS), score_test=final)
    return Assignment("s", 7, 0, candidate, plan, seed=1, deadline_seconds=None, final=final)


@pytest.fixture
def workshop(tiny_texts: Texts, tmp_path: Path) -> Workshop:
    return Workshop(tiny_texts, tmp_path, "cpu", threads=1, all_threads=1)


class Listener:
    """Gets points and notes; gives the verdict of ``judge``."""

    def __init__(self, judge: Report = lambda point: Verdict.CONTINUE) -> None:
        self.judge = judge
        self.points: list[CurvePoint] = []
        self.durable: list[bool] = []
        self.notes: list[str] = []
        self.halted: Callable[[], bool] = lambda: False

    def carry_out(self, assignment: Assignment, workshop: Workshop) -> Outcome:
        return carry_out(assignment, workshop, self.report, self.notes.append, self.halted)

    def report(self, point: CurvePoint, *, durable: bool) -> Verdict:
        self.points.append(point)
        self.durable.append(durable)
        return self.judge(point)


def test_points_come_in_order_and_the_outcome_is_their_sum(workshop: Workshop) -> None:
    assignment, listener = assignment_of(workshop.texts), Listener()
    outcome = listener.carry_out(assignment, workshop)
    points, plan = listener.points, assignment.plan
    assert [point.step for point in points] == sorted({point.step for point in points})
    assert points[-1].step == STEPS
    for point in points:
        assert (point.search_id, point.number, point.attempt) == ("s", 7, 0)
        assert (point.progress, point.flops) == (point.step / STEPS, point.step * plan.step_flops)
        assert (point.rung is None) is (point.val_bpb is None)
        assert point.train_bpb is not None
    assert tuple(point.rung for point in points if point.rung is not None) == RUNGS
    assert [point.seconds for point in points] == sorted(point.seconds for point in points)
    assert (outcome.number, outcome.attempt, outcome.kind) == (7, 0, "completed")
    assert (outcome.train_flops, outcome.eval_flops) == (plan.train_flops, plan.eval_flops)
    assert outcome.hardware_flops == outcome.train_flops
    assert outcome.val_bpb is not None and outcome.val_error is not None and outcome.val_bpb < 8
    assert outcome.test_bpb is None and outcome.detail == ""
    assert outcome.seconds >= points[-1].seconds


def test_the_model_is_kept(workshop: Workshop) -> None:
    outcome = Listener().carry_out(assignment_of(workshop.texts), workshop)
    assert outcome.artifact == "s/7"
    _, _, candidate = load_artifact(workshop.artifacts / outcome.artifact)
    assert candidate == CANDIDATE


@pytest.mark.parametrize("kind", ["completed", "stopped", "diverged", "out_of_memory"])
def test_an_end_that_nobody_heard_of_is_reached_again_from_the_checkpoint(workshop: Workshop, kind: str) -> None:
    """Whoever records the end deletes the checkpoint, so one that dies before leaves it."""
    assignment, judge, machine = assignment_of(workshop.texts), lambda point: Verdict.CONTINUE, workshop
    if kind == "stopped":
        judge = lambda point: Verdict.STOP if point.rung == 0.25 else Verdict.CONTINUE  # noqa: E731
    elif kind == "diverged":
        assignment = assignment_of(workshop.texts, WILD)
    elif kind == "out_of_memory":
        machine = replace(workshop, texts=Hungry(workshop.texts.corpus, workshop.texts.folder))
    first = Listener(judge)
    unheard = first.carry_out(assignment, machine)
    saved = max((point.step for point in first.points if point.rung is not None), default=0)
    if kind == "out_of_memory":
        machine = replace(workshop, texts=Hungry(workshop.texts.corpus, workshop.texts.folder))
        machine.texts.left = 0  # type: ignore[attr-defined]
    then = Listener(judge)
    outcome = then.carry_out(replace(assignment, attempt=1), machine)
    assert then.notes == ([f"resumed at step {saved}"] if saved else [])
    assert {point.first_step for point in then.points} <= {saved}
    assert replace(outcome, attempt=0, seconds=0.0) == replace(unheard, seconds=0.0)


def test_a_stop_is_obeyed_at_once(workshop: Workshop) -> None:
    listener = Listener(lambda point: Verdict.STOP if point.rung == 0.25 else Verdict.AUDIT)
    outcome = listener.carry_out(assignment_of(workshop.texts), workshop)
    last = listener.points[-1]
    assert last.rung == 0.25, "an audited stop goes on"
    assert (outcome.kind, outcome.train_flops, outcome.seconds) == ("stopped", last.flops, last.seconds)
    assert 0 < outcome.eval_flops < assignment_of(workshop.texts).plan.eval_flops
    assert (outcome.val_bpb, outcome.artifact) == (None, "")
    assert [path.name for path in workshop.artifacts.rglob("*") if path.is_file()] == ["checkpoint.pt"]


def test_a_final_run_reads_the_test_split(workshop: Workshop) -> None:
    outcome = Listener().carry_out(assignment_of(workshop.texts, final=True), workshop)
    assert outcome.kind == "completed"
    assert outcome.test_bpb is not None and outcome.test_error is not None


@pytest.mark.parametrize(("final", "threads"), [(False, 1), (True, 2)])
def test_a_final_run_has_all_threads(workshop: Workshop, final: bool, threads: int) -> None:
    seen = []

    def judge(point: CurvePoint) -> Verdict:
        seen.append(torch.get_num_threads())
        return Verdict.STOP

    Listener(judge).carry_out(assignment_of(workshop.texts, final=final), replace(workshop, all_threads=2))
    torch.set_num_threads(1)
    assert seen == [threads]


def test_a_further_attempt_goes_on_where_the_checkpoint_is(workshop: Workshop) -> None:
    class Died(Exception):
        pass

    def die(point: CurvePoint) -> Verdict:
        if point.progress > 0.3:
            raise Died
        return Verdict.CONTINUE

    whole = Listener()
    expected = whole.carry_out(assignment_of(workshop.texts), replace(workshop, artifacts=workshop.artifacts / "whole"))
    with pytest.raises(Died):
        Listener(die).carry_out(assignment_of(workshop.texts), workshop)
    listener = Listener()
    outcome = listener.carry_out(replace(assignment_of(workshop.texts), attempt=1), workshop)
    step = next(point.step for point in whole.points if point.rung == 0.25)
    assert listener.notes == [f"resumed at step {step}"]
    assert {(point.attempt, point.first_step) for point in listener.points} == {(1, step)}
    unheard = max(point.step for point in whole.points if point.rung is not None and point.step < step)
    later = [point for point in whole.points if point.step > unheard]
    assert [(p.step, p.train_bpb, p.val_bpb) for p in listener.points] == [
        (p.step, p.train_bpb, p.val_bpb) for p in later
    ]
    assert (outcome.val_bpb, outcome.train_flops, outcome.eval_flops) == (
        expected.val_bpb,
        expected.train_flops,
        expected.eval_flops,
    )


def test_a_damaged_checkpoint_is_told_of(workshop: Workshop) -> None:
    listener, folder = Listener(), workshop.folder(assignment_of(workshop.texts))
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").write_bytes(b"half a")
    assert listener.carry_out(assignment_of(workshop.texts), workshop).kind == "completed"
    (note,) = listener.notes
    assert note.startswith("starts again from the beginning: ")


def test_a_loss_that_is_not_finite(workshop: Workshop) -> None:
    outcome = Listener().carry_out(assignment_of(workshop.texts, WILD), workshop)
    assert (outcome.kind, outcome.detail) == ("diverged", "the loss is not finite")
    assert 0 < outcome.train_flops <= assignment_of(workshop.texts, WILD).plan.train_flops
    assert (outcome.val_bpb, outcome.artifact) == (None, "")


def test_a_model_that_no_machine_holds(workshop: Workshop) -> None:
    huge = Candidate(replace(ARCHITECTURE, mlp_width=10**13), Recipe(batch_tokens=64))
    assignment = replace(assignment_of(workshop.texts), candidate=huge)
    listener = Listener()
    outcome = listener.carry_out(assignment, workshop)
    assert (outcome.kind, outcome.train_flops, outcome.seconds) == ("out_of_memory", 0, 0.0)
    assert "can't allocate memory" in outcome.detail and "\n" not in outcome.detail
    assert listener.points == []


class Hungry(Texts):
    """Runs out of memory in the second evaluation."""

    left = 1

    def evaluation(self, split: str, vocabulary: int, context: int, *, rung: bool = False) -> EvaluationSet:
        self.left -= 1
        if self.left < 0:
            raise MemoryError
        return super().evaluation(split, vocabulary, context, rung=rung)


def test_memory_that_runs_out_later(workshop: Workshop) -> None:
    texts = Hungry(workshop.texts.corpus, workshop.texts.folder)
    listener = Listener()
    outcome = listener.carry_out(assignment_of(workshop.texts), replace(workshop, texts=texts))
    last = listener.points[-1]
    predicted = format_bytes(assignment_of(workshop.texts).plan.memory_bytes)
    assert (outcome.kind, outcome.detail) == ("out_of_memory", f"out of memory, {predicted} predicted: out of memory")
    assert (outcome.train_flops, outcome.seconds) == (last.flops, last.seconds)
    assert 0.0625 <= last.progress < 0.125 and outcome.eval_flops > 0


@pytest.mark.parametrize("error", [RuntimeError("mine"), ValueError("mine")])
def test_other_errors_are_raised(workshop: Workshop, error: Exception) -> None:
    def fail(point: CurvePoint) -> Verdict:
        raise error

    with pytest.raises(type(error), match="mine"):
        Listener(fail).carry_out(assignment_of(workshop.texts), workshop)


# --- halted, and on machines that share a depot ---


def halting_at(progress: float) -> Listener:
    """A listener that asks for the end at a point."""
    listener = Listener()
    listener.halted = lambda: bool(listener.points) and listener.points[-1].progress >= progress
    return listener


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_what_is_halted_goes_on_another_time(workshop: Workshop) -> None:
    whole = Listener()
    expected = whole.carry_out(assignment_of(workshop.texts), replace(workshop, artifacts=workshop.artifacts / "whole"))
    first = halting_at(0.4)
    halted = first.carry_out(assignment_of(workshop.texts), workshop)
    last = first.points[-1]
    assert (halted.kind, halted.train_flops, halted.eval_flops) == ("interrupted", last.flops, last.eval_flops)
    assert (halted.val_bpb, halted.artifact) == (None, "")
    assert (workshop.artifacts / "s" / "7" / "checkpoint.pt").is_file()
    then = Listener()
    outcome = then.carry_out(replace(assignment_of(workshop.texts), attempt=1), workshop)
    assert then.notes == [f"resumed at step {last.step}"], "not from the rung before"
    assert replace(outcome, attempt=0, seconds=0.0) == replace(expected, seconds=0.0)
    losses = {point.step: (point.train_bpb, point.val_bpb) for point in (*first.points, *then.points)}
    assert losses == {point.step: (point.train_bpb, point.val_bpb) for point in whole.points}


def test_points_at_rungs_are_to_be_recorded_first(workshop: Workshop) -> None:
    listener = Listener()
    listener.carry_out(assignment_of(workshop.texts), workshop)
    assert listener.durable == [point.rung is not None for point in listener.points]


def test_a_depot_gets_the_model(workshop: Workshop, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    outcome = Listener().carry_out(assignment_of(workshop.texts), replace(workshop, depot=Depot(str(shared))))
    assert files(shared) == {f"{outcome.artifact}/{name}" for name in (*FILES, CHECKPOINT)}
    _, _, candidate = load_artifact(shared / outcome.artifact)
    assert candidate == CANDIDATE


def test_another_machine_goes_on_from_the_depot(workshop: Workshop, tmp_path: Path) -> None:
    shared = Depot(str(tmp_path / "shared"))
    machines = [replace(workshop, artifacts=tmp_path / name, depot=shared) for name in ("a", "b")]
    first = halting_at(0.4)
    assert first.carry_out(assignment_of(workshop.texts), machines[0]).kind == "interrupted"
    assert files(tmp_path / "shared") == {"s/7/checkpoint.pt"}
    then = Listener()
    outcome = then.carry_out(assignment_of(workshop.texts), machines[1])
    assert then.notes == [f"resumed at step {first.points[-1].step}"]
    assert outcome.val_bpb == Listener().carry_out(assignment_of(workshop.texts), workshop).val_bpb
    assert files(tmp_path / "shared") == {f"s/7/{name}" for name in (*FILES, CHECKPOINT)}
    assert files(tmp_path / "b") == {f"s/7/{name}" for name in (*FILES, CHECKPOINT)}


# --- probed before ---


class Prober:
    """Stands for a process that makes real steps: gives what it measured, or how it ended."""

    def __init__(self, answer: Probed | ProbeError) -> None:
        self.answer, self.asked = answer, list[tuple[str, int]]()

    def __call__(self, assignment: Assignment, device: str, threads: int) -> Probed:
        self.asked.append((device, threads))
        if isinstance(self.answer, ProbeError):
            raise self.answer
        return self.answer


def probed(assignment: Assignment, cap: int | None = None, limit: float | None = None, context: int = 0) -> Assignment:
    plan = assignment.plan
    more = replace(plan, probe_steps=3, eval_flops=plan.eval_flops + 3 * plan.step_flops)
    return replace(assignment, plan=more, memory_cap=cap, latency_limit=limit, context_bytes=context)


GIB = 2**30


def more_than(cap: int) -> int:
    """What a run is said to have needed that was out of memory."""
    return round(1.05 * cap)


@pytest.mark.parametrize(
    ("answer", "cap", "context", "kind", "measured", "said"),
    [
        (Probed(1000), None, 0, "completed", 1000, ""),
        (Probed(1000), GIB, 0, "completed", 1000, ""),
        (Probed(1000), GIB, 500, "completed", 1500, ""),  # of the device, beside its tensors
        (Probed(GIB), GIB, 500, "completed", GIB + 500, ""),
        (Probed(GIB + 1), GIB, 0, "out_of_memory", GIB + 1, "1 GiB measured, 1 GiB allowed"),
        (Probed(2 * GIB), GIB, GIB, "out_of_memory", 3 * GIB, "3 GiB measured, 2 GiB allowed"),
        (ProbeError("out_of_memory", "x"), GIB, 0, "out_of_memory", more_than(GIB), "the probe ran out of memory: x"),
        (
            ProbeError("out_of_memory", "x"),
            GIB,
            500,
            "out_of_memory",
            more_than(GIB + 500),
            "the probe ran out of memory: x",
        ),
        (ProbeError("out_of_memory", "x"), None, 500, "out_of_memory", None, "the probe ran out of memory: x"),
        (ProbeError("hung", "x"), GIB, 0, "completed", None, ""),
        (ProbeError("died", "x"), None, 0, "completed", None, ""),
    ],
)
def test_a_probe_decides_whether_it_is_trained(
    workshop: Workshop,
    answer: Probed | ProbeError,
    cap: int | None,
    context: int,
    kind: str,
    measured: int | None,
    said: str,
) -> None:
    """Who is out of memory needed more than was allowed."""
    prober, listener = Prober(answer), Listener()
    assignment = probed(assignment_of(workshop.texts), cap, context=context)
    outcome = listener.carry_out(assignment, replace(workshop, probe=prober))
    assert (outcome.kind, outcome.measured.get("peak_memory"), outcome.detail) == (kind, measured, said)
    assert "latency_ms_per_kb" not in outcome.measured
    assert prober.asked == [("cpu", 1)]
    if kind == "completed":
        assert outcome.eval_flops == assignment.plan.eval_flops
        assert listener.notes == ([str(answer)] if isinstance(answer, ProbeError) else [])
    else:
        assert (outcome.train_flops, outcome.eval_flops) == (0, 3 * assignment.plan.step_flops)
        assert listener.points == []


def test_only_the_first_attempt_is_probed_and_all_are_charged_alike(workshop: Workshop) -> None:
    prober, assignment = Prober(Probed(1000)), probed(assignment_of(workshop.texts))
    outcome = Listener().carry_out(replace(assignment, attempt=1), replace(workshop, probe=prober))
    assert prober.asked == [] and outcome.measured == {}
    assert outcome.eval_flops == assignment.plan.eval_flops


def test_a_further_attempt_measures_latency_that_nobody_heard_of(workshop: Workshop) -> None:
    prober, assignment = Prober(Probed(1000, 1e-3)), probed(assignment_of(workshop.texts), limit=math.inf)
    outcome = Listener().carry_out(replace(assignment, attempt=1), replace(workshop, probe=prober))
    assert len(prober.asked) == 1 and outcome.measured["latency_ms_per_kb"] > 0
    assert outcome.eval_flops == assignment.plan.eval_flops, "charged once"


def test_a_plan_without_a_probe_has_none(workshop: Workshop) -> None:
    prober = Prober(Probed(1000))
    Listener().carry_out(assignment_of(workshop.texts), replace(workshop, probe=prober))
    assert prober.asked == []


# --- how fast it writes ---


def latency_of(texts: Texts, token_seconds: float) -> float:
    return 1e6 * token_seconds / texts.bytes_per_token(256)


@pytest.mark.parametrize(
    ("token_seconds", "limit", "kind"),
    [
        (None, None, "completed"),  # nobody asked
        (None, 1e-9, "completed"),  # nobody could tell
        (0.002, math.inf, "completed"),  # measured, and no limit
        (0.002, 2.5, "completed"),
        (0.002, 2.0, "completed"),  # at the limit is within it
        (0.002, 1.9, "over_limit"),
    ],
)
def test_a_limit_on_what_the_probe_measures(
    workshop: Workshop, token_seconds: float | None, limit: float | None, kind: str
) -> None:
    """In milliseconds for a byte here, so that what the text's tokens hold does not matter."""
    prober, listener = Prober(Probed(1000, token_seconds)), Listener()
    allowed = None if limit is None else latency_of(workshop.texts, limit / 1000)
    assignment = probed(assignment_of(workshop.texts), limit=allowed)
    outcome = listener.carry_out(assignment, replace(workshop, probe=prober))
    assert outcome.kind == kind
    expected = {} if token_seconds is None else {"latency_ms_per_kb": latency_of(workshop.texts, token_seconds)}
    assert outcome.measured == {"peak_memory": 1000, **expected}
    if kind == "over_limit":
        assert (outcome.train_flops, outcome.eval_flops) == (0, 3 * assignment.plan.step_flops)
        assert outcome.detail == (
            f"latency_ms_per_kb: {expected['latency_ms_per_kb']:.3g} ms measured, {allowed:.3g} ms allowed"
        )
        assert listener.points == []


def test_who_is_over_both_limits_was_out_of_memory(workshop: Workshop) -> None:
    prober = Prober(Probed(GIB + 1, 1.0))
    assignment = probed(assignment_of(workshop.texts), GIB, limit=1e-9)
    outcome = Listener().carry_out(assignment, replace(workshop, probe=prober))
    assert outcome.kind == "out_of_memory"
    assert outcome.measured.keys() == {"peak_memory", "latency_ms_per_kb"}


@pytest.mark.parametrize("kind", ["completed", "stopped", "diverged", "interrupted", "out_of_memory"])
def test_what_was_measured_is_told_however_it_ends(workshop: Workshop, kind: str) -> None:
    prober, listener = Prober(Probed(1000, 0.002)), Listener()
    assignment = probed(assignment_of(workshop.texts, WILD if kind == "diverged" else CANDIDATE), limit=math.inf)
    machine = replace(workshop, probe=prober)
    if kind == "stopped":
        listener = Listener(lambda point: Verdict.STOP)
    elif kind == "interrupted":
        listener = halting_at(0.4)
    elif kind == "out_of_memory":
        machine = replace(machine, texts=Hungry(workshop.texts.corpus, workshop.texts.folder))
    outcome = listener.carry_out(assignment, machine)
    assert outcome.kind == kind
    assert outcome.measured == {"peak_memory": 1000, "latency_ms_per_kb": latency_of(workshop.texts, 0.002)}


# --- memory that is not there ---


@pytest.mark.parametrize(
    ("probe", "cap", "context", "measured"),
    [
        (None, None, 0, {}),
        (None, 2 * GIB, 0, {"peak_memory": more_than(2 * GIB)}),
        (None, 2 * GIB, 500, {"peak_memory": more_than(2 * GIB + 500)}),
        (1000, 2 * GIB, 0, {"peak_memory": more_than(2 * GIB)}),  # the probe was wrong
    ],
)
def test_who_runs_out_of_memory_in_training_needed_more_than_its_cap(
    workshop: Workshop, probe: int | None, cap: int | None, context: int, measured: dict[str, int]
) -> None:
    machine = replace(workshop, texts=Hungry(workshop.texts.corpus, workshop.texts.folder))
    assignment = replace(assignment_of(workshop.texts), memory_cap=cap, context_bytes=context)
    if probe is not None:
        assignment, machine = probed(assignment, cap), replace(machine, probe=Prober(Probed(probe)))
    outcome = Listener().carry_out(assignment, machine)
    assert (outcome.kind, outcome.measured) == ("out_of_memory", measured)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts mappings on Linux alone")
def test_ten_times_the_cap_ends_a_run_and_nothing_else(workshop: Workshop) -> None:
    """A real limit. What was there before is there after it, and the next run is as good as any."""
    limit = resource.getrlimit(resource.RLIMIT_DATA)
    expected = Listener().carry_out(
        assignment_of(workshop.texts), replace(workshop, artifacts=workshop.artifacts / "a")
    )
    large = Candidate(ARCHITECTURE, Recipe(batch_tokens=2**20))
    needed = memory_bound(large, large.sequences)
    cap = needed // 10
    assert needed > 2 * (1.5 * cap + BESIDE_BYTES), "the bound is at most twice what is needed"
    plan = replace(assignment_of(workshop.texts).plan, micro_batch=large.sequences, accumulation=1)
    assignment = replace(assignment_of(workshop.texts), candidate=large, plan=plan, memory_cap=cap)
    listener = Listener()
    outcome = listener.carry_out(assignment, workshop)
    assert (outcome.kind, outcome.measured, listener.points) == ("out_of_memory", {"peak_memory": more_than(cap)}, [])
    assert outcome.detail.startswith(f"out of memory, {format_bytes(plan.memory_bytes)} predicted")
    assert resource.getrlimit(resource.RLIMIT_DATA) == limit
    following = replace(assignment_of(workshop.texts), number=8, memory_cap=cap)
    then = Listener().carry_out(following, workshop)
    same = replace(then, number=7, artifact=expected.artifact, seconds=0.0)
    assert same == replace(expected, seconds=0.0)


class Crowd:
    """Others fill the device, at the first ``times`` that it is looked at."""

    def __init__(self, times: int) -> None:
        self.times = times

    @contextmanager
    def contained(self, device: str, cap: int | None, *, compiles: bool = False) -> Iterator[None]:
        self.look(device, cap)
        yield

    def look(self, device: str, cap: int | None) -> None:
        self.times -= 1
        if self.times >= 0:
            raise CrowdedError(f"{device} is used by others")


def test_a_device_that_others_fill_interrupts(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its probe measured is kept, and it goes on as if nothing had been."""
    monkeypatch.setattr(worker, "contained", Crowd(1).contained)
    machine, listener = replace(workshop, probe=Prober(Probed(1000, 0.002))), Listener()
    assignment = probed(assignment_of(workshop.texts), limit=math.inf)
    outcome = listener.carry_out(assignment, machine)
    assert (outcome.kind, outcome.train_flops, outcome.seconds) == ("interrupted", 0, 0.0)
    assert outcome.measured.keys() == {"peak_memory", "latency_ms_per_kb"}
    assert (listener.points, listener.notes) == ([], ["cpu is used by others"])
    heard = replace(assignment, attempt=1, latency_limit=None)  # as a driver gives it that knows what was measured
    then = Listener().carry_out(heard, machine)
    assert then.kind == "completed" and then.measured == {}


@pytest.mark.parametrize(("crowded", "kind"), [(0, "out_of_memory"), (1, "interrupted")])
def test_who_was_out_of_memory_because_of_others_is_not_to_blame(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, crowded: int, kind: str
) -> None:
    monkeypatch.setattr(worker, "check_uncrowded", Crowd(crowded).look)
    texts, listener = Hungry(workshop.texts.corpus, workshop.texts.folder), Listener()
    assignment = replace(assignment_of(workshop.texts), memory_cap=2 * GIB)
    outcome = listener.carry_out(assignment, replace(workshop, texts=texts))
    last = listener.points[-1]
    assert (outcome.kind, outcome.train_flops, outcome.seconds) == (kind, last.flops, last.seconds)
    assert outcome.measured == ({} if crowded else {"peak_memory": more_than(2 * GIB)})
    assert listener.notes == (["cpu is used by others"] if crowded else [])


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1"), True),
        (RuntimeError("could not create a primitive"), True),
        (RuntimeError("shapes do not match"), False),
        (CrowdedError("cuda is used by others"), False),
    ],
)
def test_errors_of_memory(error: Exception, is_one: bool) -> None:
    assert is_out_of_memory(error) is is_one


@pytest.mark.parametrize(
    ("device", "visible", "words"),
    [
        ("cpu", None, "cpu"),
        ("cpu", "2", "cpu"),
        ("cuda", None, "cuda:0"),
        ("cuda", "", "cuda:0"),
        ("cuda", "3,1", "cuda:3"),
        ("cuda", "GPU-5e1f", "cuda:GPU-5e1f"),
    ],
)
def test_where_a_worker_is(
    tiny_texts: Texts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, visible: str | None, words: str
) -> None:
    """The device as the machine counts it, not as its process does."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert Workshop(tiny_texts, tmp_path, device).place == f"{socket.gethostname()}, {words}"
