"""Token files: a split as little-endian uint16 on disk, mapped into memory and shared by all who train on it."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nas.data.depot import Depot, fetch_vouched, publish_vouched
from nas.data.documents import Corpus
from nas.data.storage import atomic_file
from nas.data.tokenizer import SEPARATOR, Tokenizer
from nas.errors import CorpusError

_FORMAT = "shard-1"  # part of the cache key
_TOKEN = np.dtype("<u2")


@dataclass(frozen=True, eq=False)
class TokenShard:
    """The tokens of a split, each document preceded by the separator.

    Attributes:
        tokens: read-only map of the file; shape (tokens,).
        documents: number of documents, which is the number of separators.
        text_bytes: UTF-8 bytes of the text.
        sha256: of the file.
    """

    tokens: "np.memmap[Any, np.dtype[np.uint16]]"
    documents: int
    text_bytes: int
    sha256: str

    @property
    def bytes_per_token(self) -> float:
        """Mean length of a token in bytes, separators left out."""
        return self.text_bytes / (len(self.tokens) - self.documents)


def open_shard(corpus: Corpus, split: str, tokenizer: Tokenizer, cache: Path, depot: Depot | None = None) -> TokenShard:
    """The shard of a split under ``cache``, written first if it is missing or its size is wrong.

    With a depot, what the cache lacks is fetched from there, or published there once it is written.
    Safe to call from several processes at once: files appear whole, and writers of one shard write the same bytes.

    Raises:
        CorpusError: a split without text.
        DiskFullError: no space left, with the path.

    Other errors: those of `Depot`.
    """
    key = f"{_FORMAT} {corpus.split_fingerprint(split)} {hashlib.sha256(tokenizer.definition.encode()).hexdigest()}"
    name = f"shards/{hashlib.sha256(key.encode()).hexdigest()[:32]}.bin"
    path = cache / name
    shard = _mapped(path)
    if shard is None and depot is not None:
        shard = _fetch(depot, name, path, corpus, split, tokenizer)
    if shard is None:
        _build(path, corpus, split, tokenizer)
        shard = _mapped(path)
        if shard is not None and depot is not None:
            publish_vouched(depot, path, name)
    if shard is None:
        raise CorpusError(f"{path}: was written but cannot be read back; is another program changing the cache?")
    return shard


def _fetch(depot: Depot, name: str, path: Path, corpus: Corpus, split: str, tokenizer: Tokenizer) -> TokenShard | None:
    """The shard that another machine published, now under ``path``; ``None`` when it is missing or damaged."""
    digest = fetch_vouched(depot, name, path)
    if digest is None:
        return None
    _vouch(path, corpus, split, tokenizer, path.stat().st_size // _TOKEN.itemsize, digest)
    return _mapped(path)


def _build(path: Path, corpus: Corpus, split: str, tokenizer: Tokenizer) -> None:
    """Writes the tokens, then the sidecar that vouches for them."""
    if not corpus.split_bytes(split):
        raise CorpusError(f"corpus {corpus.name}: split {split!r} must hold text, found 0 bytes")
    digest = hashlib.sha256()
    count = 0
    with atomic_file(path) as file:
        for document in corpus.split(split):
            tokens = np.concatenate([np.array([SEPARATOR], _TOKEN), tokenizer.encode(document.text)]).astype(_TOKEN)
            file.write(tokens.tobytes())
            digest.update(tokens.tobytes())
            count += len(tokens)
    _vouch(path, corpus, split, tokenizer, count, digest.hexdigest())


def _vouch(path: Path, corpus: Corpus, split: str, tokenizer: Tokenizer, tokens: int, sha256: str) -> None:
    """Writes the sidecar of a token file that is there."""
    sidecar = {
        "split": split,
        "vocabulary": tokenizer.vocabulary,
        "tokens": tokens,
        "documents": len(corpus.split(split)),
        "text_bytes": corpus.split_bytes(split),
        "sha256": sha256,
    }
    with atomic_file(path.with_suffix(".json")) as file:
        file.write(json.dumps(sidecar, indent=2).encode())


def _mapped(path: Path) -> TokenShard | None:
    """The shard, or ``None`` when a file is missing, unreadable or of another size than the sidecar says."""
    try:
        sidecar = json.loads(path.with_suffix(".json").read_bytes())
        if path.stat().st_size != sidecar["tokens"] * _TOKEN.itemsize:
            return None
        tokens: np.memmap[Any, np.dtype[np.uint16]] = np.memmap(path, dtype=_TOKEN, mode="r")
        return TokenShard(tokens, sidecar["documents"], sidecar["text_bytes"], sidecar["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
