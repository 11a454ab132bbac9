"""Who may do what: every route, asked by everybody."""

import re
from typing import Any

import pytest

from nas.client.models import API, CSRF_HEADER, SCOPES, SESSION_COOKIE
from nas.errors import SpecError
from services.controller.settings import Settings
from tests.services.controller.conftest import SPEC, Server, Servers

NEEDS = {
    # open to everybody
    "GET /livez": None, "GET /readyz": None, "GET /metrics": None,
    "GET /version": None, "POST /session": None,
    # to look
    "GET /me": "read", "DELETE /session": "read", "GET /spaces": "read", "GET /devices": "read", "GET /workers": "read",
    "GET /corpora": "read", "GET /searches": "read", "GET /searches/{search_id}": "read",
    "GET /searches/{search_id}/candidates": "read", "GET /searches/{search_id}/candidates/{number}": "read",
    "GET /searches/{search_id}/candidates/{number}/curve": "read",
    "GET /searches/{search_id}/candidates/{number}/decisions": "read",
    "GET /searches/{search_id}/candidates/{number}/log": "read",
    "GET /searches/{search_id}/columns": "read", "GET /searches/{search_id}/curves/columns": "read",
    "GET /searches/{search_id}/curves": "read", "GET /searches/{search_id}/decisions": "read",
    "GET /searches/{search_id}/attempts": "read", "GET /searches/{search_id}/front": "read",
    "GET /searches/{search_id}/hypervolume": "read", "GET /searches/{search_id}/ledger": "read",
    "GET /searches/{search_id}/report": "read", "GET /searches/{search_id}/events": "read",
    "GET /searches/{search_id}/events/stream": "read", "GET /searches/{search_id}/requests": "read",
    "GET /exports": "read", "GET /exports/{export_id}": "read", "GET /exports/{export_id}/archive": "read",
    "GET /profiles": "read", "GET /profiles/{profile_id}": "read",
    # to change something, or to make workers work
    "POST /searches": "write", "DELETE /searches/{search_id}": "write", "POST /searches/{search_id}/pause": "write",
    "POST /searches/{search_id}/resume": "write", "POST /searches/{search_id}/stop": "write",
    "POST /searches/{search_id}/cancel": "write", "POST /searches/{search_id}/clone": "write",
    "POST /searches/{search_id}/candidates": "write", "POST /searches/{search_id}/candidates/{number}/stop": "write",
    "POST /searches/{search_id}/candidates/{number}/generate": "write",
    "POST /searches/{search_id}/candidates/{number}/scale": "write", "POST /corpora": "write", "POST /exports": "write",
    "POST /forecasts": "write", "POST /profiles": "write",
    # to let others in
    "GET /tokens": "admin", "POST /tokens": "admin", "DELETE /tokens/{token_id}": "admin",
}  # fmt: skip
BODIES: dict[str, Any] = {
    "POST /searches": {"spec": SPEC},
    "POST /session": {"token": "nas_none"},
    "POST /tokens": {"name": "new"},
    "POST /forecasts": {"spec": SPEC},
    "POST /profiles": {},
    "POST /exports": {"search_id": "none", "number": 0},
    "POST /searches/{search_id}/candidates": {"architecture": {}},
    "POST /searches/{search_id}/candidates/{number}/generate": {},
    "POST /searches/{search_id}/candidates/{number}/scale": {"compute": 1},
}


def asked(server: Server, route: str, **given: Any) -> int:
    method, path = route.split(" ")
    names = {own: "none" for own in ("search_id", "token_id", "export_id", "profile_id")}
    path = path.format(number=0, **names) if "{" in path else path
    prefix = "" if path in ("/livez", "/readyz", "/metrics") else API
    body = {} if route == "POST /corpora" else {"json": BODIES[route]} if route in BODIES else {}
    return int(server.http.request(method, prefix + path, **body, **given).status_code)


def test_the_table_has_every_route(guarded: Server) -> None:
    paths = guarded.http.get("/openapi.json").json()["paths"]
    found = {f"{method.upper()} {path.removeprefix(API)}" for path, own in paths.items() for method in own}
    assert found == NEEDS.keys()


@pytest.mark.parametrize("route", NEEDS)
def test_who_may(guarded: Server, route: str) -> None:
    """Whoever may gets past the door, whatever is found behind it: most of what is asked for is not there."""
    need, now = NEEDS[route], guarded.store.now()
    secret, revoked = guarded.service.tokens.create("x", "admin")
    guarded.service.tokens.revoke(revoked.id)
    strangers = {
        "nobody": {},
        "a made-up token": {"Authorization": "Bearer nas_made_up"},
        "an expired one": guarded.token("admin", expires_at=now - 1),
        "a revoked one": {"Authorization": f"Bearer {secret}"},
        "another scheme": {"Authorization": "Basic bmFzOm5hcw=="},
    }
    for who, headers in strangers.items():
        status = asked(guarded, route, headers=headers)
        assert (status == 401) == (need is not None or route == "POST /session"), who
    for scope in SCOPES:
        status = asked(guarded, route, headers=guarded.token(scope))
        if need is None:
            assert status != 403
        else:
            assert (status == 403) == (SCOPES.index(scope) < SCOPES.index(need)), scope
            assert status != 401
    status = asked(guarded, route, headers={**guarded.token("admin"), "Host": "evil.example"})
    assert status == 400, "another host"


@pytest.mark.parametrize("route", [own for own, need in NEEDS.items() if need is not None])
def test_a_browser_must_show_that_the_page_is_ours(guarded: Server, route: str) -> None:
    secret, _ = guarded.service.tokens.create("ann", "admin")
    session = guarded.post("/session", json={"token": secret})
    assert session.status_code == 201
    csrf, cookie = session.json()["csrf"], guarded.http.cookies[SESSION_COOKIE]
    changes = not route.startswith("GET")
    assert (asked(guarded, route) == 403) == changes, "a cookie alone changes nothing"
    guarded.http.cookies.set(SESSION_COOKIE, cookie)
    assert (asked(guarded, route, headers={CSRF_HEADER: "x" * 64}) == 403) == changes
    guarded.http.cookies.set(SESSION_COOKIE, cookie)
    assert asked(guarded, route, headers={CSRF_HEADER: csrf}) not in (401, 403)
    guarded.http.cookies.set(SESSION_COOKIE, cookie)
    elsewhere = {CSRF_HEADER: csrf, "Origin": "http://evil.example"}
    if route != "DELETE /session":  # after which there is no session
        assert (asked(guarded, route, headers=elsewhere) == 403) == changes


def test_what_a_session_is(guarded: Server) -> None:
    secret, token = guarded.service.tokens.create("ann", "write")
    assert guarded.post("/session", json={"token": "nas_none"}).status_code == 401
    session = guarded.post("/session", json={"token": secret})
    set_cookie = session.headers["Set-Cookie"].lower()
    assert all(own in set_cookie for own in ("httponly", "samesite=strict", "max-age=43200", "path=/"))
    me = guarded.get("/me").json()
    ends = me.pop("expires_at")
    assert me == {"name": "ann", "scope": "write", "csrf": session.json()["csrf"]}
    assert session.json()["expires_at"] == ends and abs(ends - guarded.store.now() - 43200) < 600
    cookie = guarded.http.cookies[SESSION_COOKIE]
    bearer = {"Authorization": f"Bearer {cookie}"}
    guarded.http.cookies.clear()
    assert guarded.get("/me", headers=bearer).status_code == 401, "a session's secret is no token"
    guarded.http.cookies.set(SESSION_COOKIE, secret)
    assert guarded.get("/me").status_code == 401, "and a token is no session"
    guarded.http.cookies.set(SESSION_COOKIE, cookie)
    guarded.service.tokens.revoke(token.id)
    assert guarded.get("/me").status_code == 401, "it ends with its token"


def test_logging_out(guarded: Server) -> None:
    secret, _ = guarded.service.tokens.create("ann", "read")
    csrf = guarded.post("/session", json={"token": secret}).json()["csrf"]
    cookie = guarded.http.cookies[SESSION_COOKIE]
    assert guarded.http.delete(f"{API}/session", headers={CSRF_HEADER: csrf}).status_code == 204
    guarded.http.cookies.set(SESSION_COOKIE, cookie)
    assert guarded.get("/me").status_code == 401


def test_a_page_of_somebody_else_changes_nothing_without_tokens_either(make_server: Servers, sqlite_url: str) -> None:
    server = make_server(sqlite_url)
    for origin, status in (("http://evil.example", 403), ("null", 403), ("http://localhost", 201)):
        assert server.submit(headers={"Origin": origin}).status_code == status, origin
    assert server.http.post(f"{API}/searches", content='{"spec": {}}').status_code == 422, "no form of a page is JSON"


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True), ("localhost:8470", True), ("127.0.0.1:1", True), ("[::1]:8470", True), ("LOCALHOST", True),
        ("evil.example", False), ("localhost.evil.example", False), ("127.0.0.1.evil.example", False), ("", False),
        ("nas.lab", True), ("nas.lab:80", True), ("[::2]", False),
    ],
)  # fmt: skip
def test_names_that_it_answers_to(make_server: Servers, sqlite_url: str, host: str, allowed: bool) -> None:
    server = make_server(sqlite_url, Settings(hosts=("nas.lab",)))
    answer = server.get("/version", headers={"Host": host})
    assert answer.status_code == (200 if allowed else 400)
    assert allowed or answer.json()["type"] == "urn:nas:problem:host"


@pytest.mark.parametrize(
    ("host", "auth", "allowed"),
    [
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("0.0.0.0", True, True),
        ("0.0.0.0", False, False),
        ("10.0.0.1", False, False),
    ],
)
def test_beyond_the_loopback_a_token_is_needed(host: str, auth: bool, allowed: bool) -> None:
    if allowed:
        assert Settings(host=host, auth=auth).host == host
    else:
        with pytest.raises(SpecError, match="--host: must be of the loopback where no token is needed"):
            Settings(host=host, auth=auth)


# --- tokens ---


def test_a_token_s_secret_is_shown_once_and_kept_nowhere(guarded: Server) -> None:
    admin = guarded.token("admin")
    made = guarded.post("/tokens", json={"name": "ann", "scope": "write", "expires_in": 3600}, headers=admin)
    secret = made.json()["secret"]
    assert made.status_code == 201 and secret.startswith("nas_") and len(secret) > 40
    listed = guarded.get("/tokens", headers=admin)
    assert secret not in listed.text and [own["name"] for own in listed.json()["tokens"]] == ["admin", "ann"]
    database = guarded.service.home.database.removeprefix("sqlite:///")
    guarded.store.close()
    with open(database, "rb") as file:
        assert secret.encode() not in file.read()


def test_a_token_s_use_and_its_end(guarded: Server) -> None:
    admin = guarded.token("admin")
    made = guarded.post("/tokens", json={"name": "ann"}, headers=admin).json()
    own = {"Authorization": f"Bearer {made['secret']}"}
    assert made["used_at"] is None and made["expires_at"] is None and made["scope"] == "read"
    assert guarded.get("/me", headers=own).json() == {
        **{"name": "ann", "scope": "read"},
        **{"csrf": None, "expires_at": None},
    }
    shown = {row["id"]: row for row in guarded.get("/tokens", headers=admin).json()["tokens"]}
    assert shown[made["id"]]["used_at"] > 0
    assert guarded.http.delete(f"{API}/tokens/{made['id']}", headers=admin).json()["revoked_at"] > 0
    assert guarded.get("/me", headers=own).json()["detail"] == "token 'ann' was revoked"
    assert guarded.http.delete(f"{API}/tokens/none", headers=admin).status_code == 404


@pytest.mark.parametrize(
    "body", [{}, {"name": ""}, {"name": "a", "scope": "god"}, {"name": "a", "expires_in": 0}, {"name": "a", "x": 1}]
)
def test_tokens_that_are_none(guarded: Server, body: dict[str, Any]) -> None:
    refused = guarded.post("/tokens", json=body, headers=guarded.token("admin"))
    assert refused.status_code == 422 and refused.json()["type"] == "urn:nas:problem:request"
    assert refused.json()["field"] in ("name", "scope", "expires_in", "x")


def test_when_a_token_expires_is_told_to_whoever_has_it(guarded: Server) -> None:
    ends = guarded.store.now() + 3600
    assert guarded.get("/me", headers=guarded.token("read", expires_at=ends)).json()["expires_at"] == ends


def test_what_a_server_stands_on_is_told_to_administrators(guarded: Server) -> None:
    """Everybody hears whether it is ready, as whoever watches over it must."""
    guarded.service.home.root.mkdir()
    ready = guarded.http.get("/readyz")
    assert ready.json() == {"database": "ok"}
    verbose = {scope: guarded.http.get("/readyz?verbose=true", headers=guarded.token(scope)) for scope in SCOPES}
    assert [own.status_code for own in verbose.values()] == [403, 403, 200]
    assert guarded.http.get("/readyz?verbose=true").status_code == 401
    told = verbose["admin"].json()
    assert told["database"] == "ok" and told["ground"]["database"]["kind"] == "sqlite"
    schema = told["ground"]["database"]["schema"]
    assert schema["found"] == schema["wanted"] and 0 < told["ground"]["disk"]["free"] < told["ground"]["disk"]["total"]
    assert str(guarded.service.home.root) not in verbose["admin"].text, "no places"


def test_the_kind_of_each_database(server: Server) -> None:
    """Where there is no folder of the server's, there is no disk to tell of."""
    ground = server.http.get("/readyz?verbose=true").json()["ground"]
    assert ground["database"]["kind"] == server.service.home.database.partition(":")[0].partition("+")[0]
    assert re.fullmatch(r"\d+(\.\d+)+", ground["database"]["version"]) and ground["disk"] is None


def test_who_did_what_is_in_the_events(guarded: Server) -> None:
    own = guarded.submit(headers=guarded.token("write")).json()["id"]
    guarded.post(f"/searches/{own}/pause", headers=guarded.token("admin"))
    assert [event.message for event in guarded.store.events(own)] == ["submitted by write", "admin asks to pause"]
