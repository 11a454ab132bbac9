"""The engine without processes: one candidate at a time, in this thread. For tests, debugging and notebooks."""

from collections.abc import Callable
from functools import partial

from nas.ports import Assignment, Done, Driver
from nas.records import CurvePoint, Verdict
from nas.train.worker import Workshop, carry_out


class InlineEngine:
    """`nas.ports.Engine`; a `KeyboardInterrupt` ends the run in training and is raised."""

    def __init__(self, workshop: Workshop, note: Callable[[int, str], None] = lambda number, message: None) -> None:
        self._workshop, self._note = workshop, note

    def run(self, driver: Driver, halted: Callable[[], bool] = lambda: False) -> None:
        def report(point: CurvePoint, *, durable: bool) -> Verdict:
            return driver.report(point)

        while not halted():
            answer = driver.next()
            if isinstance(answer, Done):
                return
            if not isinstance(answer, Assignment):
                raise RuntimeError("a driver with nothing in training must hand out a run or be done")
            note = partial(self._note, answer.number)
            driver.finish(carry_out(answer, self._workshop, report, note, halted))
