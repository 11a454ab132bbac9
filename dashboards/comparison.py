"""Candidates beside each other, and the fronts of two searches on the same axes. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from dashboards.candidate import RECIPE, STYLES, difference, plain
from dashboards.labels import ORIGINS, format_error, format_value, quantity
from dashboards.palette import axis, blank, log_axis
from dashboards.view import LOSS
from nas.candidate import Architecture, Candidate, Recipe
from nas.errors import SpecError
from nas.records import CandidateRecord
from nas.spec import OBJECTIVES
from nas.units import format_flops, format_seconds

MOST = 8
"""Candidates beside each other."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A cell. ``note``: what a number is against that of the first; ``other``: it is not what the first has."""

    text: str
    note: str = ""
    other: bool = False
    least: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A property of all candidates."""

    name: str
    cells: tuple[Compared, ...]

    @property
    def differs(self) -> bool:
        return any(cell.other for cell in self.cells)


@dataclass(frozen=True, slots=True)
class Part:
    """Lines of one kind."""

    name: str
    lines: tuple[Line, ...]


def compared(records: Sequence[CandidateRecord]) -> list[Part]:
    """All properties of the candidates; what the first has is what the others differ from."""
    known = [_candidate(own) for own in records]
    parts = (
        Part("Outcome", _outcomes(records)),
        Part("Costs", _costs(records)),
        Part("Architecture", _settings(known, ARCHITECTURE, lambda own: own.architecture)),
        Part("Recipe", _settings(known, RECIPE, lambda own: own.recipe)),
    )
    return [part for part in parts if part.lines]


def _candidate(record: CandidateRecord) -> Candidate | None:
    try:
        return Candidate.from_dict(record.candidate)
    except SpecError:  # of a version with other knobs
        return None


def _outcomes(records: Sequence[CandidateRecord]) -> tuple[Line, ...]:
    lines = [
        _words("outcome", [str(own.state) for own in records]),
        _words("came from", [ORIGINS[own.origin] for own in records]),
        _losses("validation loss", records, lambda own: (own.val_bpb, own.val_error)),
        _losses("test loss", records, lambda own: (own.test_bpb, own.test_error)),
        _numbers("compute spent", [own.train_flops_spent or None for own in records], format_flops, marked=False),
        _numbers("worker time", [own.seconds or None for own in records], format_seconds, marked=False),
    ]
    return tuple(line for line in lines if line is not None)


def _losses(
    name: str, records: Sequence[CandidateRecord], of: Callable[[CandidateRecord], tuple[float | None, float | None]]
) -> Line | None:
    """With differences in bits per byte, which say more than shares."""
    found = [of(own) for own in records]
    first, least = found[0][0], min((loss for loss, _ in found if loss is not None), default=None)
    if least is None:
        return None
    return Line(
        name,
        tuple(
            Compared(
                format_error(loss, error),
                f"{loss - first:+.3f}" if loss is not None and first is not None and loss != first else "",
                other=loss != first,
                least=loss == least and any(each[0] != least for each in found),
            )
            for loss, error in found
        ),
    )


def _costs(records: Sequence[CandidateRecord]) -> tuple[Line, ...]:
    lines = []
    for name in OBJECTIVES:
        if name != LOSS:
            own = quantity(name)
            title = f"{own.name}, {own.unit}" if "of text" in own.unit else own.name
            lines.append(_numbers(title, [each.costs.get(name) for each in records], _shown(name)))
    return tuple(line for line in lines if line is not None)


def _shown(name: str) -> Callable[[float], str]:
    return lambda value: format_value(name, value)


def _numbers(
    name: str, values: Sequence[float | None], show: Callable[[float], str], *, marked: bool = True
) -> Line | None:
    """``marked``: less is better."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    first, least, same = values[0], min(known), len(set(values)) == 1
    return Line(
        name,
        tuple(
            Compared("—", other=first is not None)
            if value is None
            else Compared(
                show(value),
                difference(value, first) if first and value != first else "",
                other=value != first,
                least=marked and value == least and not same,
            )
            for value in values
        ),
    )


def _words(name: str, texts: Sequence[str]) -> Line:
    return Line(name, tuple(Compared(text, other=text != texts[0]) for text in texts))


ARCHITECTURE: Mapping[str, str] = {
    "depth": "layers",
    "width": "width",
    "heads": "heads",
    "head_size": "size of a head",
    "kv_heads": "key/value heads",
    "mlp_width": "width of the MLP",
    "activation": "activation",
    "vocabulary": "vocabulary",
    "context": "context",
    "tied": "head tied to the embedding",
    "qk_norm": "queries and keys normed",
    "window": "window of short layers",
    "window_pattern": "short and long layers",
    "deviations": "layers that differ",
    "value_embeddings": "value embeddings",
    "x0_shortcut": "x0 shortcut",
    "softcap": "softcap",
}


def _settings(
    known: Sequence[Candidate | None],
    names: Mapping[str, str],
    of: Callable[[Candidate], Architecture | Recipe],
) -> tuple[Line, ...]:
    if not any(known):
        return ()
    return tuple(
        _words(title, ["—" if own is None else _setting(getattr(of(own), name)) for own in known])
        for name, title in names.items()
    )


def _setting(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(str(own.layer + 1) for own in value) or "none"
    if value == 0:
        return "none"
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


# --- Two searches ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FrontLine:
    """A search's front over one cost, ascending by it."""

    name: str
    numbers: tuple[int, ...]
    costs: tuple[float, ...]
    losses: tuple[float, ...]


def fronts_figure(cost: str, lines: Sequence[FrontLine]) -> dict[str, Any] | None:
    """Loss over a cost, for each search; ``None`` when neither has a front."""
    prices = [price for line in lines for price in line.costs]
    if not prices:
        return None
    figure = blank(
        xaxis=log_axis(quantity(cost).axis, min(prices), max(prices), tickformat="~s"),
        yaxis=axis(f"validation loss ({quantity(LOSS).unit})", tickformat=".3~f"),
    )
    for line, style in zip(lines, STYLES, strict=False):
        figure.add_trace(
            go.Scatter(
                x=list(line.costs), y=list(line.losses), customdata=list(line.numbers), name=line.name,
                mode="lines+markers", line={"color": style.colour, "dash": style.dash, "width": 2, "shape": "hv"},
                marker={"symbol": style.symbol, "size": 9, "color": style.colour},
                hovertemplate="#%{customdata}: %{y:.3f} at %{x:.3s}<extra></extra>",
            )
        )  # fmt: skip
    return plain(figure)


def volumes_figure(volumes: Mapping[str, Sequence[tuple[int, float]]]) -> dict[str, Any]:
    """Hypervolume over FLOPs by name of the search: (FLOPs, volume) of each step."""
    figure = blank(
        xaxis=axis("search compute spent (FLOPs)", tickformat="~s", rangemode="tozero"),
        yaxis=axis("hypervolume", tickformat="~s", rangemode="tozero"),
    )
    for (name, steps), style in zip(volumes.items(), STYLES, strict=False):
        figure.add_trace(
            go.Scatter(
                x=[0, *(flops for flops, _ in steps)], y=[0, *(volume for _, volume in steps)], name=name, mode="lines",
                line={"shape": "hv", "color": style.colour, "dash": style.dash, "width": 2},
                hovertemplate="%{y:.4s} after %{x:.3s}FLOP<extra></extra>",
            )
        )  # fmt: skip
    return plain(figure)
