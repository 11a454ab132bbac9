"""The engine without processes: one candidate at a time, in this thread. For tests, debugging and notebooks."""

from collections.abc import Callable

from nas.ports import Assignment, Done, Driver
from nas.train.worker import Workshop, carry_out


class InlineEngine:
    """`nas.ports.Engine`; a `KeyboardInterrupt` ends the run in training and is raised."""

    def __init__(self, workshop: Workshop, note: Callable[[int, str], None] = lambda number, message: None) -> None:
        self._workshop, self._note = workshop, note

    def run(self, driver: Driver) -> None:
        while True:
            answer = driver.next()
            if isinstance(answer, Done):
                return
            if not isinstance(answer, Assignment):
                raise RuntimeError("a driver with nothing in training must hand out a run or be done")
            number = answer.number
            outcome = carry_out(answer, self._workshop, driver.report, lambda message, n=number: self._note(n, message))  # type: ignore[misc]
            driver.finish(outcome)
