"""The searches of a server."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse

from dashboards.labels import format_value, quantity
from nas.adapters.sql.reader import NOTHING, RANKS, Progress
from nas.errors import SpecError
from nas.records import CandidateState, LeaseRecord, SearchRecord, SearchState
from nas.spec import LOSS
from nas.units import format_flops, format_seconds
from services.controller.access import Reading
from services.controller.freshness import etag_of, has
from services.controller.pages.page import PageRoute, page, part
from services.controller.paging import page_token, place_of
from services.controller.service import Service, TheService
from services.worker.lease import DRIVEN, elapsed, is_dead

router = APIRouter(route_class=PageRoute)
PAGE = 50
OVER = (SearchState.COMPLETED, SearchState.FAILED, SearchState.CANCELLED)
TICK = 30.0
"""Seconds after which what runs is shown again though nothing was written: its time goes on."""
Sort = Literal["created", "name", "state", "best"]
Order = Literal["", "asc", "desc"]
KINDS: Mapping[str, type | tuple[type, ...]] = {
    "created": float,
    "name": str,
    "state": int,
    "best": (float, type(None)),
}
"""What a search is sorted by, in page tokens."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody chose; ``chosen`` are the searches to be compared."""

    states: Sequence[SearchState] = ()
    name: str = ""
    sort: Sort = "created"
    descending: bool = True
    token: str = ""
    chosen: Sequence[str] = ()

    @property
    def filtered(self) -> bool:
        return bool(self.states or self.name)

    def address(self, **changes: Any) -> str:
        """The page with other choices; what everybody has is left out of it."""
        own = replace(self, **changes)
        pairs: list[tuple[str, str]] = [("state", state.value) for state in own.states]
        pairs += [("name", own.name)] if own.name else []
        pairs += [("sort", own.sort)] if own.sort != "created" else []
        if own.descending != _first(own.sort):
            pairs.append(("order", "desc" if own.descending else "asc"))
        pairs += [("page_token", own.token)] if own.token else []
        pairs += [("s", chosen) for chosen in own.chosen]
        return f"/?{urlencode(pairs)}" if pairs else "/"

    def sorted_by(self, sort: Sort) -> str:
        """The page sorted by that, or the other way round where it is already."""
        descending = not self.descending if sort == self.sort else _first(sort)
        return self.address(sort=sort, descending=descending, token="")

    def direction(self, sort: Sort) -> str:
        """As ``aria-sort`` has it."""
        return "none" if sort != self.sort else "descending" if self.descending else "ascending"


def _first(sort: Sort) -> bool:
    """Whether one sees it descending first."""
    return sort == "created"


@dataclass(frozen=True, slots=True)
class Spent:
    """What of a budget is used, in words; ``share`` of it is at most 1."""

    name: str
    used: str
    whole: str
    share: float


@dataclass(frozen=True, slots=True)
class Line:
    """A search in the list.

    Attributes:
        counts: candidates by what became of them, in words; those there are.
        best: the lowest loss of those trained to the end; ``cost`` of that one, by the first objective that is a cost.
        seconds: that it has been driven.
        driver: who drives it, while somebody may.
    """

    search: SearchRecord
    budgets: Sequence[Spent]
    counts: Mapping[str, int]
    best: float | None
    cost: str
    seconds: float
    driver: str

    @property
    def over(self) -> bool:
        return self.search.state in OVER


@router.get("/", response_class=HTMLResponse)
def searches(
    request: Request,
    service: TheService,
    caller: Reading,
    state: Annotated[list[SearchState] | None, Query()] = None,
    name: Annotated[str, Query(max_length=100)] = "",
    sort: Sort = "created",
    order: Order = "",
    page_token_: Annotated[str, Query(alias="page_token", max_length=1000)] = "",
    s: Annotated[list[str] | None, Query(max_length=8)] = None,
) -> Response:
    """A page of them; to htmx the table alone, and nothing where that has not changed."""
    if "\0" in name:
        raise SpecError("name", "must be text", name)
    descending = order == "desc" if order else _first(sort)
    chosen = tuple(dict.fromkeys(s or ()))
    wanted = Wanted(tuple(dict.fromkeys(state or ())), name.strip(), sort, descending, page_token_, chosen)
    newest, leases = service.reader.newest(), _driving(service)
    tag = etag_of(request, newest, sorted(leases), caller.scope, time.time() // TICK if leases else "")
    partly = bool(request.headers.get("HX-Request"))
    headers = {"Vary": "HX-Request, Cookie"}
    if partly and has(request, tag):
        return Response(status_code=304, headers=headers | {"ETag": tag, "Cache-Control": "no-store"})
    context = _context(service, wanted, newest[0], leases) | {"caller": caller, "tag": tag}
    if not partly:
        answer = page(request, "searches.html.j2", **context)
    else:
        answer = part("searches-table.html.j2", **context)
        answer.headers["ETag"] = tag
        answer.headers["HX-Replace-Url"] = wanted.address()
    answer.headers.update(headers)
    return answer


def _context(service: Service, wanted: Wanted, count: int, leases: Mapping[str, LeaseRecord]) -> dict[str, Any]:
    found = service.reader.listed(
        states=wanted.states,
        name=wanted.name,
        order=wanted.sort,
        descending=wanted.descending,
        after=_after(wanted),
        limit=PAGE + 1,
    )
    shown = [own for own, _ in found[:PAGE]]
    progress = service.sums.of([own.id for own in shown])
    cheapest = service.reader.cheapest({key: own.best for key, own in progress.items() if own.best is not None})
    lines = [_line(own, progress.get(own.id, NOTHING), cheapest.get(own.id, ()), leases.get(own.id)) for own in shown]
    more = ""
    if len(found) > PAGE:
        last, place = found[PAGE - 1]
        more = wanted.address(token=page_token(wanted.sort, int(wanted.descending), place, last.id))
    return {
        "lines": lines,
        "more": more,
        "first": wanted.address(token="") if wanted.token else "",
        "wanted": wanted,
        "elsewhere": [own for own in wanted.chosen if own not in {line.search.id for line in lines}],
        "states": [SearchState(own) for own in RANKS],
        "count": count,
        "live": any(not line.over for line in lines),
    }


def _after(wanted: Wanted) -> tuple[float | str | None, str] | None:
    if not wanted.token:
        return None
    sort, descending, place, last = place_of(wanted.token, (str, int, KINDS[wanted.sort], str))
    if (sort, descending) != (wanted.sort, int(wanted.descending)) or not _storable(place) or not _storable(last):
        raise SpecError("page_token", "must be the next_page_token of a page", wanted.token)
    return place, last


def _storable(place: Any) -> bool:
    """Whether a database can compare with it."""
    if isinstance(place, int):
        return 0 <= place < len(RANKS)
    return not isinstance(place, str) or not any(own == "\0" or "\ud800" <= own <= "\udfff" for own in place)


def _driving(service: Service) -> dict[str, LeaseRecord]:
    """The leases of drivers that may be alive."""
    found = service.reader.leases(service.store.now())
    return {own.search_id: own for own in found if not is_dead(own.holder)}


def _line(
    record: SearchRecord, progress: Progress, costs: Sequence[Mapping[str, Any]], lease: LeaseRecord | None
) -> Line:
    seconds = elapsed(record, lease)
    return Line(
        record,
        _budgets(record, progress, seconds),
        _counts(progress),
        progress.best,
        _cost(record, costs),
        seconds,
        lease.holder.partition(" [")[0] if lease is not None and record.state in DRIVEN else "",
    )


def _budgets(record: SearchRecord, progress: Progress, seconds: float) -> list[Spent]:
    """Of each budget that the spec has."""
    total = record.spec.get("budget", {}).get("total", {})
    trained = sum(
        count
        for state, count in progress.counts.items()
        if state not in (CandidateState.REJECTED, CandidateState.QUEUED)
    )
    flops = progress.flops + progress.final_flops
    known: tuple[tuple[str, float, Any], ...] = (
        ("compute", flops, format_flops),
        ("time", seconds, format_seconds),
        ("candidates", trained, str),
    )
    return [
        Spent(name, "0" if not used else words(used), words(total[name]), min(1.0, used / total[name]))
        for name, used, words in known
        if total.get(name)
    ]


def _counts(progress: Progress) -> dict[str, int]:
    """The three that always tell something, and what else there is."""
    named = {"done": CandidateState.COMPLETED, "stopped": CandidateState.STOPPED, "rejected": CandidateState.REJECTED}
    others = [state for state in CandidateState if state not in named.values()]
    found = {words: progress.counts.get(state, 0) for words, state in named.items()}
    return found | {str(state): progress.counts[state] for state in others if progress.counts.get(state)}


def _cost(record: SearchRecord, costs: Sequence[Mapping[str, Any]]) -> str:
    objectives = [own for own in record.spec.get("minimize", ()) if own != LOSS]
    name = objectives[0] if objectives else "flops_per_byte"
    found = [own[name] for own in costs if isinstance(own.get(name), (int, float))]
    return f"{format_value(name, min(found))} {quantity(name).name}" if found else ""
