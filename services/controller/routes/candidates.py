"""Candidates of a search, and what is known of each."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from nas.adapters.sql.reader import Wanted
from nas.candidate import Candidate
from nas.client.models import (
    Asked,
    Attempts,
    CandidatePage,
    Columns,
    Curves,
    Decisions,
    Generated,
    Log,
    NewCandidate,
    NewScale,
    Prompt,
    ScaledCandidate,
)
from nas.errors import SpecError, StateError
from nas.records import CandidateRecord, CandidateState, Origin, RequestKind, to_dict
from services.controller.access import Reading, Writing
from services.controller.columns import columns_of
from services.controller.freshness import fresh
from services.controller.paging import PAGE_MOST, PAGE_SIZE, page_token, place_of
from services.controller.routes import problems
from services.controller.routes.searches import ask
from services.controller.service import TheService

router = APIRouter(prefix="/searches/{search_id}", tags=["candidates"])
Order = Literal["number", "val_bpb", "seconds", "started_at", "finished_at"]
Number = Annotated[int, "of the candidate"]
CSV_COLUMNS = (
    *("search_id", "number", "id", "origin", "state", "reason", "val_bpb", "val_error", "test_bpb", "test_error"),
    *("train_flops_planned", "train_flops_spent", "eval_flops", "seconds", "time_bound", "artifact"),
)
"""Then the costs and the knobs, ``cost.NAME`` and ``knob.NAME``."""


@router.get(
    "/candidates",
    response_model=CandidatePage,
    responses={
        200: {
            "content": {
                "text/csv": {"schema": {"type": "string"}},
                "application/x-ndjson": {"schema": {"type": "string"}},
            }
        },
        **problems(404),
    },
)
def list_candidates(
    request: Request,
    service: TheService,
    caller: Reading,
    search_id: str,
    state: Annotated[list[CandidateState] | None, Query()] = None,
    origin: Annotated[list[Origin] | None, Query()] = None,
    order_by: Order = "number",
    descending: bool = False,
    since_revision: Annotated[int | None, Query(ge=0, le=2**53, description="only what has changed since")] = None,
    page_size: Annotated[int, Query(ge=1, le=PAGE_MOST)] = PAGE_SIZE,
    page_token_: Annotated[str, Query(alias="page_token", max_length=500)] = "",
    format: Literal["json", "csv", "ndjson"] = "json",
) -> Response:
    """A page of candidates; as CSV or NDJSON all of them."""
    revision = service.reader.revision(search_id)
    wanted = Wanted(states=state or (), origins=origin or (), since=since_revision)
    if format != "json":
        found = service.reader.candidates(search_id, wanted, order=order_by, descending=descending)
        return _table([own for own, _ in found], format, search_id)
    after = _after(page_token_, order_by) if page_token_ else None

    def page() -> CandidatePage:
        found = service.reader.candidates(
            search_id, wanted, order=order_by, descending=descending, after=after, limit=page_size + 1
        )
        shown = [own for own, _ in found[:page_size]]
        last = page_token(order_by, getattr(shown[-1], order_by), shown[-1].number) if len(found) > page_size else ""
        return CandidatePage(candidates=shown, next_page_token=last, revision=revision)

    return fresh(request, revision, page)


@router.get("/columns", response_model=Columns, responses=problems(404))
def columns(
    request: Request,
    service: TheService,
    caller: Reading,
    search_id: str,
    since_revision: Annotated[int | None, Query(ge=0, le=2**53, description="only what has changed since")] = None,
) -> Response:
    """All candidates as columns: little enough to draw thousands of them."""
    revision = service.reader.revision(search_id)
    if since_revision is None:
        return fresh(request, revision, lambda: service.columns.of(search_id, revision))
    return fresh(request, revision, lambda: columns_of(service.reader, search_id, since_revision, revision))


@router.post("/candidates", status_code=202, response_model=Asked, responses=problems(404, 409, 413))
def enqueue(service: TheService, caller: Writing, search_id: str, new: NewCandidate) -> Asked:
    """Give the search a candidate, to be run next."""
    given = Candidate.from_dict(new.model_dump())
    return ask(service, caller, search_id, RequestKind.ENQUEUE, given.to_dict())


@router.get("/candidates/{number}", response_model=CandidateRecord, responses=problems(404))
def get_candidate(service: TheService, caller: Reading, search_id: str, number: int) -> CandidateRecord:
    return service.store.candidate(search_id, _small(number))


@router.get("/candidates/{number}/curve", response_model=Curves, responses=problems(404))
def curve(service: TheService, caller: Reading, search_id: str, number: int) -> Curves:
    """Its loss over FLOPs, by steps."""
    service.store.candidate(search_id, _small(number))
    return Curves(points=service.store.points(search_id, number))


@router.get("/candidates/{number}/decisions", response_model=Decisions, responses=problems(404))
def decisions_of(service: TheService, caller: Reading, search_id: str, number: int) -> Decisions:
    """What the pruner said of it, with what it was said from."""
    service.store.candidate(search_id, _small(number))
    return Decisions(decisions=service.store.decisions(search_id, number))


@router.get("/candidates/{number}/log", response_model=Log, responses=problems(404))
def log_of(
    request: Request,
    service: TheService,
    caller: Reading,
    search_id: str,
    number: int,
    attempt: Annotated[int | None, Query(ge=0, lt=2**31, description="of this one only, from 0")] = None,
    after: Annotated[int, Query(ge=0, le=2**53, description="only later lines, by sequence")] = 0,
    limit: Annotated[int, Query(ge=1, le=PAGE_MOST)] = PAGE_SIZE,
) -> Response:
    """What its workers logged, by pages."""
    revision = service.reader.revision(search_id)
    service.store.candidate(search_id, _small(number))

    def page() -> Log:
        found = service.store.log(search_id, number, attempt=attempt, after=after, limit=limit + 1)
        return Log(lines=found[:limit], more=len(found) > limit)

    return fresh(request, revision, page)


@router.post("/candidates/{number}/stop", status_code=202, response_model=Asked, responses=problems(404, 409))
def stop_candidate(service: TheService, caller: Writing, search_id: str, number: int) -> Asked:
    """Train it no further."""
    record = service.store.candidate(search_id, _small(number))
    if record.state.terminal:
        raise StateError(f"candidate {search_id}/{number} is {record.state}")
    return ask(service, caller, search_id, RequestKind.STOP_CANDIDATE, {"number": number})


@router.post("/candidates/{number}/generate", response_model=Generated, responses=problems(404, 409, 413))
def generate(service: TheService, caller: Writing, search_id: str, number: int, prompt: Prompt) -> Generated:
    """Write text with a trained candidate, on a worker."""
    record = service.store.candidate(search_id, _small(number))
    if not record.artifact:
        raise StateError(f"candidate {search_id}/{number} is {record.state}, only completed ones have weights")
    text = service.dispatcher.generate(search_id, number, prompt.prompt, prompt.tokens, prompt.temperature, prompt.seed)
    return Generated(text=text)


@router.post("/candidates/{number}/scale", response_model=ScaledCandidate, responses=problems(404, 409, 413))
def scale(service: TheService, caller: Writing, search_id: str, number: int, new: NewScale) -> ScaledCandidate:
    """Carry a candidate to another budget by scaling rules, on a worker. Nothing is trained."""
    service.store.candidate(search_id, _small(number))
    return service.dispatcher.scale(search_id, number, new.compute)


@router.get("/curves", response_model=Curves, responses=problems(404))
def curves(request: Request, service: TheService, caller: Reading, search_id: str) -> Response:
    """The points of all candidates, by number and step."""
    revision = service.reader.revision(search_id)
    return fresh(request, revision, lambda: Curves(points=service.store.points(search_id)))


@router.get("/decisions", response_model=Decisions, responses=problems(404))
def decisions(request: Request, service: TheService, caller: Reading, search_id: str) -> Response:
    """What the pruner said, in the order in which it did."""
    revision = service.reader.revision(search_id)
    return fresh(request, revision, lambda: Decisions(decisions=service.store.decisions(search_id)))


@router.get("/attempts", response_model=Attempts, responses=problems(404))
def attempts(request: Request, service: TheService, caller: Reading, search_id: str) -> Response:
    """Runs of candidates on workers."""
    revision = service.reader.revision(search_id)
    return fresh(request, revision, lambda: Attempts(attempts=service.store.attempts(search_id)))


# --- tables ---


def _table(records: Sequence[CandidateRecord], format: str, search_id: str) -> Response:
    lines = _csv(records) if format == "csv" else (json.dumps(to_dict(own)) + "\n" for own in records)
    kind = "text/csv; charset=utf-8" if format == "csv" else "application/x-ndjson"
    name = f'attachment; filename="{search_id}-candidates.{format}"'
    return StreamingResponse(lines, media_type=kind, headers={"Content-Disposition": name})


def _csv(records: Sequence[CandidateRecord]) -> Iterator[str]:
    costs = sorted(
        {name for own in records for name, value in own.costs.items() if not isinstance(value, (dict, list))}
    )
    knobs = sorted({name for own in records for name in own.knobs})
    yield _line([*CSV_COLUMNS, *(f"cost.{name}" for name in costs), *(f"knob.{name}" for name in knobs)])
    for own in records:
        raw = to_dict(own)
        cells = [raw[name] for name in CSV_COLUMNS]
        yield _line([*cells, *(own.costs.get(name) for name in costs), *(own.knobs.get(name) for name in knobs)])


def _line(cells: Sequence[Any]) -> str:
    """Text that a spreadsheet would take for a formula is quoted."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\r\n").writerow([_safe(own) for own in cells])
    return file.getvalue()


def _safe(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def _after(token: str, order: str) -> tuple[float | None, int]:
    by, value, number = place_of(token, (str, (int, float, type(None)), int))
    if by != order:
        raise SpecError("page_token", f"must be of a page in the order of {order}", token)
    return value, number


def _small(number: int) -> int:
    """What no database holds is no candidate either."""
    return number if 0 <= number < 2**31 else -1
