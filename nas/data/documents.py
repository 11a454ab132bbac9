"""Documents and corpora: text in memory, split once, known by its content."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from nas.errors import CorpusError, SpecError

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Document:
    """A text and a name for people. Raises `CorpusError` for text that fails `check_text`."""

    name: str
    text: str

    def __post_init__(self) -> None:
        check_text(self.name, self.text)

    @cached_property
    def size(self) -> int:
        """UTF-8 bytes."""
        return len(self.text.encode())

    @cached_property
    def digest(self) -> bytes:
        """sha256 of the text."""
        return hashlib.sha256(self.text.encode()).digest()


@dataclass(frozen=True)
class Corpus:
    """Three disjoint splits. Search looks at validation; test is read once, for what is published."""

    name: str
    train: tuple[Document, ...]
    validation: tuple[Document, ...]
    test: tuple[Document, ...]

    def split(self, name: str) -> tuple[Document, ...]:
        """The documents of a split; raises `SpecError` for a split that does not exist."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        if name not in splits:
            raise SpecError("split", f"must be one of {', '.join(SPLITS)}", name)
        return splits[name]

    def split_bytes(self, name: str) -> int:
        """UTF-8 bytes of a split."""
        return sum(document.size for document in self.split(name))

    def split_fingerprint(self, name: str) -> str:
        """sha256 (hex) over the texts of a split, their order and their borders; names do not count."""
        return _fingerprint(document.digest for document in self.split(name))

    @cached_property
    def train_fingerprint(self) -> str:
        """Fingerprint of what tokenizers and models learn from."""
        return self.split_fingerprint("train")

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint of all three splits."""
        return _fingerprint(bytes.fromhex(self.split_fingerprint(name)) for name in SPLITS)


def check_text(name: str, text: str) -> None:
    """Raises `CorpusError` for text that cannot be stored, naming the place.

    NUL is refused because byte 0 separates documents; half a surrogate pair has no UTF-8.
    """
    nul = text.find("\0")
    if nul >= 0:
        offset = len(text[:nul].encode(errors="surrogatepass"))
        raise CorpusError(f"{name}: text must not hold NUL, which separates documents; found it at byte {offset}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        found = f"U+{ord(text[error.start]):04X} at character {error.start}"
        raise CorpusError(f"{name}: text must be valid Unicode, found {found}") from error


def _fingerprint(digests: Iterable[bytes]) -> str:
    total = hashlib.sha256()
    for digest in digests:
        total.update(digest)
    return total.hexdigest()
