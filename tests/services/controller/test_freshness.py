"""What has not changed is not sent again, and what is large is sent packed."""

import gzip

import pytest
from fastapi import Response
from fastapi.responses import JSONResponse
from starlette.requests import Request

from services.controller.freshness import LARGE, packed
from tests.services.controller.conftest import Server


def request(accepts: str | None) -> Request:
    headers = [] if accepts is None else [(b"accept-encoding", accepts.encode())]
    return Request({"type": "http", "headers": headers, "path": "/", "query_string": b"", "method": "GET"})


def answer(size: int) -> Response:
    return JSONResponse("x" * size, headers={"ETag": '"tag"', "Cache-Control": "no-cache"})


@pytest.mark.parametrize(
    ("size", "accepts", "is_packed"),
    [
        (LARGE, "gzip, deflate", True),
        (LARGE, "br", False),
        (LARGE, None, False),
        (10, "gzip", False),
        (LARGE - 3, "gzip", False),  # two bytes are the quotes'
        (LARGE - 2, "gzip", True),
    ],
)
def test_packed(size: int, accepts: str | None, is_packed: bool) -> None:
    given = answer(size)
    found = packed(request(accepts), given)
    assert (found.headers.get("Content-Encoding") == "gzip") == is_packed
    content = gzip.decompress(bytes(found.body)) if is_packed else found.body
    assert content == given.body
    assert found.headers["ETag"] == ('W/"tag"' if is_packed else '"tag"')
    assert found.headers["Content-Length"] == str(len(found.body))
    assert found.headers["Cache-Control"] == "no-cache" and found.headers["Content-Type"] == "application/json"


def test_a_weak_tag_is_known_again(filled: Server) -> None:
    path = f"/searches/{filled.id}/columns"
    tag = filled.get(path).headers["ETag"]
    for sent in (tag, f"W/{tag}", f'"other", W/{tag}'):
        assert filled.get(path, headers={"If-None-Match": sent}).status_code == 304
    assert filled.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
