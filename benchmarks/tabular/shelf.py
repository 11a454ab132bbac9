"""Where runs are kept while a table is made: a file of JSON lines that outlives any way in which the making may end."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.tabular.grid import Run
from benchmarks.tabular.training import Trained
from nas.errors import StateError


class Shelf:
    """Runs by what they are of. One process writes at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._runs = {Run(own.knobs, own.seed).key: own for own in _read(path)}

    def __len__(self) -> int:
        return len(self._runs)

    def __contains__(self, run: Run) -> bool:
        return run.key in self._runs

    def __iter__(self) -> Iterator[Trained]:
        return iter(self._runs.values())

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Within it runs can be put; raises `StateError` when another process does that."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StateError(f"{self.path} is written by another process") from None
            _drop_torn_line(self.path)
            yield

    def put(self, run: Trained) -> None:
        """Kept when this returns."""
        with self.path.open("ab") as file:
            file.write(json.dumps(run.to_dict()).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._runs[Run(run.knobs, run.seed).key] = run


def _read(path: Path) -> list[Trained]:
    if not path.is_file():
        return []
    return [_trained(line) for line in path.read_bytes().split(b"\n")[:-1]]  # the last has no end: nothing, or torn


def _trained(line: bytes) -> Trained:
    raw: dict[str, Any] = json.loads(line)
    for name in ("train", "validation"):
        raw[name] = [(progress, loss) for progress, loss in raw[name]]
    return Trained(**raw)


def _drop_torn_line(path: Path) -> None:
    whole = path.read_bytes()
    os.truncate(path, whole.rfind(b"\n") + 1)
