"""The benchmark of the pruner: every candidate arrives, and what is kept is counted against the true front."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import pruning
from benchmarks.pruning import OBJECTIVES, RULES, Arrival, arrive, row
from benchmarks.search.problem import Problem, problem
from benchmarks.tabular.table import load
from nas.policy import POLICIES

DEFAULT, MARGIN, NONE = RULES


@pytest.fixture(autouse=True)
def policies() -> Iterator[None]:
    """As they were."""
    before = dict(POLICIES)
    yield
    POLICIES.clear()
    POLICIES.update(before)


@pytest.fixture(scope="module")
def corner() -> Problem:
    """The ends of the grid: 32 candidates."""
    table = load("austen")
    space = table.about["space"]
    ends: dict[str, Any] = {"depth": [1, 4], "width": [16, 96], "vocabulary": [512, 4096]}
    return problem(replace(table, about={**table.about, "space": {**space, "knobs": {**space["knobs"], **ends}}}))


def test_without_stops_everything_is_kept_and_paid(corner: Problem) -> None:
    found = arrive(corner, RULES[NONE], OBJECTIVES[0], 0)
    assert found.front == found.kept > 2
    assert found.share == pytest.approx(1.0, rel=1e-3)
    assert (found.audits, found.stops, found.false_stops) == (0, 0, 0)


@pytest.mark.parametrize("minimize", OBJECTIVES)
@pytest.mark.parametrize("rule", [DEFAULT, MARGIN])
def test_what_is_kept_is_what_was_not_stopped(corner: Problem, rule: str, minimize: tuple[str, ...]) -> None:
    found = arrive(corner, RULES[rule], minimize, 1)
    assert found == arrive(corner, RULES[rule], minimize, 1)
    assert found.kept + found.false_stops == found.front
    assert found.stops > 0 and 0.125 < found.share < 1
    assert found.false_audits <= found.audits


def test_audits_are_never_counted_as_stops(corner: Problem) -> None:
    found = arrive(corner, replace(RULES[MARGIN], name="audited", audit_share=1.0), OBJECTIVES[0], 0)
    assert found.stops == 0 and found.audits > 0 and found.kept == found.front


def test_a_row() -> None:
    orders = [Arrival(10, 9, 0.2, 4, 0, 100, 1), Arrival(10, 10, 0.3, 6, 1, 100, 0)]
    assert row("rule", orders) == ["rule", "10", "95.0% (90%)", "25.0%", "10.00% of 10", "0.50% of 200"]
    assert row("none", [Arrival(3, 3, 1.0, 0, 0, 0, 0)])[-2:] == ["no stops", "no stops"]


def test_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, corner: Problem) -> None:
    monkeypatch.setattr(pruning, "of_corpus", lambda corpus, seed: corner)
    monkeypatch.setattr(pruning, "OBJECTIVES", OBJECTIVES[:1])
    pruning.main(["--corpus", "austen", "--seeds", "1", "--workers", "1", "--out", str(tmp_path / "out.md")])
    said = (tmp_path / "out.md").read_text()
    assert all(f"| {name} |" in said for name in RULES) and "1 orders" in said
