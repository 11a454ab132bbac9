"""The pages of a server: templates, and the files that they name. What is on a page comes from whoever renders it.

Files are named with a digest of all of them, so that a browser may keep them for good and modules may name each other.
"""

import gzip
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from dashboards.figures import curve_keys, curves_frame, ledger_frame, volumes_frame
from dashboards.labels import ORIGINS, QUANTITIES, SHORT, STANDINGS
from dashboards.palette import COLOURS, GLYPHS, SHAPES, SIGNS, Key
from dashboards.templating import environment, script_json
from dashboards.view import OUTCOMES
from nas.units import format_bytes, format_count, format_flops, format_seconds

KINDS: Mapping[str, str] = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
PLOTLY = "plotly.min.js"
"""Of the installed package."""
FORMATS: Mapping[Callable[[float], str], str] = {
    format_count: "count",
    format_flops: "flops",
    format_bytes: "bytes",
    format_seconds: "seconds",
}
"""How ``units.js`` calls what `nas.units` has."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that pages name; ``packed`` by gzip."""

    kind: str
    content: bytes
    packed: bytes


@cache
def assets() -> Mapping[str, Asset]:
    """By name."""
    found = {}
    for folder in (resources.files("dashboards") / "static", resources.files("dashboards") / "static" / "vendor"):
        for own in folder.iterdir():
            kind = KINDS.get(f".{own.name.rpartition('.')[2]}")
            if kind is not None:
                found[own.name] = _asset(kind, own.read_bytes())
    plotly = (resources.files("plotly") / "package_data" / PLOTLY).read_bytes()
    found[PLOTLY] = _asset(KINDS[".js"], eager(plotly))
    return found


def eager(plotly: bytes) -> bytes:
    """With its one large function in parentheses, by which a browser knows that it will be called: compiled while it
    comes, not by the page's thread afterwards, a front is shown some 0.15 s sooner. As it is where it is wrapped in
    another way."""
    begin, end = b"this, () => {\n", b"return Plotly;\n}));"
    if plotly.count(begin) != 1 or not plotly.rstrip().endswith(end):
        return plotly
    return plotly.rstrip().removesuffix(end).replace(begin, b"this, (() => {\n") + b"return Plotly;\n})));"


def _asset(kind: str, content: bytes) -> Asset:
    return Asset(kind, content, gzip.compress(content, 6, mtime=0))


@cache
def digest() -> str:
    """Of all files."""
    found = hashlib.sha256()
    for name, own in sorted(assets().items()):
        found.update(f"{name}\0{len(own.content)}\0".encode())
        found.update(own.content)
    return found.hexdigest()[:12]


def asset_url(name: str) -> str:
    """Raises `KeyError` for a file that is not there."""
    if name not in assets():
        raise KeyError(name)
    return f"/static/{digest()}/{name}"


IMPORTS = re.compile(r"""^(?:import|export)\b[^;]*?["']\./([\w.-]+\.js)["'];""", re.MULTILINE)


@cache
def imported(name: str) -> tuple[str, ...]:
    """The modules that a module needs, those of its own imports too, in the order in which they are named."""
    found, waiting = dict.fromkeys([name]), [name]
    while waiting:
        text = assets()[waiting.pop(0)].content.decode()
        further = [own for own in IMPORTS.findall(text) if own not in found]
        found.update(dict.fromkeys(further))
        waiting += further
    return tuple(found)[1:]


def module(name: str) -> Markup:
    """A module's script, and before it what it needs: a browser fetches all at once, not import after import."""
    ahead = [Markup('<link rel="modulepreload" href="{}">\n').format(asset_url(own)) for own in imported(name)]
    return Markup("").join([*ahead, Markup('<script type="module" src="{}"></script>').format(asset_url(name))])


def render(template: str, **context: Any) -> str:
    """A page, or a part of one."""
    return _environment().get_template(f"web/{template}").render(**context)


@cache
def _environment() -> Environment:
    own = environment("dashboards")
    own.globals["asset"] = asset_url
    own.globals["module"] = module
    own.globals["words"] = words
    own.globals["progress_frames"] = progress_frames
    own.filters.update(
        island=island,
        flops=format_flops,
        bytes=format_bytes,
        seconds=format_seconds,
        count=format_count,
        moment=moment,
    )
    return own


def moment(at: float | None) -> str:
    """``2026-11-22 20:14``, in UTC."""
    return "—" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")


def island(value: Any) -> Markup:
    """JSON that cannot end the script element it stands in."""
    return script_json(json.dumps(value, separators=(",", ":"), allow_nan=False))


@dataclass(frozen=True, slots=True)
class Frames:
    """Figures without data, and the key of the curves."""

    figures: Mapping[str, Any]
    keys: tuple[Key, ...]


@cache
def progress_frames() -> Frames:
    """Of the figures beside a search's front."""
    figures = {"curves": curves_frame(), "volume": volumes_frame(), "account": ledger_frame()}
    return Frames({name: json.loads(str(own.to_json())) for name, own in figures.items()}, curve_keys())


def words() -> dict[str, Any]:
    """What modules call things, how they show numbers, and which signs stand for what."""
    return {
        "quantities": {
            name: {
                "name": own.name,
                "unit": own.unit,
                "axis": own.axis,
                "ticks": ".3~f" if name.endswith("_bpb") else "~s",
                "source": own.source,
                "format": FORMATS.get(own.format, "loss" if name.endswith("_bpb") else "milliseconds"),
            }
            for name, own in QUANTITIES.items()
        },
        "origins": {own.value: name for own, name in ORIGINS.items()},
        "shapes": {own.value: shape for own, shape in SHAPES.items()},
        "standings": {
            own.value: {
                "name": name,
                "short": SHORT.get(own, own.value),
                "colour": COLOURS[own],
                "sign": SIGNS[own],
            }
            for own, name in STANDINGS.items()
        },
        "outcomes": {state.value: own.value for state, own in OUTCOMES.items()},
        "glyphs": dict(GLYPHS),
    }
