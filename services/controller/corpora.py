"""Texts that a server was given: folders by content, so that the same texts are there once.

corpora/NAME-HASH/train/FILE, .../validation/FILE, .../test/FILE
"""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nas.client.models import CorpusInfo
from nas.data.builtin import BUILTIN, builtin_bytes
from nas.data.depot import Depot
from nas.data.documents import SPLITS
from nas.data.parcels import publish_folder
from nas.errors import SpecError

CHUNK = 2**20
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")


@dataclass(frozen=True)
class Text:
    """A file that was brought, of a split."""

    split: str
    name: str
    file: BinaryIO


def listed(folder: Path) -> list[CorpusInfo]:
    """The corpora of the package and those that were brought."""
    built_in = [CorpusInfo(name=name, reference=name, bytes=builtin_bytes(name)) for name in BUILTIN]
    brought = sorted(own for own in folder.glob("*-*") if own.is_dir() and not own.name.startswith("."))
    return [*built_in, *(info(own) for own in brought)]


def info(folder: Path) -> CorpusInfo:
    """Of a folder; ``reference`` is relative to its parent, where specs of a server look."""
    splits = [split for split in SPLITS if (folder / split).is_dir()]
    files = [own for split in splits for own in (folder / split).iterdir()]
    return CorpusInfo(
        name=folder.name.rpartition("-")[0],
        reference={split: f"{folder.name}/{split}/*" for split in splits},
        bytes=sum(own.stat().st_size for own in files),
        files=len(files),
    )


def bring(folder: Path, name: str, texts: Sequence[Text], depot: Depot | None = None) -> CorpusInfo:
    """Keeps texts, also in the depot that machines share, where there is one. They become visible all at once; the same
    again change nothing.

    Raises `SpecError` for names that are no names, splits that are none, no training text, text that is not UTF-8.
    """
    _check(name, texts)
    folder.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=folder))
    try:
        digest = hashlib.sha256()
        for number, text in enumerate(sorted(texts, key=lambda own: (own.split, own.name))):
            target = part / text.split / f"{number:04d}-{text.name}"
            target.parent.mkdir(exist_ok=True)
            digest.update(f"{text.split}/{text.name}\0".encode())
            _write(target, text, digest.update)
        found = folder / f"{name}-{digest.hexdigest()[:12]}"
        with suppress(OSError):  # it is there
            os.rename(part, found)
        if depot is not None:
            publish_folder(found, depot)
        return info(found)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _check(name: str, texts: Iterable[Text]) -> None:
    if not NAME.fullmatch(name):
        raise SpecError("name", "must be letters, digits, dots, dashes and underscores, at most 60", name)
    found = list(texts)
    for own in found:
        if own.split not in SPLITS:
            raise SpecError("files", f"must be of {', '.join(SPLITS)}", own.split)
        if not NAME.fullmatch(own.name):
            raise SpecError(f"files.{own.split}", "must have plain names of files", own.name)
    if not any(own.split == "train" for own in found):
        raise SpecError("files.train", "is required: at least one file")


def _write(target: Path, text: Text, digest: Callable[[bytes], None]) -> None:
    with target.open("wb") as file:
        for chunk in _chunks(text.file):
            digest(chunk)
            file.write(chunk)
    try:
        target.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise SpecError(f"files.{text.split}", "must be UTF-8", text.name) from error


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk
