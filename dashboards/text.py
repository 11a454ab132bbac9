"""A search in plain text: tables and a scatter plot for a terminal, a log or an e-mail."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from dashboards.labels import (
    STANDINGS,
    architecture,
    format_error,
    format_loss,
    format_value,
    marks,
    quantity,
    remark,
)
from dashboards.view import LOSS, SearchView, Standing
from nas.records import CandidateRecord
from nas.units import format_flops, format_seconds

REASON = 60  # characters of a reason that a table shows
Grid = list[list[str]]


def front_table(view: SearchView) -> str:
    """The front, the cheapest first; its letters are those of `front_plot`."""
    if not view.front:
        return "No candidate is on the front yet."
    shown = marks(view)
    heads = ["", "number", quantity(LOSS).unit, *(quantity(name).name for name in _costs(view)), "architecture", ""]
    rows = [
        [
            shown[record.number],
            str(record.number),
            format_error(record.val_bpb, record.val_error),
            *(format_value(name, record.costs.get(name)) for name in _costs(view)),
            architecture(record),
            remark(view, record.number),
        ]
        for record in view.members
    ]
    return _table(heads, rows, right=range(1, 3 + len(_costs(view))))


def candidates_table(view: SearchView) -> str:
    """All candidates in the order they were proposed."""
    if not view.candidates:
        return "No candidate has been proposed yet."
    costs = _costs(view)
    heads = ["number", "origin", "state", quantity(LOSS).unit, *(quantity(name).name for name in costs)]
    rows = [
        [
            str(record.number),
            record.origin.value,
            _state(view, record),
            format_error(record.val_bpb, record.val_error),
            *(format_value(name, record.costs.get(name)) for name in costs),
            format_flops(record.train_flops_spent) if record.train_flops_spent else "—",
            format_seconds(record.seconds) if record.seconds else "—",
            _shorten(record.reason),
        ]
        for record in view.candidates
    ]
    return _table([*heads, "trained", "time", "reason"], rows, right=[0, *range(3, 6 + len(costs))])


def front_plot(view: SearchView, width: int = 72, height: int = 18) -> str:
    """Validation loss over the first cost on a logarithmic axis: letters are the front, dots are dominated, the star
    is the final run. What has no final loss is counted beneath."""
    cost = view.costs[0]
    shown = marks(view)
    signs = {Standing.FINAL: "★", Standing.DOMINATED: "·"}
    drawn = [
        (float(record.costs[cost]), record.val_bpb, shown.get(record.number, signs.get(view.standing(record), "·")))
        for record in view.candidates
        if record.val_bpb is not None and math.isfinite(record.val_bpb) and record.costs.get(cost)
    ]
    if not drawn:
        return "Nothing has been trained to the end yet: there is nothing to plot."
    plot = _scatter(drawn, max(width, 40), max(height, 6), quantity(cost).axis, cost)
    legend = "letters: on the front   · dominated   ★ final run (a larger budget)"
    return "\n".join([f"{quantity(LOSS).axis}, {quantity(LOSS).source}", *plot, legend, *_left_out(view, len(drawn))])


def _costs(view: SearchView) -> list[str]:
    """The costs a table shows: the objectives, then parameters and memory."""
    return list(dict.fromkeys([*view.costs, "params", "peak_memory"]))


def _state(view: SearchView, record: CandidateRecord) -> str:
    return "completed, on the front" if view.standing(record) is Standing.FRONT else record.state.value


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> str:
    """Columns two spaces apart; those of ``right`` are aligned to the right."""
    lines = [[_clean(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    aligned = set(right)

    def written(line: Sequence[str]) -> str:
        cells = (
            cell.rjust(size) if column in aligned else cell.ljust(size)
            for column, (cell, size) in enumerate(zip(line, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    rule = "  ".join("─" * size for size in widths)
    return "\n".join([written(lines[0]), rule, *(written(line) for line in lines[1:])])


def _clean(text: str) -> str:
    """On one line and without control characters: reasons may carry whatever a library printed."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _shorten(text: str) -> str:
    text = _clean(text)
    return text if len(text) <= REASON else text[: REASON - 1] + "…"


def _scatter(drawn: Sequence[tuple[float, float, str]], width: int, height: int, title: str, cost: str) -> list[str]:
    """The lines of the plot: y axis on the left, x axis (logarithmic) beneath."""
    costs, losses = [math.log(x) for x, _, _ in drawn], [y for _, y, _ in drawn]
    labels = _loss_labels(losses, height)
    margin = max(len(label) for label in labels.values())
    columns = width - margin - 3
    grid: Grid = [[" "] * columns for _ in range(height)]
    order = sorted(zip(costs, losses, drawn, strict=True), key=lambda item: (item[2][2] != "·", item[1]))
    for x, y, (_, _, sign) in order:
        _put(grid, _place(y, losses, height), _place(x, costs, columns), sign)
    lines = [
        f"{labels.get(row, ''):>{margin}} {'┤' if row in labels else '│'}{''.join(cells)}".rstrip()
        for row, cells in enumerate(reversed(grid))
    ]
    axis = " " * margin + " └" + "─" * columns
    return [*lines, axis, " " * (margin + 2) + _ticks(cost, costs, columns), f"{title} →".rjust(width - 1)]


def _loss_labels(losses: Sequence[float], height: int) -> dict[int, str]:
    """Labels of the y axis by row from the top."""
    low, high = min(losses), max(losses)
    if low == high:
        return {height - 1 - _place(low, losses, height): format_loss(low)}
    rows = (0, (height - 1) // 2, height - 1)
    return {row: format_loss(high - (high - low) * row / (height - 1)) for row in rows}


def _place(value: float, among: Sequence[float], cells: int) -> int:
    """The cell of a value between the least and the greatest; a single value goes to the middle."""
    low, high = min(among), max(among)
    return round((cells - 1) * ((value - low) / (high - low) if high > low else 0.5))


def _put(grid: Grid, row: int, column: int, sign: str) -> None:
    """Writes over blanks and dots; a taken cell sends a letter to a free neighbour, and it is left out if none is."""
    for nearby in (column, column + 1, column - 1, column + 2, column - 2):
        if 0 <= nearby < len(grid[row]) and grid[row][nearby] in " ·":
            grid[row][nearby] = sign
            return


def _ticks(cost: str, logarithms: Sequence[float], columns: int) -> str:
    low, high = min(logarithms), max(logarithms)
    left, middle, right = (format_value(cost, math.exp(value)) for value in (low, (low + high) / 2, high))
    if low == high:
        return middle.center(columns).rstrip()
    gap = columns - len(left) - len(right)
    return left + (middle.center(gap) if len(middle) + 2 <= gap else " " * gap) + right


def _left_out(view: SearchView, drawn: int) -> list[str]:
    missing = len(view.candidates) - drawn
    if not missing:
        return []
    counts = Counter(STANDINGS[view.standing(record)] for record in view.candidates if record.val_bpb is None)
    return [f"not drawn: {', '.join(f'{count} {name}' for name, count in counts.most_common())}"]
