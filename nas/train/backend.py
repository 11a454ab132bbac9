"""What the code of a training step looks at to choose between kernels.

A tensor on the meta device has no storage. While a step is traced (`nas.measure.trace`) it stands for one on the
device that the step is to run on, so that what is traced is the program that will run there.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TypeVar

from torch import Tensor

Item = TypeVar("Item")
Counting = Callable[[int], AbstractContextManager[None]]
"""Within it, what is done counts so many times."""

_standing_for: ContextVar[str] = ContextVar("standing_for", default="meta")
_counting: ContextVar[Counting | None] = ContextVar("counting", default=None)


def backend_of(x: Tensor) -> str:
    """Type of the device that a tensor is on or stands for: ``cpu``, ``cuda`` or, standing for none, ``meta``."""
    return _standing_for.get() if x.is_meta else x.device.type


@contextmanager
def standing_for(backend: str) -> Iterator[None]:
    """Within it, tensors on the meta device stand for tensors on that one."""
    token = _standing_for.set(backend)
    try:
        yield
    finally:
        _standing_for.reset(token)


@contextmanager
def counting(times: Counting) -> Iterator[None]:
    """Within it, of turns of a loop that are `alike` one is taken for all."""
    token = _counting.set(times)
    try:
        yield
    finally:
        _counting.reset(token)


def alike(turns: Sequence[Item]) -> Iterator[Item]:
    """The turns of a loop that all do the same to tensors of the same shapes, but for the last, which may be smaller.

    The first finds less in memory than those that follow it.
    """
    times = _counting.get()
    if times is None or len(turns) <= 3:
        yield from turns
        return
    yield turns[0]
    with times(len(turns) - 2):
        yield turns[1]
    yield turns[-1]
