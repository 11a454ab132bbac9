"""Texts whose machines share a depot; each `Texts` here stands for a machine with a cache of its own."""

import uuid
from pathlib import Path

import numpy as np
import pytest

from nas.data import shards, tokenizer
from nas.data.corpora import Corpus
from nas.data.depot import Depot, publish_vouched
from nas.data.snapshot import fetch_corpus, publish_corpus
from nas.data.texts import Texts
from nas.data.tokenizer import Tokenizer
from tests.data.depots import tree

SIZE = 300


@pytest.fixture(params=["file", "memory"])
def depot(request: pytest.FixtureRequest, tmp_path: Path) -> Depot:
    return Depot(f"file://{tmp_path}/depot" if request.param == "file" else f"memory://{uuid.uuid4()}")


@pytest.fixture
def first(small: Corpus, depot: Depot, tmp_path: Path) -> Texts:
    """A machine that has made a tokenizer and a shard."""
    texts = Texts(small, tmp_path / "first", depot)
    texts.shard("validation", SIZE)
    return texts


def nothing_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer, "_trained", None)
    monkeypatch.setattr(shards, "_build", None)


def files(depot: Depot, folder: Path) -> dict[str, bytes]:
    """All that is in the depot."""
    to = folder / uuid.uuid4().hex
    for name in ("tokenizers", "shards"):
        depot.fetch(name, to / name)
    return tree(to)


def same(one: Texts, other: Texts) -> bool:
    shard, again = one.shard("validation", SIZE), other.shard("validation", SIZE)
    facts = [(each.documents, each.text_bytes, each.sha256) for each in (shard, again)]
    return (
        one.tokenizer(SIZE) == other.tokenizer(SIZE)
        and np.array_equal(shard.tokens, again.tokens)
        and facts[0] == facts[1]
    )


def test_the_second_machine_builds_nothing(
    first: Texts, depot: Depot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets the corpus from the depot too, so that equal text must give equal keys."""
    published = files(depot, tmp_path)
    assert len(published) == 4
    fingerprint = publish_corpus(first.corpus, depot)
    nothing_is_built(monkeypatch)
    second = Texts(fetch_corpus(fingerprint, depot, tmp_path / "second"), tmp_path / "second", depot)
    assert same(first, second)
    assert files(depot, tmp_path) == published
    for name in ("tokenizers", "shards"):
        assert tree(tmp_path / "second" / name) == tree(tmp_path / "first" / name)


def test_the_cache_comes_first(first: Texts, depot: Depot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    depot.delete("tokenizers")
    depot.delete("shards")
    nothing_is_built(monkeypatch)
    assert same(first, Texts(first.corpus, first.folder, depot))
    assert not files(depot, tmp_path)


@pytest.mark.parametrize("folder", ["tokenizers", "shards"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "gone", "sidecar gone", "sidecar flipped"])
def test_damage_is_built_and_published_again(
    first: Texts, depot: Depot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, damage: str
) -> None:
    published = files(depot, tmp_path)
    name = next(
        each for each in published if each.startswith(folder) and each.endswith(".sha256") == ("side" in damage)
    )
    content = bytearray(published[name])
    match damage.split()[-1]:
        case "truncated":
            content = content[: len(content) // 4 * 2]
        case "flipped":
            content[len(content) // 2] ^= 1
    (tmp_path / "damaged").write_bytes(content)
    depot.delete(name) if "gone" in damage else depot.publish(tmp_path / "damaged", name)
    assert same(first, Texts(first.corpus, tmp_path / "second", depot))
    assert files(depot, tmp_path) == published
    nothing_is_built(monkeypatch)
    assert same(first, Texts(first.corpus, tmp_path / "third", depot))


@pytest.mark.parametrize("size", [None, 257])
def test_a_whole_file_that_is_not_the_tokenizer(
    first: Texts, depot: Depot, tmp_path: Path, tokenizers: dict[int, Tokenizer], size: int | None
) -> None:
    """Its sidecar vouches for the bytes only."""
    published = files(depot, tmp_path)
    name = next(each for each in published if each.startswith("tokenizers") and each.endswith(".json"))
    (tmp_path / "strange").write_text("{}" if size is None else tokenizers[size].to_json())
    publish_vouched(depot, tmp_path / "strange", name)
    assert same(first, Texts(first.corpus, tmp_path / "second", depot))
    assert files(depot, tmp_path) == published


def test_raw_bytes_need_no_file(small: Corpus, depot: Depot, tmp_path: Path) -> None:
    assert Texts(small, tmp_path / "first", depot).tokenizer(256).vocabulary == 256
    assert not files(depot, tmp_path)
