"""`TuneEngine` keeps the promises of an engine on a real Ray, with and without processes that are used again."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import ray

pytest.register_assert_rewrite("tests.contracts.engine")

from nas.adapters.tune.engine import TuneEngine  # noqa: E402
from nas.adapters.tune.messages import Needs, Order  # noqa: E402
from nas.errors import CorpusError, NasError  # noqa: E402
from nas.ports import Engine, Outcome  # noqa: E402
from nas.records import CandidateState, CurvePoint, Origin, Verdict  # noqa: E402
from nas.search import Search  # noqa: E402
from nas.train.worker import Workshop  # noqa: E402
from services.worker.cluster import connected  # noqa: E402
from tests.adapters.workers import broken_workshop, faulty_workshop  # noqa: E402
from tests.contracts.engine import EngineContract, MakeEngine  # noqa: E402
from tests.helpers import SMALL, Watched, World, Worlds, spec_of  # noqa: E402

# Ray and Tune warn of what is theirs to change.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    with connected(None, cpus=2):
        yield
    assert not ray.is_initialized()


def engine_for(world: World, parallel: int = 1, *, reuse: bool = True) -> TuneEngine:
    return engine_with(world.open_workshop, parallel, world.note, reuse=reuse)


def engine_with(
    workshop: Callable[[], Workshop],
    parallel: int,
    note: Callable[[int, str], None] = lambda number, message: None,
    *,
    reuse: bool = False,
) -> TuneEngine:
    needs = Needs({"CPU": 1})
    return TuneEngine(lambda own: Order(own, workshop, needs), lambda: {"": parallel}, note, reuse=reuse)


class TestContract(EngineContract):
    @pytest.fixture
    def make_engine(self) -> MakeEngine:
        def make_engine(world: World) -> Engine:
            return engine_for(world)

        return make_engine


def test_fresh_processes_change_nothing(make: Worlds, undisturbed: World) -> None:
    world = make(spec_of(budget=SMALL))
    halted = threading.Event()

    class Two(Watched):
        def finish(self, outcome: Outcome) -> None:
            super().finish(outcome)
            if outcome.number == 1:
                halted.set()

    engine_for(world, reuse=False).run(Two(world.enter()), halted.is_set)
    losses = [own.val_bpb for own in undisturbed.candidates]
    assert [own.val_bpb for own in world.candidates[:2]] == losses[:2]


def trainers() -> list[int]:
    """Worker processes of our Ray that are at work on a candidate."""
    parents, found = {}, []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if b"Trainable" in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))

    def is_ours(process: int) -> bool:
        return process == os.getpid() or (process in parents and is_ours(parents[process]))

    return [process for process in found if is_ours(process)]


class Killing(Watched):
    """Kills the workers once candidate 0 has passed its second rung; ``heard`` is what was reported last of its first
    attempt, also what was still under way."""

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        self.killed: list[int] = []
        self.heard: CurvePoint | None = None

    def report(self, point: CurvePoint) -> Verdict:
        if point.number == 0 and point.attempt == 0:
            self.heard = point
        if point.number == 0 and point.progress > 0.3 and not self.killed:
            self.killed = trainers()
            for process in self.killed:
                os.kill(process, signal.SIGKILL)
        return super().report(point)


def test_a_worker_that_is_killed_is_replaced_and_its_candidate_goes_on(make: Worlds, undisturbed: World) -> None:
    world = make(spec_of(budget=SMALL))
    driver = Killing(world.enter())
    world.run(driver, engine_for(world))
    assert len(driver.killed) == 1
    assert [own.outcome for own in world.store.attempts("s", 0)] == ["lost", "completed"]
    points = world.store.points("s", 0)
    (resumed,) = (point.step for point in points if point.rung and (0, f"resumed at step {point.step}") in world.notes)
    (rung,) = (point.step for point in points if point.rung == 0.25)
    assert resumed >= rung, "from its last checkpoint; a worker may be a rung ahead of what was heard"
    assert (heard := driver.heard) is not None and heard.step > rung
    assert world.candidates[0].repeated_flops == max(0, heard.step - resumed) * heard.flops // heard.step
    assert world.candidates[0].train_flops_spent == undisturbed.candidates[0].train_flops_spent
    assert world.fate() == undisturbed.fate()
    begun, *_, last = messages(world, 0, 0)
    assert begun.startswith("the attempt begins, "), "what was heard of the killed worker stays"
    assert last.startswith("the attempt ends: lost, ")
    assert messages(world, 0, 1)[-1].endswith(": completed")
    lost = next(event for event in world.store.events("s") if event.kind == "lost")
    assert lost.message.startswith("candidate 0 lost its worker: ") and len(lost.message) < 400


def messages(world: World, number: int, attempt: int) -> list[str]:
    return [own.message for own in world.store.log("s", number, attempt=attempt)]


def test_an_attempt_keeps_what_its_worker_logged(make: Worlds) -> None:
    """From its beginning to its end."""
    world = make(spec_of(budget=SMALL))
    world.run(engine=engine_for(world))
    hosts = {node["NodeManagerHostname"] for node in ray.nodes()}
    for record in world.candidates:
        attempts = world.store.attempts("s", record.number)
        assert bool(attempts) == bool(record.plan)
        for own in attempts:
            assert own.worker in {f"{host}, cpu" for host in hosts}, "as machines are called elsewhere"
            begun, *_, last = messages(world, own.number, own.attempt)
            assert begun.startswith("the attempt begins, ") and begun.endswith(" planned")
            assert last.startswith("the attempt ends") and last.endswith(f": {own.outcome}")
    line = world.store.log("s", 0)[0]
    assert (line.level, line.logger) == ("info", "nas.adapters.tune.trainable")
    assert line.at > 1.7e9, "by the worker's clock"


def test_a_crash_leaves_its_traceback(make: Worlds) -> None:
    world = make(spec_of(budget=SMALL))
    world.run(engine=engine_with(partial(faulty_workshop, world.open_workshop), 1, world.note, reuse=True))
    assert [own.outcome for own in world.store.attempts("s", 0)] == ["lost", "completed"]
    begun, warned, cracked, crashed, ended = world.store.log("s", 0, attempt=0)
    assert begun.message.startswith("the attempt begins, ")
    assert (warned.level, warned.logger) == ("warning", "py.warnings")
    assert "UserWarning: the ground is shaky at https://***@depot.example" in warned.message
    assert (cracked.level, cracked.logger, cracked.message) == ("warning", "elsewhere", "a crack")
    first, *trace, error = crashed.message.splitlines()
    assert (crashed.level, first) == ("error", "an error that nobody foresaw")
    assert trace[0] == "Traceback (most recent call last):" and any("workers.py" in line for line in trace)
    assert error == "ZeroDivisionError: by nothing"
    assert ended.message.endswith(": crashed")
    assert messages(world, 0, 1)[0].startswith("the attempt begins, "), "the next one has a log of its own"


def test_several_at_a_time(make: Worlds) -> None:
    world = make(spec_of(budget=SMALL, method={"parallel": 2, "policy": "none"}))
    most = 0

    class Counting(Watched):
        def report(self, point: CurvePoint) -> Verdict:
            nonlocal most
            most = max(most, sum(own.state is CandidateState.TRAINING for own in world.candidates))
            return super().report(point)

    world.run(Counting(world.enter()), engine_for(world, 2))
    assert most == 2
    assert all(own.state.terminal for own in world.candidates)
    assert world.candidates[-1].origin is Origin.FINAL and world.candidates[-1].test_bpb is not None


@pytest.mark.parametrize("error", [CorpusError("no such text"), ZeroDivisionError("by nothing")])
def test_a_worker_that_cannot_begin_ends_the_run(make: Worlds, error: Exception) -> None:
    world = make()
    engine = engine_with(partial(broken_workshop, error), 1)
    with pytest.raises(NasError, match=str(error)) as caught:
        world.run(engine=engine)
    assert type(caught.value) is (CorpusError if isinstance(error, CorpusError) else NasError)


def test_what_is_in_training_saves_a_checkpoint_when_it_is_halted(make: Worlds, undisturbed: World) -> None:
    world = make(spec_of(budget=SMALL))
    outcomes: list[Outcome] = []
    halted = threading.Event()

    class Halting(Watched):
        def report(self, point: CurvePoint) -> Verdict:
            if point.number == 0 and point.progress > 0.3:
                halted.set()
            return super().report(point)

        def finish(self, outcome: Outcome) -> None:
            outcomes.append(outcome)
            super().finish(outcome)

    engine_for(world).run(Halting(world.enter()), halted.is_set)
    (outcome,) = outcomes
    if outcome.kind == "interrupted":  # unless it was quicker than the order to halt
        assert world.candidates[0].state is CandidateState.QUEUED
        assert (world.folder / "s" / "0" / "checkpoint.pt").is_file()
    world.run(engine=engine_for(world))
    assert world.fate() == undisturbed.fate()


def test_no_process_is_left_after_a_run(make: Worlds) -> None:
    world = make(spec_of(budget=SMALL, method={"parallel": 2}))

    class Failing(Watched):
        def report(self, point: CurvePoint) -> Verdict:
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        world.run(Failing(world.enter()), engine_for(world, 2))
    wait_for(lambda: not trainers())


def wait_for(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.05)
