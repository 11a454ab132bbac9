"""Every page in Chromium: readable by everybody, wide and narrow, light and dark, and quiet."""

from collections.abc import Iterator
from dataclasses import dataclass

import httpx2
import pytest
from fastapi.responses import HTMLResponse
from fastapi.routing import iter_route_contexts
from playwright.sync_api import Browser

from nas.adapters.sql.store import SqlStore
from nas.client.models import API
from nas.records import AttemptRecord, CandidateState, LogLine
from services.controller.app import create_app
from services.controller.dispatch import NoRay
from services.controller.pages.page import POLICY
from services.controller.service import Service
from services.controller.settings import Settings
from tests.dashboards import sample
from tests.services.browser.conftest import Site, answering
from tests.services.browser.tab import NARROW, WIDE, Tab, tab


@dataclass(frozen=True)
class View:
    """A page as it can be looked at. ``route``: that of the application; ``address``: with places for what the site
    has; ``plots``: so many are drawn on it at least; ``refused``: what the server may refuse it; ``guarded``: of a
    server that wants a token."""

    route: str
    address: str
    heading: str
    plots: int = 0
    refused: str = ""
    guarded: bool = False


SEARCH = "/searches/{search_id}"
CANDIDATE = SEARCH + "/candidates/{number}"
THREE = "/searches/{id}/compare?c={best}&c={other}&c={stopped}"
FORECAST = f"POST {API}/forecasts"
"""Which needs a worker, and this server has none."""
VIEWS = {
    "searches": View("/", "/", "Searches"),
    "no-searches": View("/", "/?name=nothing-of-that-name", "Searches"),
    "login": View("/login", "/login?next=/new", "Log in", guarded=True),
    "new": View("/new", "/new", "New search", refused=FORECAST),
    "clone": View("/new", "/new?clone={id}", "New search", refused=FORECAST),
    "search": View(SEARCH, "/searches/{id}", "tiny", plots=1),
    "missing": View(SEARCH, "/searches/none", "Not Found"),
    "candidates": View(SEARCH + "/candidates", "/searches/{id}/candidates", "Candidates of tiny"),
    "completed": View(CANDIDATE, "/searches/{id}/candidates/{best}", "andidate", plots=1),
    "stopped": View(CANDIDATE, "/searches/{id}/candidates/{stopped}", "andidate", plots=1),
    "compare": View(SEARCH + "/compare", THREE, "Candidates", plots=1),
    "compare-none": View(SEARCH + "/compare", "/searches/{id}/compare", "Candidates"),
    "compare-searches": View("/compare", "/compare?s={id}&s={id}", "Two searches"),
    "compare-no-searches": View("/compare", "/compare", "Two searches"),
    "devices": View("/devices", "/devices", "Devices"),
    "report": View(API + SEARCH + "/report", API + "/searches/{id}/report", "tiny", plots=2),
    "api": View("/docs", "/docs", "nas"),
}
PROGRESS = ("volume", "volume/steps", "account", "workers", "decisions", "events")
LOG = CANDIDATE + "/log"
PARTS = {SEARCH + "/facts", LOG, *(f"{SEARCH}/progress/{name}" for name in PROGRESS)}
"""Routes that answer with a piece of a page alone."""


@pytest.fixture(params=[WIDE, NARROW], ids=["wide", "narrow"])
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def guarded(site: Site) -> Iterator[str]:
    """The address of a server that wants a token, over the same."""
    with answering(Service(site.service.home, site.service.store, Settings(auth=True), NoRay())) as url:
        yield url


@pytest.fixture
def view(request: pytest.FixtureRequest) -> View:
    return VIEWS[request.param]


@pytest.fixture
def own(browser: Browser, site: Site, guarded: str, view: View, size: tuple[int, int], scheme: str) -> Iterator[Tab]:
    with tab(browser, guarded if view.guarded else site.url, size=size, scheme=scheme) as opened:
        yield opened


@pytest.mark.parametrize("view", VIEWS, indirect=True)
def test_a_page(own: Tab, site: Site, view: View) -> None:
    completed, stopped = (site.candidates[state] for state in (CandidateState.COMPLETED, CandidateState.STOPPED))
    own.open(view.address.format(id=site.id, best=completed[0], other=completed[1], stopped=stopped[0]))
    heading = own.page.get_by_role("heading", level=1)
    heading.wait_for()
    assert view.heading in heading.inner_text()
    assert own.page.locator(".js-plotly-plot .main-svg").count() >= view.plots
    assert own.overflow() == []
    assert own.barriers() == []
    assert [line for line in own.wrong if not view.refused or view.refused not in line] == []


def test_a_log_is_read_when_it_is_opened_and_kept_up(
    browser: Browser, busy: tuple[str, SqlStore], size: tuple[int, int], scheme: str
) -> None:
    url, store = busy
    text = "the attempt begins <b>now</b>, " + "x" * 300
    with tab(browser, url, size=size, scheme=scheme) as own:
        own.open(f"/searches/{sample.ID}/candidates/9")
        assert own.page.get_by_role("cell", name="node-3, cuda:0").count() == 1
        own.page.get_by_text("Log of attempt 1").click()
        own.page.get_by_text("Nothing was logged.").wait_for()
        lines = [LogLine(sample.START, level, "nas.train", text) for level in ("info", "warning", "error")]
        store.add_log(sample.ID, 9, 0, lines)
        log = own.page.get_by_role("region", name="Log of attempt 1")
        log.get_by_text(text).nth(2).wait_for()
        assert log.locator("li").count() == 3 and log.locator("pre b").count() == 0
        assert log.locator(".level").all_inner_texts() == ["info", "warning", "ERROR"]
        store.update_attempt(sample.ID, 9, 0, finished_at=sample.START + 60, outcome="lost")
        store.add_attempt(AttemptRecord(sample.ID, 9, 1, sample.START + 61, "node-4, cpu"))
        own.page.get_by_text("Log of attempt 2").wait_for()
        assert log.locator("li").count() == 3, "it stays open beside what has changed"
        assert own.overflow() == [] and own.barriers() == [] and own.wrong == []


def test_every_page_is_looked_at(site: Site) -> None:
    app = create_app(site.service, reconciles=False)
    found = iter_route_contexts(app.routes)
    routes = {own.path for own in found if getattr(own, "response_class", None) is HTMLResponse}
    assert routes == {view.route for view in VIEWS.values()} | PARTS


@pytest.mark.parametrize("route", sorted(PARTS))
def test_a_part_is_no_page(site: Site, route: str) -> None:
    query = "?attempt=0" if route == LOG else ""
    answer = httpx2.get(site.url + route.format(search_id=site.id, number=0) + query, headers={"HX-Request": "true"})
    assert answer.status_code == 200 and "<html" not in answer.text and answer.text.strip()


# --- the tests above hear of what is wrong ---


def test_what_is_wrong_is_heard(browser: Browser, site: Site) -> None:
    page = """<!doctype html><html lang="en"><head><title>wrong</title>
        <script src="https://elsewhere.example/a.js"></script><script>var inline = 1</script></head>
        <body><h1>Wrong</h1><img src="/none.png"><p style="color:#999;background:#fff">pale</p>
        <div id="wide" style="width:2000px">wide</div></body></html>"""
    with tab(browser, site.url, size=NARROW) as own:
        headers = {"Content-Security-Policy": POLICY, "Content-Type": "text/html"}
        own.page.route("**/wrong", lambda route: route.fulfill(body=page, headers=headers))
        own.open("/wrong")
        wrong = "\n".join(own.wrong)
        assert "elsewhere.example" in wrong and "Content Security Policy" in wrong and "404: GET" in wrong
        assert own.overflow()[0].startswith("20") and "div#wide." in own.overflow()
        assert {line.split()[0] for line in own.barriers()} == {"image-alt", "color-contrast"}
