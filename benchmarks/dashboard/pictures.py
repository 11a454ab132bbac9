"""Pictures of all pages of a server, for people to look at."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import get_args

from benchmarks.dashboard.chromium import Scheme, browsing, settle, window
from nas.client.client import Client
from nas.errors import NotFoundError
from nas.records import CandidateState

SIZES = {1280: 900, 390: 844}
"""Widths with the height that is seen at once; pictures are of whole pages."""
LOAD_MS = 700
"""For what a page begins to load when it is there already."""


def take(
    server: str,
    folder: Path,
    search: str = "",
    schemes: Sequence[Scheme] = get_args(Scheme),
    sizes: Mapping[int, int] = SIZES,
) -> Iterator[Path]:
    """``NAME-WIDTH-SCHEME.png`` of each page, as each is made. The server lets everybody in."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = addresses(server, search)
    with browsing() as browser:
        for scheme in schemes:
            for width, height in sizes.items():
                with window(browser, width, height, scheme) as page:
                    for name, address in pages.items():
                        path = folder / f"{name}-{width}-{scheme}.png"
                        page.goto(server + address, wait_until="load")
                        settle(page)
                        page.wait_for_timeout(LOAD_MS)
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
