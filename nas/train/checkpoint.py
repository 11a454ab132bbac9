"""Checkpoints that are there whole or not at all, and hold no code."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nas.data.depot import Depot
from nas.data.storage import atomic_file
from nas.errors import StorageError

FORMAT = 2
CHECKPOINT = "checkpoint.pt"
"""The file's name in a candidate's folder."""


@dataclass(frozen=True)
class Checkpoint:
    """Where a run's checkpoint is kept: a file here, and with a depot a copy that other machines go on from.

    Attributes:
        name: of the copy in the depot.
    """

    path: Path
    depot: Depot | None = None
    name: str = ""

    def save(self, state: dict[str, Any]) -> None:
        """See `save_checkpoint`."""
        save_checkpoint(self.path, state)
        if self.depot is not None:
            self.depot.publish(self.path, self.name)

    def load(self) -> dict[str, Any] | None:
        """See `load_checkpoint`. The depot knows best: another machine may have got further."""
        if self.depot is not None and not self.depot.fetch(self.name, self.path):
            self.path.unlink(missing_ok=True)
        return load_checkpoint(self.path)

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)
        if self.depot is not None:
            self.depot.delete(self.name)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes ``state`` (tensors and plain values) by temporary file, fsync and rename.

    Raises `DiskFullError` or `StorageError` with the path; an older checkpoint of that name then still stands.
    """
    with atomic_file(path) as file:
        try:
            torch.save({"format": FORMAT, **state}, file)
        except RuntimeError as error:  # torch trips over the half-written file and hides why it is one
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The state saved at ``path``, ``None`` if there is none.

    Raises:
        StorageError: a file that cannot be read (truncated, damaged, of a format this code does not know).
    """
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what torch raises depends on where the damage lies
        raise StorageError(f"{path}: must be a whole checkpoint, found: {type(error).__name__}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise StorageError(f"{path}: must be a checkpoint of format {FORMAT}")
    return state
