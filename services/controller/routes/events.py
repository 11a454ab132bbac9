"""What happens in a search, as it happens."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from nas.client.models import Events, Requests
from nas.errors import NotFoundError
from nas.records import EventRecord, SearchState, to_dict
from services.controller.access import Caller, Reading, requires
from services.controller.routes import problems
from services.controller.service import Service, TheService
from services.worker.lease import is_driven

router = APIRouter(prefix="/searches/{search_id}", tags=["events"])
LOOK_SECONDS = 0.5
NEWEST = 2**53
"""A number that no event has, and that every database and browser holds."""
OVER = (SearchState.COMPLETED, SearchState.CANCELLED, SearchState.FAILED, SearchState.PAUSED)


@router.get("/events", response_model=Events, responses=problems(404))
def list_events(
    service: TheService,
    caller: Reading,
    search_id: str,
    after: Annotated[int, Query(ge=0, le=2**53, description="only later ones")] = 0,
) -> Events:
    """Events by number, from 1."""
    service.reader.revision(search_id)
    return Events(events=service.store.events(search_id, after))


@router.get("/requests", response_model=Requests, responses=problems(404))
def list_requests(service: TheService, caller: Reading, search_id: str, unanswered: bool = False) -> Requests:
    """What was asked of the driver, and what became of it."""
    service.reader.revision(search_id)
    return Requests(requests=service.store.requests(search_id, unanswered=unanswered))


def _after(
    service: TheService,
    search_id: str,
    caller: Annotated[Caller, Depends(requires("read"))],
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", max_length=30)] = None,
    after: Annotated[int, Query(ge=0, le=2**53)] = 0,
) -> int:
    """Where the stream begins. A dependency, so that a search that is not there is told before the stream."""
    service.reader.revision(search_id)
    if last_event_id is None or not last_event_id.isdecimal():
        return after
    return min(int(last_event_id), NEWEST)


@router.get("/events/stream", response_class=EventSourceResponse, responses=problems(404))
async def stream(
    service: TheService, search_id: str, start: Annotated[int, Depends(_after)]
) -> AsyncIterator[ServerSentEvent]:
    """Events as they come: ``event`` with the record, its number as id; ``change`` with the search's revision and state
    whenever anything of it changes; ``resync`` to one who has heard more than there is; ``end`` when nothing drives the
    search any more."""
    seen, known = start, (-1, "")
    while True:
        found = await run_in_threadpool(_look, service, search_id, seen, known)
        if found is None:
            yield ServerSentEvent(event="end", data={"state": "deleted"})
            return
        if found.resync:
            seen = 0
            yield ServerSentEvent(event="resync", data={"from": 0})
            continue
        for event in found.events:
            seen = event.sequence
            yield ServerSentEvent(event="event", id=str(seen), data=to_dict(event))
        if found.now != known:
            known = found.now
            yield ServerSentEvent(event="change", data={"revision": known[0], "state": known[1]})
        if found.over:
            yield ServerSentEvent(event="end", data={"state": known[1]})
            return
        await asyncio.sleep(LOOK_SECONDS)


class _Look:
    def __init__(self, events: list[EventRecord], now: tuple[int, str], over: bool, resync: bool) -> None:
        self.events, self.now, self.over, self.resync = events, now, over, resync


def _look(service: Service, search_id: str, seen: int, known: tuple[int, str]) -> _Look | None:
    try:
        revision = service.reader.revision(search_id)
    except NotFoundError:
        return None
    if revision == known[0] and known[1] not in OVER:
        return _Look([], known, False, False)
    state = service.store.search(search_id).state
    events = service.store.events(search_id, seen)
    over = state in OVER and not is_driven(service.store, search_id)
    resync = not events and seen > service.reader.last_event(search_id)
    return _Look(events, (revision, str(state)), over, resync)
