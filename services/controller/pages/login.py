"""Where a browser brings its token."""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from services.controller.pages.page import PageRoute, page
from services.controller.service import TheService

router = APIRouter(route_class=PageRoute)


@router.get("/login", response_class=HTMLResponse)
def login(
    request: Request,
    service: TheService,
    next: Annotated[str, Query(max_length=4000)] = "/",
    out: Annotated[bool, Query(description="after logging out")] = False,
) -> Response:
    """``next``: the page to go to afterwards, of this server alone. Where no token is needed there is nothing to do."""
    target = inside(next)
    if not service.settings.auth:
        return RedirectResponse(target, 303)
    return page(request, "login.html.j2", None, next=target, out=out)


def inside(target: str) -> str:
    """The target if it is a page of this server, else the first page.

    Browsers take a backslash for a slash and leave out tabs and ends of lines, so that ``/\\t/evil.example`` names
    another server: what holds any of these is no page of ours. Nor is the page where one logs in a target.
    """
    plain = target.startswith("/") and not target.startswith("//") and "\\" not in target
    if not plain or not target.isprintable() or " " in target:
        return "/"
    try:
        url = urlsplit(target)
    except ValueError:
        return "/"
    return "/" if url.scheme or url.netloc or url.path.rstrip("/") == "/login" else target
