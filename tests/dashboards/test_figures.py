"""What figures draw, and that they leave nothing out."""

import itertools
from collections import Counter
from dataclasses import dataclass, replace

import plotly.graph_objects as go
import pytest

from dashboards.figures import (
    CURVE_POINTS,
    VOLUME_STEPS,
    Chart,
    curves,
    hypervolumes,
    ledger,
    pareto,
    paretos,
    volume_line,
)
from dashboards.palette import log_axis
from dashboards.view import SearchView, Standing
from nas.records import CandidateState, Origin
from tests.dashboards import sample
from tests.dashboards.conftest import Build


def drawn(chart: Chart | None) -> Counter[int]:
    """How often each candidate has a mark, rings aside."""
    assert chart is not None
    marked = (t for t in chart.figure.data if "markers" in t.mode and t.legendgroup != "audited")
    return Counter(number for trace in marked for number in trace.customdata)


def trace(chart: Chart | None, group: str, mode: str = "markers") -> go.Scatter:
    assert chart is not None
    return next(t for t in chart.figure.data if t.legendgroup == group and t.mode.startswith(mode))


def test_every_candidate_has_one_mark(full: SearchView) -> None:
    assert drawn(pareto(full)) == Counter(c.number for c in full.candidates)


def test_the_front_line_goes_through_the_front_and_nothing_else(full: SearchView) -> None:
    line = trace(pareto(full), "front", "lines")
    assert list(line.x) == [c.costs["flops_per_byte"] for c in full.members]
    assert list(line.y) == [c.val_bpb for c in full.members]
    assert line.line.shape == "hv"


def test_a_stopped_candidate_stands_at_its_last_loss(full: SearchView) -> None:
    stopped = trace(pareto(full), "stopped")
    losses = dict(zip(stopped.customdata, stopped.y, strict=True))
    assert losses[8] == [p.val_bpb for p in full.points[8] if p.val_bpb is not None][-1]
    assert stopped.marker.symbol == "x-open"


def test_a_stop_far_above_the_rest_does_not_squeeze_the_front(full: SearchView) -> None:
    points = dict(full.points) | {8: tuple(replace(p, val_bpb=40.0) for p in full.points[8])}
    chart = pareto(replace(full, points=points))
    assert chart is not None
    assert chart.figure.layout.yaxis.range[1] < 4
    assert drawn(chart) == drawn(pareto(full))
    assert "stopped" in chart.figure.layout.yaxis2.ticktext


def test_the_final_run_is_judged_on_the_test_split(full: SearchView) -> None:
    star = trace(pareto(full), "final")
    assert list(star.y) == [2.168]
    assert star.marker.symbol == "star"


def test_shapes_tell_where_the_trained_came_from(full: SearchView) -> None:
    front = trace(pareto(full), "front")
    shapes = dict(zip(front.customdata, front.marker.symbol, strict=True))
    assert (shapes[0], shapes[2], shapes[29]) == ("diamond", "triangle-up", "circle")
    chart = pareto(full)
    assert chart is not None
    named = {key.name for key in chart.keys}
    assert {"dial (scaling rules)", "largest that fits", "evenly spread", "stop audited"} <= named


def test_audited_stops_have_a_ring(full: SearchView) -> None:
    assert list(trace(pareto(full), "audited").customdata) == [15, 20, 29]


def test_hover_escapes(full: SearchView) -> None:
    hostile = replace(full.candidates[5], reason="<script>alert(1)</script>")
    own = replace(full, candidates=(*full.candidates[:5], hostile, *full.candidates[6:]))
    chart = pareto(own)
    assert chart is not None
    texts = [text for t in chart.figure.data for text in t.hovertext or ()]
    assert any("&lt;script&gt;" in text for text in texts)
    assert not any("<script>" in text for text in texts)


def test_one_figure_for_each_cost(build: Build) -> None:
    own = build(minimize=("val_bpb", "flops_per_byte", "kv_bytes_per_byte"))
    charts = paretos(own)
    assert [chart.figure.layout.xaxis.title.text for chart in charts] == [
        "forward compute (FLOPs per byte of text)",
        "key/value cache (bytes per byte of text)",
    ]
    for chart in charts:
        line = trace(chart, "front", "lines")
        assert list(line.y) == sorted(line.y, reverse=True)
        assert set(own.front) == set(trace(chart, "front").customdata)


def test_loss_alone_is_drawn_against_parameters(build: Build) -> None:
    (chart,) = paretos(build(minimize=("val_bpb",)))
    assert chart.figure.layout.xaxis.title.text == "parameters"


def test_nothing_to_draw(build: Build) -> None:
    own = replace(build((), setting={}), ledger=())
    assert (pareto(own), curves(own), hypervolumes(own), paretos(own)) == (None, None, None, [])


def test_only_rejected(build: Build) -> None:
    own = build(tuple(plot for plot in sample.PLOTS if plot.state is CandidateState.REJECTED))
    chart = pareto(own)
    assert chart is not None
    assert chart.height == "low"
    assert list(chart.figure.layout.yaxis2.ticktext) == ["rejected"]
    assert sum(drawn(chart).values()) == 4


def test_curves_are_cut_to_a_size_and_keep_their_end(full: SearchView) -> None:
    points = [replace(full.points[0][0], step=n, flops=n + 1, train_bpb=3.0 - n / 1e4) for n in range(1000)]
    chart = curves(replace(full, candidates=full.candidates[:1], points={0: tuple(points)}))
    line = trace(chart, "front", "lines")
    xs = [x for x in line.x if x is not None]
    assert len(xs) <= CURVE_POINTS + 1
    assert xs[-1] == 1000


def test_curves_leave_gaps_between_candidates(full: SearchView) -> None:
    line = trace(curves(full), "front", "lines")
    assert list(line.x).count(None) == len(full.front)


def test_stopped_curves_end_in_a_cross_and_rungs_are_marked(full: SearchView) -> None:
    chart = curves(full)
    crosses = trace(chart, "stopped", "markers")
    assert len(crosses.x) == sum(full.standing(c) is Standing.STOPPED for c in full.candidates)
    assert chart is not None
    assert [shape.x0 for shape in chart.figure.layout.shapes] == [
        r * sample.CANDIDATE_FLOPS for r in (0.125, 0.25, 0.5)
    ]


def test_hypervolume_ends_where_the_search_ended(full: SearchView) -> None:
    chart = hypervolumes(full)
    assert chart is not None
    (line,) = chart.figure.data
    spent = sum(c.train_flops_spent + c.eval_flops for c in full.candidates if c.origin is not Origin.FINAL)
    assert line.x[-1] == spent
    assert chart.title.startswith("90% of the front's hypervolume was there after ")


@dataclass(frozen=True)
class Step:
    flops: int
    volume: float
    number: int = 0


@pytest.mark.parametrize("count", [1, 2, VOLUME_STEPS, 10 * VOLUME_STEPS])
def test_of_many_steps_those_are_drawn_that_an_eye_tells_apart(count: int) -> None:
    steps = [Step(10**12 * (place + 1), 2.0 + place) for place in range(count)]
    spent = steps[-1].flops + 10**12
    line = volume_line(steps, spent)
    known = {step.flops: step.volume for step in steps}
    assert len(line["x"]) == len(line["y"]) <= VOLUME_STEPS + 3
    assert all(known[x] == y for x, y in zip(line["x"][1:-1], line["y"][1:-1], strict=True))
    assert (line["x"][0], line["y"][0], line["x"][-1], line["y"][-1]) == (0, 0, spent, steps[-1].volume)
    gaps = [after - before for before, after in itertools.pairwise(line["x"])]
    assert max(gaps) <= 2 * max(spent / VOLUME_STEPS, 10**12)


def test_steps_that_took_nothing_are_one() -> None:
    line = volume_line([Step(0, 1.0), Step(0, 2.0)], 0)
    assert line == {"x": [0, 0, 0], "y": [0, 2.0, 2.0]}


def test_the_ledger_shows_the_whole_budget(full: SearchView) -> None:
    chart = ledger(full)
    assert chart is not None
    widths = {bar.name: (bar.y[0], bar.x[0]) for bar in chart.figure.data}
    assert sum(flops for row, flops in widths.values() if row == "budget") == sample.TOTAL_FLOPS
    assert widths["saved by stopping early"] == ("saved", full.pruner_saved_flops)


@pytest.mark.parametrize(
    ("low", "high", "dtick"),
    [
        (3.33e6, 4.54e6, "L200000"),
        (2.1, 3.4, "L0.2"),
        (7.0, 7.0, "L1"),
        (4.8e4, 2e6, "D2"),
        (1e3, 1e7, 1),
    ],
)
def test_labels_of_a_logarithmic_axis_stay_apart(low: float, high: float, dtick: object) -> None:
    assert log_axis("", low, high)["dtick"] == dtick
