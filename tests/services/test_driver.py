"""A whole driver, in this process: what it is asked, what it meets, and that another goes on where it stopped."""

import re
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from nas.adapters.inline_engine import InlineEngine
from nas.adapters.sql.store import SqlStore, open_store
from nas.errors import LeaseError, NasError
from nas.ledger import FINAL, SEARCH, Ledger
from nas.ports import Driver
from nas.records import (
    CandidateRecord,
    CandidateState,
    CurvePoint,
    Origin,
    RequestKind,
    SearchRecord,
    SearchState,
    Verdict,
    measured_cost,
)
from nas.spec import PEAK_MEMORY, load_spec, parse_spec
from nas.train.worker import Workshop
from services.foreground import begin, drive_inline
from services.ground import Ground
from services.home import Home
from services.worker import driver as driver_module
from services.worker.driver import Note, SearchDriver, cancel_paused
from services.worker.lease import held, is_driven
from tests.contracts.samples import contents
from tests.helpers import Fated, Watched
from tests.services.driving import make_place

Act = Callable[["Scene"], None]
FIRST = [Origin.DIAL, Origin.UNIFORM]
"""The candidates of the search that have begun when something happens."""


@dataclass
class Scene:
    """A search that was begun, in a home of its own, to be driven here."""

    home: Home
    store: SqlStore
    id: str
    ground: Ground
    driver: SearchDriver | None = None
    said: list[str] = field(default_factory=list)

    @property
    def database(self) -> Path:
        return self.home.root / "nas.db"

    @property
    def record(self) -> SearchRecord:
        return self.store.search(self.id)

    @property
    def candidates(self) -> list[CandidateRecord]:
        return self.store.candidates(self.id)

    @property
    def events(self) -> list[str]:
        return [own.kind for own in self.store.events(self.id)]

    @property
    def answers(self) -> list[str]:
        return [own.answer for own in self.store.requests(self.id)]

    @property
    def fate(self) -> list[tuple[Any, ...]]:
        """What does not depend on the machine's clock."""
        return [
            (own.id, own.origin, own.state, own.val_bpb, own.test_bpb, own.train_flops_spent, own.eval_flops)
            for own in self.candidates
        ]

    def ask(self, kind: RequestKind, content: dict[str, Any] | None = None) -> None:
        self.store.add_request(self.id, kind, content or {}, at=1.0)

    def drive(self, act: Act | None = None, kinds: dict[int, list[str]] | None = None) -> SearchRecord:
        """Drives the search; ``act`` happens once, at the second rung of candidate 1, ``kinds`` are fates."""
        with held(self.store, self.id, self.said.append) as lease:
            home, ground = self.home, self.ground
            shop = Workshop(ground.texts, home.artifacts, ground.device, 1, 1)

            def engine(note: Note) -> Staged:
                return Staged(InlineEngine(shop, note), self, act, kinds or {})

            self.driver = SearchDriver(home, lease, self.id, ground, engine, self.said.append)
            return self.driver.run()

    def ledger(self) -> Ledger:
        budget = parse_spec(self.record.spec).budget
        return Ledger(self.id, budget.search_compute, budget.final_compute, self.store.ledger(self.id))


class Staged:
    """An engine in whose midst something happens."""

    def __init__(self, engine: InlineEngine, scene: Scene, act: Act | None, kinds: dict[int, list[str]]) -> None:
        self.engine, self.scene, self.act, self.kinds = engine, scene, act, kinds

    def run(self, driver: Driver, halted: Callable[[], bool] = lambda: False) -> None:
        self.engine.run(Acting(Fated(driver, self.kinds), self), halted)


class Acting(Watched):
    def __init__(self, driver: Driver, stage: Staged) -> None:
        super().__init__(driver)
        self.stage = stage

    def report(self, point: CurvePoint) -> Verdict:
        act = self.stage.act
        if act is not None and point.number == 1 and point.progress > 0.2:
            self.stage.act = None
            act(self.stage.scene)
        return super().report(point)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A search that waits for its driver; nothing of it is changed."""
    place = make_place(tmp_path_factory.mktemp("begun"))
    spec = place.write_spec(
        total="  total: {compute: 4GFLOP, candidates: 4}",
        candidate="  candidate: {compute: 200MFLOP}",
        minimize="minimize: [val_bpb]",
        method="method: {policy: none}",
    )
    home = Home(place.home, f"sqlite:///{place.home}/nas.db")
    store = open_store(home.database)
    record, ground = begin(home, store, load_spec(spec), place.folder, lambda *_: None, lambda _: None)
    store.close()
    device = replace(ground.devices[0], threads=1, all_threads=1)
    return Scene(home, store, record.id, replace(ground, devices=(device,)))


@pytest.fixture
def scene(begun: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """The same search for each test; its driver looks for requests before every step."""
    monkeypatch.setattr(driver_module, "LOOK_SECONDS", 0.0)
    made = copy_of(begun, tmp_path / "home")
    yield made
    made.store.close()


def copy_of(begun: Scene, folder: Path) -> Scene:
    folder.mkdir()
    shutil.copy(begun.database, folder / "nas.db")
    home = Home(folder, f"sqlite:///{folder}/nas.db")
    return Scene(home, open_store(home.database), begun.id, begun.ground)


@pytest.fixture(scope="module")
def undisturbed(begun: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The search as it goes when nothing happens."""
    made = copy_of(begun, tmp_path_factory.mktemp("undisturbed") / "home")
    looks: list[int] = []
    record = drive_inline(made.home, made.store, made.id, made.ground, lambda: looks.append(1), made.said.append)
    assert record.state is SearchState.COMPLETED and looks
    yield made
    made.store.close()


def test_a_search_that_nothing_disturbs(undisturbed: Scene) -> None:
    record = undisturbed.record
    assert (record.state, record.reason, undisturbed.said) == (SearchState.COMPLETED, "", [])
    assert [own.number for own in undisturbed.candidates] == list(range(5))
    assert undisturbed.candidates[-1].origin is Origin.FINAL
    assert {own.state for own in undisturbed.candidates} == {CandidateState.COMPLETED}
    assert record.result is not None and 0 < record.setting["elapsed"] <= record.result["search_seconds"]
    assert undisturbed.store.events(undisturbed.id)[-1].message == record.result["sentence"]
    assert undisturbed.store.ledger(undisturbed.id)[0].kind == "reserve", (
        "nothing is charged before the first candidate"
    )
    assert list(undisturbed.home.artifacts.rglob("*.pt")) == []
    probed = [own.number for own in undisturbed.candidates if measured_cost(own.costs, PEAK_MEMORY)]
    assert probed == [4], "the final run"
    assert record.started_at is not None and record.finished_at is not None
    assert not is_driven(undisturbed.store, undisturbed.id)


# --- what is asked of it ---


def test_a_pause_keeps_a_checkpoint_and_changes_nothing(scene: Scene, undisturbed: Scene) -> None:
    paused = scene.drive(lambda own: own.ask(RequestKind.PAUSE))
    assert (paused.state, paused.reason, scene.answers) == (SearchState.PAUSED, "asked to pause", ["pauses"])
    assert [own.state for own in scene.candidates] == [CandidateState.COMPLETED, CandidateState.QUEUED]
    assert (scene.home.artifacts / scene.id / "1" / "checkpoint.pt").is_file()
    assert scene.events[-2:] == ["interrupted", "paused"] and not is_driven(scene.store, scene.id)
    went_on = scene.drive()
    assert (went_on.state, went_on.reason) == (SearchState.COMPLETED, "")
    assert scene.fate == undisturbed.fate
    assert went_on.setting["elapsed"] > paused.setting["elapsed"] > 0
    assert went_on.started_at == paused.started_at
    assert [own.outcome for own in scene.store.attempts(scene.id, 1)] == ["interrupted", "completed"]
    assert list(scene.home.artifacts.rglob("*.pt")) == []


def test_an_interrupt_is_a_pause_without_a_request(scene: Scene) -> None:
    def interrupt(own: Scene) -> None:
        assert own.driver is not None
        own.driver.interrupt()

    paused = scene.drive(interrupt)
    assert (paused.state, paused.reason, scene.answers) == (SearchState.PAUSED, "interrupted", [])
    assert [own.state for own in scene.candidates] == [CandidateState.COMPLETED, CandidateState.QUEUED]


def test_ctrl_c_in_training_loses_no_more_than_the_last_steps(scene: Scene, undisturbed: Scene) -> None:
    def interrupt(own: Scene) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scene.drive(interrupt)
    assert (scene.record.state, scene.record.reason) == (SearchState.PAUSED, "interrupted")
    scene.drive()
    assert scene.fate == undisturbed.fate


def test_a_stop_lets_what_is_in_training_finish(scene: Scene, undisturbed: Scene) -> None:
    done = scene.drive(lambda own: own.ask(RequestKind.STOP))
    assert done.state is SearchState.COMPLETED
    assert scene.answers == ["stops: what is in training finishes, then the final run is made"]
    assert [own.origin for own in scene.candidates] == [*FIRST, Origin.FINAL]
    assert scene.fate[:2] == undisturbed.fate[:2]
    assert "stopping" in scene.events


def test_a_stop_that_nobody_heard_is_obeyed_by_the_next_driver(scene: Scene) -> None:
    scene.drive(lambda own: own.ask(RequestKind.PAUSE))
    scene.ask(RequestKind.STOP)
    assert scene.drive().state is SearchState.COMPLETED
    assert [own.origin for own in scene.candidates] == [*FIRST, Origin.FINAL]


def test_a_stop_stays_one_for_the_drivers_that_come_after(scene: Scene) -> None:
    def ask(own: Scene) -> None:
        own.ask(RequestKind.STOP)
        own.ask(RequestKind.PAUSE)

    assert scene.drive(ask).state is SearchState.PAUSED
    assert len(scene.candidates) == 2 and all(scene.answers)
    assert scene.drive().state is SearchState.COMPLETED
    assert [own.origin for own in scene.candidates] == [*FIRST, Origin.FINAL]


def assert_cancelled(scene: Scene) -> None:
    record = scene.record
    assert (record.state, record.reason, record.result) == (SearchState.CANCELLED, "cancelled", None)
    assert record.finished_at is not None
    assert [own.state for own in scene.candidates] == [CandidateState.COMPLETED, CandidateState.CANCELLED]
    assert [scene.ledger().balance(account).reserved for account in (SEARCH, FINAL)] == [0, 0]
    settled = [line.flops for line in scene.store.ledger(scene.id) if line.kind == "settle"]
    assert settled == [own.train_flops_spent + own.eval_flops for own in scene.candidates]
    assert scene.candidates[1].train_flops_spent > 0
    assert scene.events[-1] == "cancelled" and not is_driven(scene.store, scene.id)


def test_a_cancelled_search_has_no_final_run(scene: Scene) -> None:
    assert scene.drive(lambda own: own.ask(RequestKind.CANCEL)) == scene.record
    assert scene.answers == ["is cancelled"]
    assert_cancelled(scene)


def test_a_search_that_nobody_drives_is_cancelled(scene: Scene) -> None:
    scene.drive(lambda own: own.ask(RequestKind.PAUSE))
    with held(scene.store, scene.id), pytest.raises(LeaseError, match="is driven by"):
        cancel_paused(scene.home, scene.store, scene.id)
    assert scene.record.state is SearchState.PAUSED
    cancel_paused(scene.home, scene.store, scene.id)
    assert_cancelled(scene)
    told = sqlite3.connect(scene.database)
    states = dict(told.execute("SELECT number, state FROM trials"))
    told.close()
    assert states == {0: "COMPLETE", 1: "FAIL"}


@pytest.mark.parametrize("driven", [True, False], ids=["driven", "paused"])
def test_a_cancelled_search_leaves_no_checkpoint(scene: Scene, driven: bool) -> None:
    """Whoever cancels it, the driver or the command: nothing will ever go on from there."""
    checkpoint = scene.home.artifacts / scene.id / "1" / "checkpoint.pt"
    there: list[bool] = []

    def ask(own: Scene) -> None:
        there.append(checkpoint.is_file())
        own.ask(RequestKind.CANCEL if driven else RequestKind.PAUSE)

    scene.drive(ask)
    if not driven:
        there.append(checkpoint.is_file())
        cancel_paused(scene.home, scene.store, scene.id)
    assert all(there), "there was one before"
    assert_cancelled(scene)
    assert list(scene.home.artifacts.rglob("*.pt")) == []


def test_a_search_that_never_ran_is_cancelled(scene: Scene) -> None:
    cancel_paused(scene.home, scene.store, scene.id)
    assert (scene.record.state, scene.candidates) == (SearchState.CANCELLED, [])


def test_a_candidate_that_is_enqueued_comes_next(scene: Scene, undisturbed: Scene) -> None:
    given = undisturbed.candidates[3].candidate

    def ask(own: Scene) -> None:
        own.ask(RequestKind.ENQUEUE, given)
        own.ask(RequestKind.ENQUEUE, {"architecture": "of its own"})
        own.ask(RequestKind.ENQUEUE, own.candidates[0].candidate)

    assert scene.drive(ask).state is SearchState.COMPLETED
    taken, refused, known = scene.answers
    assert (taken, known) == ("is candidate 2, queued", "is candidate 0 already, completed")
    assert refused.startswith("is refused: ")
    own = scene.candidates[2]
    assert (own.origin, own.state, own.candidate) == (Origin.GIVEN, CandidateState.COMPLETED, given)
    assert len(scene.candidates) == 5, "one of the four that were to be trained"


# --- what it meets ---


def test_it_waits_while_the_database_refuses_and_goes_on(
    scene: Scene, undisturbed: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_module, "WAIT_SECONDS", 0.2)

    def refuse(own: Scene) -> None:
        connection = sqlite3.connect(own.database, timeout=30, isolation_level=None, check_same_thread=False)
        connection.execute("ALTER TABLE leases RENAME TO away")  # without it nothing is written

        def give_back() -> None:
            connection.execute("ALTER TABLE away RENAME TO leases")
            connection.close()

        threading.Timer(1.0, give_back).start()

    done = scene.drive(refuse)
    assert done.state is SearchState.COMPLETED
    assert scene.fate == undisturbed.fate
    assert scene.events.count("recovered") == 1
    recovered = next(own for own in scene.store.events(scene.id) if own.kind == "recovered")
    assert re.match(r"goes on after .* s: database .*: it refuses \(.*leases\)", recovered.message)
    (said,) = scene.said
    assert said.startswith("waiting: database ")
    assert [own.outcome for own in scene.store.attempts(scene.id, 1)] == ["abandoned", "completed"]


def test_it_waits_for_the_disk(scene: Scene, undisturbed: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file where a candidate's folder should be: nothing can be saved."""
    monkeypatch.setattr(driver_module, "WAIT_SECONDS", 0.2)
    in_the_way = scene.home.artifacts

    def refuse(own: Scene) -> None:
        in_the_way.rename(in_the_way.with_name("away"))
        in_the_way.write_text("in the way")

        def give_back() -> None:
            in_the_way.unlink()
            in_the_way.with_name("away").rename(in_the_way)

        threading.Timer(0.7, give_back).start()

    assert scene.drive(refuse).state is SearchState.COMPLETED
    assert scene.fate == undisturbed.fate
    assert [kind for kind in scene.events if kind in ("waiting", "recovered")] == ["waiting", "recovered"]


def test_a_driver_whose_lease_was_taken_writes_nothing_more(scene: Scene) -> None:
    seen: list[Any] = []

    def take(own: Scene) -> None:
        own.store.take_lease(own.id, "another", 60, replacing=own.store.lease(own.id))
        seen.append(contents(own.store, own.id))

    with pytest.raises(LeaseError, match="is driven by 'another'"):
        scene.drive(take)
    (before,) = seen
    assert contents(scene.store, scene.id) == before
    assert scene.record.state is SearchState.RUNNING and is_driven(scene.store, scene.id)


def test_a_search_that_fails_says_why(scene: Scene) -> None:
    fails = {number: 3 * ["lost"] for number in range(3)}
    with pytest.raises(NasError, match=r"^3 candidates in a row failed, the last one: by fate$"):
        scene.drive(kinds=fails)
    record = scene.record
    assert (record.state, record.reason) == (
        SearchState.FAILED,
        "3 candidates in a row failed, the last one: by fate",
    )
    assert [own.state for own in scene.candidates] == 3 * [CandidateState.FAILED]
    assert scene.events[-1] == "failed" and not is_driven(scene.store, scene.id)
    assert scene.drive().state is SearchState.COMPLETED, "it may go on, once that is mended"


def test_an_error_of_ours_is_recorded_too(scene: Scene) -> None:
    def fail(own: Scene) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        scene.drive(fail)
    assert (scene.record.state, scene.record.reason) == (SearchState.FAILED, "ZeroDivisionError")


def test_nothing_was_trained(scene: Scene) -> None:
    done = scene.drive(kinds={number: ["diverged"] for number in range(9)})
    assert (done.state, done.result) == (SearchState.FAILED, None)
    assert done.reason.startswith("no candidate was trained to the end (4 diverged): ")
