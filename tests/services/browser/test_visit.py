"""A visit in Chromium to a real server with a real Ray: begun by the form, followed live, the server killed in between.

Everything is found by its role and its label, as who cannot see the page finds it; what is drawn is counted.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from nas.client.client import Client
from nas.records import CandidateState, Origin, SearchState
from tests.services.browser.tab import Tab, tab
from tests.services.driving import make_place
from tests.services.serving import Served, serving

pytestmark = pytest.mark.timeout(900)  # a server, Ray, a search of a minute or two, also on a machine that others use
SOON_MS, SEARCH_MS = 60_000, 600_000
REST_MS = 500
"""After which the address has followed a slider."""
MARKS = "#front-plot .scatterlayer path.point"


@dataclass(frozen=True)
class Visit:
    """Somebody who has logged in."""

    served: Served
    tab: Tab
    token: str

    @property
    def page(self) -> Page:
        return self.tab.page

    def client(self) -> Client:
        return self.served.client(self.token)

    def open(self, path: str) -> Page:
        self.tab.open(path)
        return self.page

    def begin(self, name: str, total: str) -> str:
        """A search by the form; its id."""
        page = self.open("/new")
        page.get_by_label("Name", exact=True).fill(name)
        page.get_by_label("Corpus", exact=True).select_option("austen")
        page.get_by_label("Space", exact=True).select_option("llama-tiny")
        page.get_by_label("Device", exact=True).fill("cpu")
        whole, each = (page.get_by_role("region", name=own) for own in ("What it may take", "What each candidate may"))
        whole.get_by_label("Compute").fill(total)
        whole.get_by_label("Time").fill("")
        each.get_by_label("Compute").fill("40 GFLOP")
        page.get_by_label("At a time").fill("1")
        expect(page.get_by_text("The server would take it", exact=False)).to_be_visible()
        page.get_by_role("button", name="Submit").click()
        page.wait_for_url("**/searches/*")
        expect(page.get_by_role("heading", level=1)).to_contain_text(name)
        return page.url.rpartition("/")[2].partition("?")[0]


@pytest.fixture(scope="module")
def visit(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """Comes without a token, and is asked for it."""
    expect.set_options(timeout=SOON_MS)
    place = make_place(tmp_path_factory.mktemp("visited"))
    token = place.run("token", "create", "ann", "--scope", "write").out.strip()
    with serving(place, "--auth", "token") as served, tab(browser, served.url) as own:
        page = own.page
        own.open("/new")
        assert page.url == f"{served.url}/login?next=%2Fnew"
        page.get_by_label("Token").fill("nas_wrong")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_contain_text("does not know this token")
        page.get_by_label("Token").fill(token)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/new")
        expect(page.get_by_text("ann (write)")).to_be_visible()
        yield Visit(served, own, token)


@pytest.fixture(scope="module")
def begun(visit: Visit) -> str:
    return visit.begin("a visit", "800 GFLOP")


def more_marks(page: Page, than: int) -> int:
    """Waits for more marks in the figure than so many; their number then."""
    page.wait_for_function(
        "([marks, than]) => document.querySelectorAll(marks).length > than", arg=[MARKS, than], timeout=SEARCH_MS
    )
    return page.locator(MARKS).count()


def best(page: Page) -> tuple[Locator, int]:
    """The sentence that names the best model, and which it names."""
    named = page.get_by_text(re.compile(r"^(The best of|Within the limits) ")).first
    expect(named).to_be_visible()
    found = re.search(r"#(\d+)", named.inner_text())
    assert found, named.inner_text()
    return named, int(found[1])


def test_the_front_grows_and_outlives_the_server(visit: Visit, begun: str) -> None:
    page = visit.open(f"/searches/{begun}")
    page.evaluate("window.never = 'reloaded'")
    first = more_marks(page, 0)
    second = more_marks(page, first)
    visit.served.kill()
    stale = page.get_by_text("What is shown may be old")
    expect(stale).to_be_visible()
    assert page.locator(MARKS).count() >= second, "what was known stays"
    visit.served.start()
    expect(stale).to_be_hidden()
    expect(page.get_by_role("heading", level=1)).to_contain_text("running")
    more_marks(page, second)
    expect(page.get_by_role("heading", level=1)).to_contain_text("completed", timeout=SEARCH_MS)
    assert page.evaluate("window.never") == "reloaded"
    expect(page.get_by_text("Could not load")).to_have_count(0)
    with visit.client() as client:
        assert client.search(begun).state is SearchState.COMPLETED
        assert any(own.origin is Origin.FINAL for own in client.candidates(begun))


@pytest.fixture(scope="module")
def ended(visit: Visit, begun: str) -> str:
    with visit.client() as client:
        for _ in client.follow(begun):
            pass
        assert client.search(begun).state is SearchState.COMPLETED
    return begun


def test_a_limit_is_slid(visit: Visit, ended: str) -> None:
    page = visit.open(f"/searches/{ended}")
    sentence, former = best(page)
    slider = page.get_by_role("slider").first
    slider.focus()
    number = former
    for _ in range(200):
        if number != former:
            break
        slider.press("ArrowLeft")
        text = sentence.inner_text() if sentence.count() else ""
        number = int(found[1]) if (found := re.search(r"#(\d+)", text)) else -1
    assert number not in (former, -1), "another is the best of those that are small enough"
    page.wait_for_timeout(REST_MS)
    expect(page).to_have_url(re.compile(r"max\.flops_per_byte="))
    limit = float(re.findall(r"max\.flops_per_byte=([\d.]+)", page.url)[0])
    with visit.client() as client:
        columns = client.columns(ended)
    own = zip(
        columns.number, columns.origin, columns.state, columns.val_bpb, columns.costs["flops_per_byte"], strict=True
    )
    within = {
        candidate: loss
        for candidate, origin, state, loss, cost in own
        if state is CandidateState.COMPLETED and origin is not Origin.FINAL and cost <= limit
    }
    assert number == min(within, key=within.__getitem__)
    page.reload()
    assert best(page)[1] == number, "the address has the limit"
    page.get_by_role("button", name="Reset").click()
    expect(best(page)[0]).to_contain_text(f"#{former}")


def test_a_candidate_is_opened_and_writes(visit: Visit, ended: str) -> None:
    page = visit.open(f"/searches/{ended}")
    sentence, number = best(page)
    sentence.get_by_role("link", name=f"#{number}").click()
    page.wait_for_url(f"**/searches/{ended}/candidates/{number}")
    expect(page.get_by_role("heading", level=1)).to_contain_text(str(number))
    expect(page.get_by_role("img", name="Learning curve")).to_be_visible()
    texts = []
    for _ in range(2):
        page.get_by_label("Prompt").fill("It is a truth")
        page.get_by_label("Tokens").fill("24")
        page.get_by_role("button", name="Write", exact=True).click()
        written = page.get_by_role("status").filter(has_text="It is a truth")
        expect(written).to_be_visible()
        page.wait_for_function("() => !document.querySelector('[aria-busy=true]')")
        texts.append(written.inner_text())
    assert texts[0] == texts[1] and len(texts[0]) > len("It is a truth") + 10


def test_two_are_compared(visit: Visit, ended: str) -> None:
    page = visit.open(f"/searches/{ended}")
    boxes = page.get_by_role("table", name="Members of the front").get_by_role("checkbox")
    expect(boxes.nth(1)).to_be_visible()
    numbers = [str(boxes.nth(own).get_attribute("aria-label")).rpartition("#")[2] for own in (0, 1)]
    for own in (0, 1):
        boxes.nth(own).check()
    page.get_by_role("link", name="Compare 2").click()
    page.wait_for_url("**/compare?*")
    table = page.get_by_role("table", name="Candidates beside each other")
    for number in numbers:
        expect(table.get_by_role("link", name=f"#{number}", exact=True)).to_be_visible()


def test_candidates_are_downloaded(visit: Visit, ended: str, tmp_path: Path) -> None:
    page = visit.open(f"/searches/{ended}")
    page.locator("summary").filter(has_text="Download").click()
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Candidates, CSV").click()
    assert downloading.value.suggested_filename == f"{ended}-candidates.csv"
    downloading.value.save_as(tmp_path / "candidates.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "candidates.csv").read_text())))
    with visit.client() as client:
        known = list(client.candidates(ended))
    assert [(int(row["number"]), row["state"], row["id"]) for row in rows] == [
        (own.number, str(own.state), own.id) for own in known
    ]
    for row, own in zip(rows, known, strict=True):
        assert row["val_bpb"] == ("" if own.val_bpb is None else str(own.val_bpb))
        assert float(row["cost.flops_per_byte"]) == own.costs["flops_per_byte"]


def test_another_is_cancelled(visit: Visit) -> None:
    own = visit.begin("regretted", "40 TFLOP")
    page = visit.page
    more_marks(page, 0)
    page.get_by_role("button", name="Cancel", exact=True).click()
    dialog = page.get_by_role("dialog", name="Cancel?")
    dialog.get_by_role("button", name="Leave it as it is").click()
    with visit.client() as client:
        assert [one.kind for one in client.requests(own)] == []
    page.get_by_role("button", name="Cancel", exact=True).click()
    dialog.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("cancelled")
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_be_hidden()
    with visit.client() as client:
        assert client.search(own).state is SearchState.CANCELLED


def test_nothing_went_wrong_meanwhile(visit: Visit) -> None:
    """Save the token that was not one, and what was asked of a server that was not there."""
    expected = (
        "401: POST /api/v1/session",
        "ERR_CONNECTION_REFUSED",
        "ERR_INCOMPLETE_CHUNKED",
        "ERR_CONNECTION_RESET",
        "Failed to fetch",
    )
    assert [line for line in visit.tab.wrong if not any(own in line for own in expected)] == []
    with tab(visit.page.context.browser, visit.served.url) as stranger:  # type: ignore[arg-type]
        stranger.open("/")
        assert "/login" in stranger.page.url, "another browser knows nothing"
