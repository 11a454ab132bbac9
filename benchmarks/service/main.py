"""python -m benchmarks.service [--quick] [--parts PARTS] [--database URL] [--submissions N] [--out FILE]"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import httpx2

from benchmarks.machine import machine, publish, table
from benchmarks.service import first_step
from benchmarks.service.asking import Timed, ask, at_once, fresh_fronts, idle, pages, unchanged
from benchmarks.service.filling import SPEC, Size, fill
from benchmarks.service.first_step import Trial
from benchmarks.service.serving import serving
from nas.adapters.sql.store import open_store
from nas.client.models import API
from nas.units import format_bytes

OUT = Path(__file__).parents[2] / "docs/results/service.md"
ANSWERS, FIRST_STEP = PARTS = ("answers", "first-step")
TITLE = "# How quickly a server answers"
QUICK = Size(searches=3, candidates=900, largest=300)
CLIENTS, ACTS = 24, 5
IDLE_SECONDS = 20.0
ABOUT = """\
A server of its own process (`nas serve --ray none`), asked over HTTP by a client in another, one question after the
other over one connection unless said otherwise. The database is filled with searches that are over; architectures and
costs are those of llama-tiny, losses are made up, since only the time to read them matters here."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service")
    parser.add_argument("--quick", action="store_true", help="little of all: to see that it works")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="only these; with --database answers alone")
    parser.add_argument("--database", default="", help="an empty database; an SQLite file of its own without")
    parser.add_argument("--submissions", type=int, default=Trial().submissions, help="whose first steps are measured")
    parser.add_argument("--out", type=Path, help=f"file for the tables; without --quick {OUT.name}")
    given = parser.parse_args(arguments)
    names = given.parts or ([ANSWERS] if given.database else PARTS)
    out = given.out or (None if given.quick else OUT)
    made: dict[str, str] = {}
    if ANSWERS in names:
        text, filled = answers(given.database, QUICK if given.quick else Size())
        made[ANSWERS] = f"{TITLE}\n\n{ABOUT}\n\n{text}\n\n{filled} {told(ANSWERS, given.quick)}"
    if FIRST_STEP in names:
        trial = first_step.QUICK if given.quick else Trial(submissions=given.submissions)
        made[FIRST_STEP] = f"{first_step.measured(trial)}\n\n{told(FIRST_STEP, given.quick)}"
    former = out.read_text(encoding="utf-8") if out is not None and out.exists() else ""
    publish(joined(former, made), out)


def told(part: str, quick: bool) -> str:
    """The machine, and the command without what is of it: addresses and files."""
    return f"{machine()}.\n\nCommand: `python -m benchmarks.service --parts {part}{' --quick' * quick}`"


def joined(former: str, made: Mapping[str, str]) -> str:
    """What was written before, with the parts in it that were made anew."""
    answers, head, first = former.rstrip("\n").partition(first_step.HEAD)
    kept = {ANSWERS: answers.rstrip("\n") or TITLE, FIRST_STEP: head + first}
    return "\n\n".join(text for name in PARTS if (text := made.get(name, kept[name])))


def answers(database: str, size: Size) -> tuple[str, str]:
    """The tables, and how long the database took to be filled."""
    with tempfile.TemporaryDirectory(prefix="nas-service-") as folder:
        url = database or f"sqlite:///{folder}/nas.db"
        store = open_store(url)
        began = time.perf_counter()
        ids = fill(store, size)
        filled = time.perf_counter() - began
        with serving(Path(folder), url, "--ray", "none") as (server, pid):
            text = measured(server, pid, ids, size, lambda: store.add_event(ids[0], "note", "touched", at=0.0))
        store.close()
    return text, f"Filled in {filled:.0f} s, a database of {url.partition(':')[0]}."


def measured(server: str, pid: int, ids: Sequence[str], size: Size, touch: Callable[[], object]) -> str:
    """The tables."""
    largest, last = ids[0], f"/searches/{ids[-1]}"
    share, resident = idle(pid, 2.0 if size is QUICK else IDLE_SECONDS)
    with httpx2.Client(base_url=server, timeout=60.0) as http:
        rows = [
            _row("page of 50 searches", ask(http, "/searches?page_size=50"), "p99 50 ms"),
            _row("pages of 100 candidates, all", pages(http, largest), "p99 50 ms"),
            _row("100 candidates by loss", ask(http, f"{last}/candidates?order_by=val_bpb"), "p99 50 ms"),
            _row(f"front of {size.largest}, each after a change", fresh_fronts(touch, http, largest), "100 ms"),
            _row("its hypervolume", ask(http, f"/searches/{largest}/hypervolume", 5), ""),
            _row("a candidate's curve", ask(http, f"/searches/{largest}/candidates/7/curve"), ""),
            _row("unchanged: list of searches", unchanged(http, "/searches"), "5 ms, 1 KB"),
            _row("unchanged: candidates", unchanged(http, f"/searches/{largest}/candidates"), "5 ms, 1 KB"),
            _row("unchanged: front", unchanged(http, f"/searches/{largest}/front"), "5 ms, 1 KB"),
            _row("metrics", _outside(http, "/metrics"), ""),
        ]
    statuses, seconds = at_once(server, act, CLIENTS)
    said = ", ".join(f"{count} x {status}" for status, count in statuses.items())
    return "\n\n".join(
        [
            f"{size.searches} searches, {size.candidates:,} candidates, {size.candidates * 10:,} points of curves.",
            table(["asked", "answers", "median", "p99", "largest", "asked for"], rows),
            f"{CLIENTS} clients at once, each submits, lists, reads, cancels {ACTS} times: {said} in {seconds:.1f} s.",
            f"Idle: {share:.2%} of a core, {format_bytes(resident)} resident (asked for: 1%, 200 MB).",
        ]
    )


def act(http: httpx2.Client, number: int) -> list[int]:
    """What a client does, as statuses."""
    statuses = []
    for turn in range(ACTS):
        made = http.post(
            f"{API}/searches",
            json={"spec": {**SPEC, "name": f"client {number}"}},
            headers={"Idempotency-Key": f"{number}-{turn}"},
        )
        statuses.append(made.status_code)
        statuses.append(http.get(f"{API}/searches").status_code)
        if made.status_code == 201:
            own = made.json()["id"]
            statuses.append(http.get(f"{API}/searches/{own}/events").status_code)
            statuses.append(http.post(f"{API}/searches/{own}/cancel").status_code)
    return statuses


def _row(name: str, timed: Timed, wanted: str) -> list[str]:
    median, most = (f"{timed.quantile(share) * 1000:.1f} ms" for share in (0.5, 0.99))
    return [name, f"{len(timed.seconds)} x {timed.status}", median, most, format_bytes(timed.bytes), wanted]


def _outside(http: httpx2.Client, path: str, rounds: int = 5) -> Timed:
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        answer = http.get(path)
        seconds.append(time.perf_counter() - began)
    return Timed(tuple(sorted(seconds)), len(answer.content), answer.status_code)
