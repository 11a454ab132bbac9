"""A hard cap on what a run takes of its device, so that a prediction that was wrong harms nobody beside it."""

import re
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from nas.errors import CrowdedError
from nas.units import format_bytes

HEADROOM = 0.5
"""Of the cap, beside it: a C library keeps part of what was freed, by up to 37% of the peak in our measurements."""
BESIDE_BYTES = 384 * 2**20
"""For all that is not tensors of a step: text to be scored, which is some 90 MiB of a long context and a small
vocabulary, and the kernels that oneDNN makes for each shape that it meets, which were seen to take up to 120 MiB."""
COMPILER_BYTES = 4 * 2**30
FREE_SECONDS, LOOK_SECONDS = 30.0, 0.2


@contextmanager
def contained(device: str, cap_bytes: int | None, *, compiles: bool = False) -> Iterator[None]:
    """Within it, tensors take no more than ``cap_bytes``: what asks for more runs out of memory.

    On CUDA the caching allocator keeps the cap exactly (the context of the process is not in it). On the CPU the kernel
    keeps it for the data of the whole process (``RLIMIT_DATA``; ``RLIMIT_RSS`` enforces nothing), counted from what the
    process has now, so it has some headroom; elsewhere than on Linux nothing is enforced.
    """
    if cap_bytes is None:
        yield
    elif device.startswith("cuda"):
        _await_free(device, cap_bytes)
        index = _index(device)
        total = torch.cuda.get_device_properties(index).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, cap_bytes / total), index)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, index)
    else:
        own = int(cap_bytes * (1 + HEADROOM)) + BESIDE_BYTES + (COMPILER_BYTES if compiles else 0)
        with _data_limited(own):
            yield


def _index(device: str) -> int:
    """Of a GPU: the allocator's fraction takes no name without one."""
    index = torch.device(device).index
    return torch.cuda.current_device() if index is None else index


def _await_free(device: str, wanted: int, look: Callable[[str], tuple[int, int]] = torch.cuda.mem_get_info) -> None:
    """Until so much of a GPU is free: a run that has just ended there may still be giving back its memory.

    Raises `CrowdedError` when it is not.
    """
    limit = time.monotonic() + FREE_SECONDS
    while (free := look(device)[0]) < wanted:
        if time.monotonic() > limit:
            raise CrowdedError(f"{device} is used by others: {format_bytes(free)} free, {format_bytes(wanted)} needed")
        time.sleep(LOOK_SECONDS)


def check_uncrowded(device: str, cap_bytes: int | None, had: Callable[[str], int] | None = None) -> None:
    """After a run was out of memory: raises `CrowdedError` when the device had not for it what it was allowed.

    Args:
        had: bytes of a device that this process has or could have.
    """
    if cap_bytes is None or not device.startswith("cuda"):
        return
    if (found := (had or _within_reach)(device)) < cap_bytes:
        raise CrowdedError(f"{device} was filled by others: {format_bytes(found)} left of {format_bytes(cap_bytes)}")


def _within_reach(device: str) -> int:
    return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)


@contextmanager
def _data_limited(more_bytes: int) -> Iterator[None]:
    """So much more data than now, and no more than was allowed before."""
    now = data_bytes()
    if now is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [limit for limit in (now + more_bytes, soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def data_bytes() -> int | None:
    """Data of this process as the kernel counts it against ``RLIMIT_DATA``; ``None`` where nobody says."""
    try:
        found = re.search(r"^VmData:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None
