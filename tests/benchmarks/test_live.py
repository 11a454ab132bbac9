"""Real searches of peers: what a run costs and gives where it is trained, and the whole command on little text."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.live import main as live_main
from benchmarks.live import problem as live
from benchmarks.live.main import Job, conclusion, levelled
from benchmarks.live.problem import LiveProblem, live_problem
from benchmarks.search.account import Account
from benchmarks.search.peers import orders
from benchmarks.search.trace import Completed, Stopped, Trace
from nas.appraise import Appraiser
from nas.cost import evaluation_flops
from nas.curve import RUNGS
from nas.data.corpora import Corpus
from nas.data.texts import Texts
from nas.plan import Allowance
from nas.space import load_space
from nas.spec import Limits
from nas.train.run import Finish, Report, Request, train

SPACE = {
    "knobs": {
        "depth": [1, 2],
        "width": [16],
        "head_size": [16],
        "vocabulary": [300],
        "context": [32],
        "batch_tokens": [64, 128],
    }
}
COMPUTE = 200_000_000


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def problem(tiny_texts: Texts) -> LiveProblem:
    return live_problem(tiny_texts, load_space(SPACE), 3 * COMPUTE, COMPUTE, seed=5)


def test_a_run_gives_what_training_gives(problem: LiveProblem, tiny_texts: Texts) -> None:
    """Whatever is asked for first, and however often."""
    for own, entry in problem.entries.items():
        asked = Request(entry.candidate, entry.plan, 5, "cpu", rungs=live.EVALUATED)
        *events, finish = train(asked, tiny_texts)
        reports = [event for event in events if isinstance(event, Report)]
        at = {event.rung: event.val_bpb for event in reports if event.rung is not None}
        assert isinstance(finish, Finish) and finish.validation is not None
        assert problem.loss_at(own, 0.25) == problem.loss_at(own, 0.25) == at[0.25]
        found = problem.objectives(own)
        assert found is not None and found[0] == finish.validation.bpb
        assert problem.loss_at(own, 0.125) == at[0.125], "it is remembered"
        assert found[1:] == entry.costs


def test_a_run_that_waits_is_not_trained(problem: LiveProblem, monkeypatch: pytest.MonkeyPatch) -> None:
    progress: list[float] = []
    original = live.train

    def watched(request: Request, texts: Texts) -> Iterator[Any]:
        for event in original(request, texts):
            if isinstance(event, Report):
                progress.append(event.progress)
            yield event

    monkeypatch.setattr(live, "train", watched)
    first, *_ = problem.entries
    problem.loss_at(first, 0.25)
    assert 0.25 <= max(progress) < 0.3125


def test_what_is_charged_is_what_a_search_is_charged(problem: LiveProblem, tiny_texts: Texts) -> None:
    appraiser = Appraiser(tiny_texts, Limits())
    for own, entry in problem.entries.items():
        plan = appraiser.plan(entry.candidate, Allowance(COMPUTE))
        assert problem.spent(own, 1.0, RUNGS) == problem.price(own, RUNGS) == plan.flops
        facts, architecture = appraiser.facts(entry.candidate), entry.candidate.architecture
        whole = evaluation_flops(architecture, facts.full_windows, facts.full_tokens)
        assert problem.spent(own, 1.0) == plan.train_flops + whole, "who asks for no scores pays for none"
        assert problem.spent(own, 0.5) == -(-plan.steps // 2) * plan.step_flops


def test_a_run_that_diverges_costs_what_it_took(problem: LiveProblem, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_ = problem.entries
    step = problem.entries[first].plan.step_flops

    def diverging(request: Request, texts: Texts) -> Iterator[Any]:
        yield Report(3, 0.0625, 3 * step, 0, 0.1, 0, val_bpb=4.0, rung=0.0625)
        yield Finish("diverged", 4, 4 * step, 4 * step, 0, 0.1, False)

    monkeypatch.setattr(live, "train", diverging)
    account = Account(problem)
    assert account.advance(first, 0.0625) == 4.0
    assert account.advance(first, 0.5) is None and account.spent == 4 * step
    assert problem.objectives(first) is None
    assert [own.id for own in account.trace.stopped] == [first]


def test_a_peer_keeps_to_the_budget(problem: LiveProblem) -> None:
    trace = orders.at_random(problem, 0)
    assert 0 < len(trace.completed) < len(problem.entries) and trace.spent <= problem.budget
    for own in trace.completed:
        assert own.objectives == problem.objectives(own.id)


JOBS = [Job(method, seed, "c", "s", 1, 1, Path()) for seed in (0, 1) for method in ("ours", "random")]


@pytest.mark.parametrize(
    ("volumes", "ahead", "behind"),
    [
        ([[0.5, 0.9], [0.4, 0.9], [0.5, 0.9], [0.6, 0.8]], (1, 1), (1, 0)),
        ([[0.5, 0.9], [0.4, 0.8], [0.5, 0.9], [0.4, 0.8]], (2, 2), (0, 0)),
        ([[0.1, 0.1], [0.4, 0.1 + 1e-9], [0.1, 0.1], [0.4, 0.8]], (0, 0), (2, 1)),  # as good as alike
    ],
)
def test_who_is_ahead(
    volumes: list[list[float]], ahead: tuple[int, int], behind: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_main, "SHARES", (0.25, 1.0))
    found = conclusion(dict(zip(JOBS, volumes, strict=True)))
    assert found == (
        f"Of 2 pairs of the same seed ours is ahead in {ahead[0]} at 25%, {ahead[1]} at 100% of the budget, "
        f"and behind in {behind[0]}, {behind[1]}."
    )


def test_luck_is_levelled_out() -> None:
    """Of what several searches trained. A candidate of one alone keeps its loss; costs and FLOPs are as they were."""
    traces = {
        JOBS[0]: Trace((Completed(5, "a", (2.0, 7.0)), Completed(9, "b", (1.5, 8.0))), (Stopped(3, "c", 0.25),)),
        JOBS[1]: Trace((Completed(4, "a", (2.2, 7.0)),)),
    }
    first, second = levelled(traces).values()
    assert first.completed[0] == Completed(5, "a", (pytest.approx(2.1), 7.0))
    assert first.completed[1] == Completed(9, "b", (1.5, 8.0)) and first.stopped == traces[JOBS[0]].stopped
    assert second.completed == (Completed(4, "a", (pytest.approx(2.1), 7.0)),)


def test_searches_have_files_of_their_own() -> None:
    others = [replace(JOBS[0], **change) for change in ({"budget": 2}, {"compute": 2}, {"space": "t"}, {"seed": 9})]
    assert len({own.file for own in (*JOBS, *others)}) == len(JOBS) + len(others)


@pytest.mark.timeout(600)
def test_the_whole_command(
    tmp_path: Path, tiny_texts: Texts, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def corpus(name: str, folder: Path) -> Corpus:
        return tiny_texts.corpus

    monkeypatch.setattr(live_main, "corpus", corpus)
    space, out = tmp_path / "space.yaml", tmp_path / "live.md"
    space.write_text(json.dumps(SPACE))
    asked = ["--corpus", "sotu", "--space", str(space), "--budget", f"{3 * COMPUTE}", "--compute", f"{COMPUTE}"]
    asked += ["--seeds", "1", "--peers", "random", "--workers", "1", "--work", str(tmp_path), "--out", str(out)]
    live_main.main(asked)
    assert "2 of 2: " in capsys.readouterr().err
    text = out.read_text()
    assert "| ours | 0 | " in text and "| random | 0 | " in text and "Of 1 pairs" in text

    live_main.main(asked)
    assert out.read_text() == text, "nothing is made twice"
    assert "of 2" not in capsys.readouterr().err
