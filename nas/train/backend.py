"""What the code of a training step looks at to choose between kernels.

A tensor on the meta device has no storage. While a step is traced (`nas.measure.trace`) it stands for one on the
device that the step is to run on, so that what is traced is the program that will run there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

_standing_for: ContextVar[str] = ContextVar("standing_for", default="meta")


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
