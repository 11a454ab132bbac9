"""Tune's side of a search: its searcher asks for runs, its scheduler passes on what is heard of them.

Neither decides anything: the answers are those of `nas.ports.Driver`. No state of Tune's is ever read back.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from nas.adapters.tune.messages import Began, Crashed, Failed, Heard, Logged, Needs, Note, Order, Reported, Slots
from nas.adapters.tune.trainable import ITEMS
from nas.outcome import INTERRUPTED, LOST, STOPPED, ended, in_words
from nas.ports import Assignment, Done, Driver, Outcome, Wait
from nas.records import CurvePoint, LogLine, Verdict

ASK_SECONDS = 1.0
"""Between questions for a further run, while nothing is heard of those in training."""
IDLE = "a driver with nothing in training must hand out a run or be done"
HALT_SECONDS = 60.0
"""That a run has to save its checkpoint before it is ended where it is."""


@dataclass
class _Run:
    assignment: Assignment
    needs: Needs | None = None
    last: CurvePoint | None = None
    told_to_halt: bool = False


class Floor:
    """What searcher and scheduler share: the driver, and the runs by Tune's ids."""

    def __init__(
        self,
        driver: Driver,
        order: Callable[[Assignment], Order],
        slots: Slots,
        there: Callable[[Needs], bool],
        halted: Callable[[], bool],
        note: Callable[[int, str], None],
    ) -> None:
        self.driver, self.order, self.slots, self.note = driver, order, slots, note
        self._there = there
        self.runs: dict[str, _Run] = {}
        self.error: BaseException | None = None
        self.over = False  # nothing more is handed out
        self._halted, self._halted_at = halted, 0.0
        self._ask_at = 0.0

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune writes down what it is given, and never reads it here."""
        return {}

    # --- the searcher's ---

    def hand_out(self, trial_id: str) -> Order | None:
        """The next run; ``None`` when there is none now, or with ``over`` none any more."""
        if self.halt() or self.over or time.monotonic() < self._ask_at:  # here too: Tune waits in the searcher
            return None
        answers: list[Wait | Done] = []
        for device in self._guarded(self._free) or ():
            answer = self._guarded(partial(self.driver.next, device))
            if isinstance(answer, Assignment):
                self.runs[trial_id] = _Run(answer)
                order: Order | None = self._guarded(partial(self.order, answer))
                self.runs[trial_id].needs = order.needs if order is not None else None
                return order
            answers.append(answer)
        if not self.runs and answers and self.error is None:
            self.over = any(isinstance(answer, Done) for answer in answers)
            if not self.over and "" in self.slots():  # with several devices, others may have to be waited for
                self.over, self.error = True, RuntimeError(IDLE)
        self._ask_at = time.monotonic() + ASK_SECONDS
        return None

    def _free(self) -> list[str]:
        """Devices with room for a further run."""
        busy = Counter(run.assignment.plan.device for run in self.runs.values())
        return [device for device, slots in self.slots().items() if busy[device] < slots]

    # --- the scheduler's ---

    def hear(self, trial_id: str, item: Heard, more: bool = False) -> bool:
        """Passes on what a worker said; whether its run is over. ``more``: the driver is told something else next."""
        run = self.runs.get(trial_id)
        if run is None or self.error is not None:
            return True
        own = run.assignment
        self._ask_at = 0.0
        match item:
            case Began(worker):
                self._guarded(lambda: self.driver.began(own.number, own.attempt, worker))
            case Logged(lines):
                self._guarded(lambda: self.driver.logged(own.number, own.attempt, lines, more=more))
            case Reported(point):
                run.last = point
                if self._guarded(lambda: self.driver.report(point)) is Verdict.STOP:
                    self.end(trial_id, STOPPED)
                    return True
            case Note(message):
                self._guarded(lambda: self.note(own.number, message))
            case Failed(error):
                self.error, self.over = error, True
            case Crashed(detail):
                self.end(trial_id, LOST, detail, said=True)
                return True
            case Outcome():
                del self.runs[trial_id]
                self._guarded(lambda: self.driver.finish(item))
                return True
        return self.error is not None

    def end(self, trial_id: str, kind: str, detail: str = "", *, said: bool = False) -> None:
        """A run ended without an outcome; its log says how, unless the worker has ``said`` so."""
        run = self.runs.pop(trial_id, None)
        if run is not None and self.error is None:
            own = run.assignment
            outcome = ended(own, kind, run.last, detail)
            line = LogLine(time.time(), "info", __name__, f"the attempt ends: {in_words(outcome)}")
            self._ask_at = 0.0
            if not said:
                self._guarded(lambda: self.driver.logged(own.number, own.attempt, (line,), more=True))
            self._guarded(lambda: self.driver.finish(outcome))

    def is_stranded(self, trial_id: str) -> bool:
        """Whether a run waits for machines that have gone."""
        run = self.runs.get(trial_id)
        return run is not None and run.needs is not None and self._guarded(partial(self._there, run.needs)) is False

    def halt(self) -> bool:
        """Whether what is in training is to be interrupted."""
        if not self._halted_at and self.error is None and self._guarded(self._halted):
            self._halted_at, self.over = time.monotonic(), True
        return bool(self._halted_at)

    @property
    def patience_is_over(self) -> bool:
        """Whether runs had their time to halt."""
        return time.monotonic() - self._halted_at > HALT_SECONDS

    def _guarded(self, call: Callable[[], Any]) -> Any:
        """The driver's answer; after its first error it is not called again. Tune would only log it."""
        if self.error is not None:
            return None
        try:
            return call()
        except BaseException as error:
            self.error, self.over = error, True
            return None


class FloorSearcher(Searcher):
    """Asks for the next run."""

    def __init__(self, floor: Floor) -> None:
        super().__init__()
        self._floor = floor

    def suggest(self, trial_id: str) -> Any:
        order = self._floor.hand_out(trial_id)
        if order is not None:
            return {"order": order}
        return Searcher.FINISHED if self._floor.over else None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The scheduler has heard it all."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing of Tune's is read back."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing of Tune's is read back."""


class FloorScheduler(FIFOScheduler):
    """Passes on what is heard, and obeys."""

    def __init__(self, floor: Floor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._floor = floor

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        items: list[Heard] = result[ITEMS]
        told = any(isinstance(item, Began | Reported | Crashed | Outcome) for item in items)
        for item in items:
            if self._floor.hear(trial.trial_id, item, more=told):
                if isinstance(item, Reported) and self._floor.error is None:
                    trial.temporary_state.ray_actor.discard.remote()
                return str(TrialScheduler.STOP)
        return str(TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self._floor.end(trial.trial_id, LOST, _death(trial))

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Called in every turn of Tune's loop, so the place to look at what is to be ended."""
        if self._floor.error is not None:
            for trial in self._live(tune_controller):
                _drop(tune_controller, trial)
        elif self._floor.halt():
            for trial in self._live(tune_controller):
                self._halt(tune_controller, trial)
        else:
            for trial in self._live(tune_controller):
                if trial.temporary_state.ray_actor is None and self._floor.is_stranded(trial.trial_id):
                    self._floor.end(trial.trial_id, INTERRUPTED)
                    _drop(tune_controller, trial)
        return super().choose_trial_to_run(tune_controller)

    def _halt(self, tune_controller: Any, trial: Any) -> None:
        actor, run = trial.temporary_state.ray_actor, self._floor.runs.get(trial.trial_id)
        if run is None:
            return
        if actor is None or self._floor.patience_is_over:  # not begun yet, or hanging
            self._floor.end(trial.trial_id, INTERRUPTED)
            _drop(tune_controller, trial)
        elif not run.told_to_halt:
            run.told_to_halt = True
            actor.halt.remote()

    def _live(self, tune_controller: Any) -> list[Any]:
        return [trial for trial in tune_controller.get_live_trials() if not trial.is_finished()]


def _drop(tune_controller: Any, trial: Any) -> None:
    trial.init_local_path()  # Tune trips over trials without one, such as those that have not begun
    tune_controller.stop_trial(trial)


def _death(trial: Any) -> str:
    """Why a worker ended, in a line."""
    error = trial.get_error() if hasattr(trial, "get_error") else None
    lines = [line for line in str(error or "its process ended").splitlines() if line.strip()]
    return lines[0][:300] if lines else "its process ended"
