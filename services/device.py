"""The device of a run, and the CPU threads it gets."""

import os
from contextlib import suppress
from dataclasses import dataclass

import torch

from nas.catalogue import find_device
from nas.errors import NotFoundError, SpecError
from nas.measure.fingerprint import processor
from services.cpus import cores

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
    """Torch's name of a device of this machine; raises `SpecError` for one that is not there."""
    kind = kind_of(name, torch.cuda.get_device_name() if torch.cuda.is_available() else "")
    if kind is None:
        raise absent(name, "a machine")
    return kind


def kind_of(name: str, gpu: str) -> str | None:
    """Torch's name of a device where CUDA calls the GPU so, or there is none; ``None`` for what is not there.

    ``auto`` is CUDA where there is a GPU, else the CPU; a device of the catalogue is CUDA where the GPU is one.
    """
    if name == "auto":
        return "cuda" if gpu else "cpu"
    if is_kind(name):
        return name if gpu or name == "cpu" else None
    with suppress(NotFoundError):
        return "cuda" if gpu in find_device(name).cuda_names else None
    return None


def is_kind(name: str) -> bool:
    """Whether a spec's device is a kind (auto, cpu, cuda, cuda:1), and not one of the catalogue."""
    return name in ("auto", "cpu") or name.startswith("cuda")


def absent(name: str, place: str) -> SpecError:
    """The complaint about a device that a place has not; what is only listed can be planned for."""
    rule = f"must be auto, cpu, or cuda on {place} with a GPU"
    with suppress(NotFoundError):
        rule += f"; {find_device(name).key} is in the catalogue: it can be planned for with nas forecast"
    return SpecError("device", rule, name)


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


def backend_for(device: str) -> str:
    """The kind of device that a name of torch's means: ``cpu`` or ``cuda``."""
    return "cuda" if device.startswith("cuda") else "cpu"


def precision_for(device: str) -> str:
    """Of matrix products: bfloat16 on CUDA, float32 elsewhere."""
    return "bfloat16" if device.startswith("cuda") else "float32"
