"""Corpora that come with the package, verified whenever they are loaded."""

import hashlib
import json
import lzma
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.data.documents import SPLITS, Corpus, Document
from nas.errors import CorpusError

BUILTIN: Mapping[str, Path] = {"austen": Path(__file__).parent / "austen"}


def builtin_bytes(name: str) -> int:
    """Of its text, by its manifest."""
    return sum(int(own["bytes"]) for own in json.loads(_read(BUILTIN[name] / "manifest.json"))["files"])


def load_builtin(name: str, folder: Path) -> Corpus:
    """The corpus in ``folder``: ``manifest.json`` and the xz files that it lists.

    Raises `CorpusError` when a file is missing, damaged, or not what the manifest says.
    """
    entries = json.loads(_read(folder / "manifest.json"))["files"]
    splits = {split: tuple(_document(folder, entry) for entry in entries if entry["role"] == split) for split in SPLITS}
    return Corpus(name, **splits)


def _document(folder: Path, entry: Mapping[str, Any]) -> Document:
    path = folder / f"{entry['file']}.xz"
    try:
        plain = lzma.decompress(_read(path))
    except lzma.LZMAError as error:
        raise CorpusError(f"{path}: must be xz data with sha256 {entry['sha256']} inside, found: {error}") from error
    found = hashlib.sha256(plain).hexdigest()
    if (len(plain), found) != (entry["bytes"], entry["sha256"]):
        expected = f"{entry['bytes']} bytes with sha256 {entry['sha256']}"
        raise CorpusError(f"{path}: text must be {expected}, found {len(plain)} bytes with sha256 {found}")
    return Document(entry["file"], plain.decode())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path}: must be readable, it is part of the package; found: {error.strerror}") from error
