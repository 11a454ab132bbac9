"""By keyboard alone in Chromium: whatever has the focus is seen, and everything can be done."""

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, Page, expect

from nas.adapters.sql.store import SqlStore
from nas.records import CandidateState, Origin
from tests.dashboards import sample
from tests.services.browser.conftest import Site
from tests.services.browser.tab import NARROW, WIDE, Tab, tab

SOON_MS = 30_000
MOST = 400
"""Stops of a page, until its end."""
PAGES = {
    "searches": "/",
    "new": "/new",
    "devices": "/devices",
    "search": "/searches/{id}",
    "candidate": "/searches/{id}/candidates/{best}",
    "compare": "/searches/{id}/compare?c={best}&c={other}",
    "compare-searches": "/compare?s={id}&s={id}",
}
UNSEEN = """
() => {
    const own = document.activeElement;
    if (!own || own === document.body) return null;
    const style = getComputedStyle(own);
    const box = own.getClientRects()[0]; // a link may go over several lines
    const name = `${own.tagName} ${own.id} ${(own.getAttribute("aria-label") ?? own.innerText ?? "").slice(0, 40)}`;
    if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 1) return `${name}: no outline`;
    if (own.matches(".scroll, pre")) return ""; // larger than the window
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    const there = document.elementFromPoint(x, y);
    const seen = there && (own.contains(there) || there.contains(own) && !there.matches("th, td, thead"));
    return seen || own.closest("th, td") === there ? "" : `${name}: beneath ${there?.tagName}`;
}
"""
FOCUS = "() => document.activeElement.id"


@pytest.fixture(params=[WIDE, NARROW], ids=["wide", "narrow"])
def own(request: pytest.FixtureRequest, browser: Browser, sampled: Site) -> Iterator[Tab]:
    with tab(browser, sampled.url, size=request.param) as opened:
        yield opened


@pytest.fixture
def search(own: Tab, sampled: Site) -> Page:
    own.open(f"/searches/{sampled.id}")
    own.page.locator("#members tbody tr").first.wait_for()
    return own.page


def reach(page: Page, selector: str, key: str = "Tab") -> None:
    """Presses a key until what is meant has the focus."""
    for _ in range(MOST):
        page.keyboard.press(key)
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"{selector} is not reached by {key}")


@pytest.mark.parametrize("address", PAGES.values(), ids=PAGES)
def test_every_stop_is_seen(own: Tab, sampled: Site, address: str) -> None:
    best, other = sampled.candidates[CandidateState.COMPLETED][:2]
    page = own.page
    own.open(address.format(id=sampled.id, best=best, other=other))
    for key in ("Tab", "Shift+Tab"):
        stops = []
        for _ in range(MOST):
            page.keyboard.press(key)
            unseen = page.evaluate(UNSEEN)
            if unseen is None:
                break
            stops.append(unseen)
        assert len(stops) > 5 and [stop for stop in stops if stop] == []


def test_the_best_model_within_a_limit(search: Page, sampled: Site) -> None:
    """From the top of the page: a slider by arrow keys, then the model that is named."""
    sentence = search.locator("#best")
    whole = sentence.inner_text()
    reach(search, "input[type=range]")
    for _ in range(300):
        if sentence.inner_text() != whole:
            break
        search.keyboard.press("ArrowLeft")
    expect(sentence).to_contain_text("Within the limits")
    found = re.search(r"#(\d+)", sentence.inner_text())
    assert found
    reach(search, "#best a", "Shift+Tab")
    search.keyboard.press("Enter")
    search.wait_for_url(f"**/searches/{sampled.id}/candidates/{found[1]}")


def test_members_are_sorted_and_chosen(search: Page) -> None:
    reach(search, "#sort-params")
    search.keyboard.press("Enter")
    expect(search.locator("th[aria-sort=ascending]")).to_contain_text("parameters")
    assert search.evaluate(FOCUS) == "sort-params", "the table is made anew, the focus stays"
    for _ in range(2):
        reach(search, "#members input")
        search.keyboard.press("Space")
    reach(search, "#compare", "Shift+Tab")
    search.keyboard.press("Enter")
    search.wait_for_url("**/compare?*")


def test_the_menu_of_downloads(search: Page) -> None:
    menu = search.locator("details.menu")
    reach(search, ".menu summary")
    search.keyboard.press("Enter")
    reach(search, ".menu [data-picture=svg]")
    search.keyboard.press("Escape")
    expect(menu).not_to_have_attribute("open", "")
    assert search.evaluate("document.activeElement.matches('.menu summary')")
    search.keyboard.press("Enter")
    expect(menu).to_have_attribute("open", "")
    reach(search, "#axis-x")
    expect(menu).not_to_have_attribute("open", "")
    reach(search, ".menu summary", "Shift+Tab")
    search.keyboard.press("Enter")
    reach(search, "#front-json")
    with search.expect_download() as downloading:
        search.keyboard.press("Enter")
    assert downloading.value.suggested_filename.endswith("-front.json")


def test_a_dialog_gives_the_focus_back(search: Page, sampled: Site) -> None:
    reach(search, "#ask-delete")
    for key in ("Escape", "Enter"):  # the latter on what it offers first: to leave it as it is
        search.keyboard.press("Enter")
        dialog = search.get_by_role("dialog", name="Delete?")
        expect(dialog).to_be_visible()
        expect(dialog.get_by_role("button", name="Leave it as it is")).to_be_focused()
        search.keyboard.press(key)
        expect(dialog).to_be_hidden()
        assert search.evaluate(FOCUS) == "ask-delete"
    assert sampled.service.store.search(sampled.id)


def test_filters_keep_the_focus(search: Page) -> None:
    search.locator("#filter-state").wait_for()
    reach(search, "#filter-state")
    for state in ("training", "queued"):
        search.keyboard.press("ArrowDown")
        expect(search).to_have_url(re.compile(f"state={state}"), timeout=SOON_MS)
        expect(search.locator("#filter-state")).to_be_focused()


def test_older_events_until_there_are_none(search: Page, sampled: Site) -> None:
    """The button keeps the focus while it is there; with the last ones it goes, and the focus is at the events."""
    for number in range(150):
        sampled.service.store.add_event(sampled.id, "note", f"event {number}", at=1.0)
    search.reload()
    more, part = search.locator("#events-more"), search.locator("#events-part")
    reach(search, "#events-more")
    while more.count():
        shown = part.get_by_role("listitem").count()
        search.keyboard.press("Enter")
        search.wait_for_function("shown => document.querySelectorAll('#events-part li').length > shown", arg=shown)
        assert more.count() == 0 or search.evaluate(FOCUS) == "events-more"
    expect(part.get_by_role("region")).to_be_focused()


def test_a_front_of_more_than_are_shown(browser: Browser, busy: tuple[str, SqlStore]) -> None:
    url, store = busy
    for number in range(10, 80):
        plot = sample.Plot(Origin.UNIFORM, CandidateState.COMPLETED, depth=number, width=32)
        record = sample.candidate_record(number, plot, sample.START)
        store.add_candidate(replace(record, val_bpb=1.5 - number / 100))  # the deeper, the better
    with tab(browser, url) as own:
        page = own.page
        own.open(f"/searches/{sample.ID}")
        rows = page.locator("#members tbody tr")
        expect(rows).to_have_count(50)
        reach(page, "#all-members")
        page.keyboard.press("Enter")
        expect(page.locator("#all-members")).to_be_hidden()
        assert rows.count() >= 70
        expect(page.get_by_role("region", name="Members of the front")).to_be_focused()
        reach(page, "#members input")
        page.keyboard.press("Space")
        assert page.locator("#members input:checked").count() == 1
