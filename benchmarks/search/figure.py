"""The figure, as SVG: regret over the budget spent, a panel for each corpus, medians and the middle half of the seeds.

Written by hand because plotly needs a browser to make a picture that lies in a repository.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

import numpy as np

from benchmarks.search.compare import Floats
from benchmarks.search.results import PLACES, Result
from dashboards.palette import BLUE, FONT, GREEN, GREY, GRID, ORANGE, PURPLE, SKY, VERMILION

WIDTH, HEIGHT, LEFT, TOP, GAP = 460, 300, 64, 30, 30
LOW, HIGH = 1e-3, 1.0
"""Of the regret that is drawn, logarithmically; what is less lies on the lower edge."""
ROW, COLUMN = 18, 262
STYLES = [(colour, dash) for dash in ("", "5 3", "1.5 2.5") for colour in (VERMILION, GREEN, ORANGE, PURPLE, SKY, GREY)]
OURS = [(BLUE, dash) for dash in ("", "7 3", "2 2", "9 3 2 3", "4 1")]


def figure(corpora: Mapping[str, Sequence[Result]], ours: Sequence[str]) -> str:
    """``ours``: names of the methods that are drawn thick."""
    names = list(dict.fromkeys(own.method for results in corpora.values() for own in results))
    styles = _styles(names, ours)
    wide = LEFT + len(corpora) * (WIDTH + GAP)
    rows = -(-len(names) // (wide // COLUMN))
    high = TOP + HEIGHT + 60 + rows * ROW
    body = [
        line
        for place, (corpus, results) in enumerate(corpora.items())
        for line in _panel(place, corpus, results, styles)
    ]
    body += _key(styles, wide, TOP + HEIGHT + 62)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" viewBox="0 0 {wide} {high}" '
        f'font-family="{escape(FONT)}" font-size="12" fill="{GREY}">'
    )
    return "\n".join([head, *body, "</svg>", ""])


def _styles(names: Sequence[str], ours: Sequence[str]) -> dict[str, tuple[str, str, float]]:
    """Colour, dashes and width."""
    mine, theirs = ([own for own in names if (own in ours) is kind] for kind in (True, False))
    return {
        **{own: (*STYLES[place % len(STYLES)], 1.4) for place, own in enumerate(theirs)},
        **{own: (*OURS[place % len(OURS)], 2.6) for place, own in enumerate(mine)},
    }


def _panel(
    place: int, corpus: str, results: Sequence[Result], styles: Mapping[str, tuple[str, str, float]]
) -> Iterator[str]:
    left = LEFT + place * (WIDTH + GAP)
    yield f'<text x="{left + WIDTH / 2}" y="{TOP - 12}" text-anchor="middle" font-weight="600">{escape(corpus)}</text>'
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = left + share * WIDTH
        yield f'<path d="M{x:.1f},{TOP}V{TOP + HEIGHT}" stroke="{GRID}"/>'
        yield f'<text x="{x:.1f}" y="{TOP + HEIGHT + 16}" text-anchor="middle">{share:.0%}</text>'
    for exponent in range(round(math.log10(LOW)), 1):
        y = _height(10.0**exponent)
        yield f'<path d="M{left},{y:.1f}H{left + WIDTH}" stroke="{GRID}"/>'
        if not place:
            label = f"≤ {LOW:.1%}" if 10.0**exponent == LOW else f"{10.0**exponent:.0%}"
            yield f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
    middle = TOP + HEIGHT / 2
    if not place:
        yield (
            f'<text x="14" y="{middle}" text-anchor="middle" transform="rotate(-90 14 {middle})">'
            "hypervolume that is missing</text>"
        )
    yield f'<text x="{left + WIDTH / 2}" y="{TOP + HEIGHT + 36}" text-anchor="middle">share of the budget spent</text>'
    for own in sorted(results, key=lambda result: styles[result.method][2]):
        colour, dash, width = styles[own.method]
        low, mid, high = np.quantile(own.regrets, [0.25, 0.5, 0.75], axis=0)
        band = f"M{_line(left, high)}L{_line(left, low[::-1], backwards=True)}Z"
        yield f'<path d="{band}" fill="{colour}" opacity="{0.16 if width > 2 else 0.07}"/>'
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        yield f'<path d="M{_line(left, mid)}" fill="none" stroke="{colour}" stroke-width="{width}"{dashes}/>'


def _line(left: float, regrets: Floats, *, backwards: bool = False) -> str:
    shares = np.linspace(0, 1, PLACES)
    return "L".join(
        f"{left + share * WIDTH:.1f},{_height(own):.1f}"
        for share, own in zip(shares[::-1] if backwards else shares, regrets, strict=True)
    )


def _height(regret: float) -> float:
    bounded = min(max(float(regret), LOW), HIGH)
    return TOP + HEIGHT * math.log(HIGH / bounded) / math.log(HIGH / LOW)


def _key(styles: Mapping[str, tuple[str, str, float]], wide: int, top: int) -> Iterator[str]:
    for place, (name, (colour, dash, width)) in enumerate(styles.items()):
        row, column = divmod(place, wide // COLUMN)
        x, y = 20 + column * COLUMN, top + row * ROW
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        yield f'<path d="M{x},{y}h26" stroke="{colour}" stroke-width="{width}"{dashes}/>'
        yield f'<text x="{x + 32}" y="{y + 4}">{escape(name)}</text>'
