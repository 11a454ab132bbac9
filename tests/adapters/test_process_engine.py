"""`ProcessEngine` keeps the promises of an engine, and leaves no process behind, however it ends."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.contracts.engine")

from nas.adapters.process_engine import ProcessEngine  # noqa: E402
from nas.errors import CorpusError, NasError  # noqa: E402
from nas.ports import Assignment, Done, Engine, Wait  # noqa: E402
from nas.records import CurvePoint, Origin, Verdict  # noqa: E402
from tests.adapters.workers import broken_workshop  # noqa: E402
from tests.contracts.engine import EngineContract, MakeEngine  # noqa: E402
from tests.helpers import SMALL, Watched, World, Worlds, spec_of, timeless  # noqa: E402


def engine_for(world: World, parallel: int) -> ProcessEngine:
    return ProcessEngine(world.open_workshop, parallel, threads=1, note=world.note)


class TestContract(EngineContract):
    @pytest.fixture
    def make_engine(self) -> MakeEngine:
        def make_engine(world: World) -> Engine:
            return engine_for(world, 1)

        return make_engine

    @pytest.fixture(autouse=True)
    def no_process_is_left(self) -> Iterator[None]:
        yield
        assert multiprocessing.active_children() == []


class Killing(Watched):
    """Kills the worker of candidate 0 once it has passed its second rung."""

    def __init__(self, world: World, engine: ProcessEngine) -> None:
        super().__init__(world.enter())
        self.engine, self.killed = engine, 0

    def report(self, point: CurvePoint) -> Verdict:
        if point.number == 0 and point.progress > 0.3 and not self.killed:
            (own,) = (own for own in self.engine._workers if own.assignment and own.assignment.number == 0)
            self.killed = own.process.pid or 0
            os.kill(self.killed, signal.SIGKILL)
        return super().report(point)


def test_a_worker_that_is_killed_is_replaced_and_its_candidate_goes_on(make: Worlds, undisturbed: World) -> None:
    """While another candidate trains beside it."""
    world = make(spec_of(budget=SMALL, method={"parallel": 2, "policy": "none"}))
    engine = engine_for(world, 2)
    driver = Killing(world, engine)
    world.run(driver, engine)
    attempts = {own.attempt: own.outcome for own in world.store.attempts("s", 0)}
    assert attempts == {0: "lost", 1: "completed"}
    rung = next(point for point in world.store.points("s", 0) if point.rung == 0.25)
    assert (0, f"resumed at step {rung.step}") in world.notes
    assert timeless(world.candidates[0]) == timeless(undisturbed.candidates[0])
    lost = next(event for event in world.store.events("s") if event.kind == "lost")
    assert lost.message == "candidate 0 lost its worker: its process was ended by SIGKILL"
    assert all(own.state.terminal for own in world.candidates)
    assert world.candidates[-1].origin is Origin.FINAL and world.candidates[-1].test_bpb is not None
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (CorpusError("no such text"), r"^no such text$"),
        (ZeroDivisionError("by nothing"), r"^a worker failed: by nothing\n(.|\n)*in broken_workshop(.|\n)*by nothing"),
    ],
)
def test_an_error_of_a_worker_is_raised(make: Worlds, error: Exception, message: str) -> None:
    """As it is when it is written for people, or with its traceback."""
    world = make()
    engine = ProcessEngine(partial(broken_workshop, error), 1, threads=1)
    with pytest.raises(NasError, match=message) as caught:
        world.run(engine=engine)
    assert type(caught.value) is (CorpusError if isinstance(error, CorpusError) else NasError)
    assert multiprocessing.active_children() == []


def test_an_interrupt_ends_the_workers(make: Worlds) -> None:
    world = make(spec_of(method={"parallel": 2}))
    engine = engine_for(world, 2)
    processes: list[int] = []

    class Interrupted(Watched):
        def next(self) -> Assignment | Wait | Done:
            if engine._workers:
                processes.extend(own.process.pid or 0 for own in engine._workers)
                raise KeyboardInterrupt
            return super().next()

    with pytest.raises(KeyboardInterrupt):
        world.run(Interrupted(world.enter()), engine)
    assert len(processes) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(processes[0], 0)


def test_a_worker_ends_with_an_engine_that_is_killed(tmp_path: Path) -> None:
    """Whatever the worker is at: here it hangs and neither reads nor writes."""
    file = tmp_path / "worker"
    engine = subprocess.Popen([sys.executable, "-m", "tests.adapters.workers", str(file)])
    try:
        wait_for(lambda: file.is_file() and file.read_text().endswith("\n"))
        worker = int(file.read_text())
        assert is_alive(worker)
    finally:
        engine.kill()
        engine.wait()
    wait_for(lambda: not is_alive(worker))


def wait_for(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.05)


def is_alive(process: int) -> bool:
    """Whether a process of any parent runs; one that nobody has waited for does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")
