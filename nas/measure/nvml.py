"""What the driver's management library says of a GPU. Each answer is ``None`` where nobody can give it."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch


def joules(device: str) -> float | None:
    """Energy that a GPU has used since its driver was loaded. A slice has no counter: the board's is shared."""
    handle = _handle(device)
    if handle is None or _is_sliced(handle):
        return None
    found = _ask("nvmlDeviceGetTotalEnergyConsumption", handle)
    return None if found is None else float(found) / 1000


def used_bytes(device: str) -> int | None:
    """Memory of a GPU that is in use, by whatever process."""
    handle = _handle(device)
    found = _ask("nvmlDeviceGetMemoryInfo", handle) if handle is not None else None
    return None if found is None else int(found.used)


def free_bytes(device: str) -> int | None:
    """Memory of a GPU that nobody uses."""
    handle = _handle(device)
    found = _ask("nvmlDeviceGetMemoryInfo", handle) if handle is not None else None
    return None if found is None else int(found.free)


def driver_version() -> str:
    """Empty without a driver."""
    found = _ask("nvmlSystemGetDriverVersion") if _library() is not None else None
    return str(found or "")


def _is_sliced(handle: Any) -> bool:
    found = _ask("nvmlDeviceIsMigDeviceHandle", handle)
    return bool(found)


def _handle(device: str) -> Any:
    """Of a CUDA device, by its UUID: numbers depend on what is visible."""
    if not device.startswith("cuda") or _library() is None:
        return None
    index = torch.device(device).index
    properties = torch.cuda.get_device_properties(torch.cuda.current_device() if index is None else index)
    name = str(properties.uuid)
    return _ask("nvmlDeviceGetHandleByUUID", name) or _ask("nvmlDeviceGetHandleByUUID", f"GPU-{name}")


def _ask(name: str, *arguments: Any) -> Any:
    library = _library()
    function: Callable[..., Any] = getattr(library, name)
    try:
        return function(*arguments)
    except library.NVMLError:
        return None


@cache
def _library() -> Any:
    """``None`` where it is not installed or finds no driver."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml
