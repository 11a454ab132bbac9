import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.data.corpora import Corpus, Document
from nas.data.evaluation import RUNG_BYTES, STRIDE_BYTES, EvaluationSet, bits_per_byte, evaluation_set, standard_error
from nas.data.shards import TokenShard, open_shard
from nas.data.tokenizer import SEPARATOR, Tokenizer
from nas.errors import CorpusError

CHARACTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
WORDS = st.sampled_from(["the ", "Emma ", "日本", "🙂", "\n\n", "é", "x" * 300, " " * 700, "<|endoftext|>"])
TEXTS = st.lists(
    st.text(CHARACTERS, max_size=60) | st.lists(WORDS, max_size=60).map("".join), min_size=1, max_size=4
).filter(any)


def shard_of(texts: list[str], tokenizer: Tokenizer) -> TokenShard:
    corpus = Corpus("c", (), tuple(Document("d", text) for text in texts), ())
    with tempfile.TemporaryDirectory() as cache:
        return open_shard(corpus, "validation", tokenizer, Path(cache))


def check_windows(found: EvaluationSet, shard: TokenShard, tokenizer: Tokenizer, context: int) -> None:
    """What holds for every evaluation set."""
    assert found.inputs.shape == found.targets.shape == found.scored.shape == (len(found.block), context)
    assert found.inputs.dtype == found.targets.dtype == found.window_bytes.dtype == found.block.dtype == np.int64
    assert (np.diff(found.block) >= 0).all()
    assert found.scored.any(axis=1).all()
    assert found.scored.sum(axis=1).max() <= max(1, context * 3 // 4)
    assert (found.targets[found.scored] != SEPARATOR).all()
    scored_bytes = np.where(found.scored, tokenizer.token_bytes[found.targets], 0).sum(axis=1)
    assert np.array_equal(scored_bytes, found.window_bytes)
    for inputs, targets, scored in zip(found.inputs, found.targets, found.scored, strict=True):
        last = np.flatnonzero(scored)[-1]
        assert scored[last - scored.sum() + 1 : last + 1].all()
        assert np.array_equal(inputs[1 : last + 1], targets[:last])
        assert (inputs[1 : last + 1] != SEPARATOR).all()  # the separator can only be first: no window crosses documents
        assert inputs[0] == SEPARATOR or last == context - 1  # as much earlier text as fits
        assert not inputs[last + 1 :].any() and not targets[last + 1 :].any()


@given(TEXTS, st.sampled_from([256, 257, 300, 1500]), st.sampled_from([1, 2, 5, 16, 64, 300, 1024]))
@settings(max_examples=80, deadline=None)
def test_every_byte_exactly_once(tokenizers: dict[int, Tokenizer], texts: list[str], size: int, context: int) -> None:
    tokenizer = tokenizers[size]
    shard = shard_of(texts, tokenizer)
    found = evaluation_set(shard, tokenizer, context)
    check_windows(found, shard, tokenizer, context)
    assert tokenizer.decode(found.targets[found.scored]) == "".join(texts)
    assert found.text_bytes == shard.text_bytes == sum(len(text.encode()) for text in texts)
    assert found.scored_tokens == np.count_nonzero(shard.tokens)


@given(TEXTS, st.integers(1, 3000), st.sampled_from([5, 64, 300]))
@settings(max_examples=60, deadline=None)
def test_subset_is_the_same_text_for_all(
    tokenizers: dict[int, Tokenizer], texts: list[str], limit: int, context: int
) -> None:
    blocks = {}
    for size, tokenizer in tokenizers.items():
        shard = shard_of(texts, tokenizer)
        if tokenizer.token_bytes[shard.tokens].max() >= STRIDE_BYTES:
            continue  # a stride inside one token scores nothing
        found = evaluation_set(shard, tokenizer, context, limit_bytes=limit)
        check_windows(found, shard, tokenizer, context)
        blocks[size] = np.unique(found.block).tolist()
    strides = sum(-(-len(text.encode()) // STRIDE_BYTES) for text in texts)
    assert len(blocks[256]) == min(strides, max(1, round(limit / STRIDE_BYTES)))
    assert all(block == blocks[256] for block in blocks.values())


def test_strides_hold_the_tokens_that_begin_in_them(tokenizers: dict[int, Tokenizer], small: Corpus) -> None:
    texts = [document.text for document in small.validation]
    whole = evaluation_set(shard_of(texts, tokenizers[1500]), tokenizers[1500], 128)
    strides = [
        document.encode()[start : start + STRIDE_BYTES]
        for document in texts
        for start in range(0, len(document.encode()), STRIDE_BYTES)
    ]
    for stride, text in enumerate(strides):
        rows = whole.block == stride
        targets = whole.targets[rows][whole.scored[rows]]
        longest = tokenizers[1500].token_bytes.max()
        assert abs(int(whole.window_bytes[rows].sum()) - len(text)) < longest
        middle = text[longest:-longest].decode(errors="ignore")
        assert middle in tokenizers[1500].decode(targets)


def test_rung_is_spread_over_the_text(tokenizers: dict[int, Tokenizer], austen: Corpus, tmp_path: Path) -> None:
    shard = open_shard(austen, "validation", tokenizers[256], tmp_path)
    rung = evaluation_set(shard, tokenizers[256], 1024, limit_bytes=RUNG_BYTES)
    assert rung.text_bytes == RUNG_BYTES
    assert len(rung.block) == 64
    gaps = np.diff(rung.block)
    assert gaps.min() >= 14 and gaps.max() <= 15
    assert len(evaluation_set(shard, tokenizers[256], 1024, limit_bytes=10**9).block) == 912


def test_context_before_the_scored_text(tokenizers: dict[int, Tokenizer]) -> None:
    text = "".join(chr(ord("a") + number % 26) for number in range(1200))
    shard = shard_of([text], tokenizers[256])
    found = evaluation_set(shard, tokenizers[256], 700)
    assert found.scored.sum(axis=1).tolist() == [512, 512, 176]
    assert found.inputs[0, 0] == SEPARATOR
    assert bytes(found.targets[0, :512].tolist()).decode() == text[:512]
    assert bytes(found.inputs[1].tolist()).decode() == text[323:1023]
    assert bytes(found.targets[2, -176:].tolist()).decode() == text[1024:]


def test_bits_per_byte() -> None:
    assert bits_per_byte(math.log(2) * 24, 8) == pytest.approx(3.0)
    with pytest.raises(CorpusError, match="scored text must be at least 1 byte, found 0"):
        bits_per_byte(1.0, 0)


def test_standard_error_by_hand() -> None:
    # Two pieces of 10 and 30 bytes at 2 and 4 bits a byte: R = 140 / 40 = 3.5, residuals -15 and 15.
    bits, sizes = np.array([8.0, 12.0, 120.0]), np.array([4, 6, 30])
    found = standard_error(bits * math.log(2), sizes, np.array([0, 7, 8]))
    assert found == pytest.approx(math.sqrt(2 * (15**2 + 15**2)) / 40)


def test_standard_error_of_one_piece_is_unknown() -> None:
    assert standard_error(np.ones(3), np.ones(3, np.int64), np.array([0, 5, 7])) == math.inf


def test_standard_error_matches_simulation() -> None:
    """Pieces of different sizes, windows alike within a piece: R scatters as much as is claimed."""
    random = np.random.default_rng(0)
    block = np.arange(8 * 40)
    ratios, errors = [], []
    for _ in range(300):
        sizes = random.integers(100, 256, len(block))
        level = np.repeat(random.normal(2.0, 0.3, 40), 8)
        bits = sizes * (level + random.normal(0, 0.5, len(block)))
        ratios.append(bits.sum() / sizes.sum())
        errors.append(standard_error(bits * math.log(2), sizes, block))
    assert np.mean(errors) == pytest.approx(np.std(ratios), rel=0.15)
