"""The figures of a search. Pure: a view in, a `Chart` out; ``None`` when there is nothing to draw."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import plotly.graph_objects as go

from dashboards.front import pareto, paretos
from dashboards.labels import STANDINGS, format_percent, format_value, quantity
from dashboards.money import PARTS, Money, money_of
from dashboards.palette import (
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SIGNS,
    SKY,
    VERMILION,
    Chart,
    Key,
    axis,
    blank,
    log_axis,
    marker,
)
from dashboards.view import LOSS, SearchView, Standing
from nas.records import CurvePoint
from nas.units import format_flops, format_share

__all__ = ["Chart", "curves", "hypervolumes", "ledger", "pareto", "paretos"]

CURVE_POINTS = 300  # of one curve, at most
VOLUME_STEPS = 300  # of a line, at most
CURVES_X, CURVES_Y = "training compute spent (FLOPs)", f"training loss ({quantity(LOSS).unit})"
SAVED = "saved by stopping early"
SAVED_CAPTION = (
    "Lower bar: what the stopped candidates would have taken on top, had they been trained to the end; "
    "predicted, planned less spent."
)


def curves(view: SearchView) -> Chart | None:
    """Training loss over training FLOPs, both axes logarithmic."""
    groups = {standing: [c for c in view.candidates if view.standing(c) is standing] for standing in _CURVES}
    lines = {standing: [_curve(view.points.get(c.number, ())) for c in group] for standing, group in groups.items()}
    if not any(line for group in lines.values() for line in group):
        return None
    drawn = [point for group in lines.values() for line in group for point in line]
    spent, losses = [x for x, _, _ in drawn], [y for _, y, _ in drawn]
    figure = curves_frame()
    wide = [math.log10(min(spent) / 1.1), math.log10(max(spent) * 1.1)]
    figure.update_layout(
        xaxis=log_axis(CURVES_X, min(spent), max(spent), range=wide), yaxis=log_axis(CURVES_Y, min(losses), max(losses))
    )
    for trace in figure.data:
        group = lines[Standing(trace.legendgroup)]
        points = _gapped(group) if trace.mode == "lines" else [line[-1] for line in group if line]
        trace.update(x=[x for x, _, _ in points], y=[y for _, y, _ in points])
        if trace.mode == "lines":
            trace.update(customdata=[number for _, _, number in points])
    figure.data = [trace for trace in figure.data if trace.x]
    _draw_rungs(figure, view)
    keys = (key for key in curve_keys() if any(lines[Standing(key.group)]))
    return Chart(_curves_title(view), _curves_caption(view), figure, tuple(keys))


def curves_frame() -> go.Figure:
    """Without data: a trace for the curves of each standing, then those for the ends of some."""
    figure = blank(
        margin={"l": 8, "r": 14, "t": 20, "b": 8},
        xaxis=axis(CURVES_X, type="log", tickformat="~s"),
        yaxis=axis(CURVES_Y, type="log", tickformat=".3~f"),
    )
    figure.add_traces([_lines(standing) for standing in _CURVES])
    figure.add_traces([_ends(standing) for standing in (Standing.STOPPED, Standing.DIVERGED)])
    return figure


def curve_keys() -> tuple[Key, ...]:
    """What colours mean."""
    return tuple(Key(STANDINGS[s], s.value, COLOURS[s], "line") for s in Standing if s in _CURVES)


_CURVES = (
    Standing.LOST,
    Standing.OPEN,
    Standing.STOPPED,
    Standing.DOMINATED,
    Standing.DIVERGED,
    Standing.FRONT,
    Standing.FINAL,
)
Line = list[tuple[int, float, int]]  # (FLOPs, loss, candidate's number)


def _curve(points: Sequence[CurvePoint]) -> Line:
    losses = ((p.flops, p.val_bpb if p.train_bpb is None else p.train_bpb, p.number) for p in points)
    line = [(x, y, n) for x, y, n in losses if y is not None and math.isfinite(y) and y > 0 and x > 0]
    stride = -(-len(line) // CURVE_POINTS) if line else 1
    return line[::stride] + ([line[-1]] if (len(line) - 1) % stride else [])


def _gapped(group: Iterable[Line]) -> list[tuple[int | None, float | None, int]]:
    """One line for all curves of a kind, a gap after each."""
    return [point for line in group if line for point in [*line, (None, None, line[-1][2])]]


def _lines(standing: Standing) -> go.Scatter:
    wide = standing in (Standing.FRONT, Standing.FINAL)
    return go.Scatter(
        x=[],
        y=[],
        mode="lines",
        line={"color": COLOURS[standing], "width": 2.2 if wide else 1.2},
        opacity=1.0 if wide else 0.75,
        name=STANDINGS[standing],
        legendgroup=standing.value,
        hovertemplate="#%{customdata}: %{y:.3f} at %{x:.3s}FLOP<extra></extra>",
    )


def _ends(standing: Standing) -> go.Scatter:
    return go.Scatter(
        x=[],
        y=[],
        mode="markers",
        marker=marker(COLOURS[standing], SIGNS[standing], 9, 1.5),
        legendgroup=standing.value,
        hoverinfo="skip",
    )


def _draw_rungs(figure: go.Figure, view: SearchView) -> None:
    planned = float(view.search.setting.get("candidate_flops") or 0)
    rungs = sorted({p.rung for points in view.points.values() for p in points if p.rung is not None})
    for rung in rungs if planned else []:
        figure.add_shape(
            type="line", x0=rung * planned, x1=rung * planned, yref="paper", y0=0, y1=1,
            line={"color": GREY, "width": 1, "dash": "dot"}, layer="below",
        )  # fmt: skip
        figure.add_annotation(
            x=math.log10(rung * planned), yref="paper", y=1, yanchor="bottom", text=format_share(rung),
            showarrow=False, font={"size": 10},
        )  # fmt: skip


def _curves_title(view: SearchView) -> str:
    begun = sum(bool(view.points.get(c.number)) for c in view.candidates)
    stopped = sum(view.standing(c) is Standing.STOPPED for c in view.candidates)
    return f"{stopped} of {begun} candidates in training were stopped early" if stopped else f"{begun} learning curves"


def _curves_caption(view: SearchView) -> str:
    rungs = "Dotted lines are the rungs at which candidates are compared, as shares of a candidate's budget. "
    crosses = "Crosses end the curves of stopped candidates. "
    stopped = any(view.standing(c) is Standing.STOPPED for c in view.candidates)
    return (
        f"{rungs if view.search.setting.get('candidate_flops') else ''}{crosses if stopped else ''}"
        "Loss: measured on training text as it is first read. Compute: calculated, forward, backward and optimizer."
    )


def hypervolumes(view: SearchView) -> Chart | None:
    """Hypervolume of the front over the search's FLOPs."""
    if not view.volumes:
        return None
    spent = sum(c.train_flops_spent + c.eval_flops for c in view.candidates if c is not view.final)
    figure = volumes_frame()
    figure.data[0].update(volume_line(view.volumes, spent))
    words = (volume_title(view.volumes, spent), volume_caption(view.objectives, view.search.setting["reference"]))
    return Chart(*words, figure, height="middle")


class Step(Protocol):
    """The front's hypervolume, once that candidate was trained."""

    @property
    def flops(self) -> int: ...

    @property
    def volume(self) -> float: ...

    @property
    def number(self) -> int: ...


def volumes_frame() -> go.Figure:
    """Without data."""
    figure = blank(
        xaxis=axis("search compute spent (FLOPs)", tickformat="~s", rangemode="tozero"),
        yaxis=axis("hypervolume", tickformat="~s", rangemode="tozero"),
    )
    figure.add_trace(
        go.Scatter(
            x=[],
            y=[],
            mode="lines",
            line={"shape": "hv", "color": BLUE, "width": 2},
            fill="tozeroy",
            fillcolor="rgba(0,114,178,0.15)",
            hovertemplate="%{y:.4s} after %{x:.3s}FLOP<extra></extra>",
        )
    )
    return figure


def volume_line(steps: Sequence[Step], spent: float) -> dict[str, list[Any]]:
    """From nothing to where the search is; ``spent``: by its candidates. Of steps that are closer to each other than an
    eye sees, the last."""
    end = max(steps[-1].flops, spent)
    seen = {int(VOLUME_STEPS * step.flops / end) if end else 0: step for step in steps}.values()
    return {
        "x": [0, *(int(_short(step.flops)) for step in seen), end],
        "y": [0, *(_short(step.volume) for step in seen), _short(steps[-1].volume)],
    }


def _short(value: float) -> float:
    """Six digits, which is more than can be seen."""
    return float(f"{value:.6g}")


def volume_caption(objectives: Sequence[str], reference: Sequence[float]) -> str:
    """What the volume is."""
    unit = " x ".join(_volume_unit(name) for name in objectives)
    corner = ", ".join(
        f"{quantity(name).name} {format_value(name, value)}" for name, value in zip(objectives, reference, strict=True)
    )
    return (
        f"The volume that the front dominates below the reference point ({corner}), fixed before the search "
        f"began; higher is better. Unit: {unit}, so that a factor of cost counts the same for small and large models. "
        "Computed from measured losses and calculated costs."
    )


def _volume_unit(name: str) -> str:
    own = quantity(name)
    return own.unit or own.name if name == LOSS else f"ln of {own.name}"


def volume_title(steps: Sequence[Step], spent: float) -> str:
    """How soon most of it was there."""
    final, end = steps[-1].volume, max(steps[-1].flops, spent)
    if not final or not end:
        return "No candidate lies below the reference point yet"
    near = next(step for step in steps if step.volume >= 0.9 * final)
    return f"90% of the front's hypervolume was there after {format_percent(near.flops / end)} of the search's compute"


def ledger(view: SearchView) -> Chart | None:
    """Where the compute went, and beside it what the pruner saved."""
    money = money_of(view)
    if not any(flops for name, flops in money.parts.items() if name != "unspent"):
        return None
    figure = ledger_frame()
    for trace, bar in zip(figure.data, ledger_bars(money), strict=True):
        trace.update(x=bar["x"], hovertemplate=bar["hovertemplate"])
    figure.data = [trace for trace in figure.data if trace.x]
    caption = "The whole budget. Spent: calculated by the FLOP convention from the steps that ran."
    if money.pruner_saved:
        caption += f" {SAVED_CAPTION}"
    return Chart(ledger_title(money), caption, figure, ledger_keys(money), "low")


def ledger_frame() -> go.Figure:
    """Without data: a bar for each of `PARTS`, and one for what was saved."""
    figure = blank(
        barmode="stack",
        bargap=0.35,
        xaxis=axis("compute (FLOPs)", tickformat="~s", rangemode="tozero"),
        yaxis=axis("", autorange="reversed", showgrid=False, ticks=""),
    )
    figure.add_traces([_bar("budget", words, _BARS[name]) for name, words in PARTS.items()])
    figure.add_trace(_bar("saved", SAVED, GREEN, "/"))
    return figure


def ledger_bars(money: Money) -> list[dict[str, Any]]:
    """The length of each bar of the frame, and what it says when pointed at; none without anything to show."""
    bars = [*((PARTS[name], flops) for name, flops in money.parts.items()), (SAVED, money.pruner_saved)]
    return [
        {"x": [flops] if flops else [], "hovertemplate": f"{words}: {format_flops(flops)}<extra></extra>"}
        for words, flops in bars
    ]


def ledger_keys(money: Money) -> tuple[Key, ...]:
    """Of the bars that are there."""
    keys = [Key(PARTS[name], PARTS[name], _BARS[name], "bar") for name, flops in money.parts.items() if flops]
    return (*keys, *([Key(SAVED, SAVED, GREEN, "bar-open")] if money.pruner_saved else []))


def ledger_title(money: Money) -> str:
    """What it was spent on."""
    parts = money.parts
    kept = ("reserved", "kept", "unspent")
    spent = sum(flops for name, flops in parts.items() if name not in kept)
    if not parts["completed"]:
        return f"{format_flops(spent)} of {format_flops(sum(parts.values()))} spent"
    trained, final = (format_percent(parts[name] / spent) for name in ("completed", "final"))
    return f"{trained} of the compute spent trained candidates to the end" + (
        f", {final} the final run" if parts["final"] else ""
    )


_BARS = {
    "completed": BLUE,
    "stopped": VERMILION,
    "unfinished": PURPLE,
    "evaluation": SKY,
    "other": GREY,
    "final": ORANGE,
    "reserved": "rgba(204,121,167,0.35)",
    "kept": "rgba(230,159,0,0.3)",
    "unspent": "rgba(128,128,128,0.15)",
}


def _bar(row: str, name: str, colour: str, pattern: str = "") -> go.Bar:
    return go.Bar(
        y=[row],
        x=[],
        name=name,
        legendgroup=name,
        orientation="h",
        marker={"color": colour, "pattern": {"shape": pattern}, "line": {"color": GREY, "width": 0.5}},
    )
