import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from nas.train.backend import alike, backend_of, counting, standing_for


def test_a_tensor_is_where_it_is() -> None:
    with standing_for("cuda"):
        assert backend_of(torch.zeros(1)) == "cpu"


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
def test_a_tensor_without_storage_stands_for_another(backend: str) -> None:
    x = torch.zeros(1, device="meta")
    with standing_for("mps"):
        with standing_for(backend):
            assert backend_of(x) == backend
        assert backend_of(x) == "mps"
    assert backend_of(x) == "meta"


def test_other_threads_do_not_see_it() -> None:
    found: list[str] = []
    with standing_for("cuda"):
        thread = threading.Thread(target=lambda: found.append(backend_of(torch.zeros(1, device="meta"))))
        thread.start()
        thread.join()
    assert found == ["meta"]


@pytest.mark.parametrize(
    ("turns", "made", "counted"),
    [
        (0, [], []),
        (1, [0], [1]),
        (3, [0, 1, 2], [1, 1, 1]),
        (4, [0, 1, 3], [1, 2, 1]),
        (100, [0, 1, 99], [1, 98, 1]),
    ],
)
def test_of_turns_that_are_alike_one_is_taken_for_all(turns: int, made: list[int], counted: list[int]) -> None:
    """But the first, which finds less in memory, and the last, which may be smaller."""
    times = [1]

    @contextmanager
    def count(number: int) -> Iterator[None]:
        times.append(number)
        yield
        times.pop()

    with counting(count):
        found = [(turn, times[-1]) for turn in alike(range(turns))]
    assert found == list(zip(made, counted, strict=True)) and sum(counted) == turns
    assert list(alike(range(turns))) == list(range(turns)), "where nobody counts, all are made"
