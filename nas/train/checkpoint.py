"""Checkpoints that are there whole or not at all, and hold no code."""

from pathlib import Path
from typing import Any

import torch

from nas.data.storage import atomic_file
from nas.errors import StorageError

FORMAT = 1


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
