import gzip
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.data.corpora import Corpus, Document
from nas.data.depot import Depot
from nas.data.documents import SPLITS
from nas.data.snapshot import fetch_corpus, publish_corpus
from nas.errors import CorpusError
from tests.data.depots import tree


@pytest.fixture
def depot(tmp_path: Path) -> Depot:
    return Depot(f"file://{tmp_path}/depot")


def the_file(folder: Path) -> Path:
    (path,) = (folder / "corpora").iterdir()
    return path


def test_comes_back_equal(small: Corpus, depot: Depot, tmp_path: Path) -> None:
    fingerprint = publish_corpus(small, depot)
    assert fingerprint == small.fingerprint
    assert the_file(Path(depot.url)).name == f"{fingerprint}.jsonl.gz"
    corpus = fetch_corpus(fingerprint, depot, tmp_path / "cache")
    assert corpus == small
    assert all(corpus.split_fingerprint(split) == small.split_fingerprint(split) for split in SPLITS)


DOCUMENTS = st.lists(
    st.builds(
        Document, st.text(max_size=5), st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
    ),
    max_size=3,
).map(tuple)


@given(st.text(max_size=5), DOCUMENTS, DOCUMENTS, DOCUMENTS)
@settings(max_examples=40)
def test_any_text_and_names_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    train: tuple[Document, ...],
    validation: tuple[Document, ...],
    test: tuple[Document, ...],
) -> None:
    folder = tmp_path_factory.mktemp("any")
    corpus = Corpus(name, train, validation, test)
    fingerprint = publish_corpus(corpus, Depot(str(folder / "depot")))
    assert fetch_corpus(fingerprint, Depot(str(folder / "depot")), folder / "cache") == corpus


def test_names_of_files_need_not_be_unicode(small: Corpus, depot: Depot, tmp_path: Path) -> None:
    corpus = replace(small, name="*\udcff", test=(Document("\udcff.txt", "text"),))
    assert fetch_corpus(publish_corpus(corpus, depot), depot, tmp_path / "cache") == corpus


def test_is_written_once_and_fetched_once(small: Corpus, depot: Depot, tmp_path: Path) -> None:
    fingerprint = publish_corpus(small, depot)
    path = the_file(Path(depot.url))
    written = path.stat()
    publish_corpus(small, depot)
    assert path.stat().st_ino == written.st_ino
    fetch_corpus(fingerprint, depot, tmp_path / "cache")
    depot.delete("corpora")
    assert fetch_corpus(fingerprint, depot, tmp_path / "cache") == small


def test_equal_corpora_give_equal_files(small: Corpus, tmp_path: Path) -> None:
    for name in "ab":
        publish_corpus(small, Depot(str(tmp_path / name)))
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_a_corpus_that_nobody_published(depot: Depot, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"/depot: no corpus abc; the machine that starts a search must publish"):
        fetch_corpus("abc", depot, tmp_path / "cache")


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "other text", "no gzip"])
def test_damage_is_said(small: Corpus, depot: Depot, tmp_path: Path, damage: str) -> None:
    fingerprint = publish_corpus(small, depot)
    path = the_file(Path(depot.url))
    content = bytearray(path.read_bytes())
    match damage:
        case "truncated":
            content = content[: len(content) // 2]
        case "flipped":
            content[len(content) // 2] ^= 1
        case "empty":
            content = bytearray()
        case "other text":
            other = replace(small, test=(Document("t", "other"),))
            publish_corpus(other, Depot(str(tmp_path / "other")))
            content = bytearray(the_file(tmp_path / "other").read_bytes())
        case "no gzip":
            content = bytearray(b"{}\n")
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=rf"the file corpora/{fingerprint}.jsonl.gz is damaged"):
        fetch_corpus(fingerprint, depot, tmp_path / "cache")


@pytest.mark.parametrize(
    "lines",
    [
        '{"format": "corpus-2", "name": "c"}\n',
        '{"format": "corpus-1"}\n',
        '{"format": "corpus-1", "name": "c"}\n{"split": "train", "name": "a", "text": "a\\u0000"}\n',
        '{"format": "corpus-1", "name": "c"}\n{"split": "train", "name": "a", "text": 3}\n',
        '{"format": "corpus-1", "name": "c"}\n{"split": "other", "name": "a", "text": "a"}\n',
        '{"format": "corpus-1", "name": "c"}\n["split"]\n',
    ],
)
def test_lines_that_are_no_corpus(depot: Depot, tmp_path: Path, lines: str) -> None:
    empty = Corpus("c", (), (), ())
    path = Path(depot.url) / "corpora" / f"{empty.fingerprint}.jsonl.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(lines.encode()))
    with pytest.raises(CorpusError, match="is damaged"):
        fetch_corpus(empty.fingerprint, depot, tmp_path / "cache")


def test_a_damaged_copy_is_fetched_again(small: Corpus, depot: Depot, tmp_path: Path) -> None:
    fingerprint = publish_corpus(small, depot)
    fetch_corpus(fingerprint, depot, tmp_path / "cache")
    the_file(tmp_path / "cache").write_bytes(b"damage")
    assert fetch_corpus(fingerprint, depot, tmp_path / "cache") == small
    assert tree(tmp_path / "cache") == tree(Path(depot.url))
