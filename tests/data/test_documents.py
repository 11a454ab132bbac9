import hashlib

import pytest

from nas.data.documents import Corpus, Document
from nas.errors import CorpusError, SpecError

CORPUS = Corpus("c", (Document("a", "één"), Document("b", "two")), (Document("v", "v"),), (Document("t", "t"),))


def test_sizes_are_utf8_bytes() -> None:
    assert Document("a", "één").size == 5
    assert [CORPUS.split_bytes(name) for name in ("train", "validation", "test")] == [8, 1, 1]
    assert Document("a", "één").digest == hashlib.sha256("één".encode()).digest()


def test_split_must_exist() -> None:
    assert CORPUS.split("train") == CORPUS.train
    with pytest.raises(SpecError, match="split: must be one of train, validation, test, found 'dev'"):
        CORPUS.split("dev")


def test_fingerprint_is_of_content_not_names() -> None:
    renamed = Corpus("other", (Document("x", "één"), Document("y", "two")), CORPUS.validation, CORPUS.test)
    assert renamed.fingerprint == CORPUS.fingerprint
    assert len(CORPUS.fingerprint) == 64


@pytest.mark.parametrize("train", [["één", "twO"], ["two", "één"], ["ééntwo"], ["één", "two", ""]])
def test_fingerprint_sees_text_order_and_borders(train: list[str]) -> None:
    changed = Corpus("c", tuple(Document("d", text) for text in train), CORPUS.validation, CORPUS.test)
    assert changed.train_fingerprint != CORPUS.train_fingerprint
    assert changed.fingerprint != CORPUS.fingerprint


def test_fingerprint_knows_which_split_holds_a_text() -> None:
    swapped = Corpus("c", CORPUS.train, CORPUS.test, CORPUS.validation)
    assert swapped.fingerprint != CORPUS.fingerprint
    assert swapped.train_fingerprint == CORPUS.train_fingerprint


def test_nul_is_refused_at_its_byte() -> None:
    with pytest.raises(CorpusError, match=r"book\.txt: text must not hold NUL.* at byte 2"):
        Document("book.txt", "é\0")


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(CorpusError, match=r"book\.txt: text must be valid Unicode, found U\+D800 at character 1"):
        Document("book.txt", "a\ud800")
