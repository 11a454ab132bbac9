"""A page whose server fails: what could not be loaded says so, and comes by itself once the server is back."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from nas.adapters.sql.store import SqlStore
from tests.dashboards import sample
from tests.services.browser.conftest import Site
from tests.services.browser.tab import Tab, tab

SOON_MS = 25_000
MARKS = "#front-plot .scatterlayer path.point"
PARTS = {  # how it is called, and its address
    "the hypervolume": "/progress/volume",
    "the account": "/progress/account",
    "what is in training": "/progress/workers",
    "the events": "/progress/events",
    "the decisions": "/progress/decisions",
    "the list of candidates": "/candidates",
    "the candidates": "/columns",
    "the curves": "/curves/columns",
}


def gone(route: Route) -> None:
    route.abort("connectionrefused")


def restarting(route: Route) -> None:
    """As whoever stands before a server that is not there answers."""
    route.fulfill(status=503, content_type="text/html", body="<h1>Service Unavailable</h1>")


def too_many(route: Route) -> None:
    path = route.request.url
    told = "requests: must be at most 600 a minute"
    if "/api/v1/" in path:
        route.fulfill(status=429, content_type="application/problem+json", body=f'{{"detail": "{told}"}}')
    else:
        route.fulfill(status=429, content_type="text/plain", headers={"HX-Reswap": "none"}, body=told)


FAILURES: dict[str, tuple[Callable[[Route], None], str]] = {
    "gone": (gone, "the server does not answer"),
    "restarting": (restarting, "(the server answers 503|Service Unavailable)"),  # the latter by the API's client
    "too many": (too_many, "requests: must be at most 600 a minute"),
}


@pytest.fixture
def own(browser: Browser, sampled: Site) -> Iterator[Tab]:
    with tab(browser, sampled.url) as opened:
        yield opened


PAUSES_DO_NOT_END = """
    const begin = setTimeout;
    window.setTimeout = (act, pause, ...more) => begin(act, pause >= 1000 ? 2e9 : pause, ...more);
"""


class Failing:
    """Answers of a server that fail while ``on``."""

    def __init__(self, own: Tab, act: Callable[[Route], None], *patterns: str) -> None:
        self.on = True
        self._act = act
        for pattern in patterns:
            own.page.route(re.compile(pattern), self._handle)

    def _handle(self, route: Route) -> None:
        self._act(route) if self.on else route.continue_()


@pytest.mark.parametrize("failure", FAILURES)
def test_parts_that_fail_at_first(own: Tab, sampled: Site, failure: str) -> None:
    act, why = FAILURES[failure]
    failing = Failing(own, act, *(rf"/searches/{sampled.id}{path}(\?|$)" for path in PARTS.values()))
    page = own.page
    page.goto(f"{own.origin}/searches/{sampled.id}")
    for name in PARTS:
        told = re.compile(f"Could not load {name}: {why}\\. It is tried again by itself\\.")
        expect(page.get_by_text(told)).to_be_visible(timeout=SOON_MS)
    expect(page.get_by_role("heading", name="Service Unavailable")).to_have_count(0)
    assert own.barriers() == []
    failing.on = False
    expect(page.get_by_text("Could not load").filter(visible=True)).to_have_count(0, timeout=SOON_MS)
    expect(page.locator(MARKS).first).to_be_visible()
    expect(page.get_by_role("table", name="Candidates", exact=True)).to_be_visible()
    expect(page.locator("#volume-plot .main-svg").first).to_be_visible()
    expect(page.locator("#curves-plot .main-svg").first).to_be_visible()


def test_what_is_not_there_is_not_asked_for_again(own: Tab, sampled: Site) -> None:
    page = own.page
    asked = []

    def missing(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=404, content_type="text/plain", headers={"HX-Reswap": "none"}, body="no search 'x'")

    page.route("**/progress/workers", missing)
    own.open(f"/searches/{sampled.id}")
    told = page.get_by_text("Could not load what is in training: no search 'x'.", exact=True)
    expect(told).to_be_visible(timeout=SOON_MS)
    page.wait_for_timeout(3000)  # the stream's first word has the parts fetched once more
    before = len(asked)
    page.evaluate("document.dispatchEvent(new CustomEvent('nas:back'))")
    page.wait_for_timeout(2000)
    assert len(asked) == before


def test_what_failed_is_fetched_when_the_server_is_back(own: Tab, sampled: Site) -> None:
    """At once: no pause ends by itself here."""
    page = own.page
    page.add_init_script(PAUSES_DO_NOT_END)
    failing = Failing(own, gone, re.escape(f"/searches/{sampled.id}/progress/events"))
    page.goto(f"{own.origin}/searches/{sampled.id}")
    told = page.get_by_text("Could not load the events")
    expect(told).to_be_visible(timeout=SOON_MS)
    failing.on = False
    page.evaluate("document.dispatchEvent(new CustomEvent('nas:back'))")
    expect(told).to_be_hidden(timeout=SOON_MS)


def test_a_part_that_was_there_stays_as_it_is(own: Tab, sampled: Site) -> None:
    """Also what waits within it to be opened: that has not failed."""
    page = own.page
    own.open(f"/searches/{sampled.id}")
    waiting = page.get_by_text("Loading the table …")
    expect(waiting).to_have_count(1, timeout=SOON_MS)
    part = page.locator("#volume-part")
    former = part.inner_html()
    Failing(own, gone, rf"/searches/{sampled.id}/progress/volume$")
    with page.expect_event("requestfailed", lambda own: own.url.endswith("/progress/volume"), timeout=SOON_MS):
        part.dispatch_event("nas:again")
    with page.expect_event("requestfailed", lambda own: own.url.endswith("/progress/volume"), timeout=SOON_MS):
        pass  # by itself: the first failure has been handled
    assert part.inner_html() == former


def test_the_stream_says_that_the_server_is_back(own: Tab, sampled: Site) -> None:
    page = own.page
    page.add_init_script("window.backs = 0; document.addEventListener('nas:back', () => { window.backs++; })")
    failing = Failing(own, gone, "/events/stream")
    page.goto(f"{own.origin}/searches/{sampled.id}")
    stale = page.get_by_text("What is shown may be old")
    expect(stale).to_be_visible(timeout=SOON_MS)
    assert page.evaluate("window.backs") == 0
    failing.on = False
    expect(stale).to_be_hidden(timeout=SOON_MS)
    assert page.evaluate("window.backs") == 1


@contextmanager
def refused(page: Page) -> Iterator[None]:
    """The candidate's page asks for what has changed, and is not answered, by the end of the block or soon after."""
    with page.expect_event("requestfailed", lambda own: "since=" in own.url, timeout=SOON_MS):
        yield


def test_a_candidate_s_page_asks_again_until_it_is_answered(browser: Browser, busy: tuple[str, SqlStore]) -> None:
    """What changed while the server did not answer is on it then; what was there has stayed meanwhile."""
    url, store = busy
    with tab(browser, url) as own:
        page = own.page
        own.open(f"/searches/{sample.ID}/candidates/9")
        failing = Failing(own, gone, r"/candidates/9\?since=")
        with refused(page):
            store.update_candidate(sample.ID, 9, reason="told meanwhile")
        with refused(page):
            pass  # by itself
        expect(page.get_by_role("heading", level=1)).to_contain_text("Candidate 9")
        assert page.get_by_text("told meanwhile").count() == 0
        failing.on = False
        expect(page.get_by_text("told meanwhile")).to_be_visible(timeout=SOON_MS)
