"""Corpora and tokenizers that several tests read; none of them changes one."""

import pytest

from nas.data.corpora import Corpus, Document, load_corpus
from nas.data.tokenizer import Tokenizer, train_tokenizer

UNICODE = "Zürich, naïve café — 日本語のテキスト — 🙂🙃 «да, нет» “quotes” <|endoftext|>\r\n\t"


@pytest.fixture(scope="session")
def austen() -> Corpus:
    return load_corpus("austen")


@pytest.fixture(scope="session")
def small(austen: Corpus) -> Corpus:
    """English with a little of everything else; 120 kB of training text."""
    train = (Document("emma", austen.train[0].text[:120_000]), Document("unicode", UNICODE * 20))
    validation = (Document("a", austen.validation[0].text[:9_000]), Document("b", UNICODE), Document("c", "x"))
    return Corpus("small", train, validation, (Document("t", austen.test[0].text[:5_000]),))


@pytest.fixture(scope="session")
def tokenizers(small: Corpus) -> dict[int, Tokenizer]:
    """By vocabulary: raw bytes, separator and bytes, few merges, many merges."""
    return {size: train_tokenizer(small, size) for size in (256, 257, 300, 1500)}
