"""Folders of texts that a server was given, each as one file in a depot, for machines that do not have them."""

import gzip
import os
import re
import tarfile
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from nas.data.depot import Depot
from nas.data.storage import atomic_file
from nas.errors import CorpusError, StorageError

BROUGHT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*-[0-9a-f]{12}")
"""The name of such a folder, which ends with a hash of what is in it."""
_COMPRESSION = 3  # fast: it is done while someone waits


def publish_folder(folder: Path, depot: Depot) -> None:
    """Writes a folder to the depot unless it is there. Errors: those of `Depot`."""
    name = _name(folder.name)
    if depot.exists(name):
        return
    with TemporaryDirectory() as place:
        packed = Path(place) / "folder"
        with (
            atomic_file(packed) as file,
            tarfile.open(mode="w:gz", fileobj=file, compresslevel=_COMPRESSION) as archive,
        ):
            for path in sorted(own for own in folder.rglob("*") if own.is_file()):
                archive.add(path, path.relative_to(folder).as_posix())
        depot.publish(packed, name)


def fetch_folders(patterns: Iterable[str], depot: Depot, parent: Path) -> None:
    """Brings the folders that paths or globs begin with, where they were published and ``parent`` lacks them. A folder
    is there whole or not at all.

    Raises `CorpusError` for one that is damaged. Other errors: those of `Depot`.
    """
    names = dict.fromkeys(next(iter(PurePosixPath(pattern).parts), "") for pattern in patterns)
    for name in names:
        if BROUGHT.fullmatch(name) and not (parent / name).exists():
            _fetch(name, depot, parent)


def _fetch(name: str, depot: Depot, parent: Path) -> None:
    parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".part-", dir=parent) as place:
        packed, unpacked = Path(place) / "packed", Path(place) / "unpacked"
        if not depot.fetch(_name(name), packed):
            return
        try:
            with gzip.open(packed) as file:
                with tarfile.open(mode="r|", fileobj=file) as archive:
                    archive.extractall(unpacked, filter="data")
                file.read()  # to the end, where its checksum is
        except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            advice = "delete it and bring the texts again"
            raise CorpusError(f"{depot}: the file {_name(name)} is damaged: {error}; {advice}") from error
        except OSError as error:
            raise StorageError(f"{parent}: must be writable, found: {error.strerror}") from error
        with suppress(OSError):  # another was quicker
            os.rename(unpacked, parent / name)


def _name(folder: str) -> str:
    return f"corpora/{folder}.tar.gz"
