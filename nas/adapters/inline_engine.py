"""The engine without processes: one candidate at a time, in this thread. For tests, debugging and notebooks."""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from nas.logbook import Logbook, listening, log_begin, log_end
from nas.outcome import in_words
from nas.ports import Assignment, Done, Driver
from nas.records import CurvePoint, Verdict
from nas.train.worker import Workshop, carry_out

Told = TypeVar("Told")

log = logging.getLogger(__name__)


class InlineEngine:
    """`nas.ports.Engine`; a `KeyboardInterrupt` ends the run in training and is raised."""

    def __init__(self, workshop: Workshop, note: Callable[[int, str], None] = lambda number, message: None) -> None:
        self._workshop, self._note = workshop, note

    def run(self, driver: Driver, halted: Callable[[], bool] = lambda: False) -> None:
        while not halted():
            answer = driver.next()
            if isinstance(answer, Done):
                return
            if not isinstance(answer, Assignment):
                raise RuntimeError("a driver with nothing in training must hand out a run or be done")
            self._carry_out(answer, driver, halted)

    def _carry_out(self, own: Assignment, driver: Driver, halted: Callable[[], bool]) -> None:
        book = Logbook(threading.get_ident())

        def tell(act: Callable[[], Told]) -> Told:
            """What is logged meanwhile is the driver's own."""
            if lines := book.taken():
                driver.logged(own.number, own.attempt, lines, more=True)
            book.closed = True
            try:
                return act()
            finally:
                book.closed = False

        def report(point: CurvePoint, *, durable: bool) -> Verdict:
            return tell(lambda: driver.report(point))

        def note(message: str) -> None:
            log.info("%s", message)
            tell(lambda: self._note(own.number, message))

        with listening(book):
            log_begin(log, own.plan.train_flops)
            tell(lambda: driver.began(own.number, own.attempt, self._workshop.place))
            began = time.monotonic()
            outcome = carry_out(own, self._workshop, report, note, halted)
            log_end(log, outcome.train_flops, time.monotonic() - began, in_words(outcome))
            tell(lambda: driver.finish(outcome))
