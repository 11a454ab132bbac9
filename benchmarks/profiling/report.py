"""What a part of the benchmark has to say."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.machine import table
from benchmarks.profiling.errors import TARGETS, Target

WIDTH = 120


@dataclass(frozen=True)
class Part:
    """What was asked, a table of what was found, and what was claimed."""

    title: str
    about: str
    found: str
    targets: Sequence[Target]

    def text(self) -> str:
        return f"## {self.title}\n\n{paragraph(self.about)}\n\n{self.found}"


def paragraph(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False)


def ended_well(measured: int, asked: int) -> str:
    """A sentence where some probes gave no answer."""
    return "" if measured == asked else f" {asked - measured} of them gave no answer and are left out."


def write_up(parts: Sequence[Part]) -> str:
    """All targets, then the parts."""
    claimed = table(TARGETS, [target.cells() for part in parts for target in part.targets])
    return "\n\n".join(["## Targets", claimed, *(part.text() for part in parts)])
