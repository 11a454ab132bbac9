"""The law's fit: what it finds again, what it chooses, and that the rules go by what is published."""

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.law import GRID, Law, Runs, fit, hoffmann, in_use, job, joined, of_table, short, trained, write_up
from benchmarks.runs import Job, Scored
from benchmarks.search.problem import of_corpus
from nas import scaling
from nas.data.texts import Texts
from nas.scaling import law_excess
from nas.space import load_space

RESULTS = Path(__file__).parents[2] / "docs/results/law.md"
PLANTED = Law(least=1.2, tied=0.08, a=4.0, b=250.0, c=90.0, gamma=0.55)


def drawn(groups: tuple[float, ...], seed: int, noise: float = 0.0) -> Runs:
    """Runs of all sizes whose losses follow the planted law."""
    rng = np.random.default_rng(seed)
    count = 30 * len(groups)
    inputs = np.exp(rng.uniform(np.log([[1e4], [2e4], [2e6]]), np.log([[5e5], [1e6], [2e7]]), (3, count)))
    own = Runs([f"run {number}" for number in range(count)], inputs, np.zeros(count), np.repeat(groups, 30))
    return Runs(own.names, own.inputs, PLANTED.losses(own) + noise * rng.standard_normal(count), own.groups)


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_law_is_found_again(seed: int) -> None:
    found = fit(joined(drawn((6e11, 2.5e12), seed), drawn((-1.0,), seed + 10)))
    for name in ("least", "tied", "a", "b", "c", "gamma"):
        assert getattr(found, name) == pytest.approx(getattr(PLANTED, name), rel=1e-3), name


def test_noise_between_seeds_hardly_changes_what_is_expected() -> None:
    own = drawn((6e11, 2.5e12, -1.0), 0, noise=0.01)
    assert fit(own).losses(own) == pytest.approx(PLANTED.losses(own), abs=0.02)


def test_the_law_in_use_is_that_of_the_rules() -> None:
    own = drawn((6e11,), 0)
    expected = in_use(PLANTED).losses(own)
    assert expected - PLANTED.least == pytest.approx([law_excess(*row) for row in own.inputs.T])


def test_gaps_are_within_a_budget() -> None:
    own = Runs(["a", "b", "c"], np.ones((3, 3)), np.array([2.0, 2.1, 1.5]), np.array([1.0, 1.0, 2.0]))
    assert own.gaps == pytest.approx([0.0, 0.1, 0.0])


def test_hoffmanns_law_counts_the_head_with_the_layers() -> None:
    own = Runs(["a", "b"], np.array([[3e5, 1e5], [1e5, 3e5], [4e6, 4e6]]), np.zeros(2), np.ones(2))
    assert hoffmann(own) == pytest.approx([406.4 * 4e5**-0.34 + 410.7 * 1e6**-0.28] * 2)


def test_the_table_gives_what_is_of_the_laws_kind() -> None:
    own = of_table(of_corpus("austen", 0))
    assert len(own.names) == len(own.losses) == own.inputs.shape[1] == 96
    assert set(own.groups) == {-1.0} and np.all(own.inputs > 0)


def test_runs_become_rows(tiny_texts: Texts) -> None:
    own = Job(job(load_space("speedrun"), (1, 32, 512), 1).candidate, 10**9, 0)
    scored = {own: Scored(own.candidate.id, own.compute, 0, 1, 1.0, 1.0, 2.5, 2.4)}
    found = trained(scored, tiny_texts)
    assert (found.names, list(found.losses), list(found.groups)) == (["1 x 32, vocabulary 512"], [2.5], [1e9])


def test_the_grid_holds_each_candidate_once() -> None:
    space = load_space("speedrun")
    for compute, shapes in GRID.items():
        own = [job(space, shape, compute) for shape in shapes]
        assert len({each.candidate.id for each in own}) == len(shapes)
        assert [short(each.candidate) for each in own] == [f"{d} x {w}, vocabulary {v}" for d, w, v in shapes]


def test_what_is_said_of_a_choice() -> None:
    text = write_up(drawn((6e11, 2.5e12), 1), drawn((-1.0,), 2))
    assert text.count("\n| 600 GFLOP | run") == 30 + 1 and text.count("\n| 2.5 TFLOP | run") == 30 + 1


def test_the_rules_go_by_the_fit_that_is_published() -> None:
    """To the digits that it is published with."""
    (row,) = re.findall(r"^\| fitted \| (.*) \|$", RESULTS.read_text(encoding="utf-8"), re.M)
    named = (scaling.A, scaling.ALPHA, scaling.B, scaling.BETA, scaling.C, scaling.GAMMA)
    assert row.split(" | ") == [f"{value:.3g}" for value in named]
