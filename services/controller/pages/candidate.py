"""One candidate: what it is, what it costs, how it was trained and judged, and what can be done with it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from dashboards.architecture import drawing
from dashboards.candidate import (
    Columns,
    costs,
    curve_columns,
    curve_frame,
    decision_line,
    loss_range,
    profile_of,
    recipe_rows,
)
from dashboards.labels import ORIGINS, STANDINGS, architecture, format_error, format_loss, mark, recipe
from dashboards.view import Standing, standing
from nas.adapters.sql.reader import Wanted
from nas.candidate import Candidate
from nas.client.models import ExportInfo
from nas.cost import params_by_part
from nas.curve import RUNGS
from nas.errors import NotFoundError, SpecError
from nas.records import (
    AttemptRecord,
    CandidateRecord,
    CurvePoint,
    EventRecord,
    Origin,
    SearchRecord,
    Verdict,
)
from nas.units import format_flops, format_seconds, format_share
from services.controller.access import Reading
from services.controller.pages.page import PageRoute, page, part
from services.controller.service import Service, TheService

router = APIRouter(prefix="/searches/{search_id}/candidates", route_class=PageRoute)
EVENTS = 200  # the last ones that are shown
LINES, MOST_LINES = 100, 1000  # of a log, at first and at most
Number = Annotated[int, Path(ge=0, lt=2**31)]


@dataclass(frozen=True, slots=True)
class Run:
    """An attempt in words."""

    attempt: int
    worker: str
    started: str
    lasted: str
    ended: str
    steps: str
    resumed: bool


@dataclass(frozen=True, slots=True)
class CurveRow:
    """A point at which validation text was read."""

    at: str
    flops: str
    train: str
    validation: str


@router.get("/{number}", response_class=HTMLResponse)
def candidate(
    request: Request,
    service: TheService,
    caller: Reading,
    search_id: str,
    number: Number,
    since: Annotated[int, Query(ge=-1, le=2**53)] = -1,
) -> Response:
    """The page; for one that is there already its parts that may change, or nothing (204) when they have not."""
    search, (record, revision) = service.store.search(search_id), _found(service, search_id, number)
    partial = bool(request.headers.get("HX-Request"))
    if partial and revision <= since:
        return Response(status_code=204)
    context = _live(service, search, record, revision)
    if partial:
        return part("candidate-live.html.j2", **context)
    return page(request, "candidate.html.j2", caller, **context, **_lasting(service, search, record))


def _found(service: Service, search_id: str, number: int) -> tuple[CandidateRecord, int]:
    found = service.reader.candidates(search_id, Wanted(numbers=[number]))
    if not found:
        raise NotFoundError(f"no candidate {search_id}/{number}")
    return found[0]


# --- What may change -------------------------------------------------------------------------------------------------


def _live(service: Service, search: SearchRecord, record: CandidateRecord, revision: int) -> dict[str, Any]:
    standing, letter = standing_now(service, search, record)
    points = service.store.points(search.id, record.number)
    final = record.origin is Origin.FINAL
    decided = service.store.decisions(search.id, record.number)
    return {
        "search": search,
        "record": record,
        "standing": standing,
        "outcome": STANDINGS[standing],
        "mark": letter,
        "origin": ORIGINS[record.origin],
        "reason": record.reason or next((own.reason for own in decided if own.verdict is Verdict.STOP), ""),
        "facts": _facts(record),
        "costs": costs(record, profile_of(search.setting, record, alone=final)),
        "decisions": [decision_line(own) for own in decided],
        "attempts": [_run(own) for own in service.store.attempts(search.id, record.number)],
        "events": _events(service.reader.events_of(search.id, record.number, EVENTS)),
        "rows": _rows(record, points),
        "state": {
            "revision": revision,
            "over": record.state.terminal,
            "artifact": bool(record.artifact),
            "curve": curve_columns(record, points),
            "end": _end(record, standing, points),
        },
    }


def standing_now(service: Service, search: SearchRecord, record: CandidateRecord) -> tuple[Standing, str]:
    """What became of a candidate, and its mark on the front; empty for one that is not there."""
    table = service.completed.of(search.id, service.reader.revision(search.id))
    numbers = table.front(search.spec["minimize"])[0].tolist()
    place = numbers.index(record.number) if record.number in numbers else None
    return standing(record.origin, record.state, place is not None), "" if place is None else mark(place)


def _facts(record: CandidateRecord) -> list[tuple[str, str, str]]:
    """(name, value, note) of the key numbers that there are."""
    spent, planned = record.train_flops_spent, record.train_flops_planned
    trained = format_flops(spent) if spent else "—"
    found = [("validation loss", format_error(record.val_bpb, record.val_error), "bits per byte, ± standard error")]
    if record.test_bpb is not None:
        found.append(("test loss", format_error(record.test_bpb, record.test_error), "bits per byte; read once"))
    found.append(("trained with", trained, f"of {format_flops(planned)} planned" if planned else "nothing planned"))
    found.append(("worker time", format_seconds(record.seconds) if record.seconds else "—", "training and evaluation"))
    if record.repeated_flops:
        found.append(("done again", format_flops(record.repeated_flops), "after a lost attempt; outside the budget"))
    return found


def moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _run(own: AttemptRecord) -> Run:
    ended = own.finished_at
    until = time.time() if ended is None else ended
    return Run(
        attempt=own.attempt + 1,
        worker=own.worker or "—",
        started=moment(own.started_at),
        lasted=format_seconds(max(0.0, until - own.started_at)) + ("" if ended is not None else " so far"),
        ended=own.outcome.replace("_", " ") if ended is not None else "in training",
        steps=f"{own.first_step:,} to {own.last_step:,}",
        resumed=own.first_step > 0,
    )


@dataclass(frozen=True, slots=True)
class Said:
    """A line of a log, in words."""

    at: str
    level: str
    logger: str
    message: str


@router.get("/{number}/log", response_class=HTMLResponse)
def log(
    service: TheService,
    caller: Reading,
    search_id: str,
    number: Number,
    attempt: Annotated[int, Query(ge=0, lt=2**31)],
    most: Annotated[int, Query(ge=1, le=MOST_LINES)] = LINES,
) -> HTMLResponse:
    """What the worker of an attempt logged, for a page that is there already."""
    service.store.candidate(search_id, number)
    found = service.store.log(search_id, number, attempt=attempt, limit=most + 1)
    return part(
        "candidate-log.html.j2",
        address=f"/searches/{search_id}/candidates/{number}/log",
        attempt=attempt,
        lines=[Said(moment(own.at), own.level, own.logger, own.message) for own in found[:most]],
        most=most,
        further=min(2 * most, MOST_LINES) if most < len(found) and most < MOST_LINES else None,
    )


def _events(found: Sequence[EventRecord]) -> list[tuple[str, EventRecord]]:
    return [(moment(own.at), own) for own in reversed(found)]


def _rows(record: CandidateRecord, points: Sequence[CurvePoint]) -> list[CurveRow]:
    rows, train = [], None
    for own in points:
        train = own.train_bpb if own.train_bpb is not None else train
        if own.val_bpb is not None and not own.final:
            at = format_share(own.progress if own.rung is None else own.rung)
            rows.append(CurveRow(at, format_flops(own.flops), _loss(train), _loss(own.val_bpb)))
    if record.val_bpb is not None:
        spent = format_flops(record.train_flops_spent)
        rows.append(CurveRow("the end, all of the text", spent, _loss(train), _loss(record.val_bpb)))
    return rows


def _loss(loss: float | None) -> str:
    return "—" if loss is None else format_loss(loss)


def _end(record: CandidateRecord, standing: Standing, points: Sequence[CurvePoint]) -> Columns:
    """Where the curve of one that was stopped, or diverged, ends."""
    curve = curve_columns(record, points) if standing in (Standing.STOPPED, Standing.DIVERGED) else {}
    last = [(each["x"][-1], each["y"][-1]) for each in curve.values() if each["x"]]
    x, y = max(last, key=lambda own: own[0] or 0.0, default=(None, None))
    return {"x": [x], "y": [y]} if x is not None else {"x": [], "y": []}


# --- What stays ------------------------------------------------------------------------------------------------------


def _lasting(service: Service, search: SearchRecord, record: CandidateRecord) -> dict[str, Any]:
    before, after = service.reader.neighbours(search.id, record.number)
    points = service.store.points(search.id, record.number)
    low, high = loss_range(curve_columns(record, points))
    return {
        "before": before,
        "after": after,
        "short": architecture(record),
        "recipe": recipe(record),
        "frame": curve_frame(record.train_flops_planned, RUNGS, low, high),
        "export": _export(service, search.id, record.number),
        "last_event": service.reader.last_event(search.id),
        **drawn(record),
    }


def drawn(record: CandidateRecord) -> dict[str, Any]:
    """The architecture as a picture, its weights by part, and the recipe; ``problem`` says why there is none."""
    try:
        own = Candidate.from_dict(record.candidate)
    except SpecError as error:  # of a version with other knobs
        return {"picture": None, "weights": [], "recipe_rows": [], "problem": str(error)}
    parts = params_by_part(own.architecture)
    return {
        "picture": Markup(drawing(own.architecture, f"Architecture of candidate {record.number}", f"a{record.number}")),
        "weights": [(name, count, count / sum(parts.values())) for name, count in parts.items()],
        "recipe_rows": recipe_rows(own.recipe),
        "problem": "",
    }


def _export(service: Service, search_id: str, number: int) -> ExportInfo | None:
    try:
        return service.exports.find(f"{search_id}-{number}")
    except NotFoundError:
        return None
