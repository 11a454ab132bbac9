"""Pictures of all pages of a server, for people to look at."""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from playwright.sync_api import Page

from benchmarks.dashboard.chromium import Scheme, browsing, window
from nas.client.client import Client
from nas.errors import NotFoundError
from nas.records import CandidateState

WIDTHS = {1280: 900, 390: 844}
"""With the height that is seen at once; pictures are of whole pages."""


def take(server: str, folder: Path, search: str = "") -> Iterator[Path]:
    """``NAME-WIDTH-SCHEME.png`` of each page, as each is made. The server lets everybody in."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = addresses(server, search)
    with browsing() as browser:
        for scheme in get_args(Scheme):
            for width, height in WIDTHS.items():
                with window(browser, width, height, scheme) as page:
                    for name, address in pages.items():
                        path = folder / f"{name}-{width}-{scheme}.png"
                        page.goto(server + address, wait_until="load")
                        settle(page)
                        page.screenshot(path=path, full_page=True)
                        yield path


def addresses(server: str, search: str = "") -> dict[str, str]:
    """Pages by a name for their pictures."""
    with Client(server) as client:
        found = list(client.searches())
        if not search and not found:
            raise NotFoundError(f"{server} has no searches")
        own = client.search(search) if search else max(found, key=lambda one: one.created_at)
        others = [one.id for one in found if one.id != own.id]
        candidates = list(client.candidates(own.id))
    trained = sorted(
        (one for one in candidates if one.state is CandidateState.COMPLETED), key=lambda one: (one.val_bpb, one.number)
    )
    base = f"/searches/{own.id}"
    pages = {"searches": "/", "new": "/new", "devices": "/devices", "login": "/login", "search": base}
    for state in CandidateState:
        numbers = [one.number for one in (trained if state is CandidateState.COMPLETED else candidates)
                   if one.state is state]  # fmt: skip
        if numbers:
            pages[f"candidate-{state}"] = f"{base}/candidates/{numbers[0]}"
    pages["compare"] = f"{base}/compare?" + "&".join(f"c={one.number}" for one in trained[:4])
    if others:
        pages["compare-searches"] = f"/compare?s={own.id}&s={others[0]}"
    return pages


def settle(page: Page) -> None:
    """Until no part of the page is loading, and what is drawn is drawn."""
    page.wait_for_function("() => !document.querySelector('[aria-busy=true], .htmx-request')")
    page.evaluate("() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    page.wait_for_timeout(500)
