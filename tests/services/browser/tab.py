"""A tab of a browser, and what must not happen in it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response

from benchmarks.dashboard.chromium import settle

WIDE, NARROW = (1280, 900), (390, 844)
SECONDS = 30
"""That anything of a page may take, on a machine that is used by others too."""
RULES = {"rules": {"target-size": {"enabled": True}}, "resultTypes": ["violations"]}
"""All of axe's, and of those that it leaves out: targets of 24 pixels."""


@dataclass
class Tab:
    """``page`` is playwright's; ``wrong`` is what went wrong in it so far: errors of scripts, what the policy has kept
    off, requests that failed, and those to another host."""

    page: Page
    origin: str
    wrong: list[str] = field(default_factory=list)

    def listen(self) -> None:
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("request", self._asked)
        self.page.on("response", self._answered)

    def open(self, path: str) -> None:
        """Until what the page loads at once is there."""
        self.page.goto(self.origin + path, wait_until="load")
        settle(self.page)

    def overflow(self) -> list[str]:
        """What makes the page wider than its window; nothing does on a good page."""
        found: list[str] = self.page.evaluate(
            """() => {
                const root = document.documentElement;
                if (root.scrollWidth <= root.clientWidth) return [];
                const wide = [...document.querySelectorAll("body *")].filter(own =>
                    own.getBoundingClientRect().right > root.clientWidth + 0.5);
                return [`${root.scrollWidth} > ${root.clientWidth}`, ...wide.slice(0, 8).map(own =>
                    `${own.tagName.toLowerCase()}#${own.id}.${own.getAttribute("class") ?? ""}`)];
            }"""
        )
        return found

    def barriers(self) -> list[str]:
        """What axe finds serious or critical."""
        self.page.evaluate(AXE_SCRIPT)
        answer: dict[str, Any] = self.page.evaluate(f"axe.run({json.dumps(RULES)})")
        return [
            f"{own['id']} ({own['impact']}): {node['target']} {node['html'][:200]} {node.get('failureSummary', '')}"
            for own in answer["violations"]
            if own["impact"] in ("serious", "critical")
            for node in own["nodes"]
        ]

    def _said(self, message: ConsoleMessage) -> None:
        told = message.text.startswith("Failed to load resource: the server responded")  # see _answered
        if message.type in ("error", "warning") and not told:
            self.wrong.append(f"{message.type}: {message.text}")

    def _asked(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme in ("http", "https", "ws", "wss") and not request.url.startswith(self.origin):
            self.wrong.append(f"asked elsewhere: {request.url}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400 and not response.request.is_navigation_request():
            self.wrong.append(f"{response.status}: {response.request.method} {urlsplit(response.url).path}")


@contextmanager
def tab(
    browser: Browser, origin: str, *, size: tuple[int, int] = WIDE, scheme: Any = "light", touch: bool = False
) -> Iterator[Tab]:
    """In a context of its own: with no cookies, nothing stored."""
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        reduced_motion="reduce",
        locale="en-GB",
        has_touch=touch,
        is_mobile=touch,
    )
    context.set_default_timeout(SECONDS * 1000)
    try:
        own = Tab(context.new_page(), origin)
        own.listen()
        yield own
    finally:
        context.close()
