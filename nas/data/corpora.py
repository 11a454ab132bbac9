"""From what a user wrote about text to a corpus with three splits.

    austen                                          the novels that come with the package
    books/*.txt                                     files; validation and test are carved from them
    {train: ..., validation: ..., test: ...}        files by split, each a path, a glob or a list; auto carves
    {huggingface: ID, text_field: text, ...}        a data set (see `nas.data.hub`)

The rest of the program imports from here; how each form is read is in the modules beside.
"""

import glob
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.data.builtin import BUILTIN, load_builtin
from nas.data.carving import carve
from nas.data.documents import SPLITS, Corpus, Document
from nas.data.fields import check_keys
from nas.data.hub import hub_reference, load_hub
from nas.data.overlap import Overlap, known_overlap, overlap
from nas.errors import CorpusError, SpecError

__all__ = [
    "SPLITS",
    "Corpus",
    "Document",
    "Overlap",
    "check_long_enough",
    "files_of",
    "known_overlap",
    "load_corpus",
    "overlap",
    "patterns_by_split",
]

AUTO = "auto"


def load_corpus(reference: str | Mapping[str, Any], *, base: Path = Path("."), cache: Path | None = None) -> Corpus:
    """The corpus that ``reference`` names; paths are relative to ``base``, downloads are kept under ``cache``.

    Raises:
        SpecError: a field that is unknown or breaks its rule.
        CorpusError: text that is missing, empty, damaged or not UTF-8.
        MissingDependencyError: a Hugging Face data set without the package `datasets`.
    """
    if isinstance(reference, str) and reference in BUILTIN:
        corpus = load_builtin(reference, BUILTIN[reference])
    elif isinstance(reference, str):
        corpus = _from_files({"train": reference}, base)
    elif not isinstance(reference, Mapping):
        raise SpecError("corpus", "must be a name, a path, a glob or fields", reference)
    elif "huggingface" in reference:
        corpus = load_hub(hub_reference(reference, base), cache)
    else:
        corpus = _from_files(reference, base)
    for split in SPLITS:
        if not corpus.split_bytes(split):
            raise CorpusError(f"corpus {corpus.name}: split {split!r} must hold text, found 0 bytes")
    return corpus


def files_of(reference: str | Mapping[str, Any], base: Path) -> dict[str, list[Path]]:
    """The files that a reference to files names, by split; splits that are to be carved have none.

    Raises `SpecError` and `CorpusError` as `load_corpus`.
    """
    patterns = patterns_by_split({"train": reference} if isinstance(reference, str) else reference)
    return {split: [base / name for name in names] for split, names in _names(patterns, base).items()}


def check_long_enough(corpus: Corpus, context: int) -> None:
    """Raises `CorpusError` unless training holds two contexts (at a byte a token) and both evaluation splits text.

    A necessary condition that needs no tokenizer; `nas.data.batches` checks the tokens themselves.
    """
    train, least = corpus.split_bytes("train"), 2 * context
    if train < least:
        raise CorpusError(
            f"corpus {corpus.name}: training text must be at least {least} bytes (2 x context {context}), found {train}"
        )
    for split in ("validation", "test"):
        if not corpus.split_bytes(split):
            raise CorpusError(f"corpus {corpus.name}: split {split!r} must hold text, found 0 bytes")


def _from_files(reference: Mapping[str, Any], base: Path) -> Corpus:
    patterns = patterns_by_split(reference)
    names = _names(patterns, base)
    documents = {split: tuple(_document(base / name, name) for name in names[split]) for split in names}
    splits = documents | carve(documents["train"], [split for split in SPLITS if split not in names])
    return Corpus(", ".join(patterns["train"]), **splits)


def patterns_by_split(reference: Mapping[str, Any]) -> dict[str, list[str]]:
    """The paths and globs of a reference to files; raises `SpecError`."""
    check_keys(reference, SPLITS)
    if "train" not in reference:
        raise SpecError("corpus", "must have the field train or huggingface", sorted(reference))
    return {split: _patterns(split, reference.get(split, AUTO)) for split in SPLITS}


def _names(patterns: Mapping[str, list[str]], base: Path) -> dict[str, list[str]]:
    """Files of the splits that are not to be carved."""
    given = [split for split in SPLITS if patterns[split] != [AUTO] or split == "train"]
    names = {split: _matches(split, patterns[split], base) for split in given}
    _check_disjoint(names, base)
    return names


def _patterns(split: str, value: object) -> list[str]:
    patterns = [value] if isinstance(value, str) else value
    if not isinstance(patterns, list) or not patterns or not all(isinstance(p, str) and p for p in patterns):
        raise SpecError(f"corpus.{split}", "must be a path, a glob or a list of them", value)
    return patterns


def _matches(split: str, patterns: list[str], base: Path) -> list[str]:
    """Names of files relative to ``base``, each once, sorted within a pattern."""
    names: dict[str, None] = {}
    for pattern in patterns:
        literal = [pattern] if (base / pattern).is_file() else []  # a name may hold [ or *
        found = literal or sorted(glob.glob(pattern, root_dir=base, recursive=True))
        files = [name for name in found if (base / name).is_file()]
        if not files:
            builtin = f"or the built-in corpus {', '.join(BUILTIN)}"
            raise CorpusError(f"corpus.{split}: must match a file below {base}, {builtin}; found none for {pattern!r}")
        names |= dict.fromkeys(files)
    return list(names)


def _check_disjoint(names: Mapping[str, list[str]], base: Path) -> None:
    """A file in two splits would make a model look better than it is."""
    owner: dict[Path, str] = {}
    for split, files in names.items():
        for name in files:
            first = owner.setdefault((base / name).resolve(), split)
            if first != split:
                raise CorpusError(f"corpus.{split}: must share no file with {first}, found {name!r} in both")


def _document(path: Path, name: str) -> Document:
    try:
        return Document(name, path.read_bytes().decode())
    except UnicodeDecodeError as error:
        found = f"byte 0x{error.object[error.start]:02x} at offset {error.start}"
        raise CorpusError(f"{name}: text must be UTF-8, found {found}") from error
    except OSError as error:
        raise CorpusError(f"{name}: must be readable, found: {error.strerror}") from error
