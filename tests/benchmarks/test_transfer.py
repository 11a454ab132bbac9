"""Does an order hold? Who is compared, runs that are made once, and what is said of pairs and ties."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import runs
from benchmarks.runs import Job, make
from benchmarks.tabular.grid import COMPUTE, points, space
from benchmarks.tabular.table import load
from benchmarks.transfer import main as transfer
from benchmarks.transfer.contenders import QUARTILES, contenders, dialled, ranked_rows
from benchmarks.transfer.order import Interval, Pair, Verdict, draw_means, kendall, noise, pairs, tau
from nas.appraise import Appraiser
from nas.candidate import Architecture, Candidate, Recipe
from nas.cost import forward_flops
from nas.data.corpora import load_corpus
from nas.data.texts import Texts
from nas.errors import InfeasibleError
from nas.plan import step_flops
from nas.spec import Limits

SMALL = Candidate(Architecture(1, 16, 2, 8, 2, 48, 256, 32), Recipe(batch_tokens=64))
NOISY = np.array([[1.0, 1.1, 0.9], [2.0, 2.1, 1.9], [1.01, 1.11, 0.91]])
"""Losses of three candidates with three seeds: the first and the last are alike, the second is worse."""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that keeps the tokenizers."""
    return tmp_path_factory.mktemp("transfer")


@pytest.fixture(scope="module")
def texts(work: Path) -> Texts:
    return Texts(load_corpus("austen"), work)


@pytest.fixture(autouse=True)
def _threads_stay() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


# --- who is compared ---


def test_the_best_of_the_table_the_dial_and_the_quartiles(texts: Texts) -> None:
    table, own = load("austen"), Appraiser(texts, Limits())
    found = contenders(table, space(), own, COMPUTE, 4)
    assert [one.name for one in found] == ["no. 1", "no. 2", "no. 3", "dial", *(f"no. {place}" for place in QUARTILES)]
    assert [one.leads for one in found] == [True] * 4 + [False] * 3
    rows = ranked_rows(table)
    losses = table.val_bpb[rows]
    assert len(rows) == len(points(space())) and (np.diff(losses) >= 0).all() and not table.seeds[rows].any()
    assert [one.small.id for one in found if one.name != "dial"] == [
        table.ids[rows[n - 1]] for n in (1, 2, 3, *QUARTILES)
    ]
    assert found[3].small == dialled(space(), own, COMPUTE)
    assert all(forward_flops(one.large.architecture) > forward_flops(one.small.architecture) for one in found)


def test_a_budget_without_a_dial(texts: Texts) -> None:
    with pytest.raises(InfeasibleError, match="no candidate of tabular fits 1 MFLOP"):
        dialled(space(), Appraiser(texts, Limits()), 10**6)


# --- runs ---


def test_a_run_is_made_once_and_survives_a_torn_line(tiny_texts: Texts, tmp_path: Path) -> None:
    path, told = tmp_path / "work" / "runs.jsonl", []
    jobs = [Job(SMALL, 30 * step_flops(SMALL), seed) for seed in (1, 2)]
    first = make(path, jobs[:1], tiny_texts, told.append)
    path.write_bytes(path.read_bytes() + path.read_bytes()[:20])
    both = make(path, [jobs[0], *jobs], tiny_texts, told.append)
    assert make(path, jobs, tiny_texts, told.append) == both
    assert [line.partition(":")[0] for line in told] == ["1 of 1", "1 of 1"]
    assert both[jobs[0]] == first[jobs[0]] and both[jobs[1]].seed == 2
    done = first[jobs[0]]
    assert (done.id, done.steps) == (SMALL.id, 30) and 0 < done.epochs < 1
    assert 1 < done.test_bpb < 8 and 1 < done.val_bpb < 8 and done.test_bpb != done.val_bpb
    assert both[jobs[1]].test_bpb != done.test_bpb, "another seed"


def test_runs_of_another_budget_are_others(tiny_texts: Texts, tmp_path: Path) -> None:
    step, path = step_flops(SMALL), tmp_path / "runs.jsonl"
    jobs = [Job(SMALL, steps * step, 1) for steps in (20, 40)]
    made = make(path, jobs, tiny_texts, lambda line: None)
    assert [made[job].steps for job in jobs] == [20, 40] and len(path.read_text().splitlines()) == 2


# --- the order ---


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1, 2, 3, 4], [5, 6, 7, 8], 1),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1),
        ([1, 2, 3, 4], [2, 1, 3, 4], 2 / 3),
        ([1, 2, 3], [1, 3, 2], 1 / 3),
        ([1, 1, 2], [1, 2, 3], 2 / 3),
    ],
)
def test_kendall(first: Sequence[float], second: Sequence[float], expected: float) -> None:
    """By hand: pairs in the same order less those in the other."""
    assert kendall(np.array(first, float), np.array(second, float)) == pytest.approx(expected)


def test_the_interval_of_a_difference_is_that_of_student() -> None:
    """Pooled variance 0.01, two means of three: 0.1 x sqrt(2/3) x t with 6 degrees of freedom (2.447)."""
    assert noise(NOISY) == pytest.approx(0.1)
    (_, alike, _) = pairs(["a", "b", "c"], NOISY, NOISY)
    half = 0.1 * (2 / 3) ** 0.5 * 2.447
    assert alike.small.value == pytest.approx(0.01)
    assert (alike.small.low, alike.small.high) == pytest.approx((0.01 - half, 0.01 + half), abs=0.005)
    assert draw_means(NOISY, 0).mean(axis=0) == pytest.approx(NOISY.mean(axis=1), abs=0.002)


def test_pairs() -> None:
    large = NOISY[::-1] + np.array([[0.0], [0.0], [3.0]])  # the first is now 3 above the last
    found = {(own.first, own.second): own.verdict for own in pairs(["a", "b", "c"], NOISY, large)}
    assert found == {("a", "b"): Verdict.HELD, ("a", "c"): Verdict.TIE, ("b", "c"): Verdict.TURNED}


def test_tau_says_what_seeds_leave_open() -> None:
    apart = np.array([[1.0, 1.01], [2.0, 2.01], [3.0, 3.01]])
    found = tau(apart, apart, range(3))
    assert (found.value, found.low, found.high) == (1, 1, 1)
    open_ = tau(NOISY, NOISY, range(3))
    assert open_.value == 1 and open_.low == pytest.approx(1 / 3) and open_.high == 1
    assert tau(NOISY, NOISY, [0, 1]).low == 1 and tau(NOISY, NOISY, [0, 2]).low == -1


@pytest.mark.parametrize(
    ("low", "high", "sign"), [(0.1, 0.2, 1), (-0.2, -0.1, -1), (-0.1, 0.1, 0), (0.0, 0.1, 0), (-0.1, 0.0, 0)]
)
def test_a_sign_is_that_of_all_between_the_limits(low: float, high: float, sign: int) -> None:
    assert Interval((low + high) / 2, low, high).sign == sign


@pytest.mark.parametrize(
    ("small", "large", "verdict"), [(1, 1, "held"), (-1, -1, "held"), (1, -1, "turned"), (0, 1, "tie"), (1, 0, "tie")]
)
def test_a_verdict(small: int, large: int, verdict: str) -> None:
    own = Pair("a", "b", *(Interval(sign, sign - 0.5, sign + 0.5) for sign in (small, large)))
    assert own.verdict == verdict


@pytest.mark.parametrize(
    ("held", "turned", "said"),
    [
        (0, 0, "whether the order held is not known: no pair is "),
        (3, 0, "the order held: so it did in all pairs "),
        (2, 1, "the order did not hold: of the pairs "),
    ],
)
def test_what_is_said_of_the_order(held: int, turned: int, said: str) -> None:
    assert transfer.verdict_of({Verdict.HELD: held, Verdict.TURNED: turned}).startswith(said)


# --- the command ---


def test_a_quick_run_prints_its_tables_and_writes_them(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With losses by a formula in place of training, which has its own test."""

    def score(job: Job, texts: Texts, device: str) -> runs.Scored:
        loss = 2 - forward_flops(job.candidate.architecture) / 1e8 + job.seed / 1e4
        return runs.Scored(job.candidate.id, job.compute, job.seed, 1, 1.0, 1.0, loss, loss)

    monkeypatch.setattr(runs, "_train", score)
    out = tmp_path / "results" / "transfer.md"
    transfer.main(["--quick", "--work", str(work), "--out", str(out)])
    printed = capsys.readouterr().out
    assert out.read_text() == printed
    assert printed.startswith("# Transfer: does the order at 4 GFLOP hold at 4 times as much?\n")
    assert len(re.findall(r"the order (?:held: |did not hold: )", printed)) == 2
    rows = [line.split(" | ")[0].strip("| ") for line in printed.splitlines() if line[:1] == "|"]
    assert [row for row in rows if "dial" in row and "," not in row] == ["dial"] and "dial, chosen anew" in rows
    assert len([line for line in printed.splitlines() if line.endswith(("| held |", "| turned |", "| tie |"))]) == 21
    assert f"torch {torch.__version__}" in printed
