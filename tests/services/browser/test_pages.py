"""Every page in Chromium: readable by everybody, wide and narrow, light and dark, and quiet."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from fastapi.responses import HTMLResponse
from fastapi.routing import iter_route_contexts
from playwright.sync_api import Browser

from nas.client.models import API
from nas.records import CandidateState
from services.controller.app import create_app
from services.controller.pages.page import POLICY
from tests.services.browser.conftest import Site
from tests.services.browser.tab import NARROW, WIDE, Tab, tab


@dataclass(frozen=True)
class View:
    """A page as it can be looked at. ``route``: that of the application; ``address``: with places for what the site
    has; ``plots``: so many are drawn on it at least."""

    route: str
    address: str
    heading: str
    plots: int = 0


SEARCH = "/searches/{search_id}"
VIEWS = {
    "searches": View("/", "/", "Searches"),
    "no-searches": View("/", "/?name=nothing-of-that-name", "Searches"),
    "login": View("/login", "/login?next=/new", "Log in"),
    "search": View(SEARCH, "/searches/{id}", "tiny"),
    "missing": View(SEARCH, "/searches/none", "Not Found"),
    "report": View(API + SEARCH + "/report", API + "/searches/{id}/report", "tiny", plots=2),
    "api": View("/docs", "/docs", "nas"),
}
PARTS: set[str] = set()
"""Routes that answer with a piece of a page alone."""


@pytest.fixture(params=[WIDE, NARROW], ids=["wide", "narrow"])
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def own(browser: Browser, site: Site, size: tuple[int, int], scheme: str) -> Iterator[Tab]:
    with tab(browser, site.url, size=size, scheme=scheme) as opened:
        yield opened


@pytest.mark.parametrize("name", VIEWS)
def test_a_page(own: Tab, site: Site, name: str) -> None:
    view = VIEWS[name]
    completed, stopped = (site.candidates[state] for state in (CandidateState.COMPLETED, CandidateState.STOPPED))
    own.open(view.address.format(id=site.id, best=completed[0], other=completed[1], stopped=stopped[0]))
    heading = own.page.get_by_role("heading", level=1)
    heading.wait_for()
    assert view.heading in heading.inner_text()
    assert own.page.locator(".js-plotly-plot .main-svg").count() >= view.plots
    assert own.overflow() == []
    assert own.barriers() == []
    assert own.wrong == []


def test_every_page_is_looked_at(site: Site) -> None:
    app = create_app(site.service, reconciles=False)
    found = iter_route_contexts(app.routes)
    routes = {own.path for own in found if getattr(own, "response_class", None) is HTMLResponse}
    assert routes == {view.route for view in VIEWS.values()} | PARTS


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
