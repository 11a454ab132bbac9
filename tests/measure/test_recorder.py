"""What is remembered of operators against what they do, and turns of a loop that are counted and not made."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

from nas.candidate import Candidate, Recipe
from nas.measure import recorder
from nas.measure import trace as trace_module
from nas.measure.recorder import Recorder
from nas.measure.trace import trace_step
from nas.plan import Layout
from nas.space import load_space


class Forgetful(dict[Any, Any]):
    """Remembers nothing."""

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


def drawn(index: int, backend: str) -> tuple[Candidate, Layout]:
    space = load_space("llama-tiny" if backend == "cpu" else "llama-small")
    candidate = space.decode({**space.uniform(index), "depth": 2})
    recipe = Recipe(4 * candidate.architecture.context, candidate.recipe.optimizer, dropout=0.1 * (index % 2))
    return replace(candidate, recipe=recipe), Layout(2 + 2 * (index % 2), index % 3 == 0, 2**18)


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
@pytest.mark.parametrize("index", range(6))
def test_what_is_remembered_is_what_is_done(index: int, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate, layout = drawn(index, backend)
    remembered = [trace_step(candidate, layout, backend=backend) for _ in range(2)]
    monkeypatch.setattr(recorder, "_effects", Forgetful())
    called = trace_step(candidate, layout, backend=backend)
    assert remembered == [called, called]


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
@pytest.mark.parametrize("index", range(4))
def test_turns_that_are_counted_are_as_those_that_are_made(
    index: int, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the loss's chunks, of which there are many."""
    candidate, layout = drawn(index, backend)
    layout = replace(layout, logits_chunk=2**14)
    counted = trace_step(candidate, layout, backend=backend)

    @contextmanager
    def made(times: Any) -> Iterator[None]:
        yield

    monkeypatch.setattr(trace_module, "counting", made)
    assert trace_step(candidate, layout, backend=backend) == counted


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "REMEMBERED", 3)
    monkeypatch.setattr(recorder, "_effects", {})
    with torch.device("meta"), Recorder(1):
        for size in range(1, 9):
            torch.ones(size)
            assert len(recorder._effects) <= 3


def test_numbers_that_are_equal_are_not_alike() -> None:
    """1 leaves integers what they are, 1.0 does not."""
    with torch.device("meta"), Recorder(1):
        whole = torch.ones(3, dtype=torch.int64)
        for _ in range(2):
            assert [(whole * number).dtype for number in (1, 1.0, True)] == [torch.int64, torch.float32, torch.int64]


def test_what_is_written_into_is_what_is_given() -> None:
    with torch.device("meta"), Recorder(1) as watched:
        x = torch.ones(4)
        before = watched.live
        for _ in range(2):
            assert x.add_(1) is x
            assert x.view(2, 2).mul_(2).untyped_storage()._cdata == x.untyped_storage()._cdata
        assert watched.live == before == 16


def test_what_is_new_is_counted_until_it_is_freed() -> None:
    with torch.device("meta"), Recorder(512) as watched:
        x = torch.ones(200)  # 800 bytes
        for _ in range(2):
            y = x + 1
            assert (watched.live, y.shape, y.stride(), y.dtype) == (2048, (200,), (1,), torch.float32)
            del y
            assert watched.live == 1024
