"""Errors as answers: problem documents (RFC 9457), whatever went wrong."""

import logging
import re
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from nas.client.models import Problem
from nas.errors import (
    AccessError,
    CancelledError,
    CorpusError,
    ExportError,
    InfeasibleError,
    MissingDependencyError,
    NasError,
    NotFoundError,
    RefusedError,
    SpecError,
    StateError,
    StorageError,
)
from services.controller.tracing import request_id

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"

STATUSES: Mapping[type[NasError], tuple[str, int]] = {
    SpecError: ("spec", 422),
    CorpusError: ("corpus", 422),
    InfeasibleError: ("infeasible", 422),
    NotFoundError: ("not-found", 404),
    CancelledError: ("cancelled", 409),
    StateError: ("state", 409),
    ExportError: ("export", 409),
    StorageError: ("storage", 503),
    MissingDependencyError: ("not-installed", 501),
    NasError: ("error", 500),
}
"""The name of a problem's type, and its status. Of an error that is not here, those of the class it comes from."""


class Refusal(HTTPException):
    """A refusal that has no error of its own in the core; ``kind`` names the problem's type."""

    def __init__(self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.kind = kind


def install(app: FastAPI) -> None:
    """Whatever a route raises becomes a problem document."""
    app.add_exception_handler(NasError, _of_nas)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(Exception, _of_anything)


def answer(request: Request, kind: str, status: int, detail: str, **more: Any) -> JSONResponse:
    """A problem document as an answer."""
    headers = more.pop("headers", None)
    if status >= 500:
        more["trace_id"] = request_id()
    problem = Problem(
        type=f"urn:nas:problem:{kind}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=request.url.path,
        **more,
    )
    content = problem.model_dump(mode="json", exclude_defaults=True) | {"status": status}
    return JSONResponse(content, status, headers=headers, media_type=MEDIA_TYPE)


async def _of_nas(request: Request, error: Exception) -> JSONResponse:
    detail = str(error)
    if isinstance(error, AccessError):
        if error.known:
            return answer(request, "forbidden", 403, detail)
        return answer(request, "unauthenticated", 401, detail, headers={"WWW-Authenticate": "Bearer"})
    if isinstance(error, RefusedError):
        wait = error.retry_after
        if wait is None:
            return answer(request, "quota", 422, detail)
        return answer(request, "rate", 429, detail, headers={"Retry-After": str(max(1, round(wait)))})
    kind, status = next(STATUSES[own] for own in type(error).__mro__ if own in STATUSES)
    more: dict[str, Any] = {}
    if isinstance(error, SpecError):
        more = {"field": error.field, "rule": error.rule, "value": error.value}
    if status == 503:
        more["headers"] = {"Retry-After": "5"}
    if status == 500:
        log.exception("request failed", exc_info=error)
    elif status > 500:
        log.warning("request failed: %s", detail)
    return answer(request, kind, status, detail, **more)


async def _of_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    kind = error.kind if isinstance(error, Refusal) else HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    headers = dict(error.headers or {})
    if error.status_code == 405:  # the framework names the methods of the first route of that path alone
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    return answer(request, kind, error.status_code, str(error.detail), headers=headers)


def _methods(request: Request) -> set[str]:
    """Of all routes of a request's path."""
    paths: Mapping[str, Mapping[str, Any]] = request.app.openapi()["paths"]
    fitting = [own for template, own in paths.items() if _pattern(template).fullmatch(request.url.path)]
    return {method.upper() for own in fitting for method in own}


@cache
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)))


async def _of_validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    errors = [
        {"field": ".".join(map(str, own["loc"][1:])) or str(own["loc"][0]), "rule": own["msg"]}
        for own in error.errors()
    ]
    first = errors[0] if errors else {"field": "body", "rule": "is not valid"}
    detail = f"{first['field']}: {first['rule']}"
    return answer(request, "request", 422, detail, field=first["field"], rule=first["rule"], errors=errors)


async def _of_anything(request: Request, error: Exception) -> JSONResponse:
    log.exception("request failed", exc_info=error)
    return answer(request, "internal", 500, "the server failed; its log says why")
