"""From submit to the first step: a server as a user starts it, and small searches, one after the other."""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.chaos.processes import alive
from benchmarks.machine import table
from benchmarks.service.serving import serving
from nas.client.client import Client
from nas.records import SearchState

POLL_SECONDS = 0.05
START_SECONDS, END_SECONDS = 180.0, 1800.0
"""That a driver has to be there, and a search to be over."""
SPARE = "ray::DriverActor"
"""Title of the process of an actor that has been made and does nothing: the spare driver, and one that has ended."""
HEAD = "## From submit to the first step"
ABOUT = """\
A server as a user starts it (`nas serve`: SQLite, a Ray of its own). The device's profile and the tokenizers are there:
a first search has made them, which is not measured. At each submission the server's spare driver is ready. Times are
from the call of `submit` until a client that asks every 50 ms has heard of it; the first point of a curve comes after
some steps of training."""


@dataclass(frozen=True, slots=True)
class Trial:
    """``pause``: seconds between the end of a search and the next."""

    total: str = "200GFLOP"
    candidate: str = "20GFLOP"
    submissions: int = 3
    pause: float = 10.0

    def spec(self, seed: int) -> dict[str, Any]:
        budget = {"total": {"compute": self.total}, "candidate": {"compute": self.candidate}}
        return {
            **{"name": "first-step", "corpus": "austen", "space": "llama-tiny"},
            **{"budget": budget, "method": {"seed": seed}},
        }


QUICK = Trial("60GFLOP", "4GFLOP", 1, 1.0)


@dataclass(frozen=True, slots=True)
class Begun:
    """Seconds from submit until it was heard that the search runs, of the first point of a curve, and of its end;
    ``trained`` of these until that point."""

    running: float
    point: float
    trained: float
    over: float


def measured(trial: Trial) -> str:
    """The section about it, of a server in a home of its own."""
    with TemporaryDirectory(prefix="nas-service-") as folder:
        return write_up(trial, first_steps(Path(folder), f"sqlite:///{folder}/nas.db", trial))


def first_steps(folder: Path, database: str, trial: Trial) -> list[Begun]:
    """Of a search that makes what is missing, then of those to be measured. The server's home is the folder."""
    with serving(folder, database) as (server, pid), Client(server) as client:
        drivers, found = Drivers(pid), []
        for seed in range(1 + trial.submissions):
            time.sleep(trial.pause if seed else 0.0)
            drivers.wait()
            found.append(submitted(client, trial.spec(seed)))
    return found


def submitted(client: Client, spec: Mapping[str, Any]) -> Begun:
    """A search, followed until it is over; raises `RuntimeError` for one that does not complete."""
    began = time.perf_counter()
    search = client.submit(spec).id
    running = None
    while not (points := client.curves(search)):
        kinds = {event.kind for event in client.events(search)}
        if running is None and "running" in kinds:
            running = time.perf_counter() - began
        if kinds & {"failed", "cancelled", "paused"} or time.perf_counter() - began > END_SECONDS:
            break
        time.sleep(POLL_SECONDS)
    point = time.perf_counter() - began
    for _ in client.follow(search):
        pass
    over, done = time.perf_counter() - began, client.search(search)
    if done.state is not SearchState.COMPLETED or not points:
        raise RuntimeError(f"search {search} is {done.state}: {done.reason}")
    return Begun(point if running is None else running, point, points[0].seconds, over)


def write_up(trial: Trial, found: Sequence[Begun]) -> str:
    """The table; the first of the searches was to make what was missing."""
    before, *measured = found
    rows = [[str(place), *_row(own)] for place, own in enumerate(measured, 1)]
    columns = zip(*((own.running, own.point, own.trained, own.over) for own in measured), strict=True)
    middle = ["median", *_row(Begun(*map(statistics.median, columns)))]
    head = ["submission", "it runs", "first point", "trained by then", "over"]
    return "\n\n".join(
        [
            HEAD,
            ABOUT,
            f"Corpus austen, space llama-tiny, {trial.total} in all, {trial.candidate} a candidate; the first search "
            f"was over after {before.over:.0f} s, {trial.pause:.0f} s of rest before each of the others.",
            table(head, [*rows, middle]),
            "Asked for: a first point within 5 s.",
        ]
    )


def _row(own: Begun) -> list[str]:
    return [f"{own.running:.2f} s", f"{own.point:.2f} s", f"{own.trained:.2f} s", f"{own.over:.1f} s"]


class Drivers:
    """Of a server, by the titles of their processes."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._taken: set[int] = set()

    def wait(self) -> None:
        """Until there is a spare one, which is then no more taken for one: a search will have it."""
        limit = time.monotonic() + START_SECONDS
        while not (spare := self._idle() - self._taken):
            if time.monotonic() > limit:
                raise TimeoutError(f"no spare driver within {START_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)
        self._taken |= spare

    def _idle(self) -> set[int]:
        return {process for process, command in alive(self._session).items() if command.split()[:1] == [SPARE]}
