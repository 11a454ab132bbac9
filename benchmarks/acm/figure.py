"""The figure, as SVG: ACM over the total budget, both logarithmic, with its interval; the line is where both cost the
same.

Written by hand, as `benchmarks.search.figure`.
"""

import math
from collections.abc import Iterator, Mapping
from html import escape

from benchmarks.acm.multiplier import Multiplier
from dashboards.palette import BLUE, FONT, GREY, GRID, VERMILION
from nas.units import format_flops

WIDTH, HEIGHT, LEFT, TOP = 460, 260, 64, 20
LOW, HIGH = 0.125, 4.0
"""Of the ACM that is drawn; what is beyond lies on an edge."""
TICKS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)


def figure(found: Mapping[int, Multiplier]) -> str:
    wide, high = LEFT + WIDTH + 30, TOP + HEIGHT + 48
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" viewBox="0 0 {wide} {high}" '
        f'font-family="{escape(FONT)}" font-size="12" fill="{GREY}">'
    )
    return "\n".join([head, *_axes(sorted(found)), *_points(found), "</svg>", ""])


def _axes(budgets: list[int]) -> Iterator[str]:
    for tick in TICKS:
        y, colour = _y(tick), VERMILION if tick == 1 else GRID
        yield f'<path d="M{LEFT},{y:.1f}H{LEFT + WIDTH}" stroke="{colour}"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'
    for budget in budgets:
        x = _x(budget, budgets)
        yield f'<text x="{x:.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{format_flops(budget)}</text>'
    middle = f'x="{LEFT + WIDTH / 2}" y="{TOP + HEIGHT + 38}"'
    yield f'<text {middle} text-anchor="middle">total budget of the search</text>'
    yield f'<text x="{LEFT + 6}" y="{TOP + 14}" fill="{VERMILION}">above the line a search has paid for itself</text>'
    yield (
        f'<text x="16" y="{TOP + HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 16 {TOP + HEIGHT / 2})">'
        "all-in compute multiplier</text>"
    )


def _points(found: Mapping[int, Multiplier]) -> Iterator[str]:
    """A triangle where the ladder can only tell that it is more, or less."""
    budgets = sorted(found)
    places = [(_x(budget, budgets), found[budget]) for budget in budgets]
    line = " ".join(f"{x:.1f},{_y(own.within(own.value)):.1f}" for x, own in places)
    yield f'<polyline points="{line}" fill="none" stroke="{BLUE}" stroke-width="2"/>'
    for x, own in places:
        low, middle, high = (_y(own.within(value)) for value in (own.low, own.value, own.high))
        yield f'<path d="M{x:.1f},{low:.1f}V{high:.1f}" stroke="{BLUE}" stroke-width="2"/>'
        if own.within(own.value) == own.value:
            yield f'<circle cx="{x:.1f}" cy="{middle:.1f}" r="4.5" fill="{BLUE}"/>'
        if math.isinf(own.high):
            yield f'<path d="M{x - 6:.1f},{high:.1f}h12l-6,-10z" fill="{BLUE}"/>'
        if own.low == 0:
            yield f'<path d="M{x - 6:.1f},{low:.1f}h12l-6,10z" fill="{BLUE}"/>'


def _x(budget: int, budgets: list[int]) -> float:
    low, high = math.log(budgets[0]), math.log(budgets[-1])
    share = (math.log(budget) - low) / (high - low) if high > low else 0.5
    return LEFT + WIDTH * (0.08 + 0.84 * share)


def _y(value: float) -> float:
    own = min(max(value, LOW), HIGH)
    return TOP + HEIGHT * math.log(HIGH / own) / math.log(HIGH / LOW)
