"""What the workers of `test_tune_engine` run; a module of its own, since they import it."""

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields

from nas.ports import Assignment
from nas.train.checkpoint import Checkpoint
from nas.train.worker import Workshop


def broken_workshop(error: Exception) -> Workshop:
    """Raises."""
    raise error


@dataclass(frozen=True)
class Faulty(Workshop):
    """In which the first attempt of candidate 0 ends by an error that nobody foresaw."""

    def checkpoint(self, assignment: Assignment) -> Checkpoint:
        if (assignment.number, assignment.attempt) == (0, 0):
            warnings.warn("the ground is shaky at https://ann:hunter2@depot.example", stacklevel=1)
            logging.getLogger("elsewhere").info("nothing to see")
            logging.getLogger("elsewhere").warning("a crack")
            raise ZeroDivisionError("by nothing")
        return super().checkpoint(assignment)


def faulty_workshop(opened: Callable[[], Workshop]) -> Workshop:
    """The same, but faulty."""
    own = opened()
    return Faulty(**{each.name: getattr(own, each.name) for each in fields(own)})
