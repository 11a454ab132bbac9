"""Parts of a search's page in Chromium: asked for once the front is there, where they are looked at, and no more."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.dashboards import sample
from tests.services.browser.conftest import Site
from tests.services.browser.tab import Tab, tab

SOON_MS = 30_000
WHEN = """
    window.when = {};
    const note = name => { window.when[name] ??= performance.now(); };
    document.addEventListener("nas:shown", () => note("shown"));
    document.addEventListener("htmx:before:request", event => note(event.detail.ctx.request.action));
"""


@pytest.fixture
def own(browser: Browser, sampled: Site) -> Iterator[Tab]:
    with tab(browser, sampled.url) as opened:
        yield opened


def test_what_stands_beside_the_front_comes_after_it_and_once(own: Tab, sampled: Site) -> None:
    page, asked = own.page, list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.add_init_script(WHEN)
    own.open(f"/searches/{sampled.id}")
    page.wait_for_timeout(3000)  # the stream has said its first word
    when = page.evaluate("window.when")
    parts = [path for path in when if path.startswith("/searches/")]
    assert len(parts) == 6 and all(when[path] >= when["shown"] for path in parts)
    for path in (*parts, f"/api/v1/searches/{sampled.id}/columns"):
        assert sum(url.endswith(path) for url in asked) == 1, path
    assert own.wrong == []


def test_the_table_of_the_hypervolume_is_fetched_where_it_is_opened(own: Tab, sampled: Site) -> None:
    page, asked = own.page, list[str]()
    page.on("request", lambda request: asked.append(request.url))
    own.open(f"/searches/{sampled.id}")
    part = page.locator("#volume-part")
    summary = part.get_by_text("The hypervolume as a table")
    expect(summary).to_be_visible()
    assert not any("volume/steps" in url for url in asked)
    summary.click()
    rows = part.get_by_role("table").get_by_role("row")
    expect(rows.nth(1)).to_be_visible(timeout=SOON_MS)
    count = rows.count()
    assert count > 2 and own.barriers() == []
    sampled.service.store.update_candidate(sample.ID, 0, train_flops_spent=1)  # the line is another
    with page.expect_response("**/progress/volume/steps", timeout=SOON_MS):
        page.evaluate(
            "document.dispatchEvent(new CustomEvent('nas:changed', {detail: {revision: 1e9, state: 'running'}}))"
        )
    page.wait_for_timeout(500)
    expect(part.locator("details")).to_have_attribute("open", "")
    assert rows.count() == count and own.wrong == []
