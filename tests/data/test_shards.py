import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from nas.data import shards
from nas.data.corpora import Corpus, Document
from nas.data.shards import TokenShard, open_shard
from nas.data.tokenizer import Tokenizer
from nas.errors import CorpusError, DiskFullError


def open_small(small: Corpus, tokenizers: dict[int, Tokenizer], cache: Path) -> TokenShard:
    return open_shard(small, "validation", tokenizers[300], cache)


def files(cache: Path) -> tuple[Path, Path]:
    """The token file and its sidecar."""
    (data,), (sidecar,) = (cache / "shards").glob("*.bin"), (cache / "shards").glob("*.json")
    return data, sidecar


def test_documents_follow_their_separators(small: Corpus, tokenizers: dict[int, Tokenizer], tmp_path: Path) -> None:
    shard = open_small(small, tokenizers, tmp_path)
    assert isinstance(shard.tokens, np.memmap) and shard.tokens.dtype == np.uint16
    assert shard.documents == 3
    pieces = np.split(shard.tokens, np.flatnonzero(shard.tokens == 0))
    assert len(pieces[0]) == 0
    assert [tokenizers[300].decode(piece[1:]) for piece in pieces[1:]] == [d.text for d in small.validation]
    assert shard.text_bytes == small.split_bytes("validation")
    assert shard.bytes_per_token == shard.text_bytes / np.count_nonzero(shard.tokens)
    with pytest.raises(ValueError, match="read-only"):
        shard.tokens[0] = 1


def test_file_is_little_endian_and_described(small: Corpus, tokenizers: dict[int, Tokenizer], tmp_path: Path) -> None:
    shard = open_small(small, tokenizers, tmp_path)
    data, sidecar = files(tmp_path)
    assert data.read_bytes() == np.asarray(shard.tokens).astype("<u2").tobytes()
    assert json.loads(sidecar.read_text()) == {
        "split": "validation",
        "vocabulary": 300,
        "tokens": len(shard.tokens),
        "documents": 3,
        "text_bytes": shard.text_bytes,
        "sha256": hashlib.sha256(data.read_bytes()).hexdigest(),
    }


def test_is_built_once_for_each_text_and_tokenizer(
    small: Corpus, tokenizers: dict[int, Tokenizer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_small(small, tokenizers, tmp_path)
    open_shard(small, "validation", tokenizers[256], tmp_path)
    open_shard(small, "test", tokenizers[300], tmp_path)
    assert len(list((tmp_path / "shards").glob("*.bin"))) == 3
    monkeypatch.setattr(shards, "_build", None)
    assert np.array_equal(open_small(small, tokenizers, tmp_path).tokens, first.tokens)


@pytest.mark.parametrize("damage", ["truncated", "no sidecar", "bad sidecar", "no data"])
def test_damage_is_repaired(small: Corpus, tokenizers: dict[int, Tokenizer], tmp_path: Path, damage: str) -> None:
    expected = np.array(open_small(small, tokenizers, tmp_path).tokens)
    data, sidecar = files(tmp_path)
    match damage:
        case "truncated":
            data.write_bytes(data.read_bytes()[:-2])
        case "no sidecar":
            sidecar.unlink()
        case "bad sidecar":
            sidecar.write_text("[]")
        case "no data":
            data.unlink()
    assert np.array_equal(open_small(small, tokenizers, tmp_path).tokens, expected)


def test_split_without_text(small: Corpus, tokenizers: dict[int, Tokenizer], tmp_path: Path) -> None:
    empty = Corpus("empty", small.train, (Document("a", ""),), ())
    for split in ("validation", "test"):
        with pytest.raises(CorpusError, match=rf"corpus empty: split '{split}' must hold text, found 0 bytes"):
            open_shard(empty, split, tokenizers[300], tmp_path)


def test_full_disk_names_the_path(
    small: Corpus, tokenizers: dict[int, Tokenizer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DiskFullError, match=r"/shards/\w+\.bin: no space left"):
        open_small(small, tokenizers, tmp_path)
    assert not list((tmp_path / "shards").iterdir())


def test_a_cache_that_changes_under_us(
    small: Corpus, tokenizers: dict[int, Tokenizer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "_build", lambda *arguments: None)
    with pytest.raises(CorpusError, match="was written but cannot be read back"):
        open_small(small, tokenizers, tmp_path)
