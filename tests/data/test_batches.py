from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.data.batches import Batches
from nas.errors import CorpusError, SpecError

SHAPES = st.integers(1, 12).flatmap(lambda context: st.tuples(st.integers(context + 1, 200), st.just(context)))


def numbered(length: int, context: int, seed: int = 0) -> Batches:
    """Batches over tokens that are their own positions."""
    return Batches(np.arange(length, dtype=np.uint16), context, seed)


@given(SHAPES, st.integers(0, 2**32), st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_no_window_twice_in_an_epoch(shape: tuple[int, int], seed: int, epoch: int) -> None:
    length, context = shape
    batches = numbered(length, context, seed)
    count = batches.sequences_per_epoch
    inputs, targets = batches.batch(epoch * count, count)
    assert inputs.shape == targets.shape == (count, context)
    assert np.array_equal(targets, inputs + 1)
    assert np.array_equal(inputs, inputs[:, :1] + np.arange(context))
    assert len(np.unique(targets)) == targets.size
    assert targets.max() < length
    assert length - targets.size < 2 * context + 1


@given(SHAPES, st.integers(0, 9), st.integers(0, 300), st.integers(1, 40))
@settings(max_examples=50, deadline=None)
def test_a_fresh_object_continues_anywhere(shape: tuple[int, int], seed: int, first: int, count: int) -> None:
    used = numbered(*shape, seed)
    used.batch(0, 50)
    inputs, targets = used.batch(first, count)
    fresh = numbered(*shape, seed)
    for row in reversed(range(count)):
        sequence = fresh.sequence(first + row)
        assert np.array_equal(sequence[:-1], inputs[row])
        assert np.array_equal(sequence[1:], targets[row])


def test_epochs_and_seeds_differ() -> None:
    batches = numbered(1000, 8)
    count = batches.sequences_per_epoch
    first, second = batches.batch(0, count)[0], batches.batch(count, count)[0]
    assert not np.array_equal(first, second)
    assert not np.array_equal(np.sort(first[:, 0]), np.sort(second[:, 0]))
    assert not np.array_equal(first, numbered(1000, 8, seed=1).batch(0, count)[0])


def test_types_and_memory(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    np.arange(100, dtype="<u2").tofile(path)
    batches = Batches(np.memmap(path, dtype="<u2", mode="r"), 8, 0)
    for array in (*batches.batch(3, 4), batches.sequence(0)):
        assert type(array) is np.ndarray and array.dtype == np.int64 and array.flags.c_contiguous
    batches.batch(0, 20 * batches.sequences_per_epoch)
    assert len(batches._epochs) == 2


def test_pinned_order() -> None:
    """A change here would give resumed runs other data."""
    first = [89, 9, 79, 19, 39, 69, 29, 49, 59]
    second = [68, 8, 18, 38, 78, 28, 88, 48, 58]
    assert numbered(100, 10, seed=7).batch(0, 18)[0][:, 0].tolist() == first + second


def test_one_window_is_enough() -> None:
    batches = numbered(9, 8)
    assert batches.sequences_per_epoch == 1
    assert batches.sequence(5).tolist() == list(range(9))
    with pytest.raises(CorpusError, match=r"training text must be at least 9 tokens \(context 8 \+ 1\), found 8"):
        numbered(8, 8)


@pytest.mark.parametrize(("context", "seed", "field"), [(0, 0, "context"), (4, -1, "seed")])
def test_bad_arguments(context: int, seed: int, field: str) -> None:
    with pytest.raises(SpecError, match=rf"{field}: must be at least"):
        numbered(100, context, seed)
