"""For whoever runs the server: is it alive, is it ready, what has it done."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from nas.errors import StorageError
from services.controller.metrics import Figures, registry_of
from services.controller.service import TheService

router = APIRouter(tags=["health"])


@router.get("/livez", response_class=PlainTextResponse)
def livez() -> str:
    """This process answers."""
    return "ok"


@router.get("/readyz", responses={503: {"description": "not ready"}})
def readyz(request: Request, service: TheService) -> Response:
    """The database answers, searches are looked after, and it is not about to end."""
    checks = {"database": _database(service), **request.app.state.ready()}
    good = all(own == "ok" for own in checks.values())
    return JSONResponse(checks, 200 if good else 503)


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(request: Request, service: TheService) -> Response:
    """For Prometheus."""
    figures: Figures = request.app.state.figures
    return Response(generate_latest(registry_of(figures, service.reader)), media_type=CONTENT_TYPE_LATEST)


def _database(service: TheService) -> str:
    try:
        service.store.now()
        service.reader.newest()
    except StorageError as error:
        return str(error)
    return "ok"
