"""What every `nas.ports.Engine` must do with one candidate at a time. A test class inherits `EngineContract` and
supplies ``make_engine``."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pytest

from nas.ports import Assignment, Done, Outcome, Wait
from nas.records import CandidateState, CurvePoint, LogLine, Origin, Verdict
from tests.helpers import SMALL, Watched, World, Worlds, spec_of

if TYPE_CHECKING:
    from nas.ports import Driver, Engine

MakeEngine = Callable[[World], "Engine"]


class Logged(Watched):
    """Writes down what an engine calls, and answers."""

    def __init__(self, driver: "Driver") -> None:
        super().__init__(driver)
        self.calls: list[tuple[str, int]] = []
        self.stopped: list[int] = []
        self.outcomes: list[Outcome] = []
        self.begun: list[tuple[int, int]] = []

    def next(self, device: str = "") -> Assignment | Wait | Done:
        answer = super().next(device)
        self.calls.append(("next", answer.number if isinstance(answer, Assignment) else -1))
        return answer

    def began(self, number: int, attempt: int, worker: str) -> None:
        self.begun.append((number, attempt))
        super().began(number, attempt, worker)

    def report(self, point: CurvePoint) -> Verdict:
        self.calls.append(("report", point.number))
        verdict = super().report(point)
        if verdict is Verdict.STOP:
            self.stopped.append(len(self.calls))
        return verdict

    def finish(self, outcome: Outcome) -> None:
        self.calls.append(("finish", outcome.number))
        self.outcomes.append(outcome)
        super().finish(outcome)


class Scripted:
    """A driver that gives the same answer for ever, or raises it."""

    def __init__(self, answer: Wait | Done | BaseException) -> None:
        self.answer = answer

    def next(self, device: str = "") -> Assignment | Wait | Done:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def report(self, point: CurvePoint) -> Verdict:
        raise AssertionError("nothing runs")

    def began(self, number: int, attempt: int, worker: str) -> None:
        raise AssertionError("nothing runs")

    def logged(self, number: int, attempt: int, lines: Sequence[LogLine], *, more: bool = False) -> None:
        raise AssertionError("nothing runs")

    def finish(self, outcome: Outcome) -> None:
        raise AssertionError("nothing runs")


class EngineContract:
    """Tests of the promises of `nas.ports.Engine`. ``undisturbed`` is the same search by the in-process engine."""

    def test_a_search_is_the_same_by_any_engine(
        self, make: Worlds, make_engine: MakeEngine, undisturbed: World
    ) -> None:
        world = make(spec_of(budget=SMALL))
        driver = Logged(world.enter())
        world.run(driver, make_engine(world))
        assert world.fate() == undisturbed.fate()
        assert world.candidates[-1].origin is Origin.FINAL
        assert {CandidateState.COMPLETED, CandidateState.STOPPED} <= {own.state for own in world.candidates}
        order = [("next", -1)]
        for call in reversed(driver.calls[:-1]):
            earlier = {"finish": ["next"], "report": ["finish", "report"], "next": ["report"]}[call[0]]
            assert order[-1][0] in earlier
            assert order[-1][1] in (call[1], -1) or call[0] == "finish"
            order.append(call)
        for position in driver.stopped:
            assert driver.calls[position][0] == "finish", "a stop is obeyed at once"
        assert [own.kind for own in driver.outcomes].count("stopped") == len(driver.stopped) > 0
        assert all(own.seconds > 0 for own in driver.outcomes)

    def test_the_driver_hears_where_an_attempt_is_and_what_it_logs(self, make: Worlds, make_engine: MakeEngine) -> None:
        world = make(spec_of(budget=SMALL))
        driver = Logged(world.enter())
        world.run(driver, make_engine(world))
        attempts = world.store.attempts("s")
        assert {own.worker for own in attempts} == {world.workshop.place}
        assert driver.begun == [(own.number, own.attempt) for own in sorted(attempts, key=lambda own: own.started_at)]
        for own in attempts:
            lines = world.store.log("s", own.number, attempt=own.attempt)
            first, *_, last = (line.message for line in lines)
            assert first.startswith("the attempt begins, ")
            assert last.startswith("the attempt ends") and last.endswith(f": {own.outcome}")
            assert not any(line.logger.startswith("nas.search") for line in lines), "what the driver logs is its own"

    def test_a_driver_that_has_nothing_to_run(self, make: Worlds, make_engine: MakeEngine) -> None:
        engine = make_engine(make())
        engine.run(Scripted(Done("nothing")))
        with pytest.raises(RuntimeError, match="nothing in training must hand out a run or be done"):
            engine.run(Scripted(Wait()))

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("mine")])
    def test_an_error_of_the_driver_is_raised(
        self, make: Worlds, make_engine: MakeEngine, error: BaseException
    ) -> None:
        with pytest.raises(type(error)):
            make_engine(make()).run(Scripted(error))

    def test_an_error_in_training_ends_the_run(self, make: Worlds, make_engine: MakeEngine) -> None:
        world = make(spec_of(budget=SMALL))

        class Failing(Watched):
            def report(self, point: CurvePoint) -> Verdict:
                raise ValueError(f"at step {point.step}")

        with pytest.raises(ValueError, match="at step 1"):
            world.run(Failing(world.enter()), make_engine(world))
        assert [own.state for own in world.candidates] == [CandidateState.TRAINING]
