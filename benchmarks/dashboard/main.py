"""python -m benchmarks.dashboard [--quick] [--out FILE] | --pictures FOLDER --server URL [--search ID]"""

import argparse
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2
from playwright.sync_api import Browser

from benchmarks.dashboard.chromium import asked_after, browsing, moves, opened, settle, window
from benchmarks.dashboard.filling import fill
from benchmarks.dashboard.pictures import take
from benchmarks.machine import machine, publish, table
from benchmarks.service.serving import serving
from nas.adapters.sql.store import SqlStore, open_store
from nas.client.models import API
from nas.units import format_bytes

OUT = Path(__file__).parents[2] / "docs/results/dashboard.md"
ABOUT = """\
A server of its own process (`nas serve --ray none`) with a search of three objectives whose losses are made up; the
architectures and their costs are those of llama-tiny. *An update*: one candidate of a search that goes on was changed
in the database; then all that an open page of this search asks for is asked again, one question after the other over
one connection, each with the ETag of what the page has. *Shown*: from the navigation's start to the paint of the first
plot that has marks, in headless Chromium on the same machine as the server, with nothing cached. *Moved*: from a
slider's event to the paint of the plot that it has changed."""


@dataclass(frozen=True)
class Amount:
    """``live``: candidates where one of them changes; ``drawn``: where the page is opened; the rest are repeats."""

    live: int = 5_000
    drawn: int = 10_000
    updates: int = 50
    openings: int = 5
    moves: int = 20


QUICK = Amount(300, 600, 5, 1, 4)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one question after a change cost: seconds, and bytes of the body as sent."""

    seconds: float
    bytes: int


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard")
    parser.add_argument("--quick", action="store_true", help="few candidates: to see that it works")
    parser.add_argument("--out", type=Path, help=f"file for the tables; without --quick {OUT.name}")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="measure nothing: make pictures of all pages")
    parser.add_argument("--server", metavar="URL", help="of the server whose pages they are")
    parser.add_argument("--search", default="", metavar="ID", help="the search on them; its newest one without")
    given = parser.parse_args(arguments)
    if (given.pictures is None) != (given.server is None):
        parser.error("--pictures and --server go together")
    if given.pictures is not None:
        for path in take(given.server, given.pictures, given.search):
            print(path)
        return
    amount = QUICK if given.quick else Amount()
    with tempfile.TemporaryDirectory(prefix="nas-dashboard-") as folder:
        database = f"sqlite:///{folder}/nas.db"
        store = open_store(database)
        live, drawn = fill(store, amount.live), fill(store, amount.drawn)
        with serving(Path(folder), database, "--ray", "none") as (server, _), browsing() as browser:
            text = "\n\n".join(
                [updates(browser, server, store, live, amount), drawing(browser, f"{server}/searches/{drawn}", amount)]
            )
            told = f"Chromium {browser.version}. {machine()}."
        store.close()
    command = "python -m benchmarks.dashboard" + (" --quick" if given.quick else "")
    out = given.out or (None if given.quick else OUT)
    publish(f"# How quickly the dashboard shows it\n\n{ABOUT}\n\n{text}\n\n{told}\n\nCommand: `{command}`", out)


def updates(browser: Browser, server: str, store: SqlStore, search: str, amount: Amount) -> str:
    """What a page asks after a change, and what that costs."""
    turn = iter(range(10**9))

    def early() -> None:
        store.update_candidate(search, amount.live // 2, train_flops_spent=10**9 + next(turn))

    def latest() -> None:
        store.update_candidate(search, amount.live - 1, train_flops_spent=10**9 + next(turn))

    with window(browser) as page:
        opened(page, f"{server}/searches/{search}")
        paths = unlike(asked_after(page, early))
    with httpx2.Client(base_url=server, timeout=60.0, headers={"Accept-Encoding": "gzip"}) as http:
        found = rounds(http, search, paths, early, amount.updates)
        mild = rounds(http, search, paths, latest, amount.updates)
    rows = [
        [f"`{path}`", *_spread([own.seconds for own in turns]), format_bytes(max(own.bytes for own in turns))]
        for path, turns in zip(paths, zip(*found, strict=True), strict=True)
    ]
    rows.append(["all of them", *_together(found)])
    rows.append(["all of them, when the one in training was changed", *_together(mild)])
    head = (
        f"One update of {amount.live:,} candidates, of which one that ended long ago was changed (asked for: 20 KB, "
        f"50 ms), {amount.updates} times:"
    )
    return f"{head}\n\n{table(['asked', 'median', 'p99', 'bytes'], rows)}"


def unlike(paths: Sequence[str]) -> list[str]:
    """Each question once, without the revision that it was asked at."""
    return list(dict.fromkeys(re.sub(r"(since_revision=)\d+", r"\1", own) for own in paths))


def rounds(
    http: httpx2.Client, search: str, paths: Sequence[str], change: Callable[[], None], count: int
) -> list[list[Answer]]:
    """So many times a change, and then all questions, for what has changed since the one before."""
    tags: dict[str, str] = {}
    for path in paths:  # an open page has asked before
        ask(http, path.replace("since_revision=", "since_revision=0"), path, tags)
    found = []
    for _ in range(count):
        before = http.get(f"{API}/searches/{search}").json()["revision"]
        change()
        since = f"since_revision={before}"
        found.append([ask(http, path.replace("since_revision=", since), path, tags) for path in paths])
    return found


def ask(http: httpx2.Client, address: str, path: str, tags: dict[str, str]) -> Answer:
    """As a browser does: with the tag of what it has of that path."""
    known = {"If-None-Match": tags[path]} if address == path and path in tags else {}
    began = time.perf_counter()
    with http.stream("GET", address, headers={"HX-Request": "true", **known}) as answer:
        raw = b"".join(answer.iter_raw())
    seconds = time.perf_counter() - began
    assert answer.status_code in (200, 304), f"{address}: {answer.status_code}"
    tags[path] = answer.headers.get("ETag", "")
    return Answer(seconds, len(raw))


def drawing(browser: Browser, url: str, amount: Amount) -> str:
    """How long the front takes to be there, and to follow a slider; what the page weighs."""
    first, weight = [], {}
    for _ in range(amount.openings):
        with window(browser) as page:
            own = opened(page, url)
            first.append(own.first_plot_ms)
            settle(page)  # or the server would still be at work for this one when the next is opened
            weight = own.weight
            moved = moves(page, amount.moves) if len(first) == amount.openings else []
    rows = [
        ["shown", f"{len(first)}", f"{statistics.median(first):.0f} ms", f"{max(first):.0f} ms", "1500 ms"],
        ["moved", f"{len(moved)}", f"{statistics.median(moved):.0f} ms", f"{_quantile(moved, 0.9):.0f} ms", "100 ms"],
    ]
    head = f"The front of {amount.drawn:,} candidates:"
    return f"{head}\n\n{table(['', 'times', 'median', 'largest; p90', 'asked for'], rows)}\n\n{weighed(weight)}"


def weighed(weight: Mapping[str, int]) -> str:
    """The heaviest answers, and all."""
    heaviest = sorted(weight.items(), key=lambda own: -own[1])[:4]
    named = ", ".join(f"`{name}` {format_bytes(size)}" for name, size in heaviest)
    return f"The page weighs {format_bytes(sum(weight.values()))} as sent, in {len(weight)} answers: {named}, the rest."


def _together(found: Sequence[Sequence[Answer]]) -> tuple[str, str, str]:
    """Of all questions after a change."""
    most = max(sum(own.bytes for own in turn) for turn in found)
    return (*_spread([sum(own.seconds for own in turn) for turn in found]), format_bytes(most))


def _spread(seconds: Sequence[float]) -> tuple[str, str]:
    return f"{statistics.median(seconds) * 1000:.1f} ms", f"{_quantile(seconds, 0.99) * 1000:.1f} ms"


def _quantile(values: Sequence[float], share: float) -> float:
    ascending = sorted(values)
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))]
