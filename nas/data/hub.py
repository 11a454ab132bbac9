"""Text from Hugging Face `datasets`: from the hub, or from local files in the same format by the same path."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.data.carving import carve
from nas.data.documents import SPLITS, Corpus, Document
from nas.data.fields import check_keys, optional_text, text
from nas.data.storage import atomic_file
from nas.errors import CorpusError, MissingDependencyError, SpecError
from nas.units import format_bytes, parse_bytes

MEMORY_BYTES = 2 * 10**9  # a corpus is held in memory; more than this has to be asked for
_FIELDS = (
    "huggingface",
    "text_field",
    "config",
    "revision",
    "train_split",
    "validation_split",
    "test_split",
    "max_bytes",
    "data_files",
)
_FORMATS = {".parquet": "parquet", ".jsonl": "json", ".json": "json"}


@dataclass(frozen=True)
class HubReference:
    """A data set. ``splits`` maps our splits to its own; those that it lacks are carved from its training split.

    Attributes:
        max_bytes: UTF-8 bytes to read of each split; ``None`` for all.
        data_files: local files by the data set's own split names; empty for the hub.
    """

    dataset: str
    text_field: str
    config: str | None
    revision: str | None
    splits: Mapping[str, str]
    max_bytes: int | None
    data_files: Mapping[str, Path]

    @property
    def name(self) -> str:
        """The data set and its configuration."""
        return f"{self.dataset}:{self.config}" if self.config else self.dataset


def hub_reference(reference: Mapping[str, Any], base: Path) -> HubReference:
    """The reference with its rules checked; local paths are relative to ``base``. Raises `SpecError`."""
    check_keys(reference, _FIELDS)
    max_bytes = reference.get("max_bytes")
    files = _data_files(reference.get("data_files"), base)
    splits = {"train": text(reference, "train_split", "train")}
    for name in ("validation", "test"):
        own = optional_text(reference, f"{name}_split", name if name in files else None)
        if own is not None:
            splits[name] = own
    _check_splits(splits, files)
    return HubReference(
        dataset=text(reference, "huggingface"),
        text_field=text(reference, "text_field", "text"),
        config=optional_text(reference, "config"),
        revision=optional_text(reference, "revision"),
        splits=splits,
        max_bytes=None if max_bytes is None else parse_bytes(max_bytes, "corpus.max_bytes"),
        data_files=files,
    )


def load_hub(reference: HubReference, cache: Path | None) -> Corpus:
    """The corpus; what the hub sent is kept under ``cache``, so that a run is repeatable and later loads are offline.

    Raises `CorpusError` when it cannot be read, `MissingDependencyError` when `datasets` is not installed.
    """
    if cache is None or reference.data_files:
        return _read(reference)
    key = hashlib.sha256(repr(reference).encode()).hexdigest()[:32]
    path = cache / "corpora" / f"{key}.jsonl"
    corpus = _cached(path, reference.name)
    if corpus is None:
        corpus = _read(reference)
        _keep(path, corpus)
    return corpus


def _data_files(value: object, base: Path) -> dict[str, Path]:
    if value is None:
        return {}
    rule = "must map splits to .parquet, .jsonl or .json files"
    if not isinstance(value, Mapping) or not value:
        raise SpecError("corpus.data_files", rule, value)
    files = {}
    for split, name in value.items():
        if not isinstance(name, str) or Path(name).suffix not in _FORMATS:
            raise SpecError(f"corpus.data_files.{split}", rule, name)
        if not (base / name).is_file():
            raise CorpusError(f"corpus.data_files.{split}: must be an existing file, found {name!r}")
        files[str(split)] = base / name
    return files


def _check_splits(splits: Mapping[str, str], files: Mapping[str, Path]) -> None:
    if len(set(splits.values())) < len(splits):
        raise SpecError("corpus.validation_split", "must differ from the other splits", dict(splits))
    for name, own in splits.items():
        if files and own not in files:
            raise SpecError(f"corpus.{name}_split", f"must be one of data_files: {', '.join(files)}", own)
    for own in files:
        if own not in splits.values():
            raise SpecError(f"corpus.data_files.{own}", f"must be a split that is read: {', '.join(splits)}", own)


def _read(reference: HubReference) -> Corpus:
    missing = [name for name in SPLITS if name not in reference.splits]
    read = {name: tuple(_documents(reference, own)) for name, own in reference.splits.items()}
    return Corpus(reference.name, **(read | carve(read["train"], missing)))


def _documents(reference: HubReference, split: str) -> Iterator[Document]:
    """Documents of a split up to the limit, without surrounding white space; rows without text are left out."""
    used = 0
    for number, row in enumerate(_rows(reference, split)):
        field = row.get(reference.text_field)
        if reference.text_field not in row or not (field is None or isinstance(field, str)):
            rule = f"must be a text column of {reference.name} ({', '.join(row)})"
            raise SpecError("corpus.text_field", rule, reference.text_field)
        document = Document(f"{split}/{number}", (field or "").strip())
        used += document.size
        if used > (reference.max_bytes or MEMORY_BYTES):
            if reference.max_bytes is None:
                size = format_bytes(MEMORY_BYTES)
                raise CorpusError(f"{reference.name}: split {split!r} is above {size}; set corpus.max_bytes: 512MB")
            return
        if document.text:
            yield document


def _rows(reference: HubReference, split: str) -> Iterable[Mapping[str, Any]]:
    """Rows of a split as they stream in. `datasets` and the hub raise errors of many libraries: all end here."""
    try:
        from datasets import load_dataset  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        message = "corpus.huggingface needs the package datasets: pip install 'nas[hf]', or use the corpus austen"
        raise MissingDependencyError(message) from error
    try:
        if reference.data_files:
            file = reference.data_files[split]
            yield from load_dataset(_FORMATS[file.suffix], data_files={split: str(file)}, split=split, streaming=True)
        else:
            yield from load_dataset(
                reference.dataset, reference.config, split=split, revision=reference.revision, streaming=True
            )
    except Exception as error:
        cause = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CorpusError(
            f"{reference.name}: split {split!r} cannot be read ({cause}); the corpus austen needs no network"
        ) from error


def _keep(path: Path, corpus: Corpus) -> None:
    """Writes a line with the fingerprint, then a line for each document."""
    with atomic_file(path) as file:
        file.write(json.dumps({"fingerprint": corpus.fingerprint}).encode() + b"\n")
        for split in SPLITS:
            for document in corpus.split(split):
                file.write(json.dumps([split, document.name, document.text]).encode() + b"\n")


def _cached(path: Path, name: str) -> Corpus | None:
    """What `_keep` wrote; ``None`` when it is missing or damaged."""
    splits: dict[str, list[Document]] = {split: [] for split in SPLITS}
    try:
        with path.open("rb") as file:
            fingerprint = json.loads(file.readline())["fingerprint"]
            for line in file:
                split, document, content = json.loads(line)
                splits[split].append(Document(document, content))
    except (OSError, ValueError, KeyError, TypeError, CorpusError):
        return None
    corpus = Corpus(name, **{split: tuple(documents) for split, documents in splits.items()})
    return corpus if corpus.fingerprint == fingerprint else None
