"""What the processes of `test_process_engine` run; a module of its own, since they import it."""

import os
import sys
import time
from functools import partial
from pathlib import Path

from nas.adapters.process_engine import ProcessEngine
from nas.candidate import Architecture, Candidate, Recipe
from nas.plan import Plan
from nas.ports import Assignment, Done, Outcome, Wait
from nas.records import CurvePoint, Verdict
from nas.train.worker import Workshop


def broken_workshop(error: Exception) -> Workshop:
    """Raises."""
    raise error


def stuck_workshop(file: Path) -> Workshop:
    """Says who it is and hangs."""
    file.write_text(f"{os.getpid()}\n")
    time.sleep(600)
    raise AssertionError("nobody waits that long")


class OneRun:
    """A driver with one run to hand out."""

    def __init__(self) -> None:
        candidate = Candidate(Architecture(1, 16, 2, 8, 2, 16, 256, 32), Recipe(batch_tokens=32))
        self.assignments = [Assignment("s", 0, 0, candidate, Plan(1, 1, 1, 1, 32, 0.1, 0, 0, 0.0), 0, None)]

    def next(self) -> Assignment | Wait | Done:
        return self.assignments.pop() if self.assignments else Wait()

    def report(self, point: CurvePoint) -> Verdict:
        return Verdict.CONTINUE

    def finish(self, outcome: Outcome) -> None:
        """Nothing follows."""


if __name__ == "__main__":
    ProcessEngine(partial(stuck_workshop, Path(sys.argv[1])), 1, threads=1).run(OneRun())
