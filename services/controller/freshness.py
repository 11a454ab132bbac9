"""Answers that have not changed are not sent again: an ETag by revision."""

import gzip
import hashlib
from collections.abc import Callable
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel

LARGE = 2**16
"""Bytes of an answer from which on it is packed, for whoever takes it so."""


def etag_of(request: Request, *revision: Any) -> str:
    """Of what a URL gives at a revision."""
    text = f"{request.url.path}?{request.url.query}#{'#'.join(map(str, revision))}"
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:20]}"'


def fresh(request: Request, revision: Any, make: Callable[[], BaseModel]) -> Response:
    """The answer, or 304 where the caller has it already. What was never made costs nothing."""
    tag = etag_of(request, revision)
    headers = {"ETag": tag, "Cache-Control": "no-cache, private"}
    if has(request, tag):
        return Response(status_code=304, headers=headers)
    return packed(request, Response(make().model_dump_json(), headers=headers, media_type="application/json"))


def has(request: Request, tag: str) -> bool:
    """Whether the caller has what that ETag stands for."""
    known = request.headers.get("If-None-Match", "").split(",")
    return tag in (own.strip().removeprefix("W/") for own in known)


def packed(request: Request, answer: Response, least: int = LARGE) -> Response:
    """The answer, by gzip where it has at least so many bytes and may be so."""
    if len(answer.body) < least or "gzip" not in request.headers.get("Accept-Encoding", ""):
        return answer
    content = gzip.compress(bytes(answer.body), compresslevel=1, mtime=0)
    headers = {name: value for name, value in answer.headers.items() if name not in ("content-length", "etag")}
    headers |= {"content-encoding": "gzip", "vary": headers.get("vary", "Accept-Encoding")}
    if (tag := answer.headers.get("ETag")) is not None:
        headers["etag"] = f"W/{tag}"  # the same to a reader, not to the byte
    return Response(content, answer.status_code, headers)
