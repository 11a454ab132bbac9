"""Tokenizers: raw bytes, or byte-level BPE learnt from the training split alone.

Id 0 is the document separator in every vocabulary. Every text without NUL is encoded without loss, and every token
stands for a fixed number of bytes, so that losses in bits per byte can be compared between vocabularies.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from nas.data.depot import Depot, fetch_vouched, publish_vouched
from nas.data.documents import Corpus, Document, check_text
from nas.data.storage import atomic_file
from nas.errors import CorpusError, SpecError

SEPARATOR = 0
SEPARATOR_TEXT = "<|endoftext|>"
RAW_BYTES = 256
LARGEST = 2**16  # ids are stored as uint16

_ALGORITHM = "byte-level-bpe-1"  # part of the cache key: change it whenever training would give other merges
_PIECE_CHARACTERS = 2**20
_SAMPLE_CHARACTERS = 2**16
_CUT = re.compile(r"(?<=[\w!-~])(?=\n)")


@dataclass(frozen=True)
class Tokenizer:
    """A vocabulary, defined by a JSON of the `tokenizers` library.

    Attributes:
        definition: that JSON; equal definitions give equal ids.
    """

    definition: str

    @cached_property
    def vocabulary(self) -> int:
        """Number of token types, the separator among them."""
        return self._library.get_vocab_size()

    def encode(self, text: str) -> npt.NDArray[np.uint16]:
        """Token ids of ``text``, without separators; what looks like a special token is read as plain text.

        Raises `CorpusError` for NUL, which is the separator's byte, and for text that has no UTF-8.
        """
        check_text("text to encode", text)
        if self.vocabulary == RAW_BYTES:
            return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.uint16)
        pieces = [np.zeros(0, np.uint16)]
        for piece in _pieces(text):
            encoded = self._library.encode_batch_fast([piece], add_special_tokens=False)[0]
            pieces.append(np.array(encoded.ids, dtype=np.uint16))
        return np.concatenate(pieces)

    def decode(self, ids: Iterable[int] | npt.NDArray[np.integer]) -> str:
        """The text of ``ids``; separators stand for nothing, incomplete characters become U+FFFD."""
        return b"".join(self._bytes[int(number)] for number in ids).decode(errors="replace")

    @cached_property
    def token_bytes(self) -> npt.NDArray[np.int64]:
        """Bytes that each token stands for; shape (vocabulary,), 0 for the separator. Read-only."""
        sizes = np.array([len(token) for token in self._bytes], dtype=np.int64)
        sizes.setflags(write=False)
        return sizes

    def to_json(self) -> str:
        """The definition, as `tokenizers.Tokenizer.from_str` reads it."""
        return self.definition

    def save(self, folder: Path) -> Path:
        """Writes ``tokenizer.json`` into ``folder`` and returns its path."""
        path = folder / "tokenizer.json"
        with atomic_file(path) as file:
            file.write(self.definition.encode())
        return path

    def __reduce__(self) -> tuple[type["Tokenizer"], tuple[str]]:
        # The library forgets `encode_special_tokens` when it is pickled, so only the definition travels.
        return Tokenizer, (self.definition,)

    @cached_property
    def _library(self) -> tokenizers.Tokenizer:
        _stay_single_threaded()
        library = tokenizers.Tokenizer.from_str(self.definition)
        library.encode_special_tokens = True
        return library

    @cached_property
    def _bytes(self) -> list[bytes]:
        """What each token stands for."""
        byte_of = {character: byte for byte, character in enumerate(_alphabet())}
        tokens = [b""] * self.vocabulary
        for token, number in self._library.get_vocab(with_added_tokens=True).items():
            if number != SEPARATOR:
                tokens[number] = bytes(byte_of[character] for character in token)
        return tokens


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer that `Tokenizer.save` wrote; raises `CorpusError` when it is missing or damaged."""
    path = folder / "tokenizer.json"
    tokenizer = _read(path)
    if tokenizer is None:
        raise CorpusError(f"{path}: must be a tokenizer with all bytes and {SEPARATOR_TEXT} as id 0")
    return tokenizer


def train_tokenizer(
    corpus: Corpus, vocabulary: int, cache: Path | None = None, depot: Depot | None = None
) -> Tokenizer:
    """A tokenizer of exactly ``vocabulary`` types: 256 means raw bytes, more are merges learnt from ``corpus.train``.

    Deterministic; kept under ``cache`` by the training text and the size, and trained again if that file is damaged.
    With a cache and a depot, what the cache lacks is fetched from the depot, or published there once it is trained.

    Raises:
        SpecError: a vocabulary below 256 or above 65536.
        CorpusError: training text with fewer merges than asked for.

    Other errors: those of `Depot`.
    """
    if not RAW_BYTES <= vocabulary <= LARGEST:
        raise SpecError("vocabulary", f"must be from {RAW_BYTES} (raw bytes) to {LARGEST}", vocabulary)
    if vocabulary == RAW_BYTES:
        return raw_bytes()
    if cache is None:
        return _checked(corpus, vocabulary)
    key = hashlib.sha256(f"{_ALGORITHM} {corpus.train_fingerprint} {vocabulary}".encode()).hexdigest()[:32]
    name = f"tokenizers/{key}.json"
    kept = _kept(cache / name, vocabulary)
    if kept is None and depot is not None and fetch_vouched(depot, name, cache / name):
        kept = _kept(cache / name, vocabulary)
    if kept is not None:
        return kept
    tokenizer = _checked(corpus, vocabulary)
    with atomic_file(cache / name) as file:
        file.write(tokenizer.definition.encode())
    if depot is not None:
        publish_vouched(depot, cache / name, name)
    return tokenizer


def raw_bytes() -> Tokenizer:
    """The tokenizer whose ids are bytes; byte 0, which text does not hold, is the separator."""
    vocabulary = {character: byte for byte, character in enumerate(_alphabet())}
    del vocabulary[_alphabet()[SEPARATOR]]
    library = _byte_level(models.BPE(vocab={SEPARATOR_TEXT: SEPARATOR} | vocabulary, merges=[]))
    library.add_special_tokens([SEPARATOR_TEXT])
    return Tokenizer(library.to_str())


def _kept(path: Path, vocabulary: int) -> Tokenizer | None:
    """The tokenizer in a file, if it is whole and has the right size."""
    tokenizer = _read(path)
    return tokenizer if tokenizer is not None and tokenizer.vocabulary == vocabulary else None


def _checked(corpus: Corpus, vocabulary: int) -> Tokenizer:
    tokenizer = _trained(corpus, vocabulary)
    _check_round_trip(tokenizer, corpus)
    return tokenizer


def _trained(corpus: Corpus, vocabulary: int) -> Tokenizer:
    _stay_single_threaded()
    library = _byte_level(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[SEPARATOR_TEXT],  # special tokens come first: id 0
        initial_alphabet=sorted(_alphabet()),
        show_progress=False,
    )
    library.train_from_iterator((piece for document in corpus.train for piece in _pieces(document.text)), trainer)
    if library.get_vocab_size() != vocabulary:
        raise CorpusError(
            f"corpus {corpus.name}: {corpus.split_bytes('train')} bytes of training text give a vocabulary of "
            f"{library.get_vocab_size()}, not {vocabulary}; use more text or a smaller vocabulary"
        )
    return Tokenizer(library.to_str())


def _byte_level(model: models.BPE) -> tokenizers.Tokenizer:
    """A tokenizer that splits text as GPT-2 does and works on bytes, written as printable characters."""
    library = tokenizers.Tokenizer(model)
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    library.decoder = decoders.ByteLevel()
    return library


def _alphabet() -> list[str]:
    """The character that byte-level BPE writes for each byte: itself if it is printable, else one from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = (chr(number) for number in range(256, 512))
    return [chr(byte) if byte in printable else next(others) for byte in range(256)]


def _pieces(text: str) -> Iterator[str]:
    """``text`` in pieces of about a megabyte, which bounds the library's memory and changes no id.

    They are cut before a line end that follows a visible character, where no pattern of GPT-2 reaches across.
    """
    start = 0
    while len(text) - start > _PIECE_CHARACTERS:
        cut = _CUT.search(text, start + _PIECE_CHARACTERS)
        if cut is None:
            break
        yield text[start : cut.start()]
        start = cut.start()
    if start < len(text):
        yield text[start:]


def _check_round_trip(tokenizer: Tokenizer, corpus: Corpus) -> None:
    """Raises `CorpusError` unless a sample of training and all of validation come back as they were."""
    sample = [Document(document.name, document.text[:_SAMPLE_CHARACTERS]) for document in corpus.train[:16]]
    for document in (*sample, *corpus.validation):
        if tokenizer.decode(tokenizer.encode(document.text)) != document.text:
            raise CorpusError(f"{document.name}: must survive a vocabulary of {tokenizer.vocabulary}, but does not")


def _read(path: Path) -> Tokenizer | None:
    """The tokenizer in a file; ``None`` when there is none that is whole."""
    try:
        tokenizer = Tokenizer(path.read_text(encoding="utf-8"))
        names = tokenizer._library.get_vocab(with_added_tokens=True)
        bytes_found = {token for token in tokenizer._bytes if len(token) == 1}
    except Exception:  # the library raises bare Exception for what it cannot parse
        return None
    raw = tokenizer.vocabulary == RAW_BYTES
    whole = names.get(SEPARATOR_TEXT) == SEPARATOR and len(bytes_found) == (255 if raw else 256)
    return tokenizer if whole else None


def _stay_single_threaded() -> None:
    # Threads of the library make it warn, or hang, in processes that are forked later; whoever set this knows better.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
