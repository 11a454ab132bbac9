"""Whole runs, tiny ones: what they spend, that they repeat, and that they survive what happens to them."""

import itertools
import math
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from nas.candidate import Architecture, Candidate, Recipe
from nas.cost import cost, memory_bound, recompute_flops
from nas.curve import rung_steps
from nas.data.texts import Texts
from nas.plan import Allowance, Plan, Rates, plan_run
from nas.train import run as run_module
from nas.train.artifact import WEIGHTS, load_artifact
from nas.train.checkpoint import Checkpoint, load_checkpoint
from nas.train.evaluate import Score, score
from nas.train.run import Finish, Report, Request, hash_seed, train

ARCHITECTURE = Architecture(
    depth=2, width=16, heads=2, head_size=8, kv_heads=1, mlp_width=24, vocabulary=256, context=32
)
CANDIDATE = Candidate(ARCHITECTURE, Recipe(batch_tokens=128))
ROUGH = Candidate(replace(ARCHITECTURE, window=8, window_pattern="SL"), Recipe(128, weight_decay=0.1, dropout=0.2))
STEPS = 24


def plan_of(
    texts: Texts, candidate: Candidate = CANDIDATE, steps: int = STEPS, *, lean: bool = False, test: bool = False
) -> Plan:
    """``lean``: memory for one sequence at a time, without recomputing."""
    architecture = candidate.architecture
    own = cost(candidate, texts.bytes_per_token(architecture.vocabulary))
    facts = texts.facts(architecture.vocabulary, architecture.context)
    allowance = Allowance(steps * own.step_flops + 1, memory=memory_bound(candidate, 1) if lean else None)
    return plan_run(candidate, own, facts, allowance, rungs=len(rung_steps(steps)), score_test=test)


def request_of(texts: Texts, candidate: Candidate = CANDIDATE, **changes: object) -> Request:
    request = Request(candidate, plan_of(texts, candidate), seed=3)
    return replace(request, **changes)  # type: ignore[arg-type]


def carried_out(
    request: Request, texts: Texts, clock: Callable[[], float] = lambda: 0.0
) -> tuple[list[Report], Finish]:
    *reports, finish = train(request, texts, clock)
    assert isinstance(finish, Finish)
    assert all(isinstance(report, Report) for report in reports)
    return reports, finish  # type: ignore[return-value]


# --- what a run does ---


@pytest.mark.parametrize("candidate", [CANDIDATE, ROUGH, replace(CANDIDATE, recipe=Recipe(128, "adamw"))])
def test_a_run_spends_what_was_planned_and_learns(tiny_texts: Texts, candidate: Candidate) -> None:
    plan = plan_of(tiny_texts, candidate, test=True)
    reports, finish = carried_out(Request(candidate, plan, seed=3, score_test=True), tiny_texts)
    assert (finish.kind, finish.step, finish.time_bound) == ("completed", STEPS, False)
    assert finish.train_flops == finish.hardware_flops == plan.train_flops
    assert finish.eval_flops == plan.eval_flops
    assert finish.validation is not None and finish.test is not None
    assert finish.validation.bpb < 6.0 < reports[0].train_bpb  # type: ignore[operator]
    assert abs(finish.test.bpb - finish.validation.bpb) < 1.0
    flops = [report.train_flops for report in reports]
    assert flops == sorted(flops)
    assert all(report.train_flops == report.step * plan.step_flops for report in reports)
    assert all(report.progress == report.step / STEPS for report in reports)


def test_a_run_without_a_test_leaves_the_test_split_alone(tiny_texts: Texts) -> None:
    _, finish = carried_out(request_of(tiny_texts), tiny_texts)
    assert finish.test is None
    assert finish.eval_flops == plan_of(tiny_texts).eval_flops


@pytest.mark.parametrize("steps", [1, 2, 5, 24, 43])
def test_rungs_are_reported_once_and_in_order(tiny_texts: Texts, steps: int) -> None:
    plan = plan_of(tiny_texts, steps=steps)
    reports, finish = carried_out(Request(CANDIDATE, plan, seed=3), tiny_texts)
    measured = [(report.step, report.rung) for report in reports if report.rung is not None]
    assert measured == list(rung_steps(steps).items())
    assert all((report.rung is None) == (report.val_bpb is None) for report in reports)
    assert finish.eval_flops == plan.eval_flops


def test_reports_are_evenly_spread(tiny_texts: Texts) -> None:
    plan = plan_of(tiny_texts, steps=96)
    reports, _ = carried_out(Request(CANDIDATE, plan, seed=3, rungs=()), tiny_texts)
    assert [report.step for report in reports] == list(range(3, 97, 3))
    assert all(report.train_bpb is not None for report in reports)


def test_recomputing_is_work_of_the_machine_alone(tiny_texts: Texts) -> None:
    plan = plan_of(tiny_texts)
    again = replace(plan, recompute=True, recompute_step_flops=recompute_flops(CANDIDATE))
    first, plain = carried_out(Request(CANDIDATE, plan, seed=3), tiny_texts)
    second, recomputed = carried_out(Request(CANDIDATE, again, seed=3), tiny_texts)
    assert first == second
    assert recomputed.validation == plain.validation
    assert recomputed.train_flops == plain.train_flops
    assert recomputed.hardware_flops == plain.hardware_flops + STEPS * recompute_flops(CANDIDATE)


# --- the same again ---


@pytest.mark.parametrize("candidate", [CANDIDATE, ROUGH])
def test_two_runs_of_one_seed_are_equal_to_the_bit(tiny_texts: Texts, candidate: Candidate, tmp_path: Path) -> None:
    runs = []
    for name in ("a", "b"):
        torch.manual_seed(len(runs))  # the global generator has no say
        request = request_of(tiny_texts, candidate, artifact=tmp_path / name)
        runs.append((carried_out(request, tiny_texts), (tmp_path / name / WEIGHTS).read_bytes()))
    assert runs[0] == runs[1]
    other = carried_out(request_of(tiny_texts, candidate, seed=4), tiny_texts)
    assert other[1].validation != runs[0][0][1].validation


def test_micro_batches_change_no_more_than_rounding(tiny_texts: Texts) -> None:
    whole, lean = plan_of(tiny_texts), plan_of(tiny_texts, lean=True)
    assert (whole.accumulation, lean.accumulation) == (1, 4)
    assert (lean.train_flops, lean.eval_flops) == (whole.train_flops, whole.eval_flops)
    expected, _ = carried_out(Request(CANDIDATE, whole, seed=3), tiny_texts)
    for plan in (lean, replace(whole, micro_batch=2, accumulation=2)):
        found, _ = carried_out(Request(CANDIDATE, plan, seed=3), tiny_texts)
        assert [r.train_bpb for r in found] == pytest.approx([r.train_bpb for r in expected], abs=2e-3)


def test_the_artifact_is_the_model_that_was_scored(tiny_texts: Texts, tmp_path: Path) -> None:
    _, finish = carried_out(request_of(tiny_texts, artifact=tmp_path), tiny_texts)
    model, tokenizer, candidate = load_artifact(tmp_path)
    assert (candidate, tokenizer) == (CANDIDATE, tiny_texts.tokenizer(256))
    assert score(model, tiny_texts.evaluation("validation", 256, 32), 4) == finish.validation


# --- ends before their time ---

VICTIM = """
import pickle, sys, time
import torch
from nas.data.texts import Texts
from nas.train.run import train

torch.set_num_threads(1)
with open(sys.argv[1], "rb") as file:
    corpus, folder, request = pickle.load(file)
for event in train(request, Texts(corpus, folder)):
    print(event.step, flush=True)
    time.sleep(0.02)  # leaves the killer time
"""


@pytest.mark.parametrize(("candidate", "lean", "seed"), [(ROUGH, True, 0), (CANDIDATE, False, 1)])
def test_a_killed_run_goes_on_as_if_nothing_had_been(
    tiny_texts: Texts, tmp_path: Path, candidate: Candidate, lean: bool, seed: int
) -> None:
    """Killed at a moment that nobody chose, and resumed: the same weights and score, to the bit."""
    plan = plan_of(tiny_texts, candidate, steps=100, lean=lean)
    assert (plan.accumulation > 1) == lean
    whole = Request(candidate, plan, seed=3, artifact=tmp_path / "whole")
    _, expected = carried_out(whole, tiny_texts)
    request = replace(
        whole, artifact=tmp_path / "killed", checkpoint=Checkpoint(tmp_path / "checkpoint.pt"), checkpoint_seconds=0.0
    )
    job = tmp_path / "job.pickle"
    job.write_bytes(pickle.dumps((tiny_texts.corpus, tiny_texts.folder, request)))
    victim = subprocess.Popen([sys.executable, "-c", VICTIM, str(job)], stdout=subprocess.PIPE, text=True)
    assert victim.stdout is not None
    chance = random.Random(seed)
    with victim.stdout:
        reached = [int(line) for line in itertools.islice(victim.stdout, chance.randint(5, 30))]
        time.sleep(0.1 * chance.random())
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait()
    assert victim.returncode == -signal.SIGKILL
    reports, found = carried_out(replace(request, checkpoint_seconds=1e9), tiny_texts)
    resumed = int(reports[0].message.removeprefix("resumed at step "))
    assert resumed >= reached[-1]  # saved before each report
    assert (tmp_path / "killed" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    assert replace(found, seconds=0.0) == replace(expected, seconds=0.0)


@pytest.mark.parametrize("candidate", [CANDIDATE, ROUGH], ids=["plain", "rough"])
@pytest.mark.parametrize("steps", [0, 7, STEPS - 1])
def test_a_run_that_is_halted_goes_on_as_if_nothing_had_been(
    tiny_texts: Texts, tmp_path: Path, candidate: Candidate, steps: int
) -> None:
    """Halted before a step, it saves a checkpoint; the one that follows has the same weights and score, to the bit."""
    whole = request_of(tiny_texts, candidate, artifact=tmp_path / "whole")
    expected, end = carried_out(whole, tiny_texts)
    path = tmp_path / "checkpoint.pt"
    request = replace(whole, artifact=tmp_path / "halted", checkpoint=Checkpoint(path))
    left = itertools.count(-steps)
    *before, halted = train(request, tiny_texts, lambda: 0.0, lambda: next(left) >= 0)
    assert isinstance(halted, Finish)
    assert (halted.kind, halted.step, halted.validation, halted.test) == ("interrupted", steps, None, None)
    assert halted.train_flops == steps * request.plan.step_flops
    assert path.is_file() and not (tmp_path / "halted").exists()
    (told, *after), found = carried_out(request, tiny_texts)
    assert told.message == f"resumed at step {steps}"
    assert {report.first_step for report in after} == {steps}
    again = [replace(report, first_step=0) for report in after]
    assert {**_by_step(before), **_by_step(again)} == _by_step(expected)
    unheard = [report for report in before if report.step > max((r.step for r in before if r.durable), default=0)]
    assert [report for report in again if report.step <= steps] == unheard
    assert found == end
    assert (tmp_path / "halted" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()


def _by_step(reports: list[Report]) -> dict[int, Report]:
    return {report.step: report for report in reports}


def test_a_run_without_a_checkpoint_is_halted_too(tiny_texts: Texts) -> None:
    *_, finish = train(request_of(tiny_texts), tiny_texts, halted=lambda: True)
    assert isinstance(finish, Finish) and (finish.kind, finish.step) == ("interrupted", 0)


@pytest.mark.parametrize(("seconds", "others"), [(1e9, 0), (2.5, 3)])
def test_a_report_is_durable_when_a_checkpoint_holds_it(
    tiny_texts: Texts, tmp_path: Path, seconds: float, others: int
) -> None:
    """At rungs, and where the clock, which goes on by a tenth of a second a look, says that it is time again."""
    path = tmp_path / "checkpoint.pt"
    request = request_of(tiny_texts, checkpoint=Checkpoint(path), checkpoint_seconds=seconds)
    ticks = itertools.count()
    durable, unheard = [], []
    for event in train(request, tiny_texts, lambda: next(ticks) * 0.1):
        if isinstance(event, Finish):
            break
        saved = load_checkpoint(path)
        assert (saved is not None and saved["state"]["step"] == event.step) is event.durable
        unheard.append(asdict(event))
        if event.durable:
            assert saved is not None and saved["unheard"] == unheard
            unheard.clear()
            durable.append(event.rung)
    rungs = [rung for rung in durable if rung is not None]
    assert rungs == list(rung_steps(STEPS).values())
    assert len(durable) - len(rungs) >= others


@pytest.mark.parametrize("deaths", [1, 2])
def test_what_nobody_heard_is_said_again_and_not_made_again(tiny_texts: Texts, tmp_path: Path, deaths: int) -> None:
    """The consumer dies with the report of a rung in its hands, and its successor too: the next gets the same report,
    and those since the one before that it must have heard."""
    request = request_of(tiny_texts, checkpoint=Checkpoint(tmp_path / "checkpoint.pt"))
    expected = carried_out(replace(request, checkpoint=None), tiny_texts)[0]
    for heard, lost in itertools.pairwise([0, *(report.step for report in expected if report.durable)]):
        for _ in range(deaths):
            events = train(request, tiny_texts, lambda: 0.0)
            next(event for event in events if isinstance(event, Report) and event.durable and event.step == lost)
            events.close()  # type: ignore[attr-defined]
        (told, *resumed), _ = carried_out(request, tiny_texts)
        (tmp_path / "checkpoint.pt").unlink()
        assert told.message == f"resumed at step {lost}"
        assert {report.first_step for report in resumed} == {lost}
        assert [replace(report, first_step=0) for report in resumed] == [r for r in expected if r.step > heard]


def test_resuming_says_so_once(tiny_texts: Texts, tmp_path: Path) -> None:
    request = request_of(tiny_texts, checkpoint=Checkpoint(tmp_path / "checkpoint.pt"))
    events = train(request, tiny_texts)
    for event in events:
        if event.step > STEPS // 3:
            break
    events.close()  # type: ignore[attr-defined]
    reports, finish = carried_out(request, tiny_texts)
    messages = [report.message for report in reports if report.message]
    assert messages == [f"resumed at step {STEPS // 4}"]  # the checkpoint of the rung there
    assert finish.train_flops == request.plan.train_flops


def test_an_end_that_nobody_recorded_is_reached_again(tiny_texts: Texts, tmp_path: Path) -> None:
    request = request_of(tiny_texts, checkpoint=Checkpoint(tmp_path / "checkpoint.pt"))
    _, unheard = carried_out(request, tiny_texts)
    (told, *_), finish = carried_out(request, tiny_texts)
    assert told.message == f"resumed at step {max(rung_steps(STEPS))}"
    assert finish == unheard


@pytest.mark.parametrize("other", [{"seed": 4}, {"candidate": ROUGH}, {"plan": 30}])
def test_another_run_s_checkpoint_is_left_alone(tiny_texts: Texts, tmp_path: Path, other: dict[str, object]) -> None:
    request = request_of(tiny_texts, checkpoint=Checkpoint(tmp_path / "checkpoint.pt"))
    events = train(request, tiny_texts)
    next(event for event in events if isinstance(event, Report) and event.rung == 0.5)
    events.close()  # type: ignore[attr-defined]
    changes = {"plan": plan_of(tiny_texts, steps=30)} if "plan" in other else other
    reports, finish = carried_out(replace(request, **changes), tiny_texts)  # type: ignore[arg-type]
    assert reports[0].message == "checkpoint.pt belongs to another run and is not used"
    assert reports[0].step == 0
    clean = replace(request, **changes, checkpoint=None)  # type: ignore[arg-type]
    assert carried_out(clean, tiny_texts)[1] == finish


def test_a_damaged_checkpoint_is_a_new_beginning(tiny_texts: Texts, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"half of it")
    reports, finish = carried_out(request_of(tiny_texts, checkpoint=Checkpoint(path)), tiny_texts)
    assert reports[0].message.startswith("starts again from the beginning: ")
    assert "checkpoint.pt: must be a whole checkpoint" in reports[0].message
    assert finish == carried_out(request_of(tiny_texts), tiny_texts)[1]


def test_other_threads_are_told(tiny_texts: Texts, tmp_path: Path) -> None:
    request = request_of(tiny_texts, checkpoint=Checkpoint(tmp_path / "checkpoint.pt"))
    events = train(request, tiny_texts)
    next(event for event in events if isinstance(event, Report) and event.rung == 0.5)
    next(events)
    events.close()  # type: ignore[attr-defined]
    torch.set_num_threads(2)
    try:
        reports, _ = carried_out(request, tiny_texts)
    finally:
        torch.set_num_threads(1)
    assert [report.message for report in reports[:2]] == [
        "resumed with 2 threads after 1: sums round differently",
        f"resumed at step {STEPS // 2}",
    ]


# --- time ---


class Machine:
    """A clock that shows what steps take on a machine, and what progress they were made at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: Callable[[int], float]) -> None:
        self.now, self.seconds, self.progress = 0.0, seconds, list[float]()
        self.rates = run_module.rates
        monkeypatch.setattr(run_module, "rates", self.step)

    def __call__(self) -> float:
        return self.now

    def step(self, candidate: Candidate, progress: float) -> Rates:
        self.now += self.seconds(len(self.progress))
        self.progress.append(progress)
        return self.rates(candidate, progress)


@pytest.mark.parametrize(
    ("seconds", "steps"),
    [
        (lambda step: 1.0, (80, 100)),
        (lambda step: 1.0 if step < 40 else 3.0, (50, 65)),  # others begin to use it, too
        (lambda step: 2.0 if step < 20 else 0.6, (90, 120)),  # and stop
        (lambda step: 40.0 if step == 30 else 0.8, (60, 90)),  # a hiccup
    ],
    ids=["slow", "slower", "faster", "hiccup"],
)
def test_a_slow_machine_shortens_the_run_and_it_still_ends_decayed(
    tiny_texts: Texts, monkeypatch: pytest.MonkeyPatch, seconds: Callable[[int], float], steps: tuple[int, int]
) -> None:
    """200 steps were planned, 100 seconds are left for them and for scoring: the last step is made at p near 1."""
    plan = plan_of(tiny_texts, steps=200)
    machine = Machine(monkeypatch, seconds)
    request = Request(CANDIDATE, plan, seed=3, deadline_seconds=100.0)
    reports, finish = carried_out(request, tiny_texts, machine)
    assert (finish.kind, finish.time_bound) == ("completed", True)
    assert steps[0] <= finish.step <= steps[1]
    assert machine.now <= 100
    assert machine.progress[-1] > 0.97
    assert finish.train_flops == finish.step * plan.step_flops
    assert finish.eval_flops <= plan.eval_flops
    messages = "; ".join(report.message for report in reports if report.message)
    assert messages.startswith("replanned from 200 to ")
    assert messages.endswith(" steps to end in time")


def test_a_run_in_time_is_not_touched(tiny_texts: Texts, monkeypatch: pytest.MonkeyPatch) -> None:
    request = request_of(tiny_texts)
    expected, _ = carried_out(request, tiny_texts)
    machine = Machine(monkeypatch, lambda step: 1.0)
    timed, finish = carried_out(replace(request, deadline_seconds=100.0), tiny_texts, machine)
    assert [replace(report, seconds=0.0) for report in timed] == expected
    assert (finish.time_bound, finish.step, finish.seconds) == (False, STEPS, STEPS)


def test_a_replan_survives_a_restart(tiny_texts: Texts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The schedule goes on as it was replanned, even where time is not limited any more."""
    plan = plan_of(tiny_texts, steps=200)
    request = Request(
        CANDIDATE, plan, seed=3, deadline_seconds=100.0, checkpoint=Checkpoint(tmp_path / "checkpoint.pt")
    )
    events = train(request, tiny_texts, Machine(monkeypatch, lambda step: 1.0))
    rung = next(event for event in events if isinstance(event, Report) and event.rung == 0.5)
    next(events)
    events.close()  # type: ignore[attr-defined]
    reports, finish = carried_out(replace(request, deadline_seconds=None), tiny_texts)
    assert finish.time_bound
    new = [report.step for report in reports if report.step > rung.step]
    assert new and new[0] <= finish.step <= 100


# --- trouble ---


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_a_run_that_diverges_ends_as_such(tiny_texts: Texts, optimizer: str, tmp_path: Path) -> None:
    recipe = Recipe(128, optimizer, matrix_rate=1e8, embedding_rate=1e20, warmup=0.3)  # type: ignore[arg-type]
    candidate = replace(CANDIDATE, recipe=recipe)
    plan = plan_of(tiny_texts, candidate, steps=100)
    request = Request(
        candidate, plan, seed=3, checkpoint=Checkpoint(tmp_path / "checkpoint.pt"), artifact=tmp_path / "artifact"
    )
    reports, finish = carried_out(request, tiny_texts)
    assert finish.kind == "diverged"
    assert finish.validation is None and finish.test is None
    assert 0 < finish.step < 100
    assert finish.train_flops == finish.step * plan.step_flops
    assert all(math.isfinite(report.train_bpb or 0.0) for report in reports)
    assert not (tmp_path / "artifact").exists()


def test_a_loss_that_breaks_at_a_rung_is_no_report(tiny_texts: Texts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "score", lambda *_: Score(math.nan, math.nan, 7))
    reports, finish = carried_out(request_of(tiny_texts), tiny_texts)
    first = min(rung_steps(STEPS))
    assert (finish.kind, finish.step, finish.eval_flops) == ("diverged", first, 7)
    assert all(report.val_bpb is None and report.step < first for report in reports)


COMPILED = """
import dataclasses, pickle, sys
import torch
from nas.data.texts import Texts
from nas.train.run import train

torch.set_num_threads(1)
with open(sys.argv[1], "rb") as file:
    corpus, folder, request = pickle.load(file)
*reports, finish = train(request, Texts(corpus, folder))
print("; ".join(report.message for report in reports if report.message))
print(finish.kind, finish.validation.bpb)
"""


def test_without_a_compiler_training_goes_on(tiny_texts: Texts, tmp_path: Path) -> None:
    shallow = replace(CANDIDATE, architecture=replace(ARCHITECTURE, depth=1, qk_norm=False))
    request = request_of(tiny_texts, shallow)
    _, expected = carried_out(request, tiny_texts)
    job = tmp_path / "job.pickle"
    compiled = replace(request, plan=replace(request.plan, compile=True))
    job.write_bytes(pickle.dumps((tiny_texts.corpus, tiny_texts.folder, compiled)))
    environment = {**os.environ, "CXX": str(tmp_path / "missing"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", COMPILED, str(job)], env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    messages, end = done.stdout.splitlines()
    assert messages.startswith("not compiled, training goes on without: ")
    assert messages.count("not compiled") == 1
    assert expected.validation is not None
    assert end == f"completed {expected.validation.bpb}"


def test_seeds_from_parts() -> None:
    seeds = {hash_seed(a, b, c) for a in range(8) for b in range(8) for c in range(8)}
    assert len(seeds) == 512
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert hash_seed(3, 1, 4) == 1757395694669422854
