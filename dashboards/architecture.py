"""An architecture as a drawing: SVG for pages, whose style sheet has its colours, and words for who cannot see it.

Pure. What repeats itself is drawn once with how often it comes, so that the drawing stays small; no layer is left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import groupby

from nas.candidate import Architecture, Layer
from nas.cost import params_by_part
from nas.units import format_count

WIDTH = 340  # of the drawing: as much as a narrow screen has
LEFT, RIGHT = 30, 292  # of the boxes; left of them is the shortcut, right of them how often something comes
INNER = 68  # left edge of what is inside a block
SPINE = 49  # the residual stream inside a block
LETTER = 6.0  # width of a letter, at most about that
LONGEST_PERIOD = 8  # of layers that follow each other in turns
MOST_HEADS = 32  # that are drawn one by one
GLYPHS = 204  # width of what shows heads and sizes

# --- What is drawn once ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Group:
    """Layers from number ``first`` on: the ``pattern``, so many ``times``."""

    first: int
    pattern: tuple[Layer, ...]
    times: int

    def blocks(self) -> list["Block"]:
        """Equal neighbours of the pattern, each with the numbers of all layers that it stands for."""
        found, place = [], 0
        for layer, run in groupby(self.pattern):
            length, period = len(list(run)), len(self.pattern)
            starts = (self.first + turn * period + place for turn in range(self.times))
            found.append(Block(layer, length, tuple(n for start in starts for n in range(start, start + length))))
            place += length
        return found


@dataclass(frozen=True, slots=True)
class Block:
    """A layer as it is drawn: so many in a row, that stand for layers of these ``numbers``."""

    layer: Layer
    row: int
    numbers: tuple[int, ...]


def groups(layers: Sequence[Layer]) -> list[Group]:
    """The layers in order, what repeats itself taken together: always as much of it as possible."""
    found, place = list[Group](), 0
    while place < len(layers):
        period, times = _repeated(layers[place:])
        found.append(Group(place, tuple(layers[place : place + period]), times))
        place += period * times
    return found


def _repeated(layers: Sequence[Layer]) -> tuple[int, int]:
    """How long what repeats itself at the beginning is, and how often it comes; (1, 1) when nothing does."""
    best = (1, 1)
    for period in range(1, min(LONGEST_PERIOD, len(layers)) + 1):
        times = 1
        while layers[times * period : (times + 1) * period] == layers[:period]:
            times += 1
        if times > 1 and period * times > best[0] * best[1]:
            best = (period, times)
    return best


# --- Words -----------------------------------------------------------------------------------------------------------


def in_words(architecture: Architecture) -> str:
    """All that the drawing shows, as sentences."""
    own = architecture
    told = [f"Tokens of a vocabulary of {own.vocabulary:,} are embedded in width {own.width}."]
    if own.x0_shortcut:
        told.append("Each layer begins by mixing the embedding into its input (x0 shortcut).")
    for group in groups(own.layers()):
        told += [f"{_which(block)}: {_layer_in_words(own, block)}." for block in group.blocks()]
    told.append(f"The head {'is the embedding again' if own.tied else 'has weights of its own'}.")
    if own.softcap:
        told.append(f"Logits are capped softly at {own.softcap:g}.")
    return " ".join(told)


def _layer_in_words(own: Architecture, block: Block) -> str:
    layer = block.layer
    values = ", with a value embedding" if layer.value_embedding else ""
    changes = _changes(own, block)
    return (
        f"attention by {_heads(own, layer)} over {_span(own, layer)}{values}, then an MLP of width {layer.mlp_width} "
        f"({_activation(own)})" + (f"; {changes}" if changes else "")
    )


def _which(block: Block) -> str:
    """``Layer 1``, ``Layers 2 to 4``, ``Layers 1, 3, 5``."""
    shown = [number + 1 for number in block.numbers]
    if len(shown) == 1:
        return f"Layer {shown[0]}"
    if shown[-1] - shown[0] == len(shown) - 1:
        return f"Layers {shown[0]} to {shown[-1]}"
    most = 8
    return f"Layers {', '.join(map(str, shown[:most]))}" + (f" … {shown[-1]}" if len(shown) > most else "")


def _heads(own: Architecture, layer: Layer) -> str:
    heads = f"{layer.heads} head{'s' if layer.heads > 1 else ''} of {own.head_size}"
    return heads if layer.kv_heads == layer.heads else f"{heads}, {layer.kv_heads} KV"


def _span(own: Architecture, layer: Layer) -> str:
    return f"a window of {layer.window}" if layer.window else f"all {own.context} tokens"


def _activation(own: Architecture) -> str:
    return {"swiglu": "SwiGLU, gated", "relu2": "squared ReLU"}.get(own.activation, own.activation)


def _changes(own: Architecture, block: Block) -> str:
    """What of a layer differs from the values that layers share; empty for most."""
    pairs = (
        ("heads", block.layer.heads, own.heads),
        ("KV heads", block.layer.kv_heads, own.kv_heads),
        ("MLP", block.layer.mlp_width, own.mlp_width),
    )
    return ", ".join(f"{name} {value}, elsewhere {shared}" for name, value, shared in pairs if value != shared)


# --- The drawing -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Pen:
    """Elements so far, how far down they reach, and where the shortcut last did."""

    elements: list[str] = field(default_factory=list)
    y: float = 0.0
    shortcut: float = 0.0

    def put(self, element: str) -> None:
        self.elements.append(element)

    def box(self, kind: str, x: float, height: float, right: float = RIGHT) -> None:
        self.put(f'<rect class="{kind}" x="{x:g}" y="{self.y:g}" width="{right - x:g}" height="{height:g}" rx="6"/>')

    def text(self, x: float, y: float, text: str, kind: str = "", room: float = 0.0, end: bool = False) -> None:
        """``room``: what is longer is squeezed into it."""
        squeezed = f' textLength="{room:g}" lengthAdjust="spacingAndGlyphs"' if 0 < room < LETTER * len(text) else ""
        anchor = ' text-anchor="end"' if end else ""
        self.put(f'<text class="{kind}" x="{x:g}" y="{y:g}"{anchor}{squeezed}>{escape(text)}</text>')

    def arrow(self, length: float = 14, x: float = WIDTH / 2 - 9) -> None:
        tip = self.y + length
        head = f"M{x - 3:g},{tip - 4:g}L{x:g},{tip:g}L{x + 3:g},{tip - 4:g}"
        self.put(f'<path class="flow" d="M{x:g},{self.y:g}V{tip:g}{head}"/>')
        self.y = tip


def drawing(architecture: Architecture, name: str, key: str) -> str:
    """An SVG element. ``key`` makes its ids differ from those of others on the page."""
    own, pen, parts = architecture, _Pen(y=2), params_by_part(architecture)
    _end(pen, "embedding", f"{own.vocabulary:,} tokens × {own.width}", parts["embedding"], "wide")
    began = pen.y
    pen.arrow()
    for group in groups(own.layers()):
        _group(pen, own, group)
    _norm(pen, LEFT + 60, RIGHT - 60)
    pen.arrow(10)
    size = "the embedding again (tied)" if own.tied else f"{own.width} × {own.vocabulary:,} tokens"
    _end(pen, "head", size, parts.get("head", 0), "tied" if own.tied else "wide")
    if own.softcap:
        pen.arrow(12)
        _end(pen, "softcap", f"{own.softcap:g} tanh(logits / {own.softcap:g})", 0, "plain")
    if own.x0_shortcut:
        pen.put(f'<path class="shortcut" d="M{LEFT},{began - 12:g}H12V{pen.shortcut:g}"/>')
        pen.text(16, began + 11, "x0", "soft")
    key, height = escape(key, quote=True), pen.y + 2
    return (
        f'<svg class="architecture" viewBox="0 0 {WIDTH} {height:g}" role="img" '
        f'aria-labelledby="{key}-title" aria-describedby="{key}-desc" xmlns="http://www.w3.org/2000/svg">'
        f'<title id="{key}-title">{escape(name)}</title><desc id="{key}-desc">{escape(in_words(own))}</desc>'
        f"{''.join(pen.elements)}</svg>"
    )


def _end(pen: _Pen, name: str, size: str, weights: int, kind: str) -> None:
    """A box at an end of the model."""
    pen.box(kind, LEFT, 40)
    pen.text(LEFT + 12, pen.y + 17, name, "name")
    pen.text(LEFT + 12, pen.y + 32, size, "soft", RIGHT - LEFT - 24)
    if weights:
        pen.text(RIGHT - 12, pen.y + 17, format_count(weights), "soft", end=True)
    pen.y += 40


def _group(pen: _Pen, own: Architecture, group: Group) -> None:
    top = pen.y
    for place, block in enumerate(group.blocks()):
        if place:
            pen.arrow()
        _block(pen, own, block, single=len(group.pattern) == 1)
    if len(group.pattern) > 1 and group.times > 1:
        _often(pen, top, group.times, RIGHT + 20)
    pen.arrow()


def _often(pen: _Pen, top: float, times: int, x: float) -> None:
    """A bracket over what comes so many times."""
    pen.put(f'<path class="flow" d="M{x - 4:g},{top:g}H{x:g}V{pen.y:g}H{x - 4:g}"/>')
    pen.text(x + 3, (top + pen.y) / 2 + 4, f"×{times}", "name", WIDTH - x - 3)


def _block(pen: _Pen, own: Architecture, block: Block, single: bool) -> None:
    layer, changes = block.layer, _changes(own, block)
    attention = 66 + (16 if layer.value_embedding else 0)
    height = 22 + (15 if changes else 0) + attention + 12 + 52 + 12
    top, numbers = pen.y, " ".join(map(str, block.numbers))
    pen.put(f'<g data-layers="{numbers}">')
    pen.box("block changed" if changes else "block", LEFT, height)
    pen.text(LEFT + 10, top + 15, _which(block), "name", RIGHT - LEFT - 20)
    if changes:
        pen.text(LEFT + 10, top + 30, f"differs: {changes}", "soft", RIGHT - LEFT - 20)
    pen.y += 22 + (15 if changes else 0)
    pen.put(f'<path class="flow" d="M{SPINE:g},{pen.y:g}V{top + height:g}"/>')
    if own.x0_shortcut:
        pen.shortcut = pen.y + 2
        pen.put(f'<path class="shortcut" d="M12,{pen.shortcut:g}H{SPINE - 5:g}"/>')
        _sum(pen, pen.shortcut)
    _attention(pen, own, layer, attention)
    pen.y += 12
    _mlp(pen, own, layer)
    pen.y = top + height
    times = len(block.numbers) if single else block.row
    if times > 1:
        _often(pen, top, times, RIGHT + 6)
    pen.put("</g>")


def _attention(pen: _Pen, own: Architecture, layer: Layer, height: float) -> None:
    _branch(pen, height)
    pen.box("attention", INNER, height, RIGHT - 10)
    top, left, right = pen.y, INNER + 8, RIGHT - 18
    pen.text(left, top + 15, "attention", "name")
    pen.text(right, top + 15, f"window {layer.window}" if layer.window else f"all {own.context}", "soft", end=True)
    pen.text(left, top + 31, _heads(own, layer) + (", normed" if own.qk_norm else ""), "soft", right - left)
    for element in _head_marks(layer, left, top + 38):
        pen.put(element)
    if layer.value_embedding:
        table = f"value embedding {own.vocabulary:,} × {layer.kv_heads * own.head_size}"
        pen.text(left, top + 75, f"+ {table}", "soft", right - left)
    pen.y += height


def _head_marks(layer: Layer, x: float, y: float) -> Iterator[str]:
    """Query heads, and beneath them the key/value heads that they share."""
    if layer.heads > MOST_HEADS:
        yield f'<rect class="query" x="{x:g}" y="{y:g}" width="{GLYPHS}" height="8"/>'
        shared = GLYPHS * layer.kv_heads / layer.heads
        yield f'<rect class="key" x="{x:g}" y="{y + 11:g}" width="{shared:g}" height="8"/>'
        return
    step = min(14.0, GLYPHS / layer.heads)
    shared = layer.heads // layer.kv_heads
    for head in range(layer.heads):
        yield f'<rect class="query" x="{x + head * step:g}" y="{y:g}" width="{step - 2:g}" height="8" rx="1"/>'
    for head in range(layer.kv_heads):
        left, width = x + head * shared * step, shared * step - 2
        yield f'<rect class="key" x="{left:g}" y="{y + 11:g}" width="{width:g}" height="8" rx="1"/>'


def _mlp(pen: _Pen, own: Architecture, layer: Layer) -> None:
    _branch(pen, 52)
    pen.box("mlp", INNER, 52, RIGHT - 10)
    top, left, right = pen.y, INNER + 8, RIGHT - 18
    pen.text(left, top + 15, "MLP", "name")
    pen.text(right, top + 15, _activation(own), "soft", end=True)
    pen.text(left, top + 31, f"{own.width} → {layer.mlp_width} → {own.width}", "soft", right - left)
    most = max(own.width, *(each.mlp_width for each in own.layers()))
    narrow, wide = GLYPHS * own.width / most / 2, GLYPHS * layer.mlp_width / most / 2
    middle, y = left + GLYPHS / 2, top + 38
    pen.put(
        f'<path class="hidden" d="M{middle - narrow:.1f},{y:g}L{middle - wide:.1f},{y + 4:g}'
        f"L{middle - narrow:.1f},{y + 8:g}H{middle + narrow:.1f}L{middle + wide:.1f},{y + 4:g}"
        f'L{middle + narrow:.1f},{y:g}Z"/>'
    )
    pen.y += 52


def _branch(pen: _Pen, height: float) -> None:
    """From the residual stream through a norm into a box, and from the box back onto it."""
    enters, leaves = pen.y + 16, pen.y + height - 8
    pen.put(f'<path class="flow" d="M{SPINE:g},{enters:g}H{INNER:g}M{INNER:g},{leaves:g}H{SPINE:g}"/>')
    pen.put(f'<rect class="norm" x="{INNER - 9:g}" y="{enters - 6:g}" width="4" height="12" rx="1"/>')
    _sum(pen, leaves)


def _sum(pen: _Pen, y: float) -> None:
    """Where something is added to the residual stream."""
    pen.put(f'<circle class="sum" cx="{SPINE:g}" cy="{y:g}" r="5"/>')
    pen.put(f'<path class="flow" d="M{SPINE - 3:g},{y:g}h6m-3,-3v6"/>')


def _norm(pen: _Pen, left: float, right: float) -> None:
    pen.put(f'<rect class="norm" x="{left:g}" y="{pen.y:g}" width="{right - left:g}" height="5" rx="1"/>')
    pen.y += 5
