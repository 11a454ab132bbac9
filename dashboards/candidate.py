"""What is known of one candidate, as values that pages show: costs with their intervals, recipe, decisions, curve."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import plotly.graph_objects as go

from dashboards.labels import CALCULATED, PREDICTED, format_value, quantity
from dashboards.palette import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, axis, blank, log_axis
from dashboards.view import LOSS
from nas.calibration import DeviceProfile
from nas.candidate import Recipe
from nas.records import PREDICTED as PREDICTED_SUFFIX
from nas.records import CandidateRecord, CandidateState, CurvePoint, DecisionRecord, predicted_cost
from nas.spec import LATENCY, OBJECTIVES, PEAK_MEMORY, TRAIN_SECONDS
from nas.units import format_flops, format_seconds, format_share

POINTS = 300  # of a curve, at most
WIDE = 50  # times the least FLOPs: more labels would cover each other on a narrow screen

# --- Costs -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CostLine:
    """A cost before and after. ``source`` says how ``expected`` is known; what is not known is a dash."""

    name: str
    expected: str
    source: str
    interval: str = "—"
    measured: str = "—"
    difference: str = "—"


@dataclass(frozen=True, slots=True)
class Within:
    """How far off a prediction may be, by the device's profile; ``fixed`` of it is known exactly."""

    error: float
    fixed: float = 0.0

    def around(self, value: float) -> tuple[float, float]:
        own = max(0.0, value - self.fixed)
        return self.fixed + own * (1 - min(self.error, 1.0)), self.fixed + own * (1 + self.error)


def profile_of(setting: Mapping[str, Any], record: CandidateRecord, *, alone: bool) -> DeviceProfile | None:
    """Of the device that a candidate was planned for, as its search began; ``None`` where that is not recorded.

    Args:
        alone: of the device as the final run has it.
    """
    devices, planned = setting.get("devices") or [], str(record.plan.get("device", ""))
    try:
        own = next((each for each in devices if each["device"]["hardware"] == planned), devices[0])
        return DeviceProfile.from_dict(own["alone" if alone else "profile"])
    except (IndexError, KeyError, TypeError):
        return None


def costs(record: CandidateRecord, profile: DeviceProfile | None) -> list[CostLine]:
    """All costs: what was expected, within which interval, and what was measured."""
    within = _intervals(record, profile)
    lines = [_cost(record, name, within.get(name)) for name in OBJECTIVES if name in record.costs]
    return lines + ([_training(record), *_time(record, within.get(TRAIN_SECONDS))] if record.plan else [])


def _intervals(record: CandidateRecord, profile: DeviceProfile | None) -> dict[str, Within]:
    if profile is None:
        return {}
    own = profile.calibration(compiled=bool(record.plan.get("compile")))
    return {
        PEAK_MEMORY: Within(own.memory.error, profile.context_bytes),
        TRAIN_SECONDS: Within(own.time.error),
        LATENCY: Within(profile.decode.error),
    }


def _cost(record: CandidateRecord, name: str, within: Within | None) -> CostLine:
    own, expected = quantity(name), predicted_cost(record.costs, name)
    title = f"{own.name}, {own.unit}" if "of text" in own.unit else own.name
    shown, measured = format_value(name, expected), name + PREDICTED_SUFFIX in record.costs
    if within is None:
        source = CALCULATED if name not in (PEAK_MEMORY, TRAIN_SECONDS, LATENCY) else PREDICTED
        interval = "exact" if source == CALCULATED else "—"
    else:
        source, (low, high) = PREDICTED, within.around(expected)
        interval = f"{format_value(name, low)} to {format_value(name, high)}"
    if not measured:
        return CostLine(title, shown, source, interval)
    found = float(record.costs[name])
    return CostLine(title, shown, source, interval, format_value(name, found), difference(found, expected))


def _training(record: CandidateRecord) -> CostLine:
    planned, spent = record.train_flops_planned, record.train_flops_spent
    return CostLine(
        "training compute", format_flops(planned), CALCULATED, "exact",
        format_flops(spent) if spent else "—", difference(spent, planned) if spent else "—",
    )  # fmt: skip


def _time(record: CandidateRecord, within: Within | None) -> list[CostLine]:
    """Of training and evaluation together. One that was not trained to the end says nothing of the prediction."""
    expected = float(record.plan.get("seconds") or 0.0)
    if not expected:
        return []
    whole = record.state is CandidateState.COMPLETED and not record.time_bound
    low, high = within.around(expected) if within else (0.0, 0.0)
    return [
        CostLine(
            "training and evaluation", format_seconds(expected), PREDICTED,
            f"{format_seconds(low)} to {format_seconds(high)}" if within else "—",
            format_seconds(record.seconds) if record.seconds else "—",
            difference(record.seconds, expected) if whole and record.seconds else "—",
        )
    ]  # fmt: skip


def difference(found: float, expected: float) -> str:
    """``+3.1%``; a dash where there is nothing to compare with."""
    if not expected:
        return "—"
    share = found / expected - 1
    return "±0%" if abs(share) < 0.0005 else f"{share:+.1%}"


# --- Recipe ----------------------------------------------------------------------------------------------------------

RECIPE: Mapping[str, str] = {
    "batch_tokens": "tokens in a step",
    "optimizer": "optimizer",
    "matrix_rate": "rate of the matrices, times the rule's",
    "embedding_rate": "rate of embedding, head and norms, times the rule's",
    "weight_decay": "weight decay",
    "dropout": "dropout",
    "warmup": "warm-up, share of the run",
    "cooldown": "cool-down, share of the run",
    "floor": "rate at the end, share of the peak",
}
_SHARES = ("warmup", "cooldown", "floor")


def recipe_rows(own: Recipe) -> list[tuple[str, str]]:
    """Each field with its value."""
    return [(RECIPE.get(each.name, each.name), _setting(each.name, getattr(own, each.name))) for each in fields(own)]


def _setting(name: str, value: Any) -> str:
    if name in _SHARES:
        return format_share(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}" if isinstance(value, float) else str(value)


# --- Decisions -------------------------------------------------------------------------------------------------------

PEERS = 5  # that are named


@dataclass(frozen=True, slots=True)
class DecisionLine:
    """A decision in words. ``better`` are the peers that cost no more and had a lower loss, the best first."""

    at: str
    verdict: str
    reason: str
    loss: float | None
    peers: int
    better: tuple[tuple[int, float], ...]
    expected: str
    rule: str


def decision_line(record: DecisionRecord) -> DecisionLine:
    """What the pruner said, with what it saw; a record of another version may hold less."""
    inputs = record.inputs
    own, peers = inputs.get("own") or {}, inputs.get("peers") or []
    loss, price = own.get("loss"), own.get("costs") or []
    better = sorted(
        (float(peer["loss"]), int(peer["number"]))
        for peer in peers
        if loss is not None and peer["loss"] < loss and _no_dearer(peer.get("costs") or [], price)
    )
    return DecisionLine(
        at=format_share(record.rung),
        verdict=record.verdict.value,
        reason=record.reason,
        loss=loss,
        peers=len(peers),
        better=tuple((number, other) for other, number in better[:PEERS]),
        expected=_outlook(inputs.get("outlook")),
        rule=_rule(inputs.get("policy") or {}, bool(inputs.get("outlook"))),
    )


def _no_dearer(costs: Sequence[float], own: Sequence[float]) -> bool:
    return len(costs) == len(own) and all(a <= b for a, b in zip(costs, own, strict=True))


def _outlook(own: Mapping[str, Any] | None) -> str:
    if not own:
        return ""
    return f"{own['mean']:.3f} ± {own['deviation']:.3f}, against {own['best']:.3f} of #{own['number']}"


def _rule(policy: Mapping[str, Any], expects: bool) -> str:
    """What it takes to stop, by the policy."""
    if not policy.get("dominators", 1):
        return "stops nothing"
    if expects and policy.get("deviations") is not None:
        return f"{policy['deviations']:g} standard deviations above"
    count = policy.get("dominators", 1)
    peers = "a peer" if count == 1 else f"{count} peers"
    return f"{peers} better by {policy['margin']:g}" if "margin" in policy else ""


# --- Curves ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Style:
    """Of one among several: told apart by more than its colour."""

    colour: str
    dash: str
    symbol: str


STYLES = (
    Style(BLUE, "solid", "circle"),
    Style(VERMILION, "dash", "square"),
    Style(GREEN, "dot", "diamond"),
    Style(PURPLE, "dashdot", "triangle-up"),
    Style(ORANGE, "longdash", "triangle-down"),
    Style(GREY, "longdashdot", "pentagon"),
    Style(SKY, "solid", "star"),
    Style("#8C6D1F", "dash", "x"),
)
Columns = dict[str, list[float | None]]


def curve_columns(record: CandidateRecord, points: Sequence[CurvePoint]) -> dict[str, Columns]:
    """Loss over FLOPs, thinned to what a screen can show: of the training text, of the validation text at rungs, and
    of all of it in the end."""
    train = [(p.flops, p.train_bpb) for p in points if _drawable(p.flops, p.train_bpb)]
    rungs = [(p.flops, p.val_bpb) for p in points if not p.final and _drawable(p.flops, p.val_bpb)]
    spent, loss = record.train_flops_spent, record.val_bpb
    final = [(spent, loss)] if _drawable(spent, loss) else []
    stride = -(-len(train) // POINTS) or 1
    thin = train[::stride] + ([train[-1]] if train and (len(train) - 1) % stride else [])
    return {name: _columns(pairs) for name, pairs in (("train", thin), ("rungs", rungs), ("final", final))}


def _columns(pairs: Sequence[tuple[float, float | None]]) -> Columns:
    return {"x": [float(x) for x, _ in pairs], "y": [y for _, y in pairs]}


def _drawable(flops: int, loss: float | None) -> bool:
    return flops > 0 and loss is not None and math.isfinite(loss) and loss > 0  # the axes are logarithmic


def curve_frame(planned: int, rungs: Sequence[float], low: float, high: float) -> dict[str, Any]:
    """The figure of one curve without its data: traces ``train``, ``rungs``, ``final`` and ``end``.

    Args:
        planned: FLOPs of the whole run; 0 when there is no plan.
        low, high: of the losses, by which the axis is divided.
    """
    figure = _losses_over_flops(low, high)
    unit = f"%{{y:.3f}} {quantity(LOSS).unit} at %{{x:.3s}}FLOP<extra>%{{fullData.name}}</extra>"
    marks = {"rungs": ("validation, at rungs", "circle", GREEN), "final": ("validation, all of it", "star", GREEN)}
    figure.add_trace(
        go.Scatter(name="training text", mode="lines", line={"color": BLUE, "width": 2}, hovertemplate=unit)
    )
    for name, symbol, colour in marks.values():
        size = 12 if symbol == "star" else 9
        figure.add_trace(
            go.Scatter(
                name=name, mode="markers", marker={"symbol": symbol, "size": size, "color": colour}, hovertemplate=unit
            )
        )
    figure.add_trace(
        go.Scatter(
            name="stopped here", mode="markers", hoverinfo="skip",
            marker={"symbol": "x-open", "size": 12, "color": VERMILION, "line": {"width": 2}},
        )
    )  # fmt: skip
    for rung in rungs if planned else ():
        _line_at(figure, rung * planned, format_share(rung), "dot")
    if planned:
        _line_at(figure, planned, "planned", "solid")
    return plain(figure)


def curves_figure(curves: Mapping[int, Mapping[str, Columns]]) -> dict[str, Any]:
    """Several candidates' curves by number: a line for each, and marks for its validation losses."""
    spent = [x for curve in curves.values() for columns in curve.values() for x in columns["x"] if x]
    wide = bool(spent) and max(spent) > WIDE * min(spent)
    figure = _losses_over_flops(*loss_range(*curves.values()), wide=wide)
    for (number, curve), style in zip(curves.items(), STYLES, strict=False):
        words = f"#{number}: %{{y:.3f}} at %{{x:.3s}}FLOP<extra></extra>"
        own, name = {"color": style.colour}, f"#{number}"
        line = go.Scatter(mode="lines", line={**own, "width": 2, "dash": style.dash}, name=name, hovertemplate=words)
        figure.add_trace(line.update(curve["train"]))
        read = {axis: [*curve["rungs"][axis], *curve["final"][axis]] for axis in "xy"}
        marks = go.Scatter(
            mode="markers", marker={**own, "size": 9, "symbol": style.symbol}, name=name, hovertemplate=words
        )
        figure.add_trace(marks.update(read))
    return plain(figure)


def _losses_over_flops(low: float, high: float, *, wide: bool = False) -> go.Figure:
    """``wide``: over so many FLOPs that labels of decades are enough."""
    return blank(
        margin={"l": 8, "r": 14, "t": 22, "b": 8},
        xaxis=axis("training compute spent (FLOPs)", type="log", tickformat="~s", dtick=1 if wide else "D2"),
        yaxis=log_axis(f"loss ({quantity(LOSS).unit})", low, high, tickformat=".3~f"),
    )


def _line_at(figure: go.Figure, flops: float, name: str, dash: str) -> None:
    figure.add_shape(
        type="line", x0=flops, x1=flops, yref="paper", y0=0, y1=1,
        line={"color": GREY, "width": 1, "dash": dash}, layer="below",
    )  # fmt: skip
    figure.add_annotation(
        x=math.log10(flops), yref="paper", y=1, yanchor="bottom", text=name, showarrow=False, font={"size": 10}
    )


def plain(figure: go.Figure) -> dict[str, Any]:
    """For a page: traces and layout."""
    found: dict[str, Any] = figure.to_plotly_json()
    return found


def loss_range(*curves: Mapping[str, Columns]) -> tuple[float, float]:
    """Of all that is drawn; something for nothing, so that there are axes before there are losses."""
    losses = [y for curve in curves for columns in curve.values() for y in columns["y"] if y is not None]
    return min(losses, default=1.0), max(losses, default=4.0)
