"""Tables and plots in plain text."""

import re
from dataclasses import replace

import pytest

from dashboards.labels import headline, interval, marks
from dashboards.text import candidates_table, front_plot, front_table
from dashboards.view import SearchView
from nas.records import CandidateState, Origin, SearchState
from tests.dashboards import sample
from tests.dashboards.conftest import Build

C, S = Origin, CandidateState


def test_plot_of_three_candidates(build: Build) -> None:
    own = build(
        (
            sample.Plot(C.UNIFORM, S.COMPLETED, 1, 32, 512),
            sample.Plot(C.DIAL, S.COMPLETED, 3, 96),
            sample.Plot(C.PROPOSED, S.COMPLETED, 3, 96, luck=0.4),
            sample.Plot(C.PROPOSED, S.STOPPED, 3, 96, stopped_at=0.25),
        )
    )
    assert front_plot(own, width=56, height=6).splitlines() == [
        "validation loss (bits per byte), measured",
        "3.093 ┤A",
        "      │",
        "2.840 ┤                                               ·",
        "      │",
        "      │",
        "2.461 ┤                                               B",
        "      └────────────────────────────────────────────────",
        "       47.9 kFLOP          170 kFLOP          603 kFLOP",
        "             forward compute (FLOPs per byte of text) →",
        "letters: on the front   · dominated   ★ final run (a larger budget)",
        "not drawn: 1 stopped in training",
    ]


def test_letters_of_the_plot_are_those_of_the_table(full: SearchView) -> None:
    drawn = "".join(line[7:] for line in front_plot(full, 100, 24).splitlines()[1:25])
    letters = {row[0] for row in front_table(full).splitlines()[2:]}
    assert letters == set(marks(full).values())
    assert set(re.findall(r"[A-Za-z]", drawn)) == letters
    assert "★" in drawn


@pytest.mark.parametrize("width", [40, 72, 120])
def test_plot_keeps_its_width(full: SearchView, width: int) -> None:
    assert max(len(line) for line in front_plot(full, width).splitlines()[1:20]) <= max(width, 42)


def test_nothing_to_show(build: Build) -> None:
    own = build(())
    assert front_table(own) == "No candidate is on the front yet."
    assert candidates_table(own) == "No candidate has been proposed yet."
    assert "nothing to plot" in front_plot(own)


def test_one_candidate_stands_in_the_middle(build: Build) -> None:
    own = build((sample.Plot(C.DIAL, S.COMPLETED, 3, 96),))
    plot = front_plot(own, width=60, height=7)
    assert plot.splitlines()[4].startswith("2.461 ┤")
    assert re.search(r" {20}A$", plot.splitlines()[4])
    assert "603 kFLOP" in plot
    assert front_table(own).splitlines()[2].startswith("A       0  2.461 ± 0.005")


def test_reasons_cannot_steer_the_terminal(full: SearchView) -> None:
    hostile = replace(full.candidates[5], reason="a\x1b[2Jb\nc" + "d" * 200)
    own = replace(full, candidates=(*full.candidates[:5], hostile, *full.candidates[6:]))
    table = candidates_table(own)
    assert "\x1b" not in table
    assert len(table.splitlines()) == len(full.candidates) + 2
    assert "a [2Jb cddd" in table
    assert "…" in table


def test_columns_line_up(full: SearchView) -> None:
    lines = candidates_table(full).splitlines()
    starts = [match.start() for match in re.finditer(r"(?<!─)─", lines[1])]
    assert len(starts) == 10
    for line in lines:
        for start in starts[1:]:
            assert line[start - 2 : start].strip() == ""


@pytest.mark.parametrize(
    ("plots", "changes", "words"),
    [
        ((), {"state": SearchState.QUEUED}, "Waiting to start. No candidate has been proposed yet."),
        ((4,), {"state": SearchState.FAILED}, "Failed. No candidate fits the limits: the gate rejected all 1 before"),
        ((4, 5), {"state": SearchState.RUNNING}, "Running. Nothing has been trained to the end yet."),
        (
            (0,),
            {"state": SearchState.CANCELLED, "reason": "enough."},
            "Cancelled: enough. The best so far, #0, reaches",
        ),
        ((0,), {"state": SearchState.COMPLETED}, "Completed without a final run. The best so far"),
        ((0,), {"result": {"sentence": "It fits."}}, "It fits."),
    ],
)
def test_headline(build: Build, plots: tuple[int, ...], changes: dict[str, object], words: str) -> None:
    own = build(tuple(sample.PLOTS[n] for n in plots), **{"result": None} | changes)
    assert headline(own).startswith(words)


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"), [(0, 10, 0.0, 0.278), (1, 3, 0.061, 0.792), (5, 10, 0.237, 0.763)]
)
def test_interval_of_a_share(hits: int, trials: int, low: float, high: float) -> None:
    assert interval(hits, trials) == pytest.approx((low, high), abs=1e-3)


def test_marks_go_on_in_numbers(full: SearchView) -> None:
    shown = marks(replace(full, front=tuple(range(60))))
    assert len(set(shown.values())) == 60
    assert shown[59] == "60"
