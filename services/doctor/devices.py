"""What computes, as torch sees it: its build, its products on the CPU, and the GPUs."""

import os
import platform
import subprocess
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from nas.units import format_bytes
from services.doctor.findings import MIB, Finding, Level, one_line

# --- torch ---


def judge_torch(version: str, build: str | None, threads: int) -> Finding:
    kind = "a CPU build" if build is None else f"a build for {build}"
    return Finding("torch", Level.OK, f"{version}, {kind}; {threads} thread{'s' * (threads != 1)}")


def judge_products(capability: str, machine: str) -> Finding:
    """Of float32 on the CPU. Only x86 names what it lacks; others are "DEFAULT" with their vector units in use."""
    wide = {"AVX512": "AVX-512", "AVX2": "AVX2"}.get(capability)
    if wide is None and machine.lower() in ("x86_64", "amd64"):
        found = f"products of float32 use no AVX2 ({capability}): training will be several times slower"
        return Finding("torch", Level.WARNING, found, "unset ATEN_CPU_CAPABILITY where it is set, or use a newer CPU")
    return Finding("torch", Level.OK, f"products of float32 use {wide or f'{machine} ({capability})'}")


def check_torch() -> Iterator[Finding]:
    import torch

    yield judge_torch(torch.__version__, _torch_build(), torch.get_num_threads())
    if not _is_cuda_available()[0]:
        yield judge_products(torch.backends.cpu.get_cpu_capability(), platform.machine())


def _torch_build() -> str | None:
    """``CUDA 13.0`` or ``ROCm 7.1``, ``None`` for a build for the CPU."""
    import torch

    hip = getattr(torch.version, "hip", None)
    return f"CUDA {torch.version.cuda}" if torch.version.cuda else f"ROCm {hip}" if hip else None


def _is_cuda_available() -> tuple[bool, str]:
    """Whether torch finds a GPU, and what it complains of (a driver that is too old, say)."""
    import torch

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    return available, one_line(said[0].message, most=200) if said else ""


# --- cuda ---


@dataclass(frozen=True, slots=True)
class Gpu:
    """``memory`` in bytes, 0 where it is not known."""

    name: str
    memory: int

    def __str__(self) -> str:
        return f"{self.name}, {format_bytes(self.memory)}" if self.memory else self.name


@dataclass(frozen=True, slots=True)
class Gpus:
    """Attributes:
    seen: by torch.
    installed: those that nvidia-smi lists.
    driver: its version, empty where it is not known.
    build: what torch is built for, ``None`` for the CPU.
    visible: ``CUDA_VISIBLE_DEVICES``, ``None`` where it is not set.
    said: torch's complaint, empty for none.
    """

    seen: tuple[Gpu, ...] = ()
    installed: tuple[Gpu, ...] = ()
    driver: str = ""
    build: str | None = None
    visible: str | None = None
    said: str = ""


def judge_cuda(gpus: Gpus) -> Iterator[Finding]:
    driver = f"; driver {gpus.driver}" if gpus.driver else ""
    for number, gpu in enumerate(gpus.seen):
        yield Finding("cuda", Level.OK, f"cuda:{number} is {gpu}{driver}")
    if gpus.seen:
        return
    if not gpus.installed:
        yield Finding("cuda", Level.OK, "none; training on the CPU")
        return
    if gpus.build is None:
        advice = "install a CUDA build of torch: https://pytorch.org/get-started/locally/"
    elif gpus.visible is not None:
        advice = f"unset CUDA_VISIBLE_DEVICES, which is {gpus.visible!r}"
    else:
        advice = f"update the driver, or install a build of torch for an older one than {gpus.build}"
    names = ", ".join(map(str, gpus.installed))
    said = f" ({gpus.said})" if gpus.said else ""
    yield Finding("cuda", Level.WARNING, f"there is {names}{driver}, but torch does not see it{said}", advice)


def parse_smi(text: str) -> tuple[tuple[Gpu, ...], str]:
    """GPUs and driver from lines ``name, MiB, driver`` of nvidia-smi."""
    rows = [[cell.strip() for cell in line.rsplit(",", 2)] for line in text.splitlines()]
    rows = [row for row in rows if len(row) == 3]
    gpus = tuple(Gpu(name, int(memory) * MIB if memory.isdecimal() else 0) for name, memory, _ in rows)
    return gpus, rows[0][2] if rows else ""


def _nvidia_smi(seconds: float = 20) -> str:
    command = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def check_cuda() -> Iterator[Finding]:
    import torch

    installed, driver = parse_smi(_nvidia_smi())
    available, said = _is_cuda_available()
    found = [torch.cuda.get_device_properties(own) for own in range(torch.cuda.device_count())] if available else []
    seen = tuple(Gpu(own.name, own.total_memory) for own in found)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return judge_cuda(Gpus(seen, installed, driver, _torch_build(), visible, said))
