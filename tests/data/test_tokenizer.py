import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tokenizers as library
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.data import tokenizer as module
from nas.data.corpora import Corpus, Document
from nas.data.tokenizer import SEPARATOR, Tokenizer, load_tokenizer, train_tokenizer
from nas.errors import CorpusError, SpecError

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=80)


@given(TEXT)
@settings(max_examples=60, deadline=None)
def test_round_trip_and_bytes(tokenizers: dict[int, Tokenizer], text: str) -> None:
    for tokenizer in tokenizers.values():
        ids = tokenizer.encode(text)
        assert ids.dtype == np.uint16
        assert tokenizer.decode(ids) == text
        assert tokenizer.token_bytes[ids].sum() == len(text.encode())
        assert SEPARATOR not in ids


@pytest.mark.parametrize("size", [256, 257, 300, 1500])
def test_exact_vocabulary_with_the_separator_first(tokenizers: dict[int, Tokenizer], size: int) -> None:
    tokenizer = tokenizers[size]
    assert tokenizer.vocabulary == len(tokenizer.token_bytes) == size
    assert tokenizer.token_bytes[SEPARATOR] == 0
    assert (tokenizer.token_bytes[1:] > 0).all()
    assert not tokenizer.token_bytes.flags.writeable
    assert library.Tokenizer.from_str(tokenizer.to_json()).token_to_id("<|endoftext|>") == SEPARATOR


def test_literal_special_token_is_text(tokenizers: dict[int, Tokenizer]) -> None:
    for tokenizer in tokenizers.values():
        for again in (tokenizer, pickle.loads(pickle.dumps(tokenizer))):
            ids = again.encode("a<|endoftext|>b")
            assert SEPARATOR not in ids
            assert again.decode(ids) == "a<|endoftext|>b"


def test_raw_ids_are_bytes_in_the_library_too(tokenizers: dict[int, Tokenizer]) -> None:
    every_byte = "".join(chr(code) for code in range(1, 0x800)) + "日🙂"
    raw = tokenizers[256]
    assert raw.encode(every_byte).tolist() == list(every_byte.encode())
    exported = library.Tokenizer.from_str(raw.to_json())
    assert exported.encode(every_byte).ids == list(every_byte.encode())
    assert exported.decode(exported.encode(every_byte).ids) == every_byte


def test_decode_of_parts_and_separators(tokenizers: dict[int, Tokenizer]) -> None:
    for tokenizer in (tokenizers[256], tokenizers[257]):
        ids = tokenizer.encode("é")
        assert tokenizer.decode(ids[:1]) == "\ufffd"
        assert tokenizer.decode([SEPARATOR, *ids, SEPARATOR]) == "é"


@pytest.mark.parametrize(("text", "rule"), [("a\0", "NUL"), ("a\udc80", "valid Unicode")])
def test_what_cannot_be_encoded(tokenizers: dict[int, Tokenizer], text: str, rule: str) -> None:
    for tokenizer in tokenizers.values():
        with pytest.raises(CorpusError, match=rule):
            tokenizer.encode(text)


def test_training_is_deterministic_and_sees_training_text_only(small: Corpus, tokenizers: dict[int, Tokenizer]) -> None:
    other = replace(small, validation=(Document("v", "quite other text " * 500),), test=(Document("t", "zzz"),))
    assert train_tokenizer(other, 1500) == tokenizers[1500]
    changed = replace(small, train=(Document("v", "quite other text, now to learn from. " * 500), *small.train))
    assert train_tokenizer(changed, 1500) != tokenizers[1500]


def test_pieces_change_no_id(small: Corpus, tokenizers: dict[int, Tokenizer], monkeypatch: pytest.MonkeyPatch) -> None:
    text = small.train[0].text + small.train[1].text
    whole = tokenizers[1500].encode(text)
    monkeypatch.setattr(module, "_PIECE_CHARACTERS", 100)
    assert len(list(module._pieces(text))) > 500
    assert np.array_equal(tokenizers[1500].encode(text), whole)
    assert train_tokenizer(small, 1500) == tokenizers[1500]


def test_cache(
    small: Corpus, tokenizers: dict[int, Tokenizer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train_tokenizer(small, 300, tmp_path) == tokenizers[300]
    assert len(list((tmp_path / "tokenizers").iterdir())) == 1
    monkeypatch.setattr(module, "_trained", None)
    assert train_tokenizer(replace(small, validation=()), 300, tmp_path) == tokenizers[300]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"version": "1.0"}', None])
def test_damaged_cache_is_trained_again(
    small: Corpus, tokenizers: dict[int, Tokenizer], tmp_path: Path, content: bytes | None
) -> None:
    train_tokenizer(small, 300, tmp_path)
    (path,) = (tmp_path / "tokenizers").iterdir()
    damaged = tokenizers[257].to_json().replace("endoftext", "end").encode() if content is None else content
    path.write_bytes(damaged)
    assert train_tokenizer(small, 300, tmp_path) == tokenizers[300]
    assert path.read_text() == tokenizers[300].to_json()


def test_save_and_load(tokenizers: dict[int, Tokenizer], tmp_path: Path) -> None:
    for size, tokenizer in tokenizers.items():
        path = tokenizer.save(tmp_path / str(size))
        assert path.name == "tokenizer.json"
        assert load_tokenizer(path.parent) == tokenizer
    with pytest.raises(CorpusError, match=r"tokenizer\.json: must be a tokenizer"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("size", [0, 255, 65537])
def test_sizes_out_of_range(small: Corpus, size: int) -> None:
    with pytest.raises(SpecError, match=r"vocabulary: must be from 256 \(raw bytes\) to 65536, found"):
        train_tokenizer(small, size)


def test_too_little_text_says_what_was_reached() -> None:
    corpus = Corpus("tiny", (Document("a", "some text"),), (), ())
    with pytest.raises(CorpusError, match=r"corpus tiny: 9 bytes .* a vocabulary of \d+, not 4096; use more text or a"):
        train_tokenizer(corpus, 4096)


def test_lossy_tokenizer_is_refused(small: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tokenizer, "decode", lambda self, ids: "something else")
    with pytest.raises(CorpusError, match=r"emma: must survive a vocabulary of 300"):
        train_tokenizer(small, 300)


@pytest.mark.parametrize(("chosen", "expected"), [(None, "false"), ("true", "true")])
def test_threads_only_for_those_who_ask_and_forks_stay_quiet(chosen: str | None, expected: str) -> None:
    code = (
        "import os\n"
        "from nas.data.corpora import Corpus, Document\n"
        "from nas.data.tokenizer import train_tokenizer\n"
        "train_tokenizer(Corpus('c', (Document('a', 'some text'),) * 9, (), ()), 258).encode('text')\n"
        "child = os.fork()\n"
        "os._exit(0) if not child else os.waitpid(child, 0)\n"
        "print(os.environ['TOKENIZERS_PARALLELISM'])\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TOKENIZERS_PARALLELISM"}
    environment |= {} if chosen is None else {"TOKENIZERS_PARALLELISM": chosen}
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr, done.stdout.strip()) == (0, "", expected)
