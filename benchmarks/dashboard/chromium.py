"""Chromium of the system, and how long pages of a server take in it."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Request, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",  # also root may start it
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
)
Scheme = Literal["light", "dark"]
PATIENCE_MS = 60_000
PLOTTED = ".js-plotly-plot .scatterlayer path.point"
FIRST_PLOT = """
addEventListener("DOMContentLoaded", () => {
    const seen = () => {
        if (!document.querySelector(%r)) return;
        watch.disconnect();
        requestAnimationFrame(() => setTimeout(() => { window.firstPlot = performance.now(); }));
    };
    const watch = new MutationObserver(seen);
    watch.observe(document.documentElement, {childList: true, subtree: true});
    seen();
});
""" % (PLOTTED,)  # noqa: UP031 - braces of JavaScript
"""Notes when the first plot with marks in it was painted, in milliseconds since the page was asked for."""
MOVE = """
([id, value]) => new Promise(resolve => {
    const slider = document.getElementById(id);
    const plot = document.querySelector(".js-plotly-plot");
    const watch = new MutationObserver(() => {
        watch.disconnect();
        requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - began)));
    });
    watch.observe(plot, {childList: true, subtree: true, attributes: true, characterData: true});
    const began = performance.now();
    slider.value = value;
    slider.dispatchEvent(new Event("input", {bubbles: true}));
})
"""
"""Moves a slider; the milliseconds until the plot that it has changed was painted."""
IDLE = """
() => ![...document.querySelectorAll("[aria-busy=true], .htmx-request")].some(own => own.checkVisibility())
"""
DRAWN = "() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))"


def chromium() -> str:
    """The program's path; raises `FileNotFoundError`."""
    for name in NAMES:
        if path := shutil.which(name):
            return path
    raise FileNotFoundError(f"none of {', '.join(NAMES)} is there")


@contextmanager
def browsing() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def window(browser: Browser, width: int = 1280, height: int = 900, scheme: Scheme = "light") -> Iterator[Page]:
    """Of a context of its own: nothing is cached, nobody is known."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    context.set_default_timeout(PATIENCE_MS)
    try:
        yield context.new_page()
    finally:
        context.close()


def settle(page: Page) -> None:
    """Until no part of the page that can be seen is loading, and what is drawn is drawn."""
    page.wait_for_function(IDLE)
    page.evaluate(DRAWN)


@dataclass(frozen=True, slots=True)
class Opened:
    """A page once its front is drawn. ``weight``: bytes of all answers' bodies as sent, by path."""

    first_plot_ms: float
    weight: dict[str, int]


def opened(page: Page, url: str) -> Opened:
    """Goes there, and waits for the first plot."""
    asked: list[Request] = []
    page.on("requestfinished", lambda own: asked.append(own))  # a method of a list has no room for its wrapper
    page.add_init_script(FIRST_PLOT)
    page.goto(url, wait_until="load")
    page.wait_for_function("() => window.firstPlot")
    weight = {urlsplit(own.url).path.rpartition("/")[2]: own.sizes()["responseBodySize"] for own in asked}
    return Opened(float(page.evaluate("window.firstPlot")), weight)


def moves(page: Page, rounds: int) -> list[float]:
    """Milliseconds until each move of a slider was drawn. It goes to and fro over most of its range."""
    slider = page.get_by_role("slider").first
    slider.wait_for()
    facts: dict[str, Any] = slider.evaluate("own => ({id: own.id, least: Number(own.min), most: Number(own.max)})")
    least, most = facts["least"], facts["most"]
    shares = [0.3 + 0.6 * ((7 * turn) % rounds) / rounds for turn in range(rounds)]
    values = [round(least + share * (most - least)) if most - least > 10 else least + share * (most - least)
              for share in shares]  # fmt: skip
    return [float(page.evaluate(MOVE, [facts["id"], str(value)])) for value in values]


def asked_after(page: Page, change: Callable[[], object], quiet_seconds: float = 3.0) -> list[str]:
    """What an open page asks its server for, with queries, once something has changed."""
    paths: list[str] = []

    def note(request: Request) -> None:
        address = urlsplit(request.url)
        paths.append(address.path + (f"?{address.query}" if address.query else ""))

    page.on("request", note)
    change()
    limit = time.monotonic() + PATIENCE_MS / 1000
    while not paths:
        assert time.monotonic() < limit, "the page has asked for nothing"
        page.wait_for_timeout(100)
    page.wait_for_timeout(quiet_seconds * 1000)
    page.remove_listener("request", note)
    return paths
