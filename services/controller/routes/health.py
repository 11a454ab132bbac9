"""For whoever runs the server: is it alive, is it ready, what has it done."""

import shutil
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from nas.errors import StorageError
from services.controller.access import requires
from services.controller.metrics import Figures, registry_of
from services.controller.routes import problems
from services.controller.service import Service, TheService

router = APIRouter(tags=["health"])


@router.get("/livez", response_class=PlainTextResponse)
def livez() -> str:
    """This process answers."""
    return "ok"


@router.get("/readyz", responses={**problems(), 503: {"description": "not ready"}})
def readyz(
    request: Request,
    service: TheService,
    verbose: Annotated[bool, Query(description="for administrators: also what the server stands on")] = False,
) -> Response:
    """The database answers, searches are looked after, and it is not about to end."""
    if verbose:
        requires("admin")(request)
    checks = {"database": _database(service), **request.app.state.ready()}
    good = all(own == "ok" for own in checks.values())
    ground = {"ground": _ground(service, checks["database"] == "ok")} if verbose else {}
    return JSONResponse(checks | ground, 200 if good else 503)


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(request: Request, service: TheService) -> Response:
    """For Prometheus."""
    figures: Figures = request.app.state.figures
    return Response(generate_latest(registry_of(figures, service.reader)), media_type=CONTENT_TYPE_LATEST)


def _ground(service: Service, answers: bool) -> dict[str, Any]:
    """Kind and schema of the database, and the room on the disk; no places."""
    try:
        disk = shutil.disk_usage(service.home.root)
        room = {"free": disk.free, "total": disk.total}
    except OSError:  # there is no such folder: all is elsewhere
        room = None
    return {"database": asdict(service.reader.database()) if answers else None, "disk": room}


def _database(service: TheService) -> str:
    try:
        service.store.now()
        service.reader.newest()
    except StorageError as error:
        return str(error)
    return "ok"
