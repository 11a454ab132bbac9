"""What a search has found: its front, hypervolume, account, report."""

from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse

from nas.client.models import Front, FrontMember, Hypervolume, LedgerLines
from nas.errors import SpecError
from nas.pareto import front_mask, knee
from nas.spec import LOSS, OBJECTIVES
from services.controller.access import Reading
from services.controller.freshness import etag_of, fresh
from services.controller.routes import problems
from services.controller.service import Service, TheService

router = APIRouter(prefix="/searches/{search_id}", tags=["analysis"])
Objective = Literal[
    "val_bpb",
    "params",
    "flops_per_byte",
    "kv_bytes_per_byte",
    "weight_bytes",
    "peak_memory",
    "train_seconds",
    "latency_ms_per_kb",
]
"""`nas.spec.OBJECTIVES`, so that the OpenAPI document has them."""
LIMIT = "max."
"""Begins a query parameter that limits an objective: ``max.params=1000000``."""


@router.get("/front", response_model=Front, responses=problems(404))
def front(
    request: Request,
    service: TheService,
    caller: Reading,
    search_id: str,
    objectives: Annotated[
        list[Objective] | None, Query(min_length=2, max_length=3, description="those of the search without")
    ] = None,
) -> Response:
    """The Pareto front among candidates that were trained to the end, within limits: ``max.NAME=VALUE``."""
    revision = service.reader.revision(search_id)
    limits = {
        name.removeprefix(LIMIT): _number(name, value)
        for name, value in request.query_params.multi_items()
        if name.startswith(LIMIT)
    }
    for name in limits:
        if name not in OBJECTIVES:
            raise SpecError(LIMIT + name, f"must be of {', '.join(OBJECTIVES)}", name)
    if len(set(objectives or ())) != len(objectives or ()):
        raise SpecError("objectives", "must name each once", objectives)
    chosen = tuple(objectives or service.store.search(search_id).spec["minimize"])
    return fresh(request, revision, lambda: _front(service, search_id, chosen, limits, revision))


@router.get("/hypervolume", response_model=Hypervolume, responses=problems(404))
def hypervolume(
    request: Request,
    service: TheService,
    caller: Reading,
    search_id: str,
    rises: Annotated[bool, Query(description="only the steps at which it rises")] = False,
) -> Response:
    """The front's hypervolume over the FLOPs that the search has spent."""
    revision = service.reader.revision(search_id)
    return fresh(request, revision, lambda: volumes_of(service, search_id, revision, rises=rises))


@router.get("/ledger", response_model=LedgerLines, responses=problems(404))
def ledger(request: Request, service: TheService, caller: Reading, search_id: str) -> Response:
    """The account: what was reserved, and what was spent."""
    revision = service.reader.revision(search_id)
    return fresh(request, revision, lambda: LedgerLines(ledger=service.store.ledger(search_id)))


@router.get("/report", response_class=HTMLResponse, responses=problems(404))
def report(request: Request, service: TheService, caller: Reading, search_id: str) -> Response:
    """The search as one file of HTML that works offline."""
    from dashboards.report import render_report
    from dashboards.view import view

    tag = etag_of(request, service.reader.revision(search_id))
    if request.headers.get("If-None-Match") == tag:
        return Response(status_code=304, headers={"ETag": tag})
    name = f'inline; filename="{search_id}.html"'
    page = render_report(view(service.store, search_id))
    policy = "sandbox allow-scripts allow-downloads"  # what is drawn of others' words has no part in this origin
    return HTMLResponse(page, headers={"ETag": tag, "Content-Disposition": name, "Content-Security-Policy": policy})


def _front(
    service: Service, search_id: str, objectives: tuple[str, ...], limits: dict[str, float], revision: int
) -> Front:
    table = service.completed.of(search_id, revision)
    columns = {name: table.values[:, place] for place, name in enumerate(OBJECTIVES)}
    points = np.stack([columns[name] for name in objectives], axis=1)
    within = ~np.isnan(points).any(axis=1)
    for name, most in limits.items():
        within &= columns[name] <= most
    numbers, points = table.numbers[within], points[within]
    mask = front_mask(points)
    numbers, points = numbers[mask], points[mask]
    first = next((place for place, name in enumerate(objectives) if name != LOSS), 0)
    order = np.lexsort((numbers, points[:, first]))
    best = int(numbers[knee(points)]) if len(numbers) > 2 else None
    members = [
        FrontMember(number=int(numbers[place]), values=points[place].tolist(), knee=int(numbers[place]) == best)
        for place in order
    ]
    return Front(
        objectives=list(objectives),
        members=members,
        completed=len(table.numbers),
        within_limits=int(within.sum()),
        revision=revision,
    )


def _number(name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if number != number:
        raise SpecError(name, "must be a number", value)
    return number


def volumes_of(service: Service, search_id: str, revision: int, *, rises: bool) -> Hypervolume:
    """All steps as of a revision, or only those at which the volume rises."""
    found = service.volumes.of(search_id, revision)
    if not rises:
        return found
    before = [0.0, *(step.volume for step in found.steps)]
    risen = [step for step, last in zip(found.steps, before, strict=False) if step.volume > last]
    return Hypervolume(reference=found.reference, steps=risen)
