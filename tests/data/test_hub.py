"""The hub itself is out of reach of tests: local files take the same path through `datasets`."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets  # type: ignore[import-not-found, import-untyped, unused-ignore]
import pytest

from nas.data import hub
from nas.data.corpora import load_corpus
from nas.errors import CorpusError, MissingDependencyError, SpecError

Asked = tuple[str, str | None, str, str | None, bool]

TEXTS = [f"Story {number}. " + "Once upon a time. " * (number % 5 + 1) for number in range(60)]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    datasets.Dataset.from_dict({"text": [f"  {text}\n" for text in TEXTS]}).to_parquet(tmp_path / "train.parquet")
    rows = [{"story": text, "number": 1} for text in TEXTS] + [
        {"story": None, "number": 2},
        {"story": " ", "number": 3},
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "dev.json").write_text(json.dumps({"story": "A held-out story."}) + "\n")
    return tmp_path


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """A hub that answers; the list collects what it was asked."""
    calls: list[Asked] = []

    def load_dataset(
        path: str, config: str | None, *, split: str, revision: str | None, streaming: bool
    ) -> Iterator[dict[str, str]]:
        calls.append((path, config, split, revision, streaming))
        return iter({"text": f"{split}: {text}"} for text in TEXTS)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return calls


def test_parquet_is_stripped_and_carved(files: Path) -> None:
    corpus = load_corpus({"huggingface": "some/stories", "data_files": {"train": "train.parquet"}}, base=files)
    assert corpus.name == "some/stories"
    found = [document.text for document in corpus.train + corpus.validation + corpus.test]
    assert sorted(found) == sorted(text.strip() for text in TEXTS)
    assert 0 < len(corpus.validation) < 15 and 0 < len(corpus.test) < 15
    assert corpus.train[0].name.startswith("train/")


def test_jsonl_with_own_split_and_field(files: Path) -> None:
    reference = {
        "huggingface": "some/stories",
        "text_field": "story",
        "validation_split": "dev",
        "data_files": {"train": "train.jsonl", "dev": "dev.json"},
    }
    corpus = load_corpus(reference, base=files)
    assert [document.text for document in corpus.validation] == ["A held-out story."]
    assert len(corpus.train) + len(corpus.test) == len(TEXTS)


def test_files_named_as_our_splits_need_no_more(files: Path) -> None:
    data_files = {"train": "train.jsonl", "validation": "dev.json"}
    corpus = load_corpus({"huggingface": "x", "text_field": "story", "data_files": data_files}, base=files)
    assert corpus.validation[0].name == "validation/0"


def test_max_bytes(files: Path) -> None:
    reference = {"huggingface": "x", "data_files": {"train": "train.parquet"}, "max_bytes": "1kB"}
    corpus = load_corpus(reference, base=files)
    total = sum(corpus.split_bytes(name) for name in ("train", "validation", "test"))
    assert 900 < total <= 1000


def test_too_much_for_memory(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "MEMORY_BYTES", 1024)
    with pytest.raises(CorpusError, match=r"x: split 'train' is above 1 KiB; set corpus\.max_bytes"):
        load_corpus({"huggingface": "x", "data_files": {"train": "train.parquet"}}, base=files)


def test_hub_is_asked_for_what_was_written(online: list[Asked]) -> None:
    reference = {"huggingface": "a/b", "config": "c", "revision": "r", "train_split": "t", "test_split": "s"}
    corpus = load_corpus(reference)
    assert online == [("a/b", "c", "t", "r", True), ("a/b", "c", "s", "r", True)]
    assert corpus.name == "a/b:c"
    assert len(corpus.test) == len(TEXTS)


def test_cache_makes_the_second_load_offline(online: list[Asked], tmp_path: Path) -> None:
    first = load_corpus({"huggingface": "a/b"}, cache=tmp_path)
    assert load_corpus({"huggingface": "a/b"}, cache=tmp_path) == first
    assert len(online) == 1
    load_corpus({"huggingface": "a/b", "revision": "other"}, cache=tmp_path)
    assert len(online) == 2


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-40], lambda data: data.replace(b"Once", b"Then", 1), lambda _: b"[]"]
)
def test_damaged_cache_is_read_again(online: list[Asked], tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    first = load_corpus({"huggingface": "a/b"}, cache=tmp_path)
    (path,) = (tmp_path / "corpora").iterdir()
    path.write_bytes(damage(path.read_bytes()))
    assert load_corpus({"huggingface": "a/b"}, cache=tmp_path) == first
    assert len(online) == 2


def test_unreachable_hub_names_the_offline_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*args: object, **options: object) -> None:
        raise ConnectionError("no route to host\nand more")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(CorpusError) as caught:
        load_corpus({"huggingface": "a/b"})
    assert str(caught.value) == (
        "a/b: split 'train' cannot be read (ConnectionError: no route to host); the corpus austen needs no network"
    )


def test_damaged_local_file(files: Path) -> None:
    (files / "train.parquet").write_bytes(b"not parquet")
    with pytest.raises(CorpusError, match="x: split 'train' cannot be read"):
        load_corpus({"huggingface": "x", "data_files": {"train": "train.parquet"}}, base=files)


def test_without_datasets(monkeypatch: pytest.MonkeyPatch, files: Path) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'nas\[hf\]'"):
        load_corpus({"huggingface": "x", "data_files": {"train": "train.parquet"}}, base=files)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"split": "train"}, "corpus.split: must be one of the known fields huggingface, text_field"),
        ({"huggingface": ""}, "corpus.huggingface: must be a non-empty string, found ''"),
        ({"config": 3}, "corpus.config: must be a non-empty string, found 3"),
        ({"max_bytes": "many"}, "corpus.max_bytes: must be bytes"),
        ({"validation_split": "train"}, "corpus.validation_split: must differ from the other splits"),
        ({"data_files": []}, "corpus.data_files: must map splits to .parquet, .jsonl or .json files"),
        ({"data_files": {"train": "a.txt"}}, "corpus.data_files.train: must map splits to"),
        ({"data_files": {"dev": "dev.json"}}, "corpus.train_split: must be one of data_files: dev, found 'train'"),
        (
            {"data_files": {"train": "train.jsonl", "dev": "dev.json"}},
            "corpus.data_files.dev: must be a split that is read: train",
        ),
        ({"data_files": {"train": "train.jsonl"}}, "corpus.text_field: must be a text column of x (story, number)"),
        (
            {"data_files": {"train": "train.jsonl"}, "text_field": "number"},
            "corpus.text_field: must be a text column of x (story, number), found 'number'",
        ),
    ],
)
def test_bad_fields(files: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_corpus({"huggingface": "x", **fields}, base=files)
    assert message in str(caught.value)


def test_missing_local_file(files: Path) -> None:
    with pytest.raises(CorpusError, match=r"corpus\.data_files\.train: must be an existing file, found 'no\.json'"):
        load_corpus({"huggingface": "x", "data_files": {"train": "no.json"}}, base=files)
