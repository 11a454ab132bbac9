"""Knobs at equal FLOPs: what is compared, what is said of it, and that no run is made twice."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import knobs
from benchmarks.knobs import BASE, CASES, KNOBS, QUICK, Case, Result, losses, measure, noise, section, verdict
from nas.data.texts import Texts
from nas.plan import step_flops
from nas.space import load_space

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "knobs.md"
TINY = replace(QUICK[0], compute=10**8)


@pytest.mark.parametrize("case", [*CASES, *QUICK])
def test_each_knob_is_another_candidate(case: Case) -> None:
    assert len({case.candidate(knob).id for knob in KNOBS}) == len(KNOBS)


@pytest.mark.parametrize("case", CASES)
def test_squared_relu_of_three_halves_has_the_flops_of_the_base(case: Case) -> None:
    own = case.candidate("activation: relu2, MLP 3/2 as wide")
    assert step_flops(own) == pytest.approx(step_flops(case.candidate(BASE)), rel=0.01)


@pytest.mark.parametrize(
    ("difference", "said"), [(-0.03, "wins"), (-0.02, "no difference"), (0.02, "no difference"), (0.03, "loses")]
)
def test_verdicts(difference: float, said: str) -> None:
    assert verdict(difference, 0.01) == said


def test_a_knob_that_diverges_loses() -> None:
    results = [
        Result("quick", knob, seed, "x", 5, None if knob == "softcap: 15" and seed else 2.0 + 0.1 * seed)
        for knob in KNOBS
        for seed in range(2)
    ]
    by_knob = losses(results, TINY)
    assert by_knob["softcap: 15"] == [2.0, math.inf]
    assert noise(by_knob) == pytest.approx(0.1 / math.sqrt(2))
    assert "| softcap: 15 | 5 | inf | +inf | loses |" in section(TINY, results)
    assert "| base | 5 | 2.0500 | +0.0000 |  |" in section(TINY, results)


def test_runs_that_are_there_are_not_made_again(
    tiny_texts: Texts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runs.jsonl"
    first = measure([TINY], tiny_texts, path)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(first) == len(lines) == TINY.seeds * len(KNOBS)
    assert all(own.steps == TINY.compute // step_flops(TINY.candidate(own.knob)) for own in first)
    path.write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    again = measure([TINY], tiny_texts, path)
    assert again == first, "the one that was missing is the same"
    monkeypatch.setattr(knobs, "run", None)
    assert measure([TINY], tiny_texts, path) == first
    assert Result(**json.loads(lines[0])) == first[0]


def test_the_space_has_what_wins_and_nothing_else() -> None:
    """By the table that is published: a knob of speedruns is in the space where a value of it wins at some size."""
    rows = re.findall(r"^\| (\w+): .* \| ([\w ]*) \|$", RESULTS.read_text(encoding="utf-8"), re.M)
    assert len(rows) > 20
    winning = {name for name, said in rows if said == "wins"}
    searched = {knob.name for knob in load_space("speedrun").knobs}
    tried = {name for changes in KNOBS.values() for name in changes} - {"mlp_ratio", "window_ratio"}
    assert searched & tried == winning
