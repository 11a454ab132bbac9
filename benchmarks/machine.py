"""What a result has to say of the machine that it was measured on, and how it is written down."""

import os
import platform
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

import torch


def machine(device: str = "cpu") -> str:
    """Processor, cores, threads and versions in one line."""
    facts = [
        chip(device),
        f"{os.cpu_count()} cores, {torch.get_num_threads()} of them used",
        f"torch {torch.__version__}",
        f"Python {platform.python_version()}",
        platform.system(),
        date.today().isoformat(),
    ]
    return "; ".join(facts)


def chip(device: str) -> str:
    """The name of what computes."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else processor()


def processor() -> str:
    """The processor as it names itself, with the widest vectors that torch uses on it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()} ({torch.backends.cpu.get_cpu_capability()})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def publish(text: str, out: Path | None) -> None:
    """To the screen, and to a file when one is asked for."""
    print(text)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n", encoding="utf-8")
