"""Where a browser brings its token."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from services.controller.pages.page import PageRoute, page

router = APIRouter(route_class=PageRoute)


@router.get("/login", response_class=HTMLResponse)
def login(request: Request, next: Annotated[str, Query(max_length=2000)] = "/") -> HTMLResponse:
    """``next``: the page to go to afterwards, of this server alone."""
    inside = next.startswith("/") and not next.startswith(("//", "/\\"))
    return page(request, "login.html.j2", None, next=next if inside else "/")
