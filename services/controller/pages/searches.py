"""The searches of a server."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from nas.adapters.sql.reader import NOTHING, Progress
from nas.records import SearchRecord, SearchState
from services.controller.access import Reading
from services.controller.pages.page import PageRoute, page, part
from services.controller.paging import page_token, place_of
from services.controller.service import Service, TheService

router = APIRouter(route_class=PageRoute)
PAGE = 50


@dataclass(frozen=True, slots=True)
class Line:
    """A search in the list. ``share``: of its compute that is spent."""

    search: SearchRecord
    progress: Progress
    share: float


@router.get("/", response_class=HTMLResponse)
def searches(
    request: Request,
    service: TheService,
    caller: Reading,
    state: Annotated[list[SearchState] | None, Query()] = None,
    name: Annotated[str, Query(max_length=100)] = "",
    page_token_: Annotated[str, Query(alias="page_token", max_length=500)] = "",
) -> HTMLResponse:
    """All of them, the newest first."""
    context = _lines(service, state or [], name, page_token_)
    if request.headers.get("HX-Request"):
        return part("searches-table.html.j2", **context)
    return page(request, "searches.html.j2", caller, **context)


def _lines(service: Service, states: list[SearchState], name: str, token: str) -> dict[str, Any]:
    place = place_of(token, (float, str)) if token else None
    before = (place[0], place[1]) if place else None
    found = service.reader.searches(states=states, before=before, limit=PAGE + 1)
    shown = [own for own in found[:PAGE] if name.lower() in own.name.lower()]
    progress = service.reader.progress([own.id for own in shown])
    lines = [_line(own, progress.get(own.id, NOTHING)) for own in shown]
    more = page_token(found[PAGE - 1].created_at, found[PAGE - 1].id) if len(found) > PAGE else ""
    return {"lines": lines, "more": more, "states": list(SearchState), "state": states, "name": name}


def _line(record: SearchRecord, progress: Progress) -> Line:
    budget = record.spec.get("budget", {}).get("total", {}).get("compute")
    share = (progress.flops + progress.final_flops) / budget if budget else 0.0
    return Line(record, progress, min(1.0, share))
