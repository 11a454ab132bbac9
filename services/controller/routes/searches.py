"""Searches: submitted, looked at, asked something."""

import hashlib
import json
import logging
import time
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from structlog.contextvars import bound_contextvars

from nas.client.models import (
    API,
    IDEMPOTENCY_HEADER,
    Asked,
    NewSearch,
    SearchDetail,
    SearchPage,
    SearchSummary,
    Validated,
)
from nas.errors import RefusedError, SpecError, StateError
from nas.records import RequestKind, SearchRecord, SearchState, queued_search
from services.controller.access import Caller, Reading, Writing
from services.controller.admission import admitted
from services.controller.deletion import delete_search
from services.controller.freshness import fresh
from services.controller.paging import PAGE_MOST, PAGE_SIZE, page_token, place_of
from services.controller.routes import problems
from services.controller.service import Service, TheService
from services.worker.lease import is_driven

router = APIRouter(prefix="/searches", tags=["searches"])
log = logging.getLogger(__name__)
OVER = (SearchState.COMPLETED, SearchState.CANCELLED)
OPEN = tuple(state for state in SearchState if state not in (*OVER, SearchState.FAILED))
Key = Annotated[
    str | None,
    Header(alias=IDEMPOTENCY_HEADER, min_length=1, max_length=200, description="the same request again does nothing"),
]


@router.post(
    "",
    status_code=201,
    response_model=SearchDetail,
    responses={200: {"model": Validated, "description": "validate_only"}, **problems(409, 413)},
)
def submit(
    service: TheService,
    caller: Writing,
    new: NewSearch,
    validate_only: Annotated[bool, Query(description="only say what it would be")] = False,
    key: Key = None,
) -> Response:
    """Submit a search. It begins as soon as there is room for it."""
    spec, space = admitted(new.spec, service.home.corpora, service.settings.quotas)
    if validate_only:
        content = Validated(spec=spec.to_dict(), knobs=len(space.knobs))
        return JSONResponse(content.model_dump(mode="json"))
    service.rates.submission(caller.token_id or caller.name)
    record = queued_search(
        spec.name,
        spec.to_dict(),
        {"base": str(service.home.corpora), "served": True, "agreed": new.agreed},
        at=time.time(),
    )
    return _added(service, caller, record, key, _digest(new))


@router.get("", response_model=SearchPage, responses=problems())
def list_searches(
    request: Request,
    service: TheService,
    caller: Reading,
    state: Annotated[list[SearchState] | None, Query()] = None,
    page_size: Annotated[int, Query(ge=1, le=PAGE_MOST)] = PAGE_SIZE,
    page_token_: Annotated[str, Query(alias="page_token", max_length=500)] = "",
) -> Response:
    """The newest first."""
    before = place_of(page_token_, (float, str)) if page_token_ else None

    def page() -> SearchPage:
        place = (before[0], before[1]) if before else None
        found = service.reader.searches(states=state or (), before=place, limit=page_size + 1)
        more = len(found) > page_size
        shown = found[:page_size]
        return SearchPage(
            searches=[summary(own) for own in shown],
            next_page_token=page_token(shown[-1].created_at, shown[-1].id) if more else "",
        )

    return fresh(request, service.reader.newest(), page)


@router.get("/{search_id}", response_model=SearchDetail, responses=problems(404))
def get_search(request: Request, service: TheService, caller: Reading, search_id: str) -> Response:
    """A search with its spec and the facts that it stands on."""
    driven = is_driven(service.store, search_id)
    revision = service.reader.revision(search_id)
    return fresh(request, (revision, driven), lambda: detail(service, service.store.search(search_id)))


@router.delete("/{search_id}", status_code=204, responses=problems(404, 409))
def delete(service: TheService, caller: Writing, search_id: str) -> Response:
    """Delete a search that is over, with its records, weights and exports."""
    delete_search(service, search_id)
    log.info("deleted by %s", caller.name)
    return Response(status_code=204)


@router.post("/{search_id}/pause", status_code=202, response_model=Asked, responses=problems(404, 409))
def pause(service: TheService, caller: Writing, search_id: str) -> Asked:
    """What is in training saves a checkpoint."""
    return ask(service, caller, search_id, RequestKind.PAUSE)


@router.post("/{search_id}/resume", status_code=202, response_model=Asked, responses=problems(404, 409))
def resume(service: TheService, caller: Writing, search_id: str) -> Asked:
    """Go on with a search that is paused, or that failed."""
    record = service.store.search(search_id)
    if record.state not in (SearchState.PAUSED, SearchState.FAILED):
        raise StateError(f"search {search_id} is {record.state}: there is nothing to resume")
    return ask(service, caller, search_id, RequestKind.RESUME)


@router.post("/{search_id}/stop", status_code=202, response_model=Asked, responses=problems(404, 409))
def stop(service: TheService, caller: Writing, search_id: str) -> Asked:
    """Begin no further candidates; then the final run is made."""
    return ask(service, caller, search_id, RequestKind.STOP)


@router.post("/{search_id}/cancel", status_code=202, response_model=Asked, responses=problems(404, 409))
def cancel(service: TheService, caller: Writing, search_id: str) -> Asked:
    """End it for good."""
    return ask(service, caller, search_id, RequestKind.CANCEL)


@router.post("/{search_id}/clone", status_code=201, response_model=SearchDetail, responses=problems(404, 409))
def clone(
    service: TheService,
    caller: Writing,
    search_id: str,
    changes: Annotated[dict[str, Any] | None, Body(examples=[{"method": {"seed": 1}}])] = None,
    key: Key = None,
) -> Response:
    """Submit a search again, with other values for some of its fields."""
    former = service.store.search(search_id)
    raw = {**former.spec, **(changes or {})}
    spec, _ = admitted(raw, service.home.corpora, service.settings.quotas)
    service.rates.submission(caller.token_id or caller.name)
    setting = {"base": str(service.home.corpora), "served": True, "agreed": bool(former.setting.get("agreed"))}
    record = queued_search(spec.name, spec.to_dict(), setting, at=time.time())
    return _added(service, caller, record, key, hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest())


# --- what they share ---


def ask(
    service: Service, caller: Caller, search_id: str, kind: RequestKind, content: dict[str, Any] | None = None
) -> Asked:
    """Writes down for the driver what somebody wants; what is asked already is not asked twice."""
    with service.store.transaction():
        record = service.store.search(search_id)
        if record.state in OVER:
            raise StateError(f"search {search_id} is {record.state}")
        waiting = [own for own in service.store.requests(search_id, unanswered=True) if own.kind is kind]
        if waiting and kind is not RequestKind.ENQUEUE:
            return Asked(search_id=search_id, sequence=waiting[0].sequence, state=record.state)
        made = service.store.add_request(search_id, kind, content or {}, at=time.time())
        service.store.add_event(search_id, "asked", f"{caller.name} asks to {kind}", at=time.time())
    log.info("%s asks to %s", caller.name, kind)
    service.nudge()
    return Asked(search_id=search_id, sequence=made.sequence, state=record.state)


def summary(record: SearchRecord) -> SearchSummary:
    names = SearchSummary.model_fields.keys() - {"elapsed"}
    return SearchSummary(
        elapsed=float(record.setting.get("elapsed", 0.0)), **{name: getattr(record, name) for name in names}
    )


def detail(service: Service, record: SearchRecord) -> SearchDetail:
    return SearchDetail(
        **summary(record).model_dump(),
        spec=record.spec,
        setting=record.setting,
        revision=service.reader.revision(record.id),
        driven=is_driven(service.store, record.id),
        counts=service.reader.counts_of(record.id),
    )


def _added(service: Service, caller: Caller, record: SearchRecord, key: str | None, digest: str) -> Response:
    """The search, or the one that the same request came to before."""
    owner = caller.token_id or caller.name
    with service.store.transaction():
        if key is not None and (former := service.tokens.remember(owner, key, digest, record.id)) is not None:
            if former.digest != digest:
                rule = "must not be used again for another request"
                raise SpecError(IDEMPOTENCY_HEADER, rule, key)
            return _created(service, service.store.search(former.search_id), again=True)
        most = service.settings.quotas.open_searches
        if len(service.reader.searches(states=OPEN, limit=most)) >= most:
            raise RefusedError(f"searches: must be at most {most} that are not over; wait for one, or cancel one")
        service.store.add_search(record)
        service.store.add_event(record.id, "submitted", f"submitted by {caller.name}", at=record.created_at)
    with bound_contextvars(search_id=record.id):  # whoever knows the request finds the search, and its driver
        log.info("submitted by %s", caller.name)
    service.nudge()
    return _created(service, record)


def _created(service: Service, record: SearchRecord, again: bool = False) -> Response:
    headers = {"Location": f"{API}/searches/{record.id}"} | ({"Idempotent-Replayed": "true"} if again else {})
    return JSONResponse(detail(service, record).model_dump(mode="json"), 201, headers)


def _digest(new: NewSearch) -> str:
    return hashlib.sha256(json.dumps(new.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()
