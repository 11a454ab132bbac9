from pathlib import Path
from typing import Any

import pytest

from nas.data.corpora import Corpus, Document, check_long_enough, load_corpus
from nas.errors import CorpusError, SpecError


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """Ten different files, some of them in a folder."""
    (tmp_path / "more").mkdir()
    for number in range(10):
        name = f"more/{number}.txt" if number > 6 else f"{number}.txt"
        (tmp_path / name).write_text(f"book {number} é\r\n" * 100, encoding="utf-8", newline="")
    return tmp_path


def names(split: tuple[Document, ...]) -> list[str]:
    return [document.name for document in split]


def test_builtin_by_name(austen: Corpus) -> None:
    assert austen.name == "austen"


def test_string_is_a_glob_with_carved_splits(books: Path) -> None:
    corpus = load_corpus("**/*.txt", base=books)
    assert corpus.name == "**/*.txt"
    assert sorted(names(corpus.train + corpus.validation + corpus.test)) == sorted(
        [f"{number}.txt" for number in range(7)] + [f"more/{number}.txt" for number in range(7, 10)]
    )
    assert len(corpus.validation) == len(corpus.test) == 1
    assert corpus.fingerprint == load_corpus(str(books / "**/*.txt")).fingerprint


def test_one_file_is_cut(books: Path) -> None:
    corpus = load_corpus("0.txt", base=books)
    assert names(corpus.train + corpus.validation + corpus.test) == ["0.txt#train", "0.txt#validation", "0.txt#test"]
    assert "".join(d.text for d in corpus.train + corpus.validation + corpus.test) == "book 0 é\r\n" * 100


def test_splits_by_path_glob_and_list(books: Path) -> None:
    corpus = load_corpus({"train": ["1.txt", "0.txt", "[01].txt"], "validation": "more/*", "test": "2.txt"}, base=books)
    assert names(corpus.train) == ["1.txt", "0.txt"]
    assert names(corpus.validation) == ["more/7.txt", "more/8.txt", "more/9.txt"]
    assert names(corpus.test) == ["2.txt"]
    assert corpus.name == "1.txt, 0.txt, [01].txt"


def test_only_the_missing_split_is_carved(books: Path) -> None:
    corpus = load_corpus({"train": "?.txt", "validation": "more/7.txt", "test": "auto"}, base=books)
    assert names(corpus.validation) == ["more/7.txt"]
    assert len(corpus.test) == 1 and len(corpus.train) == 6


def test_a_name_may_look_like_a_glob(tmp_path: Path) -> None:
    (tmp_path / "a[1].txt").write_text("text of a book\n" * 50)
    assert load_corpus("a[1].txt", base=tmp_path).train[0].name == "a[1].txt#train"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ({"train": "*.txt", "valid": "x"}, "corpus.valid: must be one of the known fields train, validation, test"),
        ({"validation": "*.txt"}, "corpus: must have the field train or huggingface"),
        ({"train": 3}, "corpus.train: must be a path, a glob or a list of them, found 3"),
        ({"train": []}, "corpus.train: must be a path, a glob or a list of them"),
        ({"train": "0.txt", "test": ["1.txt", ""]}, "corpus.test: must be a path, a glob or a list of them"),
        (7, "corpus: must be a name, a path, a glob or fields, found 7"),
    ],
)
def test_bad_fields(books: Path, reference: Any, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_corpus(reference, base=books)
    assert message in str(caught.value)


def test_no_matching_file_names_the_builtin(books: Path) -> None:
    with pytest.raises(CorpusError, match=r"corpus\.train: must match a file .*built-in corpus austen.*'austin'"):
        load_corpus("austin", base=books)


def test_a_file_in_two_splits(books: Path) -> None:
    message = r"corpus\.validation: must share no file with train, found '\./0\.txt'"
    with pytest.raises(CorpusError, match=message):
        load_corpus({"train": "?.txt", "validation": "./0.txt"}, base=books)


def test_not_utf8_names_file_and_offset(books: Path) -> None:
    (books / "0.txt").write_bytes(b"abc\xff")
    with pytest.raises(CorpusError, match=r"0\.txt: text must be UTF-8, found byte 0xff at offset 3"):
        load_corpus("0.txt", base=books)


def test_nul(books: Path) -> None:
    (books / "0.txt").write_bytes(b"abc\0")
    with pytest.raises(CorpusError, match=r"0\.txt: text must not hold NUL.* at byte 3"):
        load_corpus("0.txt", base=books)


def test_unreadable_file(books: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(CorpusError, match=r"0\.txt: must be readable, found: Permission denied"):
        load_corpus("0.txt", base=books)


@pytest.mark.parametrize("text", ["", "ab"])
def test_empty_split(tmp_path: Path, text: str) -> None:
    (tmp_path / "tiny.txt").write_text(text)
    with pytest.raises(CorpusError, match=r"corpus tiny\.txt: split '\w+' must hold text, found 0 bytes"):
        load_corpus("tiny.txt", base=tmp_path)


def test_check_long_enough(austen: Corpus) -> None:
    check_long_enough(austen, 1024)
    short = Corpus("short", (Document("a", "x" * 99),), austen.validation, austen.test)
    message = r"corpus short: training text must be at least 100 bytes \(2 x context 50\), found 99"
    with pytest.raises(CorpusError, match=message):
        check_long_enough(short, 50)
    with pytest.raises(CorpusError, match=r"corpus c: split 'test' must hold text, found 0 bytes"):
        check_long_enough(Corpus("c", austen.train, austen.validation, ()), 50)
