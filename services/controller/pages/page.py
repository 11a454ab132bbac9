"""What all pages share: their frame, their policy, and what becomes of errors."""

import hashlib
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from importlib import metadata
from typing import Any
from urllib.parse import quote, urlsplit

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse
from fastapi.routing import APIRoute

from dashboards.web import render
from nas.errors import AccessError, NasError, RefusedError
from services.controller.access import Caller
from services.controller.freshness import has, packed
from services.controller.problems import STATUSES
from services.controller.service import service_of

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",  # plotly sets styles of its elements
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-src 'self'",
        "frame-ancestors 'self'",
        "base-uri 'none'",
    )
)

PACKED = 2**10
"""Bytes of a part from which on it is packed."""


def page(request: Request, template: str, caller: Caller | None, status: int = 200, **context: Any) -> HTMLResponse:
    """A whole page; ``caller`` is ``None`` on those that anybody sees."""
    text = render(
        template,
        caller=caller,
        auth=service_of(request).settings.auth,
        path=request.url.path,
        version=metadata.version("nas"),
        **context,
    )
    return HTMLResponse(text, status, headers={"Content-Security-Policy": POLICY, "Referrer-Policy": "same-origin"})


def part(template: str, **context: Any) -> HTMLResponse:
    """A part of a page, for one that is there already."""
    return HTMLResponse(render(template, **context), headers={"Content-Security-Policy": POLICY})


def spared(request: Request, answer: Response) -> Response:
    """A part of a page that the browser has already is not sent again: the ETag is a digest of what it says, unless it
    has one of its own."""
    if request.method != "GET" or answer.status_code != 200 or not request.headers.get("HX-Request"):
        return answer
    if "ETag" in answer.headers:
        return packed(request, answer, PACKED)
    tag = f'"{hashlib.sha256(answer.body).hexdigest()[:20]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache, private", "Vary": "HX-Request, Accept-Encoding"}
    if has(request, tag):
        return Response(status_code=304, headers=headers)
    answer.headers.update(headers)
    return packed(request, answer, PACKED)


class PageRoute(APIRoute):
    """Errors are pages too; whoever is not known is asked for a token."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return spared(request, await handle(request))
            except AccessError as error:
                if not error.known:
                    return _to_login(request)
                return _failed(request, 403, str(error))
            except RequestValidationError as error:
                return _failed(request, 422, "; ".join(str(own["msg"]) for own in error.errors()))
            except RefusedError as error:
                return _failed(request, 429, str(error))
            except NasError as error:
                status = next(STATUSES[own][1] for own in type(error).__mro__ if own in STATUSES)
                return _failed(request, status, str(error))

        return handler


def _to_login(request: Request) -> Response:
    """And back to the page afterwards; where htmx asked for a part of one, the whole page goes."""
    partly = request.headers.get("HX-Current-URL") if request.headers.get("HX-Request") else None
    url = urlsplit(partly) if partly is not None else request.url
    wanted = url.path + (f"?{url.query}" if url.query else "")
    address = f"/login?next={quote(wanted, safe='')}"
    if partly is not None:
        return Response(status_code=401, headers={"HX-Redirect": address})
    return RedirectResponse(address, 303)


def _failed(request: Request, status: int, detail: str) -> Response:
    if request.headers.get("HX-Request"):  # the page stays as it is, and says so
        return PlainTextResponse(detail, status, headers={"HX-Reswap": "none"})
    return page(request, "failed.html.j2", None, status, title=HTTPStatus(status).phrase, detail=detail)
