"""A search that will suffer: the real commands, each in a session of its own, over a small corpus and a tiny space."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from benchmarks.chaos.processes import POLL_SECONDS, left_over, nothing_survives
from nas.adapters.sql.store import SqlStore, open_store
from nas.calibration import DeviceProfile
from nas.errors import NotFoundError, StorageError
from nas.measure.calibrate import profile_device
from nas.measure.fingerprint import fingerprint_here
from nas.records import SearchRecord
from services.device import precision_for
from services.profiles import keep

COMMAND = (sys.executable, "-m", "services.cli.main")
BACK_SECONDS = 120.0
"""That a search may take until it trains, after it was started or something of it was killed."""
END_SECONDS = 600.0
"""That a command may take to its end."""
REAPED_SECONDS = 20.0
"""That cleaning up after a command that was killed may take."""

SPACE = """\
space:
  knobs:
    depth: [1, 2]
    width: [16, 32, 48]
    head_size: [8]
    vocabulary: [256, 320]
    context: [32, 64]
    batch_tokens: [64, 128]
    mlp_ratio: [1, 2, 3]
"""
SPEC = """\
name: chaos
corpus: texts/*.txt
{space}device: {device}
budget:
  total: {total}
  final: {final}
  candidate: {{compute: {compute}, memory: {memory}}}
limits: {{params: {params}}}
minimize: [val_bpb, flops_per_byte]
method: {method}
"""
TOTAL, FINAL, COMPUTE = "{compute: 110GFLOP}", "15%", "10GFLOP"
METHOD = "{parallel: 2, seed: 0}"
WORDS = (
    "the of and a to in was her she it that had with not be for as he you his but at on is have him which this by "
    "could would from all very been what they were so no any there said who more if when mother sister evening "
    "morning letter walked silence garden carriage window answered quietly"
)


def spec(
    *,
    total: str = TOTAL,
    final: str = FINAL,
    compute: str = COMPUTE,
    method: str = METHOD,
    space: str = SPACE,
    device: str = "cpu",
    memory: str = "1GiB",
    params: str = "1M",
) -> str:
    own = {"compute": compute, "memory": memory, "params": params}
    return SPEC.format(total=total, final=final, method=method, space=space, device=device, **own)


def sentences(size: int, seed: int) -> str:
    """About ``size`` characters of sentences without sense."""
    rng = random.Random(seed)
    parts: list[str] = []
    while sum(map(len, parts)) < size:
        words = " ".join(rng.choices(WORDS.split(), k=rng.randint(4, 14)))
        parts.append(words.capitalize() + rng.choice([". ", "! ", "?\n", ".\n\n"]))
    return "".join(parts)


class Subject:
    """A search in a folder of its own.

    Args:
        folder: its path must be short, for Ray's sockets are below it.
        database: address; empty for SQLite in its home.
        device: that it trains on.
        threads: CPU threads of its runs, beside others and alone.
    """

    def __init__(
        self, folder: Path, text: str, database: str = "", device: str = "cpu", threads: Collection[int] = (1,)
    ) -> None:
        self.folder, self.home = folder, folder / "home"
        self.database = database or f"sqlite:///{self.home / 'nas.db'}"
        self.ray = ""  # address of a cluster; a local Ray without
        self.environment = {
            "NAS_HOME": str(self.home),
            "NAS_DATABASE": self.database,
            "OMP_NUM_THREADS": str(max(threads)),
            "TMPDIR": str(folder),  # so that what is left behind can be told
        }
        self.sessions: list[int] = []
        self.command: subprocess.Popen[bytes] | None = None
        self.killed_at = 0.0
        self._id = ""
        self._store: SqlStore | None = None
        self._device, self._threads = device, sorted(set(threads))
        self._log = folder / "log.txt"
        (folder / "spec.yaml").write_text(text)
        (folder / "texts").mkdir()
        for seed in range(6):
            (folder / "texts" / f"{seed}.txt").write_text(sentences(17_000, seed))

    # --- commands ---

    def run(self) -> None:
        self.home.mkdir(exist_ok=True)
        for threads in self._threads:  # making one takes seconds
            keep(self.store, known(self._device, threads))
        self.command = self.start("run", "spec.yaml", "--yes", *self._on())

    def resume(self) -> None:
        self.command = self.start("resume", self.id, *self._on())

    def _on(self) -> list[str]:
        return ["--ray", self.ray] if self.ray else []

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """A command in a session of its own; what it says goes to the log."""
        with self._log.open("ab") as log:
            log.write(f"\n$ nas {' '.join(arguments)}\n".encode())
            log.flush()
            process = subprocess.Popen(
                [*COMMAND, *arguments],
                cwd=self.folder,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.sessions.append(process.pid)
        return process

    def ask(self, *arguments: str) -> tuple[int, str]:
        """The exit code of a command beside the others, and what it says."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BACK_SECONDS,
        )
        return done.returncode, done.stdout + done.stderr

    def interrupt(self) -> None:
        """Ctrl-C: SIGINT to the command and what is in its process group."""
        os.killpg(self.session, signal.SIGINT)

    @property
    def session(self) -> int:
        """Of the last `run` or `resume`."""
        assert self.command is not None
        return self.command.pid

    @property
    def over(self) -> bool:
        """Whether the last `run` or `resume` has ended."""
        return self.command is None or self.command.poll() is not None

    def end(self, seconds: float = END_SECONDS) -> int | None:
        """The exit code of the last `run` or `resume`; ``None`` when it does not end."""
        assert self.command is not None
        with suppress(subprocess.TimeoutExpired):
            return self.command.wait(seconds)
        return None

    @property
    def said(self) -> str:
        """By all commands."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def left(self, seconds: float) -> list[str]:
        """Processes of its commands that are still alive after so many seconds."""
        return left_over(self.sessions, str(self.folder), seconds)

    @property
    def temporary_folders(self) -> list[str]:
        """Those of Ray that are still there."""
        return sorted(path.name for path in self.folder.glob("nas-ray-*"))

    # --- what the database says ---

    @property
    def id(self) -> str:
        """Empty while no search has begun."""
        found = re.search(r"^search +(\S+)$", self.said, re.MULTILINE)
        self._id = self._id or (found[1] if found else "")
        return self._id

    @property
    def store(self) -> SqlStore:
        self._store = self._store or open_store(self.database)
        return self._store

    @property
    def record(self) -> SearchRecord:
        return self.store.search(self.id)

    def training(self) -> bool:
        """Whether an attempt that began after the last kill has got somewhere."""
        with suppress(StorageError, NotFoundError):
            if self.id:
                attempts = self.store.attempts(self.id)
                return any(own.started_at > self.killed_at and own.last_step > 0 for own in attempts)
        return False

    def wait_for(self, condition: Callable[[], bool], seconds: float = BACK_SECONDS) -> bool:
        """Whether the condition came true while the command was at work."""
        limit = time.monotonic() + seconds
        while not condition():
            if self.over or time.monotonic() > limit:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def close(self) -> None:
        if self._store is not None:
            self._store.close()


@cache
def known(device: str, threads: int) -> DeviceProfile:
    """This machine's profile, made once."""
    return profile_device(device, fingerprint_here(device, threads, precision_for(device)), short=True)


@contextmanager
def subject(text: str, database: str = "", device: str = "cpu", threads: Collection[int] = (1,)) -> Iterator[Subject]:
    """A search that leaves nothing behind: no process, no file."""
    folder = Path(tempfile.mkdtemp(prefix="nc"))
    own = Subject(folder, text, database, device, threads)
    try:
        with nothing_survives(own.sessions):
            yield own
    finally:
        own.left(REAPED_SECONDS)  # removing files under the eyes of what cleans up after Ray would be taken for Ray's
        own.close()
        shutil.rmtree(folder, ignore_errors=True)


def tail(text: str, lines: int = 15) -> str:
    return "\n".join(text.splitlines()[-lines:])
