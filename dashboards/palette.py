"""How figures look: colours, shapes, layout, keys and what a mark says when pointed at.

Colours are those of Okabe and Ito ("Color Universal Design", 2008), told apart by all kinds of colour vision, and
never the only sign: shapes and places repeat what they say. Backgrounds are transparent and lines of a middle grey,
so that a figure reads on light and on dark; titles, captions and keys stay outside, where a page can wrap them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from textwrap import wrap
from typing import Any

import plotly.graph_objects as go

from dashboards.labels import (
    ORIGINS,
    QUANTITIES,
    STANDINGS,
    architecture,
    format_error,
    format_value,
    marks,
    quantity,
    recipe,
)
from dashboards.view import SearchView, Standing
from nas.records import CandidateRecord, Origin
from nas.units import format_flops, format_seconds

GREY, GRID = "#808080", "rgba(128,128,128,0.25)"
BLUE, SKY, GREEN, ORANGE, VERMILION, PURPLE = "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"

COLOURS: Mapping[Standing, str] = {
    Standing.FRONT: BLUE,
    Standing.DOMINATED: SKY,
    Standing.STOPPED: VERMILION,
    Standing.REJECTED: GREY,
    Standing.DIVERGED: PURPLE,
    Standing.FINAL: ORANGE,
    Standing.OPEN: GREY,
    Standing.LOST: GREY,
}
SIGNS: Mapping[Standing, str] = {
    Standing.FRONT: "circle",
    Standing.DOMINATED: "circle",
    Standing.STOPPED: "x-open",
    Standing.REJECTED: "line-ns-open",
    Standing.DIVERGED: "triangle-down-open",
    Standing.FINAL: "star",
    Standing.OPEN: "hourglass-open",
    Standing.LOST: "hash-open",
}
SHAPES: Mapping[Origin, str] = {  # of candidates that were trained to the end
    Origin.DIAL: "diamond",
    Origin.LARGEST: "square",
    Origin.UNIFORM: "triangle-up",
    Origin.PROPOSED: "circle",
    Origin.GIVEN: "pentagon",
    Origin.FINAL: "star",
}


GLYPHS: Mapping[str, str] = {  # the same signs as SVG paths in a box from -8 to 8, for the key beside a figure
    "circle": "M6,0A6,6 0 1 1 -6,0A6,6 0 1 1 6,0Z",
    "diamond": "M0,-7L7,0L0,7L-7,0Z",
    "square": "M-5,-5H5V5H-5Z",
    "triangle-up": "M0,-6L6,5H-6Z",
    "triangle-down": "M0,6L6,-5H-6Z",
    "pentagon": "M0,-6.5L6.2,-2L3.8,5.3H-3.8L-6.2,-2Z",
    "star": "M0,-8L2,-2.6H7.6L3.1,0.9L4.8,6.5L0,3.1L-4.8,6.5L-3.1,0.9L-7.6,-2.6H-2Z",
    "x": "M-6,-3L-3,-6L0,-3L3,-6L6,-3L3,0L6,3L3,6L0,3L-3,6L-6,3L-3,0Z",
    "line-ns": "M0,-7V7",
    "hash": "M-3,-6V6M3,-6V6M-6,-3H6M-6,3H6",
    "hourglass": "M-5,-6H5L-5,6H5Z",
    "line": "M-8,0H8",
    "bar": "M-7,-5H7V5H-7Z",
}


@dataclass(frozen=True, slots=True)
class Key:
    """A line of the key: a sign and what it means. ``group`` is the legend group of the traces that bear it."""

    name: str
    group: str
    colour: str
    symbol: str

    @property
    def path(self) -> str:
        return GLYPHS[self.symbol.removesuffix("-open")]

    @property
    def fill(self) -> str:
        return "none" if self.symbol.endswith("-open") else self.colour


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure with its words: ``title`` says what is seen, ``caption`` how to read it and what it comes to.
    ``height`` is high, middle or low; a page knows what that is on its screen."""

    title: str
    caption: str
    figure: go.Figure
    keys: tuple[Key, ...] = ()
    height: str = "high"


def blank(**layout: Any) -> go.Figure:
    """An empty figure in the house style."""
    return go.Figure(
        layout={
            "template": go.layout.Template(),
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": FONT, "size": 13, "color": GREY},
            "margin": {"l": 8, "r": 14, "t": 8, "b": 8},
            "showlegend": False,
            "hoverlabel": {"align": "left", "font": {"family": FONT, "size": 12}},
            "hovermode": "closest",
            **layout,
        }
    )


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis with grid lines and room for its labels."""
    return {
        "title": {"text": title, "standoff": 10},
        "automargin": True,
        "gridcolor": GRID,
        "linecolor": GREY,
        "zeroline": False,
        "ticks": "outside",
        "tickcolor": GRID,
        **more,
    }


def log_axis(title: str, low: float, high: float, **more: Any) -> dict[str, Any]:
    """A logarithmic axis whose labels stay apart: even steps over a narrow range, 1, 2 and 5 of each decade over a
    wide one, decades alone over a very wide one."""
    if high > 1000 * low:
        return axis(title, type="log", dtick=1, **more)
    if high > 5 * low:
        return axis(title, type="log", dtick="D2", **more)
    step = _round((high - low or low) / 5)
    return axis(title, type="log", tick0=step, dtick=f"L{step:g}", **more)


def _round(value: float) -> float:
    """The nearest of 1, 2 and 5 times a power of ten, by ratio."""
    power = 10.0 ** math.floor(math.log10(value))
    return min((digit * power for digit in (1, 2, 5, 10)), key=lambda near: abs(math.log(near / value)))


def marker(colour: str, symbol: Any, size: float, line: float = 1.0) -> dict[str, Any]:
    """Marks; open symbols are drawn by their line."""
    hollow = isinstance(symbol, str) and symbol.endswith("-open")
    return {
        "symbol": symbol,
        "size": size,
        "color": colour,
        "line": {"width": line, "color": colour if hollow else BLUE if colour == SKY else "rgba(0,0,0,0.55)"},
    }


def hover(view: SearchView, record: CandidateRecord) -> str:
    """All attributes of a candidate, in plotly's own HTML."""
    mark = marks(view).get(record.number)
    standing = STANDINGS[view.standing(record)]
    lines = [f"<b>#{record.number}{f' ({mark})' if mark else ''}</b> {standing}", escape(ORIGINS[record.origin])]
    if record.val_bpb is not None:
        lines.append(f"validation {format_error(record.val_bpb, record.val_error)} bits per byte")
    if record.test_bpb is not None:
        lines.append(f"test {format_error(record.test_bpb, record.test_error)} bits per byte")
    lines += [
        f"{quantity(name).name}: {format_value(name, record.costs[name])} ({quantity(name).source})"
        for name in QUANTITIES
        if name in record.costs
    ]
    if record.train_flops_planned:
        spent, planned = format_flops(record.train_flops_spent), format_flops(record.train_flops_planned)
        lines.append(f"trained with {spent} of {planned}, {format_seconds(record.seconds)}")
    if record.time_bound:
        lines.append("shortened: the machine was slower than predicted")
    for text in (architecture(record), recipe(record), record.reason):
        lines += [escape(line) for line in wrap(text, 46)[:4]]
    return "<br>".join(lines)
