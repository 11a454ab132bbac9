"""The figures of a search. Pure: a view in, a `Chart` out; ``None`` when there is nothing to draw."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple

import plotly.graph_objects as go

from dashboards.front import pareto, paretos
from dashboards.labels import SPENDING, STANDINGS, format_percent, format_value, quantity
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
SAVED = "saved by stopping early"


def curves(view: SearchView) -> Chart | None:
    """Training loss over training FLOPs, both axes logarithmic."""
    groups = {standing: [c for c in view.candidates if view.standing(c) is standing] for standing in _CURVES}
    lines = {standing: [_curve(view.points.get(c.number, ())) for c in group] for standing, group in groups.items()}
    if not any(line for group in lines.values() for line in group):
        return None
    drawn = [point for group in lines.values() for line in group for point in line]
    spent, losses = [x for x, _, _ in drawn], [y for _, y, _ in drawn]
    figure = blank(
        margin={"l": 8, "r": 14, "t": 20, "b": 8},
        xaxis=log_axis(
            "training compute spent (FLOPs)",
            min(spent),
            max(spent),
            tickformat="~s",
            range=[math.log10(min(spent) / 1.1), math.log10(max(spent) * 1.1)],
        ),
        yaxis=log_axis(f"training loss ({quantity(LOSS).unit})", min(losses), max(losses), tickformat=".3~f"),
    )
    for standing, group in lines.items():
        if any(group):
            figure.add_trace(_lines(standing, group))
    for standing in (Standing.STOPPED, Standing.DIVERGED):
        ends = [line[-1] for line in lines[standing] if line]
        if ends:
            figure.add_trace(_ends(standing, ends))
    _draw_rungs(figure, view)
    keys = (Key(STANDINGS[s], s.value, COLOURS[s], "line") for s in Standing if any(lines.get(s, ())))
    return Chart(_curves_title(view), _curves_caption(view), figure, tuple(keys))


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


def _lines(standing: Standing, group: Iterable[Line]) -> go.Scatter:
    """One trace for all curves of a kind, a gap between each two."""
    points = [point for line in group if line for point in [*line, (None, None, line[-1][2])]]
    wide = standing in (Standing.FRONT, Standing.FINAL)
    return go.Scatter(
        x=[x for x, _, _ in points],
        y=[y for _, y, _ in points],
        customdata=[number for _, _, number in points],
        mode="lines",
        line={"color": COLOURS[standing], "width": 2.2 if wide else 1.2},
        opacity=1.0 if wide else 0.75,
        name=STANDINGS[standing],
        legendgroup=standing.value,
        hovertemplate="#%{customdata}: %{y:.3f} at %{x:.3s}FLOP<extra></extra>",
    )


def _ends(standing: Standing, ends: Line) -> go.Scatter:
    return go.Scatter(
        x=[x for x, _, _ in ends],
        y=[y for _, y, _ in ends],
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
    steps = view.volumes
    end = max(steps[-1].flops, sum(c.train_flops_spent + c.eval_flops for c in view.candidates if c is not view.final))
    unit = " x ".join(_volume_unit(name) for name in view.objectives)
    figure = blank(
        xaxis=axis("search compute spent (FLOPs)", tickformat="~s", rangemode="tozero"),
        yaxis=axis("hypervolume", tickformat="~s", rangemode="tozero"),
    )
    figure.add_trace(
        go.Scatter(
            x=[0, *(step.flops for step in steps), end],
            y=[0, *(step.volume for step in steps), steps[-1].volume],
            customdata=[None, *(step.number for step in steps), None],
            mode="lines",
            line={"shape": "hv", "color": BLUE, "width": 2},
            fill="tozeroy",
            fillcolor="rgba(0,114,178,0.15)",
            hovertemplate="%{y:.4s} after %{x:.3s}FLOP<extra></extra>",
        )
    )
    reference = ", ".join(
        f"{quantity(name).name} {format_value(name, value)}"
        for name, value in zip(view.objectives, view.search.setting["reference"], strict=True)
    )
    caption = (
        f"The volume that the front dominates below the reference point ({reference}), fixed before the search "
        f"began; higher is better. Unit: {unit}, so that a factor of cost counts the same for small and large models. "
        "Computed from measured losses and calculated costs."
    )
    return Chart(_volume_title(view, end), caption, figure, height="middle")


def _volume_unit(name: str) -> str:
    own = quantity(name)
    return own.unit or own.name if name == LOSS else f"ln of {own.name}"


def _volume_title(view: SearchView, end: int) -> str:
    final = view.volumes[-1].volume
    if not final or not end:
        return "No candidate lies below the reference point yet"
    near = next(step for step in view.volumes if step.volume >= 0.9 * final)
    return f"90% of the front's hypervolume was there after {format_percent(near.flops / end)} of the search's compute"


def ledger(view: SearchView) -> Chart | None:
    """Where the compute went, and beside it what the pruner saved."""
    parts = dict(zip(SPENDING, astuple(view.spending), strict=True))
    spent = sum(parts.values()) - parts["unspent"]
    if not spent:
        return None
    figure = blank(
        barmode="stack",
        bargap=0.35,
        xaxis=axis("compute (FLOPs)", tickformat="~s", rangemode="tozero"),
        yaxis=axis("", autorange="reversed", showgrid=False, ticks=""),
    )
    keys = []
    for name, flops in parts.items():
        if flops:
            figure.add_trace(_bar("budget", SPENDING[name], flops, _BARS[name]))
            keys.append(Key(SPENDING[name], SPENDING[name], _BARS[name], "bar"))
    if view.pruner_saved_flops:
        figure.add_trace(_bar("saved", SAVED, view.pruner_saved_flops, GREEN, pattern="/"))
        keys.append(Key(SAVED, SAVED, GREEN, "bar-open"))
    caption = "The whole budget. Spent: calculated by the FLOP convention from the steps that ran."
    if view.pruner_saved_flops:
        caption += (
            " Lower bar: what the stopped candidates would have taken on top, had they been trained to the end; "
            "predicted, planned less spent."
        )
    return Chart(_ledger_title(parts, spent), caption, figure, tuple(keys), "low")


def _ledger_title(parts: Mapping[str, int], spent: int) -> str:
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
    "unspent": "rgba(128,128,128,0.15)",
}


def _bar(row: str, name: str, flops: int, colour: str, pattern: str = "") -> go.Bar:
    return go.Bar(
        y=[row],
        x=[flops],
        name=name,
        legendgroup=name,
        orientation="h",
        marker={"color": colour, "pattern": {"shape": pattern}, "line": {"color": GREY, "width": 0.5}},
        hovertemplate=f"{name}: {format_flops(flops)}<extra></extra>",
    )
