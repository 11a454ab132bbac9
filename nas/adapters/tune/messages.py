"""What a worker and its engine say to each other."""

import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from nas.errors import NasError
from nas.ports import Assignment, Outcome
from nas.records import CurvePoint, LogLine
from nas.train.worker import Workshop


@dataclass(frozen=True, slots=True)
class Needs:
    """What a run needs of a machine.

    Attributes:
        bundle: in Ray's words: CPU, GPU and resources of one's own.
        nodes: ids of the machines that will do; empty for any.
    """

    bundle: Mapping[str, float]
    nodes: tuple[str, ...] = ()


def _nothing(assignment: Assignment) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is to do, how it opens the place to do it in, what it needs, and what is around it while it is at
    work, in the thread that does it: ids for its log."""

    assignment: Assignment
    workshop: Callable[[], Workshop]
    needs: Needs
    around: Callable[[Assignment], AbstractContextManager[None]] = _nothing


Slots = Callable[[], Mapping[str, int]]
"""How many runs there may be at a time, by device; asked again and again, since machines come and go."""


@dataclass(frozen=True, slots=True)
class Began:
    """Where the worker is."""

    worker: str


@dataclass(frozen=True, slots=True)
class Logged:
    """What the worker has logged before whatever it says with this."""

    lines: tuple[LogLine, ...]


@dataclass(frozen=True, slots=True)
class Reported:
    """A curve point; the worker waits for an answer to a ``durable`` one."""

    point: CurvePoint
    durable: bool


@dataclass(frozen=True, slots=True)
class Note:
    """A message for people."""

    message: str


@dataclass(frozen=True, slots=True)
class Failed:
    """An error that is not the candidate's fault, and would meet others too."""

    error: NasError


@dataclass(frozen=True, slots=True)
class Crashed:
    """An error that nobody foresaw: the attempt is lost."""

    detail: str

    @classmethod
    def by(cls, error: Exception) -> "Crashed":
        places = traceback.extract_tb(error.__traceback__)
        where = f" at {places[-1].filename}:{places[-1].lineno}" if places else ""
        return cls(f"{type(error).__name__}: {error}{where}")


Heard = Began | Logged | Reported | Note | Failed | Crashed | Outcome
