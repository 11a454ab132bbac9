"""A corpus as one file in a depot, for machines that do not have its files."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nas.data.depot import Depot
from nas.data.documents import SPLITS, Corpus, Document
from nas.data.storage import atomic_file
from nas.errors import CorpusError

_FORMAT = "corpus-1"
_COMPRESSION = 3  # fast: it is done while someone waits for a search to start


def publish_corpus(corpus: Corpus, depot: Depot) -> str:
    """Writes the corpus to the depot unless it is there; returns its fingerprint, for `fetch_corpus`.

    Errors: those of `Depot`.
    """
    name = _name(corpus.fingerprint)
    if not depot.exists(name):
        with TemporaryDirectory() as folder:
            path = Path(folder) / "corpus"
            _write(corpus, path)
            depot.publish(path, name)
    return corpus.fingerprint


def fetch_corpus(fingerprint: str, depot: Depot, cache: Path) -> Corpus:
    """The corpus that was published under a fingerprint, with its names; a copy is kept under ``cache``.

    Raises:
        CorpusError: none of that fingerprint, or its file is damaged.

    Other errors: those of `Depot`.
    """
    name = _name(fingerprint)
    kept = _read(cache / name, fingerprint)
    if kept is not None:
        return kept
    if not depot.fetch(name, cache / name):
        raise CorpusError(f"{depot}: no corpus {fingerprint}; the machine that starts a search must publish its text")
    corpus = _read(cache / name, fingerprint)
    if corpus is None:
        advice = "delete it and let a machine that has the text publish it again"
        raise CorpusError(f"{depot}: the file {name} is damaged, it does not hold the text of its name; {advice}")
    return corpus


def _name(fingerprint: str) -> str:
    return f"corpora/{fingerprint}.jsonl.gz"


def _write(corpus: Corpus, path: Path) -> None:
    with atomic_file(path) as file, gzip.GzipFile("", "wb", _COMPRESSION, file, mtime=0) as lines:
        for line in _lines(corpus):
            text = json.dumps(line, ensure_ascii=False) + "\n"
            lines.write(text.encode(errors="surrogatepass"))  # names of files need not be Unicode


def _lines(corpus: Corpus) -> Iterator[dict[str, Any]]:
    yield {"format": _FORMAT, "name": corpus.name, "fingerprint": corpus.fingerprint}
    for split in SPLITS:
        for document in corpus.split(split):
            yield {"split": split, "name": document.name, "text": document.text}


def _read(path: Path, fingerprint: str) -> Corpus | None:
    """The corpus in a file; ``None`` when there is none that is whole and has this text."""
    documents: dict[str, list[Document]] = {split: [] for split in SPLITS}
    try:
        with gzip.open(path) as file:
            head = _parsed(file.readline())
            for line in map(_parsed, file):
                documents[line["split"]].append(Document(line["name"], line["text"]))
        corpus = Corpus(head["name"], **{split: tuple(found) for split, found in documents.items()})
        return corpus if (head["format"], corpus.fingerprint) == (_FORMAT, fingerprint) else None
    except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError, AttributeError, CorpusError):
        return None


def _parsed(line: bytes) -> Any:
    return json.loads(line.decode(errors="surrogatepass"))
