"""What tells one device from another, as far as a profile depends on it."""

import os
import platform
from pathlib import Path

import torch

from nas.calibration import Fingerprint
from nas.measure import nvml
from nas.train.cuda import ALLOCATOR_SETTINGS


def fingerprint_here(device: str, threads: int, precision: str, label: str = "") -> Fingerprint:
    """Of a device of this machine. ``label`` is what its owner calls it, in place of its model."""
    cuda = device.startswith("cuda")
    name, slice_, memory = _gpu(device) if cuda else (processor(), "", memory_here())
    settings = [f"{own}={os.environ[own]}" for own in ALLOCATOR_SETTINGS if os.environ.get(own)]
    return Fingerprint(
        backend="cuda" if cuda else "cpu",
        name=label or name,
        slice=slice_,
        memory_bytes=memory,
        driver=nvml.driver_version() if cuda else "",
        torch=str(torch.__version__),
        allocator=" ".join(settings) if cuda else "",
        threads=threads,
        precision=precision,
    )


def processor() -> str:
    """The model of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def memory_here() -> int:
    """Bytes of this machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _gpu(device: str) -> tuple[str, str, int]:
    """Name, slice and memory of a GPU. Of one that is shared out a process sees a slice, which has fewer processors
    than the model and is a device of its own."""
    properties = torch.cuda.get_device_properties(torch.device(device))
    sliced = "MIG" in properties.name
    return properties.name, f"{properties.multi_processor_count} SM" if sliced else "", int(properties.total_memory)
