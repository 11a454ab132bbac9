"""A search that is over, and open in Chromium, is deleted by somebody else."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, expect

from nas.records import SearchState
from tests.dashboards import sample
from tests.services.browser.conftest import Site
from tests.services.browser.tab import Tab, tab

SOON_MS = 25_000


@pytest.fixture
def own(browser: Browser, sampled: Site) -> Iterator[Tab]:
    with tab(browser, sampled.url) as opened:
        yield opened


@pytest.fixture
def doomed(sampled: Site) -> str:
    store = sampled.service.store
    with store.transaction():
        store.add_search(replace(sample.search_record(), id="doomed", state=SearchState.COMPLETED))
    return "doomed"


def test_a_page_that_is_looked_at_hears_of_it_soon(own: Tab, sampled: Site, doomed: str) -> None:
    page = own.page
    page.clock.install()
    own.open(f"/searches/{doomed}")
    notice = page.get_by_text("This search was deleted.")
    expect(notice).to_be_hidden()
    sampled.service.store.delete_search(doomed)
    page.clock.fast_forward(10_000)
    expect(notice).to_be_visible(timeout=SOON_MS)


def test_a_page_that_nobody_looks_at_asks_for_nothing_until_somebody_does(own: Tab, sampled: Site, doomed: str) -> None:
    page = own.page
    asked: list[str] = []
    page.clock.install()
    own.open(f"/searches/{doomed}")
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    sampled.service.store.delete_search(doomed)
    page.on("request", lambda request: asked.append(request.url))
    for _ in range(3):
        page.clock.fast_forward(10_000)
        page.wait_for_timeout(300)
    assert asked == []
    page.evaluate(
        """() => {
            Object.defineProperty(document, "hidden", {value: false});
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    expect(page.get_by_text("This search was deleted.")).to_be_visible(timeout=SOON_MS)
