"""The command line as a user drives it: in this process where its output is what matters, else in one of its own."""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from nas.adapters.sql.store import open_store
from nas.calibration import Calibration, DecodeFit, DeviceProfile, MemoryFit, TimeFit
from nas.measure.fingerprint import fingerprint_here, processor
from nas.plan import Speed
from services.cli.main import main
from services.profiles import keep
from tests.conftest import english

SPEC = """\
name: tiny
corpus: texts/*.txt
space:
  knobs:
    depth: [1, 2]
    width: [16, 32]
    head_size: [8, 16]
    vocabulary: [256, 320]
    context: [32, 64]
    batch_tokens: [64, 128]
device: cpu
budget:
  total: {compute: 3GFLOP}
  final: 30%
  candidate: {compute: 200MFLOP, memory: 1GiB}
limits: {params: 1M}
minimize: [val_bpb, flops_per_byte]
method: {policy: default, parallel: 1, seed: 0}
"""
PROFILE = DeviceProfile(
    fingerprint_here("cpu", 1, "float32"),
    Speed(5e-11, 5e-10, 1e-5, error=0.2),
    Calibration(MemoryFit(100_000.0, 1.0, 0.02), TimeFit(5e-11, 5e-11, 1e-11, 1e-5, mean_error=0.1, error=0.2)),
    DecodeFit(3e-6, 1e-10, error=0.2),
    probes=10,
)
COMMAND = (sys.executable, "-m", "services.cli.main")


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Place:
    """A folder to work in, with texts and a spec, and a home below it."""

    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def write_spec(self, name: str = "tiny.yaml", **lines_by_field: str) -> Path:
        """The spec with the lines of some fields replaced."""
        lines = SPEC.splitlines()
        for field, line in lines_by_field.items():
            at = next(i for i, old in enumerate(lines) if old.strip().startswith(f"{field}:"))
            lines[at] = line
        path = self.folder / name
        path.write_text("\n".join(lines) + "\n")
        return path

    def run(self, *arguments: object, **environment: str) -> Done:
        """A command in this process."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            patch.chdir(self.folder)
            patch.setattr(sys, "argv", ["nas", *map(str, arguments)])
            for name, value in self.environment(environment).items():
                patch.setenv(name, value)
            code = 0
            try:
                main()
            except SystemExit as ended:
                code = int(ended.code or 0)
        return Done(code, out.getvalue(), err.getvalue())

    def start(self, *arguments: object, **options: Any) -> "subprocess.Popen[str]":
        """A command in a process group of its own."""
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        environment = {**os.environ, **self.environment(options.pop("environment", {}))}
        return subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            cwd=self.folder,
            env=environment,
            text=True,
            start_new_session=True,
            **{**streams, **options},
        )

    def finish(self, *arguments: object) -> Done:
        """A command in a process of its own, to its end."""
        with ending(self.start(*arguments)) as process:
            out, err = process.communicate(timeout=280)
            return Done(process.returncode, out, err)

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        common = {"NAS_HOME": str(self.home), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
        return {**common, "NAS_SERVER": "", "NAS_TOKEN": "", **more}


def make_place(folder: Path, size: int = 4_000, cache_of: Place | None = None) -> Place:
    """A place with texts of ``size`` characters and a spec; ``cache_of`` lends the tokenizers of the same texts."""
    place = Place(folder)
    (folder / "texts").mkdir(parents=True)
    for seed in range(6):
        (folder / "texts" / f"{seed}.txt").write_text(english(size, seed))
    place.write_spec()
    if cache_of is not None:
        shutil.copytree(cache_of.home / "cache", place.home / "cache")
    knows_this_machine(f"sqlite:///{place.home / 'nas.db'}")
    return place


def knows_this_machine(database: str, *labels: str) -> None:
    """Puts a profile of this machine, by its own name or others, into a database: making one takes seconds."""
    with contextlib.closing(open_store(database)) as store:
        for label in labels or [processor()]:
            fingerprint = fingerprint_here("cpu", 1, "float32", label)
            keep(store, replace(PROFILE, fingerprint=fingerprint))


def said_until(process: "subprocess.Popen[str]", *patterns: str) -> list[str]:
    """Lines of a process's stderr until each pattern was found in one of them."""
    assert process.stderr is not None
    lines: list[str] = []
    missing = set(patterns)
    for line in process.stderr:
        lines.append(line)
        missing -= {pattern for pattern in missing if re.search(pattern, line)}
        if not missing:
            return lines
    raise AssertionError(f"no {missing} in {''.join(lines)}")


def interrupt(process: "subprocess.Popen[str]") -> None:
    """Ctrl-C: SIGINT to the whole group in the foreground."""
    os.killpg(process.pid, signal.SIGINT)


def group(leader: int) -> list[str]:
    """Processes of a session that are still alive, as their command lines."""
    alive = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, _, _, found = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(found) == leader and state != "Z":
                    alive.append((entry / "cmdline").read_text().replace("\0", " "))
    return alive


def gone(leader: int, seconds: float = 60) -> list[str]:
    """As `group`, after waiting for it to be empty."""
    limit = time.monotonic() + seconds
    while (alive := group(leader)) and time.monotonic() < limit:
        time.sleep(0.05)
    return alive


@contextlib.contextmanager
def ending(process: "subprocess.Popen[str]") -> Iterator["subprocess.Popen[str]"]:
    """Nothing of the group survives the block; what it has started in others ends by itself."""
    try:
        with process:
            try:
                yield process
            except BaseException:
                _kill(process)  # it would be waited for
                raise
    finally:
        _kill(process)


def _kill(process: "subprocess.Popen[str]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
