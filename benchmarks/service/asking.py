"""What is asked of the server, and how long it takes to answer."""

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx2

from nas.client.models import API

ROUNDS = 200


@dataclass(frozen=True, slots=True)
class Timed:
    """Answers to one question: seconds, ascending, and bytes of the largest body."""

    seconds: tuple[float, ...]
    bytes: int
    status: int

    def quantile(self, share: float) -> float:
        return self.seconds[min(len(self.seconds) - 1, int(share * len(self.seconds)))]


def ask(http: httpx2.Client, path: str, rounds: int = ROUNDS, headers: Mapping[str, str] | None = None) -> Timed:
    """The same question again and again, over one connection."""
    seconds, size, status = [], 0, 0
    for _ in range(rounds):
        began = time.perf_counter()
        answer = http.get(API + path, headers=dict(headers or {}))
        seconds.append(time.perf_counter() - began)
        size, status = max(size, len(answer.content)), answer.status_code
    return Timed(tuple(sorted(seconds)), size, status)


def pages(http: httpx2.Client, search: str) -> Timed:
    """Each page of a search's candidates, 100 at a time, once."""
    seconds, size, token = [], 0, ""
    while True:
        began = time.perf_counter()
        answer = http.get(f"{API}/searches/{search}/candidates", params={"page_size": 100, "page_token": token})
        seconds.append(time.perf_counter() - began)
        size = max(size, len(answer.content))
        if not (token := answer.json()["next_page_token"]):
            return Timed(tuple(sorted(seconds)), size, answer.status_code)


def unchanged(http: httpx2.Client, path: str) -> Timed:
    """A poll of what is known already."""
    tag = http.get(API + path).headers["ETag"]
    return ask(http, path, headers={"If-None-Match": tag})


def fresh_fronts(touch: Callable[[], object], http: httpx2.Client, search: str, rounds: int = 20) -> Timed:
    """The front after each change of the search, which nothing that is kept can answer."""
    seconds, size = [], 0
    for _ in range(rounds):
        touch()
        began = time.perf_counter()
        answer = http.get(f"{API}/searches/{search}/front")
        seconds.append(time.perf_counter() - began)
        size = max(size, len(answer.content))
    return Timed(tuple(sorted(seconds)), size, answer.status_code)


def at_once(server: str, act: Callable[[httpx2.Client, int], list[int]], clients: int) -> tuple[dict[int, int], float]:
    """Answers by status, and seconds, of so many clients that each act at the same time."""
    began = time.perf_counter()

    def one(number: int) -> list[int]:
        with httpx2.Client(base_url=server, timeout=60.0) as http:
            return act(http, number)

    with ThreadPoolExecutor(clients) as threads:
        statuses = [status for own in threads.map(one, range(clients)) for status in own]
    return {own: statuses.count(own) for own in sorted(set(statuses))}, time.perf_counter() - began


def idle(pid: int, seconds: float) -> tuple[float, int]:
    """Share of a core that a process takes while nobody asks, and its resident bytes."""
    before, began = _ticks(pid), time.monotonic()
    time.sleep(seconds)
    share = (_ticks(pid) - before) / (time.monotonic() - began)
    resident = next(
        int(line.split()[1]) * 1024
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmRSS:")
    )
    return share, resident


def _ticks(pid: int) -> float:
    """Seconds of processor time."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
