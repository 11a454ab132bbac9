"""The Pareto figure: loss against one cost, every candidate in its place.

Its frame is traces without data, each with the part it stands for as ``meta``: the report fills it with one view, a
page takes it once and fills it with columns, again and again.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import plotly.graph_objects as go

from dashboards.labels import ORIGINS, SHORT, STANDINGS, format_loss, format_value, marks, quantity
from dashboards.palette import (
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    ORANGE,
    SHAPES,
    SIGNS,
    Chart,
    Key,
    axis,
    blank,
    hover,
    log_axis,
    marker,
)
from dashboards.view import LOSS, SearchView, Standing, last_loss
from nas.pareto import front_mask
from nas.records import CandidateRecord, Origin

TRAINED = (Standing.DOMINATED, Standing.FRONT)
HEADROOM = 0.25  # how far above all that finished a stopped candidate may still stand, as a share of their range
ROW = 0.055  # height of a row of candidates without a loss, as a share of the figure


def pareto(view: SearchView, cost: str | None = None) -> Chart | None:
    """Loss against one cost, by default the first objective. What has no final loss stands in rows above."""
    cost = cost or view.costs[0]
    known = [record for record in view.candidates if _positive(record.costs.get(cost))]
    if not known:
        return None
    placed, costs = _placed(view, known), [c.costs[cost] for c in known]
    rows = [s for s in Standing if any(view.standing(c) is s and c.number not in placed for c in known)]
    figure = blank(
        xaxis=log_axis(quantity(cost).axis, min(costs), max(costs), tickformat="~s", anchor="y"),
        yaxis=_loss_axis(rows, list(placed.values())),
        yaxis2=_rows_axis(rows, bool(placed)),
    )
    figure.add_trace(_front_line(view, cost))
    for standing in Standing:
        group = [c for c in known if view.standing(c) is standing]
        figure.add_traces(_marks(view, cost, standing, [c for c in group if c.number in placed], placed))
        if standing in rows:
            figure.add_trace(_row(view, cost, standing, rows, [c for c in group if c.number not in placed]))
    audited = {audit.number for audit in view.audits} & placed.keys()
    figure.add_traces(_rings(view, cost, [c for c in known if c.number in audited], placed))
    words = (_pareto_title(view, cost), _pareto_caption(view, cost))
    return Chart(*words, figure, _keys(view, known, bool(audited)), "high" if placed else "low")


def paretos(view: SearchView) -> list[Chart]:
    """Loss against each cost objective."""
    return [chart for cost in view.costs if (chart := pareto(view, cost)) is not None]


def frame() -> go.Figure:
    """What a page fills: every trace that there can be, in the order in which they are drawn.

    Those that move with a limit come last. A page draws each candidate that was trained to the end as dominated, and
    the members of the front over it; it marks the knee and the model that it names.
    """
    figure = blank(xaxis=axis("", anchor="y"), yaxis=axis(""), yaxis2=_rows_axis((), True))
    figure.add_traces([_row_style(standing) for standing in Standing])
    figure.add_traces([_marks_style(standing) for standing in Standing if standing is not Standing.FRONT])
    figure.add_traces([_ring_style(), _line_style(), _marks_style(Standing.FRONT), _pick_style(), _knee_style()])
    return figure


KNEE = "knee"
PICK = "pick"
"""The model that a page names."""


def _line_style() -> go.Scatter:
    return go.Scatter(
        mode="lines",
        line={"shape": "hv", "color": BLUE, "width": 2},
        legendgroup=Standing.FRONT.value,
        hoverinfo="skip",
        meta="line",
    )


def _marks_style(standing: Standing) -> go.Scatter:
    final, front = standing is Standing.FINAL, standing is Standing.FRONT
    line = 1.8 if standing is Standing.STOPPED else 1.0
    size = 18 if final else 11 if front else 9
    trace = _pointed(standing.value, standing.value, marker(COLOURS[standing], SIGNS[standing], size, line))
    return trace.update(error_y={"color": COLOURS[standing], "thickness": 1, "width": 0}) if final or front else trace


def _row_style(standing: Standing) -> go.Scatter:
    own = marker(COLOURS[standing], SIGNS[standing], 8, 1.5)
    return _pointed(f"{standing.value} row", standing.value, own).update(yaxis="y2")


def _ring_style() -> go.Scatter:
    return _pointed("audited", "audited", marker(GREEN, "circle-open", 19, 2.5))


def _pick_style() -> go.Scatter:
    return go.Scatter(
        mode="markers", marker=marker(ORANGE, "square-open", 22, 2.5), hoverinfo="skip", legendgroup=PICK, meta=PICK
    )


def _knee_style() -> go.Scatter:
    return go.Scatter(
        mode="markers+text",
        marker=marker(BLUE, "diamond-open", 24, 1.5),
        textposition="top right",
        cliponaxis=False,
        hoverinfo="skip",
        legendgroup=KNEE,
        meta=KNEE,
    )


def _pointed(part: str, group: str, own: Mapping[str, Any]) -> go.Scatter:
    """Marks that say what they are when pointed at."""
    return go.Scatter(
        mode="markers", marker=own, hovertemplate="%{hovertext}<extra></extra>", legendgroup=group, meta=part
    )


def _positive(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and math.isfinite(value) and value > 0  # the axis is logarithmic


def _placed(view: SearchView, records: Sequence[CandidateRecord]) -> dict[int, float]:
    """The loss at which each candidate is drawn, by number. Crosses of stopped candidates that would squeeze the
    front, because their last loss is far above all that finished, are left to the rows."""
    losses = {c.number: loss for c in records if (loss := _loss(view, c)) is not None}
    low, high = min(losses.values(), default=0.0), max(losses.values(), default=math.inf)
    for record in records:
        last = last_loss(view.points.get(record.number, ()))
        if view.standing(record) is Standing.STOPPED and last is not None and last <= high + HEADROOM * (high - low):
            losses[record.number] = last
    return losses


def _loss(view: SearchView, record: CandidateRecord) -> float | None:
    """The loss a candidate is drawn at: test for the final run, validation for those trained to the end."""
    standing = view.standing(record)
    loss = record.test_bpb if standing is Standing.FINAL else record.val_bpb if standing in TRAINED else None
    return loss if loss is not None and math.isfinite(loss) else None


def _loss_axis(rows: Sequence[Standing], losses: Sequence[float]) -> dict[str, Any]:
    if not losses:
        return axis("", domain=[0, 0.01], visible=False)
    low, high = min(losses), max(losses)
    room = 0.08 * (high - low) or 0.1
    return axis(
        f"loss ({quantity(LOSS).unit})",
        domain=[0, _top(rows) - 0.02 if rows else 1],
        range=[low - room, high + room],
        tickformat=".3~f",
    )


def _rows_axis(rows: Sequence[Standing], beneath: bool) -> dict[str, Any]:
    return axis(
        "",
        domain=[min(_top(rows), 0.99) if beneath else 0.02, 1],
        range=[-0.5, max(len(rows), 1) - 0.5],
        tickvals=list(range(len(rows))),
        ticktext=[SHORT.get(row, row.value) for row in rows],
        visible=bool(rows),
        showgrid=False,
        ticks="",
        fixedrange=True,
    )


def _top(rows: Sequence[Standing]) -> float:
    """Where the rows begin, as a share of the figure's height."""
    return 1 - ROW * len(rows)


def _priced(view: SearchView, cost: str) -> list[tuple[float, float]]:
    """(cost, loss) of the front's members, the cheapest first."""
    priced = ((c.costs.get(cost), c.val_bpb) for c in view.members)
    return sorted((float(x), y) for x, y in priced if _positive(x) and y is not None)


def _front_line(view: SearchView, cost: str) -> go.Scatter:
    """The step line under which nothing was found, for this cost alone."""
    points = _priced(view, cost)
    kept = [point for point, on_line in zip(points, front_mask(points), strict=True) if on_line]
    return _line_style().update(x=[x for x, _ in kept], y=[y for _, y in kept])


def _marks(
    view: SearchView,
    cost: str,
    standing: Standing,
    group: Sequence[CandidateRecord],
    placed: Mapping[int, float],
) -> list[go.Scatter]:
    if not group:
        return []
    final = standing is Standing.FINAL
    shown = marks(view) if standing is Standing.FRONT else {}
    trace = _marks_style(standing).update(
        x=[c.costs[cost] for c in group],
        y=[placed[c.number] for c in group],
        text=[shown.get(c.number, "") for c in group],
        textposition="bottom left",
        **_behaviour(view, group),
    )
    if standing in TRAINED:
        trace.marker.symbol = [SHAPES[c.origin] for c in group]
    if shown:
        trace.mode = "markers+text"
    if final or shown:
        trace.error_y.array = [c.test_error if final else c.val_error for c in group]
    return [trace]


def _row(
    view: SearchView, cost: str, standing: Standing, rows: Sequence[Standing], group: Sequence[CandidateRecord]
) -> go.Scatter:
    return _row_style(standing).update(
        x=[c.costs[cost] for c in group], y=[rows.index(standing)] * len(group), **_behaviour(view, group)
    )


def _rings(
    view: SearchView,
    cost: str,
    group: Sequence[CandidateRecord],
    placed: Mapping[int, float],
) -> list[go.Scatter]:
    """A ring around each candidate whose stop was audited."""
    if not group:
        return []
    points = {"x": [c.costs[cost] for c in group], "y": [placed[c.number] for c in group]}
    return [_ring_style().update(**points, **_behaviour(view, group))]


def _behaviour(view: SearchView, group: Sequence[CandidateRecord]) -> dict[str, Any]:
    return {"customdata": [c.number for c in group], "hovertext": [hover(view, c) for c in group]}


def _keys(view: SearchView, known: Sequence[CandidateRecord], audited: bool) -> tuple[Key, ...]:
    """What colours and shapes mean, of those that are there."""
    present = {view.standing(c) for c in known}
    shapes = {c.origin for c in known if view.standing(c) in TRAINED}
    names = STANDINGS | {Standing.FINAL: "final run, test loss"}
    outcomes = [Key(names[s], s.value, COLOURS[s], SIGNS[s]) for s in Standing if s in present]
    ring = [Key("stop audited", "audited", GREEN, "circle-open")] if audited else []
    origins = [Key(ORIGINS[o], "", GREY, f"{SHAPES[o]}-open") for o in Origin if o in shapes]
    return (*outcomes, *ring, *origins)


def _pareto_title(view: SearchView, cost: str) -> str:
    trained = sum(view.standing(c) in TRAINED for c in view.candidates)
    if not trained:
        return f"No candidate was trained to the end: {quantity(cost).name} of all that were proposed"
    others = [quantity(name).name for name in view.objectives if name not in (LOSS, cost)]
    against = f"loss against {quantity(cost).name}" + (f" (and {', '.join(others)})" if others else "")
    return f"{len(view.front)} of {trained} candidates trained to the end are on the front of {against}"


def _pareto_caption(view: SearchView, cost: str) -> str:
    parts = ["Each mark is a candidate: further left is cheaper, lower is better."]
    priced = _priced(view, cost)
    if len(priced) > 1:
        (low, first), (high, last) = priced[0], min(priced, key=lambda pair: pair[1])
        parts.append(
            f"The front runs from {format_loss(first)} bits per byte at {format_value(cost, low)} "
            f"to {format_loss(last)} at {format_value(cost, high)}; bars are one standard error."
        )
    if len(view.objectives) > 2:
        parts.append("Members above the line are on the front for what they save elsewhere.")
    if any(view.standing(c) is Standing.STOPPED for c in view.candidates):
        parts.append("Crosses stand at the last loss before the stop, which more training would have lowered.")
    if view.final is not None:
        parts.append("The final run had a budget of its own and is judged on the test split.")
    parts.append(f"Loss: measured. {quantity(cost).name.capitalize()}: {quantity(cost).source} before training.")
    return " ".join(parts)
