"""The machine that a result was measured on."""

import os
import platform
from pathlib import Path

import torch


def machine() -> str:
    """One line: processor, cores, threads, Python and torch."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else model or platform.processor()
    return (
        f"{device}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )
