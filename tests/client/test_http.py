"""One request: when it is sent again, and what comes of answers that are problems."""

from collections.abc import Callable

import httpx2
import pytest

from nas.client.client import Client
from nas.client.http import Http, problem, redacted
from nas.client.models import API_VERSION, VERSION_HEADER
from nas.errors import (
    AccessError,
    CorpusError,
    ExportError,
    InfeasibleError,
    NasError,
    NotFoundError,
    RefusedError,
    SpecError,
    StateError,
    StorageError,
    UnreachableError,
)

HERE = {VERSION_HEADER: str(API_VERSION)}


@pytest.mark.parametrize(
    ("kind", "status", "more", "error", "code"),
    [
        ("spec", 422, {"field": "a.b", "rule": "must be 1", "value": 2}, SpecError, 2),
        ("request", 422, {"field": "name", "rule": "Field required"}, SpecError, 2),
        ("corpus", 422, {}, CorpusError, 2),
        ("infeasible", 422, {}, InfeasibleError, 3),
        ("unauthenticated", 401, {}, AccessError, 4),
        ("forbidden", 403, {}, AccessError, 4),
        ("not-found", 404, {}, NotFoundError, 5),
        ("quota", 422, {}, RefusedError, 6),
        ("rate", 429, {}, RefusedError, 6),
        ("host", 400, {}, RefusedError, 6),
        ("too-large", 413, {}, RefusedError, 6),
        ("state", 409, {}, StateError, 1),
        ("export", 409, {}, ExportError, 1),
        ("storage", 503, {}, StorageError, 1),
        ("internal", 500, {}, NasError, 1),
        ("something-new", 418, {}, RefusedError, 6),
    ],
)
def test_problems_are_our_errors(
    kind: str, status: int, more: dict[str, object], error: type[NasError], code: int
) -> None:
    found = problem({"type": f"urn:nas:problem:{kind}", "status": status, "detail": "why", **more}, "7")
    assert (type(found), found.exit_code) == (error, code)
    if isinstance(found, SpecError):
        assert (found.field, found.rule, found.value) == (more["field"], more["rule"], more.get("value"))
    else:
        assert str(found) == "why"
    if isinstance(found, RefusedError):
        assert found.retry_after == (7.0 if kind == "rate" else None)


def answering(*answers: httpx2.Response | Exception) -> tuple[Callable[[httpx2.Request], httpx2.Response], list[str]]:
    """Gives one answer after the other, the last for ever; and the methods that were asked."""
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.method)
        own = answers[min(len(asked), len(answers)) - 1]
        if isinstance(own, Exception):
            raise own
        return own

    return answer, asked


def refused(status: int, kind: str, **headers: str) -> httpx2.Response:
    content = {"type": f"urn:nas:problem:{kind}", "status": status, "detail": kind}
    return httpx2.Response(
        status, json=content, headers={**HERE, **headers, "Content-Type": "application/problem+json"}
    )


GOOD = httpx2.Response(200, json={"api": 1, "nas": "0.1.0"}, headers=HERE)
AWAY, BUSY = httpx2.ConnectError("refused"), refused(429, "rate", **{"Retry-After": "0"})


@pytest.mark.parametrize(
    ("first", "safe", "again"),
    [
        (AWAY, True, True),
        (httpx2.ReadTimeout("slow"), True, True),
        (httpx2.RemoteProtocolError("cut off"), True, True),
        (refused(503, "storage"), True, True),
        (BUSY, True, True),
        (AWAY, False, False),
        (BUSY, False, False),
        (refused(422, "spec"), True, False),
        (refused(404, "not-found"), True, False),
        (refused(401, "unauthenticated"), True, False),
        (refused(500, "internal"), True, False),
    ],
)
def test_what_is_sent_again(first: httpx2.Response | Exception, safe: bool, again: bool) -> None:
    answer, asked = answering(first, GOOD)
    http = Http("http://localhost", transport=httpx2.MockTransport(answer), retry_seconds=10)
    if again:
        assert http.request("GET", "/version", safe=safe).json()["api"] == 1
    else:
        with pytest.raises(NasError):
            http.request("GET", "/version", safe=safe)
    assert len(asked) == (2 if again else 1)
    http.close()


def test_it_gives_up_in_the_end() -> None:
    answer, asked = answering(AWAY)
    with (
        Client("http://localhost:1", transport=httpx2.MockTransport(answer), retry_seconds=0.5) as client,
        pytest.raises(UnreachableError, match="no server answers at http://localhost:1: refused; start one with: nas"),
    ):
        client.version()
    assert len(asked) >= 2


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({VERSION_HEADER: "2"}, "speaks version 2 of the interface, this nas speaks 1: install the same nas on both"),
        ({}, "does not answer as a server of nas does"),
    ],
)
def test_another_version_and_another_program(headers: dict[str, str], said: str) -> None:
    answer, _ = answering(httpx2.Response(200, json={}, headers=headers))
    with (
        Client("http://localhost", transport=httpx2.MockTransport(answer), retry_seconds=0) as client,
        pytest.raises(RefusedError, match=said),
    ):
        client.version()


@pytest.mark.parametrize("address", ["nonsense", "ftp://x", "http://host:port"])
def test_addresses_that_are_none(address: str) -> None:
    with (
        pytest.raises(SpecError, match="--server: must be an address like"),
        Client(address, retry_seconds=0) as client,
    ):
        client.version()


def test_the_token_goes_along_and_nowhere_else() -> None:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return GOOD

    with Client("http://localhost", "nas_secret", transport=httpx2.MockTransport(answer)) as client:
        client.version()
    assert seen[0].headers["Authorization"] == "Bearer nas_secret" and "nas_secret" not in str(seen[0].url)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://host:1/path", "http://host:1/path"),
        ("http://ann:secret@host:1", "http://***@host:1"),
        ("http://ann:se@cret@host/a@b", "http://***@host/a@b"),
        ("https://secret@host", "https://***@host"),
        ("http://host/a@b", "http://host/a@b"),
    ],
)
def test_what_is_shown_of_an_address(address: str, shown: str) -> None:
    assert redacted(address) == shown


def test_a_password_in_the_address_is_sent_and_not_told() -> None:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        raise httpx2.ConnectError("no")

    with Client("http://ann:secret@host", transport=httpx2.MockTransport(answer), retry_seconds=0) as client:
        with pytest.raises(UnreachableError, match=r"no server answers at http://\*\*\*@host: no"):
            client.version()
        assert client.server == "http://***@host" and seen[0].headers["Authorization"].startswith("Basic ")
