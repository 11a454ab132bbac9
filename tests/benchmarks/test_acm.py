"""The all-in compute multiplier: its arithmetic, and the whole command on little text."""

import json
import math
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import command as command_module
from benchmarks.acm import main as acm_main
from benchmarks.acm import searches
from benchmarks.acm.figure import figure
from benchmarks.acm.ladder import rungs
from benchmarks.acm.multiplier import Ladder, Multiplier, Spent, acm, break_even, multiplier
from benchmarks.acm.searches import Plan, Search
from benchmarks.command import write_texts
from nas.appraise import Appraiser
from nas.data.corpora import Corpus
from nas.data.texts import Texts
from nas.errors import NasError
from nas.space import load_space
from nas.spec import Limits, parse_spec

SPACE = {
    "knobs": {
        "depth": [1, 2],
        "width": [16, 32],
        "head_size": [16],
        "vocabulary": [300, 320],
        "context": [32, 64],
        "batch_tokens": {"values": [128, 256], "default": 128},
    }
}


def ladder(*losses: float, seeds: int = 1, first: float = 1e12) -> Ladder:
    """Of budgets that double."""
    return Ladder(first * 2.0 ** np.arange(len(losses)), np.repeat(np.array(losses)[:, None], seeds, axis=1))


@pytest.mark.parametrize(
    ("losses", "loss", "flops"),
    [
        ((2.0, 1.8, 1.6), 2.0, 1e12),
        ((2.0, 1.8, 1.6), 1.8, 2e12),
        ((2.0, 1.8, 1.6), 1.6, 4e12),
        ((2.0, 1.8, 1.6), 1.9, 1e12 * math.sqrt(2)),  # the middle of a line in log FLOPs
        ((2.0, 1.8, 1.6), 1.59, math.inf),  # no rung reaches it
        ((2.0, 1.8, 1.6), 2.01, 0.0),  # the first is already better
        ((2.0, 2.1, 1.6), 1.85, 2e12 * math.sqrt(2)),  # noise between: the first time that it is reached
        ((2.0, 1.7, 1.75), 1.72, 1e12 * 2 ** (28 / 30)),
        ((2.0,), 2.0, 1e12),
    ],
)
def test_the_budget_that_the_dial_needs(losses: Sequence[float], loss: float, flops: float) -> None:
    assert ladder(*losses).flops_for(loss) == pytest.approx(flops)


falling = st.lists(st.floats(1.0, 3.0), min_size=2, max_size=6, unique=True).map(lambda own: sorted(own, reverse=True))


@given(falling, st.floats(0.9, 3.1), st.floats(0.9, 3.1))
def test_a_better_loss_never_needs_less(losses: list[float], one: float, other: float) -> None:
    own = ladder(*losses)
    assert own.flops_for(min(one, other)) >= own.flops_for(max(one, other))


@given(falling)
def test_each_rung_needs_what_it_took(losses: list[float]) -> None:
    own = ladder(*losses)
    for flops, loss in zip(own.flops_r, losses, strict=True):
        assert own.flops_for(loss) == pytest.approx(flops, rel=1e-6)


def test_a_search_that_does_as_well_for_half_is_worth_two() -> None:
    own = ladder(2.0, 1.8, 1.6)
    assert acm(own, Spent(1e12, 1.8)) == pytest.approx(2.0)
    assert acm(own, Spent(4e12, 1.8)) == pytest.approx(0.5)
    assert acm(own, Spent(1e12, 1.5)) == math.inf


def test_the_interval_holds_the_median_and_shrinks_without_noise() -> None:
    sure = multiplier(ladder(2.0, 1.8, 1.6, seeds=3), [Spent(1e12, 1.8)] * 3)
    assert (sure.low, sure.value, sure.high) == pytest.approx((2.0, 2.0, 2.0))
    noisy = Ladder(ladder(2.0, 1.8, 1.6).flops_r, np.array([[2.0, 2.02, 1.98], [1.8, 1.83, 1.77], [1.6, 1.62, 1.58]]))
    found = multiplier(noisy, [Spent(1e12, 1.78), Spent(1e12, 1.8), Spent(1e12, 1.83)])
    assert found.low < found.value < found.high
    assert found == multiplier(noisy, [Spent(1e12, 1.78), Spent(1e12, 1.8), Spent(1e12, 1.83)]), "the same each time"


def test_between_a_number_and_what_is_beyond_the_ladder_there_is_no_median() -> None:
    own = ladder(2.0, 1.8)
    found = multiplier(own, [Spent(1e12, 1.8), Spent(1e12, 1.0)])
    assert (found.value, found.high) == (pytest.approx(2.0), math.inf)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({1e12: 0.5, 2e12: 0.8}, None),
        ({1e12: 1.1, 2e12: 1.2}, 1e12),
        ({1e12: 0.5, 4e12: 2.0}, 2e12),
        ({1e12: 1.2, 2e12: 0.5, 8e12: 2.0}, 4e12),  # for good
        ({1e12: 2.0, 2e12: 0.9}, None),
        ({1e12: 0.0, 2e12: 2.0}, 2e12),
        ({1e12: 0.5, 2e12: math.inf}, 2e12),
        ({1e12: 1.0}, 1e12),
    ],
)
def test_break_even(found: dict[float, float], expected: float | None) -> None:
    assert break_even(found) == (None if expected is None else pytest.approx(expected))


@given(st.dictionaries(st.sampled_from([1e12, 2e12, 4e12, 8e12]), st.floats(0.1, 10), min_size=1))
def test_beyond_break_even_no_budget_tried_is_below_one(found: dict[float, float]) -> None:
    even = break_even(found)
    if even is None:
        assert found[max(found)] < 1
    else:
        assert all(own >= 1 for budget, own in found.items() if budget > even * (1 + 1e-9))


# --- what is run ---


def test_a_rung_that_repeats_the_text_too_often_is_left_out(tiny_texts: Texts) -> None:
    space = load_space(SPACE)
    made = rungs([10**12, 10**9], 2, space, Appraiser(tiny_texts, Limits()), tiny_texts)
    assert [own.jobs[0].compute for own in made] == [10**9]
    assert [job.seed for job in made[0].jobs] == [0, 1]
    assert made[0].epochs <= 4 and made[0].flops > 10**9, "scores are paid too"


def test_the_spec_of_a_search_is_one(tmp_path: Path, tiny_texts: Texts) -> None:
    files = write_texts(tiny_texts.corpus, tmp_path)
    spec = parse_spec(Plan("speedrun", 0.6, 0.04).spec(files, 10**12, 3))
    assert spec.budget.total.compute == 10**12
    assert (spec.budget.final, spec.budget.candidate.compute) == (0.6, 4 * 10**10)
    assert (spec.method.seed, spec.limits.export, spec.minimize) == (3, "any", ("val_bpb",))
    for split, files_of in files.items():
        texts = [path.read_text() for path in sorted(Path(files_of).parent.glob("*.txt"))]
        assert texts == [document.text for document in getattr(tiny_texts.corpus, split)]


def test_names_tell_searches_apart() -> None:
    plans = [Plan("speedrun", 0.6, 0.04), Plan("speedrun", 0.5, 0.04), Plan("llama-tiny", 0.6, 0.04)]
    made = [Search(plan, compute, seed).name for plan in plans for compute in (10**12, 2 * 10**12) for seed in (0, 1)]
    assert len(set(made)) == len(made)


@pytest.mark.timeout(600)
def test_the_whole_command(
    tmp_path: Path, tiny_texts: Texts, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real search by the real command, and the dial's runs; asked again nothing is made twice."""
    asked: list[str] = []

    def corpus(name: str, folder: Path) -> Corpus:
        asked.append(name)
        return tiny_texts.corpus

    monkeypatch.setattr(acm_main, "corpus", corpus)
    out, picture, space = tmp_path / "acm.md", tmp_path / "acm.svg", tmp_path / "space.yaml"
    space.write_text(json.dumps(SPACE))
    command = ["--corpus", "sotu", "--budgets", "8GFLOP", "--ladder", "0.5GFLOP", "1GFLOP", "--seeds", "1", "--final"]
    command += [
        "0.5",
        "--candidate",
        "0.1",
        "--space",
        str(space),
        "--workers",
        "1",
        "--work",
        str(tmp_path),
        "--out",
        str(out),
    ]
    acm_main.main([*command, "--picture", str(picture)])
    said = capsys.readouterr()
    text = out.read_text()
    assert asked == ["sotu"]
    assert re.search(r"\*\*ACM at 8 GFLOP: ([<>] )?\d+\.\d\d \(", text)
    assert "| 500 MFLOP |" in text and "| 1 GFLOP |" in text
    assert picture.read_text().startswith("<svg ")
    assert "search space-0.5-0.1-8e+09-0" in said.err and "2 of 2: " in said.err

    monkeypatch.setattr(command_module.subprocess, "run", None)
    acm_main.main([*command, "--picture", str(picture)])
    assert out.read_text() == text
    assert "of 2: " not in capsys.readouterr().err.replace("of 1: search", ""), "no run of the dial is made again"


def test_a_search_that_fails_says_why(tmp_path: Path) -> None:
    search = Search(Plan("no-such-space", 0.5, 0.1), 10**12, 0)
    with pytest.raises(NasError, match=r"search no-such-space-.*: nas: .*: space: must be one of "):
        searches.make([search], {"train": "x", "validation": "x", "test": "x"}, tmp_path, print, 1)


@pytest.mark.parametrize(
    ("value", "said"), [(0.0, "< 0.25"), (0.5, "0.50"), (1.0, "1.00"), (math.inf, "> 2.00"), (2.0, "2.00")]
)
def test_what_the_ladder_cannot_tell_is_said_so(value: float, said: str) -> None:
    own = Multiplier(value, 0.0, math.inf, 0.25, 2.0)
    assert own.told() == f"{said} (< 0.25 to > 2.00)"
    drawn = figure({10**12: own, 2 * 10**12: Multiplier(0.7, 0.5, 0.9, 0.25, 2.0)})
    heights = [float(at) for at in re.findall(r'cy="([\d.]+)"', drawn)]
    assert len(heights) == (1 if said[0] in "<>" else 2), "no point where none is known"
    assert drawn.count('z" fill') == 2 and "nan" not in drawn and "inf" not in drawn


def test_the_ends_of_the_ladder_are_over_what_a_search_spent() -> None:
    found = multiplier(ladder(2.0, 1.8, 1.6), [Spent(2e12, 1.0)])
    assert (found.value, found.least, found.most) == (math.inf, pytest.approx(0.5), pytest.approx(2.0))


def test_the_figure_goes_up_with_the_multiplier() -> None:
    numbers = enumerate((0.2, 0.6, 1.1, 3.0))
    found = {2**number * 10**12: Multiplier(own, own, own, 0.1, 4.0) for number, own in numbers}
    heights = [float(own) for own in re.findall(r'cy="([\d.]+)"', figure(found))]
    assert all(high > low for high, low in pairwise(heights))
