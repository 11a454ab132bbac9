"""Where a browser brings its token, and where it goes from there."""

from urllib.parse import quote

import pytest

from nas.client.models import API, SESSION_COOKIE
from services.controller.pages.login import inside
from services.controller.settings import Quotas, Settings
from tests.services.controller.conftest import Server, Servers

INSIDE = ["/", "/new", "/searches/a-1?s=x&t=%2F%2Fy", "/?name=%C3%BC", "/searches/a#b", "/a//b", "/loginx"]
OUTSIDE = [
    "//evil.example", "///evil.example", "https://evil.example/", "http:evil.example", "javascript:alert(1)",
    "/\\evil.example", "\\\\evil.example", "/\t/evil.example", "/\n/evil.example", "/\r/evil.example",
    "\t//evil.example", " //evil.example", "/ /evil.example", "/\u2028/evil", "/\u00a0/evil", "evil.example", "",
    "?next=/", "#x", "@evil.example", "//[", "/login", "/login?next=/", "/login/", "data:text/html,x",
    "/\0/evil.example", "/\x7f",
]  # fmt: skip


@pytest.mark.parametrize("target", INSIDE)
def test_inside(target: str) -> None:
    assert inside(target) == target


@pytest.mark.parametrize("target", OUTSIDE)
def test_outside(guarded: Server, target: str) -> None:
    assert inside(target) == "/"
    page = guarded.http.get("/login", params={"next": target})
    assert page.status_code == 200 and 'data-next="/"' in page.text
    assert "evil" not in page.text


def test_the_target_cannot_end_its_attribute(guarded: Server) -> None:
    page = guarded.http.get("/login", params={"next": '/"><script>alert(1)</script>'})
    assert "<script>alert" not in page.text and "&#34;&gt;&lt;script&gt;" in page.text


def test_without_tokens_there_is_nothing_to_do(server: Server) -> None:
    for target, place in (("/new", "/new"), ("//evil.example", "/"), ("/login", "/")):
        sent = server.http.get("/login", params={"next": target}, follow_redirects=False)
        assert (sent.status_code, sent.headers["Location"]) == (303, place)


def test_pages_send_to_it_and_back(guarded: Server) -> None:
    for path in ("/", "/?state=running&name=a%20b", "/new?preset=night", "/searches/x"):
        sent = guarded.http.get(path, follow_redirects=False)
        assert (sent.status_code, sent.headers["Location"]) == (303, f"/login?next={quote(path, safe='')}")
        assert inside(path) == path
    assert "needs a token" in guarded.http.get("/new").text


def test_a_part_sends_the_whole_page(guarded: Server) -> None:
    """And back to the page that it is a part of, wherever a header says that that is."""
    for url, target in (
        ("http://localhost/searches/x?a=1", "/searches/x?a=1"),
        ("http://evil.example//other.example/", "//other.example/"),
    ):
        sent = guarded.http.get("/", headers={"HX-Request": "true", "HX-Current-URL": url}, follow_redirects=False)
        assert (sent.status_code, sent.headers["HX-Redirect"]) == (401, f"/login?next={quote(target, safe='')}")
    assert inside("//other.example/") == "/"


def test_logging_in_and_out(guarded: Server) -> None:
    assert "logged out" not in guarded.http.get("/login").text
    secret, _ = guarded.service.tokens.create("x", "read")
    made = guarded.post("/session", json={"token": secret})
    assert made.status_code == 201 and guarded.http.get("/", follow_redirects=False).status_code == 200
    assert f'<meta name="csrf" content="{made.json()["csrf"]}">' in guarded.http.get("/").text
    out = guarded.http.delete(f"{API}/session", headers={"X-CSRF-Token": made.json()["csrf"]})
    assert out.status_code == 204 and SESSION_COOKIE not in guarded.http.cookies
    assert guarded.http.get("/", follow_redirects=False).status_code == 303
    assert "You are logged out" in guarded.http.get("/login?out=1").text


def test_what_a_browser_is_told(make_server: Servers, sqlite_url: str) -> None:
    """Statuses that `refusal.js` has words for."""
    guarded = make_server(sqlite_url, Settings(auth=True, quotas=Quotas(submissions=3)))
    expired = guarded.token("read", expires_at=guarded.store.now() - 1)["Authorization"].removeprefix("Bearer ")
    for token, status in (("nas_wrong", 401), (expired, 401)):
        assert guarded.post("/session", json={"token": token}).status_code == status
    answers = [guarded.post("/session", json={"token": "nas_wrong"}) for _ in range(2)]
    assert [own.status_code for own in answers] == [401, 429] and int(answers[-1].headers["Retry-After"]) >= 1


def test_without_javascript_it_says_so(guarded: Server) -> None:
    page = guarded.http.get("/login")
    assert "<noscript>" in page.text and "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert "unsafe" not in page.headers["Content-Security-Policy"].split("style-src")[0]
