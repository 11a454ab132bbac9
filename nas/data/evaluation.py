"""What an evaluation scores, and the loss in bits per byte.

Each byte of the text is scored once, whatever the tokenizer and the context. Documents are cut into strides of 512
bytes; a token belongs to the stride in which its first byte lies. A window scores the tokens of one stride, after as
much of the text before them as the context holds. So all candidates are asked about the same pieces of text, and a
longer context helps only by what it lets a model see.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nas.data.shards import TokenShard
from nas.data.tokenizer import SEPARATOR, Tokenizer
from nas.errors import CorpusError

STRIDE_BYTES = 512
RUNG_BYTES = 32 * 1024
BLOCK_STRIDES = 8

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EvaluationSet:
    """Windows to score. Sequences start at position 0; the unused right end is padded with 0 and not scored.

    Attributes:
        inputs: token ids, shape (windows, context).
        targets: the token after each input, shape (windows, context).
        scored: where the loss counts, shape (windows, context).
        window_bytes: bytes of text that each window scores, shape (windows,).
        block: number of the stride that each window belongs to, counted over the split; ascending, shape (windows,).
    """

    inputs: Integers
    targets: Integers
    scored: npt.NDArray[np.bool_]
    window_bytes: Integers
    block: Integers

    @property
    def text_bytes(self) -> int:
        """Bytes of text scored by all windows."""
        return int(self.window_bytes.sum())

    @property
    def scored_tokens(self) -> int:
        """Tokens scored by all windows."""
        return int(self.scored.sum())


@dataclass(frozen=True)
class _Window:
    """Tokens [first, end) are scored; the document's separator is at ``start``."""

    start: int
    first: int
    end: int
    stride: int


def evaluation_set(
    shard: TokenShard, tokenizer: Tokenizer, context: int, *, limit_bytes: int | None = None
) -> EvaluationSet:
    """The windows for a split.

    A stride of more tokens than 3/4 of the context is shared by several windows, so that each keeps some text before.

    Args:
        limit_bytes: score only about so many bytes: strides evenly spaced over the split, the same ones for every
            tokenizer and context.
    """
    sizes = tokenizer.token_bytes[shard.tokens]
    windows = list(_windows(shard, sizes, max(1, context * 3 // 4), limit_bytes))
    shape = (len(windows), context)
    inputs, targets, scored = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.bool_)
    for row, window in enumerate(windows):
        begin = max(window.start, window.end - 1 - context)
        length = window.end - 1 - begin
        inputs[row, :length] = shard.tokens[begin : window.end - 1]
        targets[row, :length] = shard.tokens[begin + 1 : window.end]
        scored[row, length - (window.end - window.first) : length] = True
    return EvaluationSet(
        inputs,
        targets,
        scored,
        window_bytes=np.array([sizes[window.first : window.end].sum() for window in windows], dtype=np.int64),
        block=np.array([window.stride for window in windows], dtype=np.int64),
    )


def _windows(shard: TokenShard, sizes: Integers, most: int, limit_bytes: int | None) -> Iterator[_Window]:
    """Windows of at most ``most`` scored tokens, in the order of the text."""
    starts = np.flatnonzero(shard.tokens == SEPARATOR)
    strides = -(-np.add.reduceat(sizes, starts) // STRIDE_BYTES)
    chosen = _chosen(int(strides.sum()), limit_bytes)
    ends = np.append(starts[1:], len(shard.tokens))
    first_stride = np.cumsum(strides) - strides
    for start, end, base, count in zip(starts.tolist(), ends.tolist(), first_stride.tolist(), strides, strict=True):
        own = chosen[np.searchsorted(chosen, base) : np.searchsorted(chosen, base + count)]
        first_byte = np.cumsum(sizes[start + 1 : end]) - sizes[start + 1 : end]
        borders = start + 1 + np.searchsorted(first_byte, np.stack([own - base, own - base + 1]) * STRIDE_BYTES)
        for stride, low, high in zip(own.tolist(), *borders.tolist(), strict=True):
            for first in range(low, high, most):
                yield _Window(start, first, min(first + most, high), stride)


def _chosen(strides: int, limit_bytes: int | None) -> Integers:
    """Numbers of the strides to score, ascending: all, or evenly spaced ones of about ``limit_bytes``."""
    count = strides if limit_bytes is None else min(strides, max(1, round(limit_bytes / STRIDE_BYTES)))
    return (2 * np.arange(count, dtype=np.int64) + 1) * strides // (2 * count)


def bits_per_byte(nats: float, text_bytes: int) -> float:
    """Total loss in nats over the scored text as bits per byte: nats / ln 2 / bytes."""
    if text_bytes < 1:
        raise CorpusError(f"scored text must be at least 1 byte, found {text_bytes}")
    return nats / math.log(2) / text_bytes


def standard_error(window_nats: Floats, window_bytes: Integers, block: Integers) -> float:
    """Standard error of bits per byte, from the scatter between pieces of 8 consecutive strides (4 KiB of text).

    The loss is a ratio of totals, R = sum(y) / sum(x), with y bits and x bytes of G independent pieces. Linearised
    (Taylor; Cochran, Sampling Techniques, 3rd ed. 1977, sections 2.11 and 6.3; Woodruff 1971):

        var(R) = G / (G - 1) * sum((y_g - R x_g)^2) / sum(x)^2

    Pieces, not windows, are the units, because neighbouring text is alike. Correlation beyond a piece is left out, so
    for long documents this errs on the small side. Infinite for fewer than two pieces. Arrays of shape (windows,).
    """
    _, piece = np.unique(np.asarray(block) // BLOCK_STRIDES, return_inverse=True)
    bits: npt.NDArray[Any] = np.bincount(piece, np.asarray(window_nats, np.float64)) / math.log(2)
    sizes = np.bincount(piece, window_bytes)
    pieces = len(sizes)
    if pieces < 2:
        return math.inf
    residuals = bits - bits.sum() / sizes.sum() * sizes
    return float(np.sqrt(pieces / (pieces - 1) * (residuals**2).sum()) / sizes.sum())
