"""What a check gives: findings, each with its advice. And what the checks share: sizes, a line, a small file."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

MIB, GIB = 2**20, 2**30


class Level(StrEnum):
    """How a finding is to be taken: a search cannot do with an error, and does worse with a warning."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about a topic, and what to do about it (empty: nothing)."""

    topic: str
    level: Level
    found: str
    advice: str = ""


Check = Callable[[], Iterable[Finding]]


def one_line(text: object, most: int = 400) -> str:
    """On one line, without its end where that is far away."""
    words = " ".join(str(text).split())
    return words if len(words) <= most else f"{words[:most]}..."


def text_of(path: Path) -> str:
    """A small file of the system, empty where there is none."""
    try:
        return path.read_text()
    except OSError:
        return ""
