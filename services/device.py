"""The device of a run, and the CPU threads it gets."""

import os
from dataclasses import dataclass

import torch

from nas.errors import SpecError
from nas.measure.fingerprint import processor

GPU_THREADS = 4
"""CPU threads that feed a GPU."""


@dataclass(frozen=True, slots=True)
class Device:
    """What candidates are trained on.

    Attributes:
        kind: torch's name.
        hardware: its model.
        threads, all_threads: CPU threads of a run among others, and of one that is alone on the machine.
    """

    kind: str
    hardware: str
    threads: int
    all_threads: int


def device_here(name: str, parallel: int) -> Device:
    """The device of this machine that a spec names; raises `SpecError` for one that is not there."""
    kind = resolve_device(name)
    hardware = torch.cuda.get_device_name() if kind != "cpu" else processor()
    return Device(kind, hardware, threads_for(kind, parallel), threads_for(kind, 1))


def resolve_device(name: str) -> str:
    """``auto`` is CUDA where there is a GPU, else the CPU; raises `SpecError` for a device that is not there."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu" or (name.startswith("cuda") and torch.cuda.is_available()):
        return name
    raise SpecError("device", "must be auto, cpu, or cuda on a machine with a GPU", name)


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_for(device: str, parallel: int) -> int:
    """CPU threads of each of ``parallel`` workers; never more than ``OMP_NUM_THREADS``, where that is set."""
    share = max(1, cores() // parallel)
    most = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    limits = [
        share,
        *([] if device == "cpu" else [GPU_THREADS]),
        *([int(most)] if most.isdigit() and int(most) else []),
    ]
    return min(limits)


def precision_for(device: str) -> str:
    """Of matrix products: bfloat16 on CUDA, float32 elsewhere."""
    return "bfloat16" if device.startswith("cuda") else "float32"
