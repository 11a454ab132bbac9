"""Candidates of one search beside each other, and two searches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from dashboards.candidate import STYLES, curve_columns, curves_figure
from dashboards.comparison import MOST, FrontLine, compared, fronts_figure, volumes_figure
from dashboards.labels import format_loss, format_percent, format_value, quantity
from nas.adapters.sql.reader import NOTHING, Wanted
from nas.errors import NotFoundError
from nas.records import CandidateRecord, SearchRecord
from nas.spec import LOSS, OBJECTIVES
from nas.units import format_flops, format_seconds
from services.controller.access import Reading
from services.controller.pages.candidate import drawn
from services.controller.pages.page import PageRoute, page
from services.controller.routes.analysis import volumes_of
from services.controller.service import Service, TheService

router = APIRouter(route_class=PageRoute)
COSTS = tuple(name for name in OBJECTIVES if name != LOSS)
OFFERED = 100  # searches that one may choose from
ROWS = 200  # of a front that a table shows
DIGITS = 9  # of a candidate's number


# --- Candidates ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Column:
    """A candidate of the comparison; ``without``: the address of the others."""

    record: CandidateRecord
    without: str
    picture: Any
    problem: str
    colour: str
    dash: str


@router.get("/searches/{search_id}/compare", response_class=HTMLResponse)
def compare_candidates(
    request: Request,
    service: TheService,
    caller: Reading,
    search_id: str,
    c: Annotated[list[str] | None, Query(max_length=200)] = None,
    only: Annotated[str, Query(max_length=20)] = "",
) -> HTMLResponse:
    """Up to eight of them; what cannot be shown is said on the page. ``only=differences`` leaves out what is equal."""
    search = service.store.search(search_id)
    numbers, problems = _numbers(c or [])
    records = _records(service, search_id, numbers)
    missing = [number for number in numbers if number not in records]
    problems += [f"There is no candidate {number} in this search." for number in missing]
    chosen = [records[number] for number in numbers if number in records]
    points = {own.number: service.store.points(search_id, own.number) for own in chosen}
    curves = {own.number: curve_columns(own, points[own.number]) for own in chosen}
    drawable = any(columns["x"] for curve in curves.values() for columns in curve.values())
    return page(
        request,
        "compare-candidates.html.j2",
        caller,
        search=search,
        columns=[_column(own, [each.number for each in chosen], only, place) for place, own in enumerate(chosen)],
        parts=compared(chosen) if chosen else [],
        problems=problems,
        only=only == "differences",
        most=MOST,
        toggled=_address(search_id, [own.number for own in chosen], "" if only == "differences" else "differences"),
        figure=curves_figure(curves) if drawable else None,
    )


def _numbers(given: Sequence[str]) -> tuple[list[int], list[str]]:
    """The first eight numbers, each once, and what is wrong with the rest."""
    problems = [f"{text!r} is not the number of a candidate." for text in given if not _is_number(text) and text]
    found = list(dict.fromkeys(int(text) for text in given if _is_number(text)))
    if len(found) > MOST:
        left = ", ".join(f"#{number}" for number in found[MOST:])
        problems.append(f"At most {MOST} candidates fit beside each other: {left} left out. Remove one to add another.")
    return found[:MOST], problems


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= DIGITS


def _records(service: Service, search_id: str, numbers: Sequence[int]) -> dict[int, CandidateRecord]:
    found = service.reader.candidates(search_id, Wanted(numbers=numbers))
    return {own.number: own for own, _ in found}


def _column(record: CandidateRecord, numbers: Sequence[int], only: str, place: int) -> Column:
    shown = drawn(record)
    others = [number for number in numbers if number != record.number]
    style = STYLES[place]
    address = _address(record.search_id, others, only)
    return Column(record, address, shown["picture"], shown["problem"], style.colour, _DASHES[style.dash])


_DASHES = {"solid": "", "dash": "6 4", "dot": "2 3", "dashdot": "6 3 2 3", "longdash": "9 4", "longdashdot": "9 3 2 3"}


def _address(search_id: str, numbers: Sequence[int], only: str) -> str:
    pairs = [*(("c", str(number)) for number in numbers), *([("only", only)] if only else [])]
    return f"/searches/{search_id}/compare" + (f"?{urlencode(pairs)}" if pairs else "")


# --- Searches --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Side:
    """A search of two."""

    search: SearchRecord
    line: FrontLine
    rows: tuple[tuple[int, str, str], ...]
    facts: Mapping[str, str]


@router.get("/compare", response_class=HTMLResponse)
def compare_searches(
    request: Request,
    service: TheService,
    caller: Reading,
    s: Annotated[list[str] | None, Query(max_length=20)] = None,
    x: Annotated[str, Query(max_length=40)] = "",
) -> HTMLResponse:
    """Two searches; with fewer one chooses. ``x`` is the cost on the axis."""
    named = [own for own in dict.fromkeys(s or []) if own]
    found, problems = list[SearchRecord](), list[str]()
    for own in named[:2]:
        try:
            found.append(service.store.search(own))
        except NotFoundError as error:
            problems.append(f"{str(error).capitalize()}.")
    if len(named) > 2:
        problems.append("Two searches are compared: the others are left out.")
    if x and x not in COSTS:
        problems.append(f"{x!r} is not a cost: it must be of {', '.join(COSTS)}.")
    cost = x if x in COSTS else _shared_cost(found)
    sides = [_side(service, own, cost, f"{'AB'[place]} · {own.name}") for place, own in enumerate(found)]
    both = len(sides) == 2
    volume, why = _volumes(service, sides) if both else (None, "")
    return page(
        request,
        "compare-searches.html.j2",
        caller,
        sides=sides,
        problems=problems,
        offered=service.reader.searches(limit=OFFERED),
        costs=[(name, quantity(name).axis) for name in COSTS],
        cost=cost,
        title=quantity(cost).name,
        facts=_facts(sides) if both else [],
        figure=fronts_figure(cost, [own.line for own in sides]) if both else None,
        volume=volume,
        why=why,
    )


def _shared_cost(found: Sequence[SearchRecord]) -> str:
    """The first that all of them minimise, else the first of the first."""
    named = [[name for name in COSTS if name in own.spec.get("minimize", ())] for own in found]
    first = named[0] if named else []
    shared = [name for name in first if all(name in other for other in named)]
    return next(iter(shared or first), COSTS[1])


def _side(service: Service, search: SearchRecord, cost: str, name: str) -> Side:
    table = service.completed.of(search.id, service.reader.revision(search.id))
    numbers, values = table.front((LOSS, cost))
    losses, costs = values[:, 0].tolist(), values[:, 1].tolist()
    line = FrontLine(name, tuple(numbers.tolist()), tuple(costs), tuple(losses))
    rows = tuple(
        (number, format_loss(loss), format_value(cost, price))
        for number, loss, price in zip(line.numbers[:ROWS], losses, costs, strict=False)
    )
    return Side(search, line, rows, _facts_of(service, search, len(line.numbers)))


def _facts_of(service: Service, search: SearchRecord, front: int) -> dict[str, str]:
    progress = service.sums.of([search.id]).get(search.id, NOTHING)
    spec, total = search.spec, search.spec.get("budget", {}).get("total", {})
    compute, spent = total.get("compute"), progress.flops + progress.final_flops
    share = f" ({format_percent(spent / compute)})" if compute else ""
    result = search.result or {}
    return {
        "state": str(search.state),
        "minimises": ", ".join(quantity(name).name for name in spec.get("minimize", ())),
        "corpus": _named(spec.get("corpus")),
        "space": _named(spec.get("space")),
        "device": str(search.setting.get("device_name") or spec.get("device", "")),
        "policy": str(spec.get("method", {}).get("policy", "default")),
        "budget": format_flops(compute) if compute else "—",
        "spent": format_flops(spent) + share,
        "worker time": format_seconds(progress.seconds) if progress.seconds else "—",
        "candidates": ", ".join(f"{count} {state}" for state, count in sorted(progress.counts.items())) or "none",
        "on the front shown": str(front),
        "best validation loss": format_loss(progress.best) if progress.best is not None else "—",
        "test loss of the final run": format_loss(result["test_bpb"]) if result.get("test_bpb") is not None else "—",
    }


def _named(given: Any) -> str:
    """A corpus or a space is a name, or written out."""
    return str(given.get("name", "given with the search")) if isinstance(given, Mapping) else str(given)


def _facts(sides: Sequence[Side]) -> list[tuple[str, list[str], bool]]:
    """(name, values, whether they differ)."""
    rows = [(name, [own.facts[name] for own in sides]) for name in sides[0].facts]
    return [(name, values, len(set(values)) > 1) for name, values in rows]


def _volumes(service: Service, sides: Sequence[Side]) -> tuple[dict[str, Any] | None, str]:
    """The figure, or why there is none."""
    objectives = [list(own.search.spec.get("minimize", ())) for own in sides]
    if objectives[0] != objectives[1]:
        return None, "They minimise different things, so their hypervolumes cannot be compared."
    found = [volumes_of(service, own.search.id, service.reader.revision(own.search.id), rises=True) for own in sides]
    if not all(own.reference for own in found):
        return None, "One of them has no reference point yet, so there is no hypervolume to compare."
    if found[0].reference != found[1].reference:
        told = " and ".join(
            ", ".join(format_value(name, value) for name, value in zip(objectives[0], own.reference, strict=True))
            for own in found
        )
        return None, f"Their reference points are not the same ({told}), so their hypervolumes cannot be compared."
    if not any(own.steps for own in found):
        return None, "Neither has trained a candidate to the end."
    steps = {
        side.line.name: [(step.flops, step.volume) for step in own.steps]
        for side, own in zip(sides, found, strict=True)
    }
    return volumes_figure(steps), ""
