"""Nodes of a Ray cluster on this machine, each a session of its own, so that one can die as by a power cut."""

import os
import random
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.chaos.databases import POSTGRES, Postgres
from benchmarks.chaos.kills import KILLS_A_SEARCH, SPREAD_SECONDS, Ordeal, announced, conclude
from benchmarks.chaos.processes import POLL_SECONDS, alive, kill_session, nothing_survives
from benchmarks.chaos.subject import Subject, spec, subject

START = (sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats")
START_SECONDS = 60.0
STARTED = "Ray runtime started"
END_SECONDS = 10.0
"""After which a search that has ended has nothing left on the cluster."""
NODES = 2
STORE_BYTES = 80 * 2**20


class Cluster:
    """A head that runs nothing and nodes with one core each."""

    def __init__(self, folder: Path, sessions: list[int]) -> None:
        self._folder, self._sessions = folder, sessions
        (folder / "token").write_text(secrets.token_hex(16))
        self._said = folder / "ray.txt"
        head = self._start("--head", "--port=0", "--num-cpus=0", f"--temp-dir={folder}", "--include-dashboard=false")
        self.head = head.pid
        self.address = self._said_before(r"--address='([^']+)'")
        self.nodes: list[int] = []
        for _ in range(NODES):
            self.add()

    @property
    def access(self) -> dict[str, str]:
        """What the environment of those who use it must say."""
        return {"RAY_AUTH_TOKEN_PATH": f"{self._folder / 'token'}"}

    def add(self) -> None:
        """A node, when it has joined."""
        started = self._said.read_text().count(STARTED)
        self.nodes.append(self._start(f"--address={self.address}", "--num-cpus=1").pid)
        self._said_before(f"(?:{STARTED}.*?){{{started + 1}}}()")

    def kill_one(self, rng: random.Random) -> None:
        """A node with all that runs on it."""
        node = rng.choice(self.nodes)
        self.nodes.remove(node)
        kill_session(node)

    def at_work(self, seconds: float) -> list[str]:
        """Processes of searches on its nodes that are still alive after so many seconds."""
        limit = time.monotonic() + seconds
        while True:
            found = [name for session in self._sessions for name in alive(session).values() if is_of_search(name)]
            if not found or time.monotonic() > limit:
                return found
            time.sleep(POLL_SECONDS)

    def _start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        environment = {
            **os.environ,
            **self.access,
            "RAY_AUTH_MODE": "token",
            "RAY_USAGE_STATS_ENABLED": "0",
            "TMPDIR": f"{self._folder}",
            "OMP_NUM_THREADS": "1",
        }
        with self._said.open("ab") as log:
            process = subprocess.Popen(
                [*START, f"--object-store-memory={STORE_BYTES}", *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._sessions.append(process.pid)
        return process

    def _said_before(self, pattern: str) -> str:
        """What Ray says, waiting until it does."""
        limit = time.monotonic() + START_SECONDS
        while time.monotonic() < limit:
            if found := re.search(pattern, self._said.read_text(), re.DOTALL):
                return found[1]
            time.sleep(0.2)
        raise RuntimeError(f"Ray did not start: {self._said.read_text()}")


def is_of_search(command: str) -> bool:
    return "Trainable" in command or "DriverActor" in command


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A cluster that leaves nothing behind; its folder is not that of a search, and as short."""
    folder, sessions = Path(tempfile.mkdtemp(prefix="nr")), list[int]()
    try:
        with nothing_survives(sessions):
            yield Cluster(folder, sessions)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def ordeals(server: Postgres, kills: int, rng: random.Random) -> Iterator[Ordeal]:
    """So many kills of nodes."""
    while kills > 0:
        done = ordeal(server, min(kills, KILLS_A_SEARCH), rng)
        yield done
        kills -= max(1, done.kills)


def ordeal(server: Postgres, kills: int, rng: random.Random) -> Ordeal:
    with subject(spec(), server.new_schema()) as own, cluster() as nodes:
        own.ray = nodes.address
        own.environment |= {**nodes.access, "NAS_STORAGE": f"file://{own.folder / 'shared'}"}
        killed, back = suffer(own, nodes, kills, rng)
        found, _ = conclude(own)
        if left := nodes.at_work(END_SECONDS):
            found.append(f"left on the cluster when all was over: {left}")
        told = [f"node, search {own.id}: {line}" for line in found]
        if told:
            told[-1] += f"\n--- all that was said:\n{own.said}"
    return announced(Ordeal(POSTGRES, "node", killed, back, told))


def suffer(own: Subject, nodes: Cluster, kills: int, rng: random.Random) -> tuple[int, Sequence[float]]:
    """Kills nodes under a search, each replaced by a new one: how many, and the seconds until it trained again."""
    own.run()
    back: list[float] = []
    for killed in range(kills):
        if not own.wait_for(own.training):
            return killed, back
        if killed:
            back.append(time.time() - own.killed_at)
        moment = time.monotonic() + rng.uniform(0.0, SPREAD_SECONDS)
        if own.wait_for(lambda moment=moment: time.monotonic() >= moment):  # type: ignore[misc]
            own.killed_at = time.time()
            nodes.kill_one(rng)
            nodes.add()
        elif own.over:
            return killed, back
    if own.wait_for(own.training):
        back.append(time.time() - own.killed_at)
    return kills, back
