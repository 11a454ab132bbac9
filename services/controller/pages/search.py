"""One search: its front first."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from services.controller.access import Reading
from services.controller.pages.page import PageRoute, page
from services.controller.service import TheService

router = APIRouter(prefix="/searches/{search_id}", route_class=PageRoute)


@router.get("", response_class=HTMLResponse)
def search(request: Request, service: TheService, caller: Reading, search_id: str) -> HTMLResponse:
    record = service.store.search(search_id)
    return page(request, "search.html.j2", caller, search=record)
