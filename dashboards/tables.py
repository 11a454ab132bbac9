"""The tables of a search, as values: what a page shows, sorts and links."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from dashboards.labels import (
    CALCULATED,
    MEASURED,
    ORIGINS,
    PREDICTED,
    STANDINGS,
    architecture,
    format_error,
    format_value,
    marks,
    quantity,
    recipe,
    remark,
)
from dashboards.money import PARTS, Money, money_of
from dashboards.view import LOSS, SearchView, Standing
from nas.records import CandidateRecord, DecisionRecord
from nas.units import format_flops, format_seconds, format_share


@dataclass(frozen=True, slots=True)
class Column:
    """A column: ``source`` says how its numbers are known, empty for words."""

    name: str
    source: str = ""
    numeric: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell: ``sort`` is what it is sorted by when that is not its text; ``number`` links to a candidate."""

    text: str
    sort: float | None = None
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A row; ``number`` ties it to a candidate's marks in the figures."""

    cells: tuple[Cell, ...]
    number: int | None = None
    standing: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table; ``anchors`` makes its rows the ones that links to candidates lead to."""

    key: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    anchors: bool = False


def tables(view: SearchView) -> dict[str, Table]:
    """All tables by key."""
    found = (
        front(view),
        spending(money_of(view)),
        audits(view),
        decisions(view),
        origins(view),
        candidates(view),
        events(view),
    )
    return {table.key: table for table in found}


def front(view: SearchView) -> Table:
    """The front, the cheapest first."""
    shown, costs = marks(view), _costs(view)
    columns = [Column("mark"), Column("candidate", numeric=True), _loss_column(), *_cost_columns(costs)]
    rows = [
        Row(
            (
                Cell(shown[c.number]),
                _link(c.number),
                _loss(c),
                *_cost_cells(c, costs),
                Cell(remark(view, c.number)),
                Cell(ORIGINS[c.origin]),
                Cell(architecture(c)),
            ),
            c.number,
            Standing.FRONT.value,
        )
        for c in view.members
    ]
    words = (Column("worth noting"), Column("came from"), Column("architecture"))
    return Table("front", "The front, the cheapest first", (*columns, *words), tuple(rows))


def candidates(view: SearchView) -> Table:
    """All candidates with everything about them."""
    costs = _costs(view)
    columns = (
        Column("candidate", numeric=True),
        Column("outcome"),
        Column("came from"),
        _loss_column(),
        *_cost_columns(costs),
        Column("trained with", CALCULATED, numeric=True),
        Column("time", MEASURED, numeric=True),
        Column("reason"),
        Column("architecture"),
        Column("recipe"),
    )
    rows = [
        Row(
            (
                Cell(f"#{c.number}", c.number),
                Cell(STANDINGS[view.standing(c)]),
                Cell(ORIGINS[c.origin]),
                _loss(c),
                *_cost_cells(c, costs),
                _trained(c),
                Cell(format_seconds(c.seconds), c.seconds) if c.seconds else Cell("—"),
                Cell(_reason(c)),
                Cell(architecture(c)),
                Cell(recipe(c)),
            ),
            c.number,
            view.standing(c).value,
        )
        for c in view.candidates
    ]
    return Table("candidates", "All candidates in the order they were proposed", columns, tuple(rows), anchors=True)


def spending(money: Money) -> Table:
    """Where the compute went and what was not needed; shares are of the whole budget."""
    spent = [(PARTS[name], flops, CALCULATED) for name, flops in money.parts.items() if flops]
    saved = [
        ("saved by stopping candidates early", money.pruner_saved, PREDICTED),
        ("saved by the gate, at most", money.gate_saved, PREDICTED),
        ("of the above, on audits of stops", money.audits, CALCULATED),
    ]
    rows = [
        Row((Cell(name), _flops(flops), Cell(_share(flops, money.budget), flops), Cell(source)))
        for name, flops, source in [*spent, *(row for row in saved if row[1])]
    ]
    names = ("what", "compute", "share of budget", "known by")
    columns = tuple(Column(name, numeric=name in names[1:3]) for name in names)
    return Table("spending", "Where the compute went", columns, tuple(rows))


def audits(view: SearchView) -> Table:
    """Stops that were recorded, not executed, and checked in the end."""
    words = {True: "false: it ended on the front", False: "right: it did not reach the front", None: "not known yet"}
    rows = [
        Row(
            (
                _link(audit.number),
                Cell(format_share(audit.rung), audit.rung),
                Cell(words[audit.false_stop]),
                _loss(view.candidate(audit.number)),
                _flops(audit.extra_flops),
                Cell(audit.reason),
            ),
            audit.number,
        )
        for audit in view.audits
    ]
    columns = (
        Column("candidate", numeric=True),
        Column("would have stopped at", numeric=True),
        Column("what came of it"),
        _loss_column(),
        Column("cost of the audit", CALCULATED, numeric=True),
        Column("reason for the stop"),
    )
    return Table("audits", "Audited stops", columns, tuple(rows))


def decisions(view: SearchView) -> Table:
    """What the pruner decided, with what it saw."""
    rows = [_decision(record) for record in view.decisions]
    columns = (
        Column("candidate", numeric=True),
        Column("at", numeric=True),
        Column("verdict"),
        Column("reason"),
        Column("made from"),
    )
    return Table("decisions", "Decisions of the pruner", columns, tuple(rows))


def _decision(record: DecisionRecord) -> Row:
    inputs = ", ".join(f"{name}: {_brief(value)}" for name, value in record.inputs.items())
    rung = Cell(format_share(record.rung), record.rung)
    cells = (_link(record.number), rung, Cell(record.verdict.value), Cell(record.reason), Cell(inputs))
    return Row(cells, record.number)


def _brief(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 120 else text[:119] + "…"


def origins(view: SearchView) -> Table:
    """Where the front's members came from."""
    rows = []
    for origin, members in view.front_by_origin.items():
        trained = sum(
            c.origin is origin and view.standing(c) in (Standing.FRONT, Standing.DOMINATED) for c in view.candidates
        )
        count = view.by_origin[origin]
        numbers = ", ".join(f"#{number}" for number in members) or "—"
        cells = (Cell(ORIGINS[origin]), Cell(str(count), count), Cell(str(trained), trained))
        rows.append(Row((*cells, Cell(str(len(members)), len(members)), Cell(numbers))))
    columns = (
        Column("came from"),
        Column("candidates", numeric=True),
        Column("trained to the end", numeric=True),
        Column("on the front", numeric=True),
        Column("which"),
    )
    return Table("origins", "Where the members of the front came from", columns, tuple(rows))


def events(view: SearchView) -> Table:
    """What happened, in order."""
    rows = [
        Row(
            (
                Cell(datetime.fromtimestamp(event.at, UTC).strftime("%H:%M:%S"), event.sequence),
                Cell(event.level),
                Cell(event.kind),
                Cell(event.message),
            ),
            event.number,
            event.level,
        )
        for event in view.events
    ]
    columns = (Column("time (UTC)"), Column("level"), Column("kind"), Column("message"))
    return Table("events", "Events", columns, tuple(rows))


def _costs(view: SearchView) -> list[str]:
    return list(dict.fromkeys([*view.costs, "params", "peak_memory"]))


def _loss_column() -> Column:
    return Column(f"{quantity(LOSS).name}, {quantity(LOSS).unit}", MEASURED, numeric=True)


def _cost_columns(costs: Sequence[str]) -> list[Column]:
    found = []
    for name in costs:
        own = quantity(name)
        per = " per byte of text" if "per byte" in own.unit else ""
        found.append(Column(own.name + per, own.source, numeric=True))
    return found


def _cost_cells(record: CandidateRecord, costs: Sequence[str]) -> list[Cell]:
    return [Cell(format_value(name, record.costs.get(name)), record.costs.get(name)) for name in costs]


def _loss(record: CandidateRecord) -> Cell:
    return Cell(format_error(record.val_bpb, record.val_error), record.val_bpb)


def _link(number: int) -> Cell:
    return Cell(f"#{number}", number, number)


def _flops(flops: int) -> Cell:
    return Cell(format_flops(flops), flops) if flops else Cell("—")


def _trained(record: CandidateRecord) -> Cell:
    spent, planned = record.train_flops_spent, record.train_flops_planned
    if not planned:
        return Cell("—")
    whole = "" if spent == planned else f" of {format_flops(planned)}"
    return Cell(format_flops(spent) + whole, spent)


def _share(flops: int, budget: int) -> str:
    return format_share(flops / budget) if budget else "—"


def _reason(record: CandidateRecord) -> str:
    shortened = "shortened: the machine was slower than predicted" if record.time_bound else ""
    return "; ".join(part for part in (record.reason, shortened) if part)
