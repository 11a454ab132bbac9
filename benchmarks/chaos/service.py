"""A server with several searches, of which everything is killed: controller, driver, worker, Ray's head, database."""

import os
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from ruamel.yaml import YAML

from benchmarks.chaos.databases import DATABASES, POSTGRES, Postgres
from benchmarks.chaos.processes import kill, kill_session, left_over, named
from benchmarks.chaos.subject import COMMAND, known, sentences, spec
from benchmarks.chaos.verify import read, violations
from benchmarks.machine import table
from nas.adapters.sql.store import open_store
from nas.client.client import Client
from nas.errors import NasError
from nas.records import SearchState
from services.profiles import keep

SEARCHES, RUNNING = 3, 2
TOTAL, COMPUTE = "{compute: 60GFLOP}", "8GFLOP"
SPREAD_SECONDS = 12.0
"""Within which the next thing is killed."""
START_SECONDS, END_SECONDS, GONE_SECONDS = 60.0, 900.0, 30.0
OVER = (SearchState.COMPLETED, SearchState.FAILED, SearchState.CANCELLED)
OUTAGE_SECONDS = 3.0
"""That the database is away for."""
HTTP = "http://127.0.0.1"


@dataclass(frozen=True)
class Storm:
    """What became of some searches of a server. ``killed`` counts by what."""

    database: str
    killed: Counter[str]
    searches: int
    seconds: float
    violations: Sequence[str]


class Server:
    """`nas serve` in a session of its own, started again whenever it is not there."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder, self.home = folder, folder / "home"
        self.database = database or f"sqlite:///{self.home / 'nas.db'}"
        self.home.mkdir(parents=True)
        with socket.socket() as own:
            own.bind(("127.0.0.1", 0))
            self.port = int(own.getsockname()[1])
        self.sessions: list[int] = []
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "log.txt"

    @property
    def url(self) -> str:
        return f"{HTTP}:{self.port}"

    def start(self) -> None:
        environment = {
            **os.environ,
            **{"NAS_HOME": str(self.home), "NAS_DATABASE": self.database, "NAS_SERVER": "", "OMP_NUM_THREADS": "1"},
            "TMPDIR": str(self.folder),
        }
        command = [*COMMAND, "serve", "--port", str(self.port), "--running", str(RUNNING)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.sessions.append(self.process.pid)

    def ensure(self) -> None:
        """It answers, after it was started again if it had to be."""
        limit = time.monotonic() + START_SECONDS
        while time.monotonic() < limit:
            if self.process is None or self.process.poll() is not None:
                if self.process is not None:
                    kill_session(self.process.pid)
                self.start()
            with suppress(NasError), Client(self.url, retry_seconds=0) as client:
                client.version()
                return
            time.sleep(0.2)
        raise TimeoutError(f"no server within {START_SECONDS:.0f} s:\n{self.log.read_text()[-2000:]}")

    @property
    def session(self) -> int:
        assert self.process is not None
        return self.process.pid


Kill = Callable[[Server, Postgres, random.Random], bool]
"""Kills something; whether it was there."""


def kill_controller(own: Server, database: Postgres, rng: random.Random) -> bool:
    return kill(own.session)


def _part(part: str) -> Kill:
    def kill_part(own: Server, database: Postgres, rng: random.Random) -> bool:
        victims = sorted(named(own.session, part))
        return bool(victims) and kill(rng.choice(victims))

    return kill_part


def kill_database(own: Server, database: Postgres, rng: random.Random) -> bool:
    if own.database.startswith("sqlite"):
        return False
    database.kill()
    time.sleep(OUTAGE_SECONDS)
    database.start()
    return True


KINDS: dict[str, Kill] = {
    "controller": kill_controller,
    "driver": _part("ray::DriverActor.drive"),
    "worker": _part("Trainable"),
    "Ray's head": _part("gcs_server"),
    "database": kill_database,
}


def storm(database: str, server: Postgres, kills: int, rng: random.Random) -> Storm:
    """Submits searches and kills so many things until they have ended."""
    began, killed = time.monotonic(), Counter[str]()
    with serving(server.new_schema() if database == POSTGRES else "") as own:
        ids = submit(own)
        while sum(killed.values()) < kills and not over(own, ids):
            time.sleep(rng.uniform(0.0, SPREAD_SECONDS))
            kind = rng.choice([name for name in KINDS if name != "database" or database == POSTGRES])
            if KINDS[kind](own, server, rng):
                killed[kind] += 1
            own.ensure()
        found = [f"{database}: {line}" for line in conclude(own, ids)]
    done = Storm(database, killed, len(ids), time.monotonic() - began, found)
    head = f"{database}: {dict(killed)} killed, {len(ids)} searches, {len(found)} violations in {done.seconds:.0f} s"
    print(head, *found, sep="\n", file=sys.stderr, flush=True)
    return done


@contextmanager
def serving(database: str) -> Iterator[Server]:
    """A server that leaves nothing behind."""
    own = Server(Path(mkdtemp(prefix="ns")), database)
    store = open_store(own.database)
    keep(store, known("cpu", 1))
    store.close()
    try:
        own.ensure()
        yield own
    finally:
        for session in own.sessions:
            kill_session(session)


def submit(own: Server) -> list[str]:
    """Searches over texts that the server is brought."""
    texts = own.folder / "texts"
    texts.mkdir()
    for seed in range(6):
        (texts / f"{seed}.txt").write_text(sentences(17_000, seed))
    raw = YAML(typ="safe").load(spec(total=TOTAL, compute=COMPUTE, method="{parallel: 1, seed: 0}"))
    with Client(own.url) as client:
        corpus = client.upload("chaos", {"train": sorted(texts.glob("*.txt"))})
        raw |= {"corpus": corpus.reference}
        specs = [{**raw, "name": f"storm {seed}", "method": {"seed": seed}} for seed in range(SEARCHES)]
        return [client.submit(own, agreed=True).id for own in specs]


def over(own: Server, ids: Sequence[str]) -> bool:
    with suppress(NasError), Client(own.url) as client:
        return all(client.search(search).state in OVER for search in ids)
    return False


def conclude(own: Server, ids: Sequence[str]) -> list[str]:
    """Waits until all searches are over, ends the server, and looks at what is left."""
    limit = time.monotonic() + END_SECONDS
    while not over(own, ids) and time.monotonic() < limit:
        own.ensure()
        time.sleep(1.0)
    assert own.process is not None
    own.process.terminate()
    found = []
    try:
        if code := own.process.wait(60):
            found.append(f"the server ended with {code}")
    except subprocess.TimeoutExpired:
        found.append("the server does not end")
    if left := left_over(own.sessions, str(own.folder), GONE_SECONDS):
        found.append(f"left behind when all was over: {left}")
    store = open_store(own.database)
    for search in ids:
        found += [f"{search}: {line}" for line in violations(read(store, search))]
    store.close()
    if found:
        found[-1] += f"\n--- what the server said last:\n{own.log.read_text(errors='replace')[-4000:]}"
    return found


def storms(server: Postgres, kills: int, rng: random.Random, each: int = 10) -> Iterator[Storm]:
    """So many kills, on both databases in turns; a storm has at most ``each``, since searches end."""
    place = 0
    while kills > 0:
        done = storm(DATABASES[place % 2], server, min(kills, each), rng)
        yield done
        place, kills = place + 1, kills - max(1, sum(done.killed.values()))


def write_up(results: Sequence[Storm]) -> str:
    rows = []
    for database in DATABASES:
        those = [own for own in results if own.database == database]
        killed = sum((own.killed for own in those), Counter[str]())
        rows.append(
            [
                database,
                *(str(killed[kind]) if kind != "database" or database == POSTGRES else "-" for kind in KINDS),
                str(sum(own.searches for own in those)),
                str(sum(len(own.violations) for own in those)),
            ]
        )
    return table(["database", *KINDS, "searches", "violations"], rows)
