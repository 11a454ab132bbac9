"""The front in Chromium: a mark, a finger and the keyboard lead to a candidate."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.services.browser.conftest import Site
from tests.services.browser.tab import NARROW, WIDE, Tab, tab

SOON_MS = 30_000
MARKS = "#front-plot .scatterlayer .trace path.point"


@pytest.fixture
def wide(browser: Browser, sampled: Site) -> Iterator[Tab]:
    with tab(browser, sampled.url, size=WIDE) as own:
        own.open(f"/searches/{sampled.id}")
        yield own


@pytest.fixture
def touched(browser: Browser, sampled: Site) -> Iterator[Tab]:
    with tab(browser, sampled.url, size=NARROW, touch=True) as own:
        own.open(f"/searches/{sampled.id}")
        yield own


def middle(mark: Locator) -> tuple[float, float]:
    """Where to point at."""
    mark.scroll_into_view_if_needed()
    box = mark.bounding_box()
    assert box
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def named(page: Page) -> int:
    """The candidate in the note beside the pointer."""
    note = page.locator("#front-tip strong")
    expect(note).to_be_visible(timeout=SOON_MS)
    found = re.match(r"#(\d+) ", note.inner_text())
    assert found, note.inner_text()
    return int(found[1])


@pytest.mark.parametrize("place", [0, 3, -1])
def test_a_click_on_a_mark_opens_its_candidate(wide: Tab, sampled: Site, place: int) -> None:
    page = wide.page
    marks = page.locator(MARKS)
    x, y = middle(marks.nth(place % marks.count()))
    page.mouse.move(x, y)
    number = named(page)
    page.mouse.click(x, y)
    page.wait_for_url(f"**/searches/{sampled.id}/candidates/{number}")
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"Candidate {number} ")
    assert wide.wrong == []


def test_a_click_between_the_marks_opens_nothing(wide: Tab, sampled: Site) -> None:
    page = wide.page
    box = page.locator("#front-plot .nsewdrag").first.bounding_box()
    assert box
    page.mouse.click(box["x"] + 3, box["y"] + box["height"] - 3)
    page.wait_for_timeout(300)
    assert page.url.endswith(f"/searches/{sampled.id}")


def test_a_tap_names_a_mark_and_opens_nothing(touched: Tab, sampled: Site) -> None:
    page = touched.page
    assert page.evaluate("matchMedia('(pointer: coarse)').matches")
    marks = page.locator(MARKS)
    numbers = set()
    for place in range(marks.count()):
        page.touchscreen.tap(*middle(marks.nth(place)))
        numbers.add(named(page))
    page.wait_for_timeout(300)
    assert len(numbers) > 5
    assert page.url.endswith(f"/searches/{sampled.id}") and touched.wrong == []


def test_enter_on_the_link_of_a_member_opens_it(wide: Tab, sampled: Site) -> None:
    page = wide.page
    link = page.get_by_role("table", name="Members of the front").get_by_role("link").first
    number = link.inner_text().removeprefix("#")
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/searches/{sampled.id}/candidates/{number}")
