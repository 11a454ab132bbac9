"""Requests by their ids: in answers, in problems, on every line that is logged meanwhile."""

import io
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI

from nas.adapters.sql.store import SqlStore
from nas.client.http import problem
from nas.client.models import API, REQUEST_HEADER, ExportState
from nas.errors import NasError, StorageError
from nas.records import SearchState
from services.controller.dispatch import NoRay
from services.controller.settings import Settings
from services.logs import OURS, configure
from tests.services.controller.conftest import Server, Servers

MADE = re.compile("[0-9a-f]{16}")


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What this process has logged, as a server does."""
    root, stream = logging.getLogger(), io.StringIO()
    former = {own: own.level for own in (root, *map(logging.getLogger, OURS))}
    handlers = list(root.handlers)
    monkeypatch.setattr(sys, "stderr", stream)
    configure()
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:] = handlers
    for own, level in former.items():
        own.setLevel(level)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a", True),
        ("0b5-x.Y_z", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("", False),
        ("a b", False),
        ('a","level":"debug', False),
        ("ä", False),
        (None, False),
    ],
)
def test_an_id_is_kept_if_it_is_short_and_plain(
    make_server: Servers, sqlite_url: str, given: str | None, kept: bool
) -> None:
    server = make_server(sqlite_url)
    headers = {} if given is None else {REQUEST_HEADER: given.encode()}
    answers = [server.get("/searches", headers=headers), server.get("/searches/none", headers=headers),
               server.http.get("/nothing", headers={**headers, "Host": "elsewhere"}),
               server.post("/searches", content=b"x" * (2**20 + 1), headers=headers)]  # fmt: skip
    assert [own.status_code for own in answers] == [200, 404, 400, 413]
    ids = [own.headers[REQUEST_HEADER] for own in answers]
    if kept:
        assert ids == [given] * 4
    else:
        assert all(map(MADE.fullmatch, ids)) and len(set(ids)) == 4


def test_whoever_knows_the_request_finds_the_search(
    make_server: Servers, sqlite_url: str, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    server = make_server(sqlite_url)
    own = server.submit(headers={REQUEST_HEADER: "r1"}).json()["id"]
    assert server.post(f"/searches/{own}/cancel", headers={REQUEST_HEADER: "r2"}).status_code == 202
    assert server.get(f"/searches/{own}", headers={REQUEST_HEADER: "r3"}).status_code == 200
    server.store.update_search(own, state=SearchState.CANCELLED)
    server.http.delete(f"{API}/searches/{own}", headers={REQUEST_HEADER: "r4"})
    assert [(line["request_id"], line["search_id"], line["event"]) for line in lines()] == [
        ("r1", own, "submitted by local"),
        ("r2", own, "local asks to cancel"),
        ("r4", own, "deleted by local"),
    ]


def failing(server: Server, error: Exception) -> None:
    app = server.http.app
    assert isinstance(app, FastAPI)

    @app.get(API + "/searches/{search_id}/fails")
    def fails(search_id: str) -> None:
        raise error


@pytest.mark.parametrize(
    ("error", "status", "level", "said"),
    [
        (ZeroDivisionError("x"), 500, "error", "request failed"),
        (NasError("x"), 500, "error", "request failed"),
        (StorageError("away"), 503, "warning", "request failed: away"),
    ],
)
def test_what_fails_names_its_request_in_the_answer_and_in_the_log(
    make_server: Servers,
    sqlite_url: str,
    lines: Callable[[], list[dict[str, Any]]],
    error: Exception,
    status: int,
    level: str,
    said: str,
) -> None:
    server = make_server(sqlite_url, raise_server_exceptions=False)
    failing(server, error)
    for number in range(2):
        answer = server.get(f"/searches/s-1/fails?{number}", headers={REQUEST_HEADER: f"r{number}"})
        assert (answer.status_code, answer.headers[REQUEST_HEADER]) == (status, f"r{number}")
        assert answer.json()["trace_id"] == f"r{number}"
    found = lines()
    assert [(own["request_id"], own["search_id"], own["level"]) for own in found] == [
        ("r0", "s-1", level),
        ("r1", "s-1", level),
    ]
    assert all(own["event"] == said for own in found)
    assert all(("Traceback" in own.get("exception", "")) == (status == 500) for own in found)
    assert "trace_id" not in server.get("/searches/none").json()


def test_a_client_is_told_which_request_failed() -> None:
    raw = {"type": "urn:nas:problem:internal", "status": 500, "detail": "the server failed", "trace_id": "r1"}
    assert str(problem(raw)) == "the server failed (request r1)"
    assert str(problem({**raw, "trace_id": ""})) == "the server failed"


class _Failing(NoRay):
    def export(self, search_id: str, number: int) -> tuple[bytes, str]:
        raise ZeroDivisionError("x")


def test_what_goes_on_after_the_answer_names_the_request_too(
    make_server: Servers,
    sqlite_url: str,
    lines: Callable[[], list[dict[str, Any]]],
    open_: Callable[[str], SqlStore],
) -> None:
    server = make_server(sqlite_url, Settings(), dispatcher=_Failing())
    server.service.exports.start("before", 1)
    app = server.http.app
    assert isinstance(app, FastAPI)

    @app.get("/starts")
    def starts() -> None:
        server.service.exports.start("s", 3)

    assert server.http.get("/starts", headers={REQUEST_HEADER: "r1"}).status_code == 200
    server.service.exports._threads.shutdown(wait=True)
    assert server.service.exports.find("s-3").state is ExportState.FAILED
    found = {own["search_id"]: own for own in lines()}
    assert (found["s"]["request_id"], found["s"]["candidate"]) == ("r1", 3)
    assert "request_id" not in found["before"] and "ZeroDivisionError" in found["before"]["exception"]
