"""Answers that have not changed are not sent again: an ETag by revision."""

import hashlib
from collections.abc import Callable
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel


def etag_of(request: Request, *revision: Any) -> str:
    """Of what a URL gives at a revision."""
    text = f"{request.url.path}?{request.url.query}#{'#'.join(map(str, revision))}"
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:20]}"'


def fresh(request: Request, revision: Any, make: Callable[[], BaseModel]) -> Response:
    """The answer, or 304 where the caller has it already. What was never made costs nothing."""
    tag = etag_of(request, revision)
    headers = {"ETag": tag, "Cache-Control": "no-cache, private"}
    if tag in (own.strip().removeprefix("W/") for own in request.headers.get("If-None-Match", "").split(",")):
        return Response(status_code=304, headers=headers)
    return JSONResponse(make().model_dump(mode="json"), headers=headers)
