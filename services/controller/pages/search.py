"""One search: its front first."""

import json
from functools import cache
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from dashboards.front import frame
from dashboards.labels import (
    ORIGINS,
    STANDINGS,
    architecture,
    format_error,
    format_value,
    quantity,
)
from dashboards.view import OUTCOMES, Standing
from nas.adapters.sql.reader import Wanted
from nas.errors import SpecError
from nas.records import CandidateRecord, CandidateState, Origin, SearchRecord
from nas.spec import LOSS
from nas.units import format_flops, format_seconds
from services.controller.access import Reading
from services.controller.pages.facts import ACTIONS, COUNTED, head
from services.controller.pages.page import PageRoute, page, part
from services.controller.paging import page_token, place_of
from services.controller.service import TheService

router = APIRouter(prefix="/searches/{search_id}", route_class=PageRoute)
PAGE = 50
TRAINED = "trained to the end"
"""A page of candidates does not know the front."""
Order = Literal["number", "val_bpb", "seconds", "started_at", "finished_at"]
ORDERS: dict[Order, str] = {
    "number": "when it was proposed",
    "val_bpb": "validation loss",
    "seconds": "training time",
    "started_at": "when it began",
    "finished_at": "when it ended",
}


@router.get("", response_class=HTMLResponse)
def search(request: Request, service: TheService, caller: Reading, search_id: str) -> HTMLResponse:
    record = service.store.search(search_id)
    # events that come while the page is made are heard of later
    last, revision = service.reader.last_event(search_id), service.reader.revision(search_id)
    kept = [(name, value) for name, value in request.query_params.multi_items() if name in FILTERS and value]
    return page(
        request,
        "search.html.j2",
        caller,
        search=record,
        head=head(service, record),
        actions=ACTIONS,
        candidates=f"/searches/{search_id}/candidates" + (f"?{urlencode(kept)}" if kept else ""),
        front={
            "search": search_id,
            "objectives": list(record.spec["minimize"]),
            "event": last,
            "revision": revision,
            "frame": _frame(),
        },
    )


@router.get("/facts", response_class=HTMLResponse)
def facts(request: Request, service: TheService, caller: Reading, search_id: str) -> HTMLResponse:
    """What of the page's head changes while the search runs."""
    record = service.store.search(search_id)
    return part("search-head.html.j2", search=record, head=head(service, record), caller=caller)


FILTERS = ("state", "origin", "order_by", "descending", "page_token")


@router.get("/candidates", response_class=HTMLResponse)
def candidates(
    request: Request,
    service: TheService,
    caller: Reading,
    search_id: str,
    state: CandidateState | Literal[""] = "",
    origin: Origin | Literal[""] = "",
    order_by: Order = "number",
    descending: bool = False,
    page_token_: Annotated[str, Query(alias="page_token", max_length=500)] = "",
) -> HTMLResponse:
    """A page of all candidates, filtered and in order."""
    record = service.store.search(search_id)
    wanted = Wanted(states=[state] if state else (), origins=[origin] if origin else ())
    after = _after(page_token_, order_by) if page_token_ else None
    found = service.reader.candidates(
        search_id, wanted, order=order_by, descending=descending, after=after, limit=PAGE + 1
    )
    shown = [own for own, _ in found[:PAGE]]
    filters = {"state": state, "origin": origin, "order_by": order_by, "descending": "true" if descending else ""}
    more = page_token(order_by, getattr(shown[-1], order_by), shown[-1].number) if len(found) > PAGE else ""
    context: dict[str, Any] = {
        "search": record,
        "lines": [_line(own, _costs(record)) for own in shown],
        "costs": [quantity(name) for name in _costs(record)],
        "filters": filters,
        "first": not page_token_,
        "base": f"/searches/{search_id}/candidates",
        "query": urlencode({name: value for name, value in filters.items() if value}),
        "more": more,
        "states": COUNTED,
        "origins": ORIGINS,
        "orders": ORDERS,
    }
    if request.headers.get("HX-Request"):
        return part("search-candidates.html.j2", **context)
    return page(request, "search-candidates-page.html.j2", caller, **context)


@cache
def _frame() -> Any:
    """The figure without data: the same for all searches."""
    return json.loads(frame().to_json())


def _costs(search: SearchRecord) -> list[str]:
    return list(dict.fromkeys([*(name for name in search.spec["minimize"] if name != LOSS), "params", "peak_memory"]))


def _line(own: CandidateRecord, costs: list[str]) -> dict[str, Any]:
    """What the list says of a candidate."""
    standing = Standing.FINAL if own.origin is Origin.FINAL else OUTCOMES[own.state]
    planned, spent = own.train_flops_planned, own.train_flops_spent
    whole = "" if spent == planned else f" of {format_flops(planned)}"
    shortened = "shortened: the machine was slower than predicted" if own.time_bound else ""
    return {
        "number": own.number,
        "outcome": TRAINED if standing is Standing.DOMINATED else COUNTED.get(own.state, STANDINGS[standing]),
        "origin": ORIGINS[own.origin],
        "loss": format_error(own.val_bpb, own.val_error),
        "costs": [format_value(name, own.costs.get(name)) for name in costs],
        "trained": f"{format_flops(spent)}{whole}" if planned else "—",
        "time": format_seconds(own.seconds) if own.seconds else "—",
        "reason": "; ".join(text for text in (own.reason, shortened) if text),
        "architecture": architecture(own),
    }


def _after(token: str, order: str) -> tuple[float | None, int]:
    by, value, number = place_of(token, (str, (int, float, type(None)), int))
    if by != order:
        raise SpecError("page_token", f"must be of a page in the order of {order}", token)
    return value, number
