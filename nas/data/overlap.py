"""How much of the evaluation text a model may have seen word for word."""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas.data.documents import Corpus, Document
from nas.data.storage import atomic_file

GRAM_WORDS = 13
_BASE = np.uint64(0x9E3779B97F4A7C15)  # any large odd number spreads the powers over 64 bits

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Overlap:
    """Share of 13-word sequences of a split that occur in training, in [0, 1]; 0 where there are no 13 words."""

    validation: float
    test: float


def overlap(corpus: Corpus) -> Overlap:
    """Word 13-grams (lower-cased, split at white space, within documents) of evaluation that occur in training.

    Each occurrence counts. N-grams are compared by 64-bit hashes: a false match has a chance of about the number of
    pairs over 2^64. Only the hashes of the evaluation splits and of one training document are held at a time.
    """
    words: dict[str, int] = {}
    validation = _split_grams(corpus.validation, words)
    test = _split_grams(corpus.test, words)
    known = np.unique(np.concatenate([validation, test]))
    seen = np.zeros(len(known), dtype=bool)
    for document in corpus.train:
        grams = _grams(document.text, words)
        if len(known) and len(grams):
            place = np.minimum(np.searchsorted(known, grams), len(known) - 1)
            seen[place[known[place] == grams]] = True
    repeated = known[seen]
    return Overlap(_share(validation, repeated), _share(test, repeated))


def known_overlap(corpus: Corpus, folder: Path) -> Overlap:
    """As `overlap`, which takes half a second for 4 MB; kept in a folder by the corpus's fingerprint."""
    path = folder / "overlaps" / f"{corpus.fingerprint}.json"
    with suppress(OSError, ValueError, TypeError):  # it is not there, or damaged
        return Overlap(**json.loads(path.read_bytes()))
    found = overlap(corpus)
    with atomic_file(path) as file:
        file.write(json.dumps(asdict(found)).encode())
    return found


def _share(grams: Hashes, repeated: Hashes) -> float:
    return float(np.isin(grams, repeated).mean()) if len(grams) else 0.0


def _split_grams(documents: Iterable[Document], words: dict[str, int]) -> Hashes:
    return np.concatenate([np.zeros(0, np.uint64), *(_grams(document.text, words) for document in documents)])


def _grams(text: str, words: dict[str, int]) -> Hashes:
    """A hash of each 13 consecutive words: a polynomial in their numbers, modulo 2^64.

    ``words`` numbers the words met so far and grows; the numbers start at 1, so that no word vanishes.
    """
    numbers = np.array([words.setdefault(word, len(words) + 1) for word in text.lower().split()], dtype=np.uint64)
    count = max(0, len(numbers) - GRAM_WORDS + 1)
    grams = np.zeros(count, dtype=np.uint64)
    for place in range(GRAM_WORDS):
        grams = grams * _BASE + numbers[place : place + count]
    return grams
