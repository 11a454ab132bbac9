"""Files that are there whole or not at all, so that several processes can share a cache without locks."""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from nas.errors import DiskFullError, StorageError

PROBE_BYTES = 2**20


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that becomes ``path`` when the block ends without an error.

    Two writers of one path must write equal content; the last one wins.

    Raises:
        DiskFullError: no space left, with the path.
        StorageError: any other refusal of the disk.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(f"{path}: no space left on the device; free some, or choose another cache") from error
        raise StorageError(f"{path}: must be writable, found: {error.strerror}") from error
    finally:
        with suppress(OSError):  # it has become the path, or was never made
            temporary.unlink()


def probe(folder: Path) -> None:
    """Makes sure that the folder takes a file of some size; raises what `atomic_file` raises."""
    path = folder / ".probe"
    with atomic_file(path) as file:
        file.write(bytes(PROBE_BYTES))
    path.unlink(missing_ok=True)
