"""Facts that the tests of checks are given, files and programs, and how findings are read."""

import stat
from collections.abc import Iterator
from pathlib import Path

from services.doctor import Finding, Level

OK, WARNING, ERROR = Level


def levels(findings: Iterator[Finding]) -> list[Level]:
    return [own.level for own in findings]


def write(folder: Path, **files: str) -> Path:
    """Small files; two underscores in a name are a dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)
