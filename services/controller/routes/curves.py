"""Learning curves for those who draw them."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from nas.client.models import CurveColumns
from services.controller.access import Reading
from services.controller.curves import Asked, curve_columns
from services.controller.freshness import fresh
from services.controller.routes import problems
from services.controller.service import TheService

router = APIRouter(prefix="/searches/{search_id}", tags=["candidates"])
MOST = 300


@router.get("/curves/columns", response_model=CurveColumns, responses=problems(404))
def columns(
    request: Request,
    service: TheService,
    caller: Reading,
    search_id: str,
    numbers: Annotated[
        list[Annotated[int, Query(ge=0, lt=2**31)]] | None,
        Query(max_length=MOST, description="of these candidates, whatever `most` says"),
    ] = None,
    most: Annotated[
        int, Query(ge=1, le=MOST, description="the final run, what is in training, the front, then the latest")
    ] = 60,
    points: Annotated[int, Query(ge=2, le=1000, description="of one curve, at most; its ends are kept")] = 100,
    since_revision: Annotated[int | None, Query(ge=0, le=2**53, description="only what has changed since")] = None,
) -> Response:
    """Loss over FLOPs of the candidates that say most, or of those asked for."""
    revision = service.reader.revision(search_id)
    asked = Asked(numbers or (), most, points, since_revision)
    return fresh(request, revision, lambda: curve_columns(service, search_id, asked, revision))
