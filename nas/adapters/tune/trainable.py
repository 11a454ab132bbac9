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

from nas.adapters.tune.messages import Crashed, Failed, Heard, Note, Order, Reported
from nas.errors import NasError
from nas.records import CurvePoint, Verdict
from nas.train.worker import Workshop, carry_out
from nas.units import format_flops, format_seconds

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
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The next attempt in the same process; the one before has ended (`cleanup`, or its outcome was heard)."""
        self._items: SimpleQueue[Heard] = SimpleQueue()
        self._answers = threading.Semaphore(0)
        self._asked = self._halted = self._closed = self._stopped = False
        self._thread = threading.Thread(target=self._run, args=(new_config["order"],), daemon=True)
        self._thread.start()
        return True

    def step(self) -> dict[str, Any]:
        """What has happened, if anything has within a second."""
        if self._asked:
            self._answers.release()
        items = []
        with suppress(Empty):
            items.append(self._items.get(timeout=STEP_SECONDS))
            while True:
                items.append(self._items.get_nowait())
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
        with order.around(order.assignment):
            planned = order.assignment.plan.train_flops
            log.info("the attempt begins, %s planned", format_flops(planned), extra={"flops": planned})
            began = time.monotonic()
            said, flops = self._carry_out(order)
            seconds = time.monotonic() - began
            spent = f"{format_flops(flops)} in {format_seconds(seconds)}"
            log.info("the attempt ends, %s: %s", spent, said, extra={"flops": flops, "seconds": round(seconds, 3)})

    def _carry_out(self, order: Order) -> tuple[str, int]:
        """How it ended, for the log, with the FLOPs of its training."""
        self._flops = 0
        try:
            self._workshop = self._workshop or _opened(order)
            outcome = carry_out(order.assignment, self._workshop, self._report, self._note, self._is_halted)
            self._items.put(outcome)
            return f"{outcome.kind}{outcome.detail and f', {outcome.detail}'}", outcome.train_flops
        except _Closed:
            return "closed where it was", self._flops
        except NasError as error:
            self._items.put(Failed(error))
            return f"failed: {error}", self._flops
        except Exception as error:
            log.exception("an error that nobody foresaw")
            self._items.put(Crashed.by(error))
            return "crashed", self._flops

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
