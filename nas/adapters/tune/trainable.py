"""A candidate in a worker process of its own, as Tune sees it.

Training runs in a thread beside Tune's calls, so that the worker can be told to halt at any time. `step` hands over
what has happened since it was last called; that it is called again is the answer to what needs one.
"""

import logging
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from ray import tune

from nas.adapters.tune.messages import Began, Crashed, Failed, Heard, Logged, Note, Order, Reported
from nas.errors import NasError
from nas.logbook import Logbook, listening, log_begin, log_end
from nas.outcome import in_words
from nas.records import CurvePoint, Verdict
from nas.train.worker import Workshop, carry_out

log = logging.getLogger(__name__)

ITEMS = "items"
"""The field of a result that holds what was heard."""
STEP_SECONDS = 1.0
"""That a call of `step` takes at most; other calls wait so long."""
END_SECONDS = 20.0
"""That a run which is told to end may take for the training step that it is in."""


class Trainable(tune.Trainable):
    """One attempt. ``config`` holds an `Order`."""

    def setup(self, config: dict[str, Any]) -> None:
        self._workshop: Workshop | None = None
        logging.captureWarnings(True)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The next attempt in the same process; the one before has ended (`cleanup`, or its outcome was heard)."""
        self._items: SimpleQueue[Heard] = SimpleQueue()
        self._book = Logbook()
        self._answers = threading.Semaphore(0)
        self._asked = self._halted = self._closed = self._stopped = False
        self._thread = threading.Thread(target=self._run, args=(new_config["order"],), daemon=True)
        self._thread.start()
        return True

    def step(self) -> dict[str, Any]:
        """What has happened, if anything has within a second."""
        if self._asked:
            self._answers.release()
        items: list[Heard] = []
        with suppress(Empty):
            items.append(self._items.get(timeout=STEP_SECONDS))
            while True:
                items.append(self._items.get_nowait())
        if lines := self._book.taken():  # asked last, so that no item comes before what was logged before it
            items.insert(0, Logged(lines))
        self._asked = any(isinstance(item, Reported) and item.durable for item in items)
        return {ITEMS: items}

    def halt(self) -> None:
        """End after a checkpoint; the outcome is reported."""
        self._halted = True

    def discard(self) -> None:
        """End: the verdict on what was reported last. The worker is free then."""
        self._stopped = True
        self._end()

    def cleanup(self) -> None:
        """Ends the run where it is, if it has not ended."""
        self._closed = True
        self._end()

    def _end(self) -> None:
        self._answers.release()
        self._thread.join(END_SECONDS)

    def _run(self, order: Order) -> None:
        """The thread."""
        with order.around(order.assignment), listening(self._book):
            log_begin(log, order.assignment.plan.train_flops)
            began = time.monotonic()
            last, said = self._carry_out(order)
            log_end(log, self._flops, time.monotonic() - began, said)
        if last is not None:  # when all is logged, and nothing here is left to do
            self._items.put(last)

    def _carry_out(self, order: Order) -> tuple[Heard | None, str]:
        """The last thing to be said, and how it ended, for the log."""
        self._flops = 0
        try:
            self._workshop = self._workshop or _opened(order)
            self._items.put(Began(self._workshop.place))
            outcome = carry_out(order.assignment, self._workshop, self._report, self._note, self._is_halted)
            self._flops = outcome.train_flops
            return outcome, in_words(outcome)
        except _Closed:
            return None, "closed where it was"
        except NasError as error:
            return Failed(error), f"failed: {error}"
        except Exception as error:
            log.exception("an error that nobody foresaw")
            return Crashed.by(error), "crashed"

    def _report(self, point: CurvePoint, *, durable: bool) -> Verdict:
        self._flops = point.flops
        self._items.put(Reported(point, durable))
        if durable:
            self._answers.acquire()
        if self._stopped:
            return Verdict.STOP
        if self._closed:
            raise _Closed
        return Verdict.CONTINUE

    def _note(self, message: str) -> None:
        log.info("%s", message)
        self._items.put(Note(message))

    def _is_halted(self) -> bool:
        if self._closed:
            raise _Closed
        return self._halted


def _opened(order: Order) -> Workshop:
    """A place that cannot be opened is no candidate's fault."""
    try:
        return order.workshop()
    except NasError:
        raise
    except Exception as error:
        raise NasError(f"a worker cannot begin: {type(error).__name__}: {error}") from error


class _Closed(BaseException):
    """The run is to end where it is."""
