"""A tiny search and all it stands on, which a driver can leave and another enter."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage

from nas.adapters.inline_engine import InlineEngine
from nas.adapters.optuna_suggester import OptunaSuggester
from nas.adapters.sql.store import SqlStore, open_store
from nas.appraise import Appraiser
from nas.data.corpora import Corpus
from nas.data.texts import Texts
from nas.plan import Speed
from nas.policy import STARTUP
from nas.ports import Assignment, Done, Driver, Engine, Outcome, Suggester, Wait
from nas.records import CandidateRecord, CurvePoint, DecisionRecord, LogLine, SearchRecord, SearchState, Verdict
from nas.search import Search, prepare
from nas.space import load_space
from nas.spec import SearchSpec, parse_spec
from nas.train.worker import Workshop

SPACE: dict[str, Any] = {
    "knobs": {
        "depth": [1, 2],
        "width": [16, 24, 32],
        "vocabulary": [256, 320],
        "head_size": [8],
        "context": [32, 64],
        "batch_tokens": [128],
        "mlp_ratio": [1, 2, 3],
        "matrix_rate": {"min": 0.3, "max": 3, "log": True},
    }
}
SPEC: dict[str, Any] = {
    "corpus": "tiny",
    "space": SPACE,
    "budget": {"total": {"compute": "3GFLOP"}, "final": 0.25, "candidate": {"compute": "250MFLOP"}},
    "limits": {"params": "30k"},
}
SMALL = {"total": {"compute": "1.7GFLOP"}}
SPEED = Speed(seconds_per_flop=1e-9, seconds_per_element=0.0, seconds_per_operation=0.0)
"""A second for a GFLOP."""


def spec_of(**changes: Any) -> SearchSpec:
    """The tiny search with fields replaced; those of ``budget`` are merged."""
    raw = {**SPEC, **changes}
    raw["budget"] = {**SPEC["budget"], **changes.get("budget", {})}
    return parse_spec(raw)


def open_workshop(corpus: Corpus, cache: Path, artifacts: Path) -> Workshop:
    """For worker processes, which import this."""
    return Workshop(Texts(corpus, cache), artifacts, "cpu", threads=1, all_threads=1)


@contextmanager
def study_of(url: str, name: str = "s") -> Iterator[optuna.Study]:
    """A study as any Optuna tool opens it."""
    storage = RDBStorage(url)
    try:
        yield optuna.load_study(study_name=name, storage=storage)
    finally:
        storage.remove_session()
        storage.engine.dispose()


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class World:
    """What a search's drivers share: store, study, texts and folder. All of it outlives a driver. ``judge`` is
    what else its appraisers have.

    Two worlds with the same spec have the same fate.
    """

    def __init__(
        self,
        store: SqlStore,
        study: str,
        texts: Texts,
        folder: Path,
        spec: SearchSpec,
        speed: Speed | None = None,
        **judge: Any,
    ) -> None:
        self.store, self.texts, self.folder, self.spec, self.speed = store, texts, folder, spec, speed
        self.study, self.judge = study, judge
        self.space = load_space(spec.space)
        self.notes: list[tuple[int, str]] = []
        self.clock = Clock()
        self.suggesters: list[OptunaSuggester] = []
        self.wrap: Callable[[OptunaSuggester], Suggester] = lambda suggester: suggester
        setting = {"forecast": prepare(spec, self.space, self.appraiser()).to_dict()}
        self.record = SearchRecord("s", "s", SearchState.RUNNING, 0.0, spec.to_dict(), setting)
        store.add_search(self.record)

    def appraiser(self) -> Appraiser:
        return Appraiser(self.texts, self.spec.limits, self.speed, **self.judge)

    def enter(
        self,
        *,
        elapsed: float = 0.0,
        devices: Mapping[str, Appraiser] | None = None,
        ended: Callable[[CandidateRecord], None] = lambda record: None,
        looks_ahead: bool = False,
    ) -> Search:
        """A driver, the first or one after another has gone."""
        for former in self.suggesters:
            former.close()
        seed, startup = self.spec.method.seed, STARTUP
        suggester = OptunaSuggester(self.study, "s", self.space, self.spec.minimize, seed, startup)
        self.suggesters.append(suggester)
        return Search(
            self.store.search("s"),
            self.spec,
            self.space,
            self.store,
            self.wrap(suggester),
            self.appraiser(),
            devices=devices,
            elapsed=elapsed,
            ended=ended,
            looks_ahead=looks_ahead,
            clock=self.clock,
            now=self.clock,
        )

    @property
    def workshop(self) -> Workshop:
        return Workshop(self.texts, self.folder, "cpu", threads=1, all_threads=1)

    @property
    def open_workshop(self) -> Callable[[], Workshop]:
        """For worker processes."""
        return partial(open_workshop, self.texts.corpus, self.texts.folder, self.folder)

    def note(self, number: int, message: str) -> None:
        self.notes.append((number, message))

    def run(self, driver: Driver | None = None, engine: Engine | None = None) -> "World":
        (engine or InlineEngine(self.workshop, self.note)).run(driver or self.enter())
        return self

    def close(self) -> None:
        for suggester in self.suggesters:
            suggester.close()
        self.store.close()

    # --- what came of it ---

    @property
    def candidates(self) -> list[CandidateRecord]:
        return self.store.candidates("s")

    def fate(self) -> tuple[list[Any], list[Any], list[Any]]:
        """Candidates, decisions and curves, without what depends on the machine's clock."""
        candidates = [timeless(own) for own in self.candidates]
        decisions = sorted(map(timeless, self.store.decisions("s")), key=lambda own: (own.number, own.rung))
        return candidates, decisions, [timeless(own) for own in self.store.points("s")]


class Worlds:
    """Makes worlds, each with a folder of its own and a store in memory, and closes them."""

    def __init__(self, texts: Texts, folder: Path) -> None:
        self._texts, self._folder = texts, folder
        self._made: list[World] = []

    def __call__(self, spec: SearchSpec | None = None, speed: Speed | None = None, **judge: Any) -> World:
        folder = self._folder / str(len(self._made))
        folder.mkdir()
        study = f"sqlite:///{folder}/study.db"
        self._made.append(World(open_store("sqlite://"), study, self._texts, folder, spec or spec_of(), speed, **judge))
        return self._made[-1]

    def close(self) -> None:
        for world in self._made:
            world.close()


def timeless(record: Any) -> Any:
    """A record without times, attempts and what was repeated in them."""
    if isinstance(record, CandidateRecord):
        return replace(record, created_at=0.0, seconds=0.0, started_at=None, finished_at=None, repeated_flops=0)
    if isinstance(record, DecisionRecord):
        return replace(record, at=0.0)
    assert isinstance(record, CurvePoint)
    return replace(record, attempt=0, first_step=0, seconds=0.0)


class Watched:
    """A driver that passes everything on to another; to be overridden."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    def next(self, device: str = "") -> Assignment | Wait | Done:
        return self.driver.next(device)

    def report(self, point: CurvePoint) -> Verdict:
        return self.driver.report(point)

    def began(self, number: int, attempt: int, worker: str) -> None:
        self.driver.began(number, attempt, worker)

    def logged(self, number: int, attempt: int, lines: Sequence[LogLine], *, more: bool = False) -> None:
        self.driver.logged(number, attempt, lines, more=more)

    def finish(self, outcome: Outcome) -> None:
        self.driver.finish(outcome)


class Fated(Watched):
    """Gives some outcomes another kind, by the candidate's number: as many times as kinds are listed."""

    def __init__(self, driver: Driver, kinds: Mapping[int, list[str]]) -> None:
        super().__init__(driver)
        self.kinds = {number: list(own) for number, own in kinds.items()}

    def finish(self, outcome: Outcome) -> None:
        if own := self.kinds.get(outcome.number):
            outcome = replace(outcome, kind=own.pop(0), val_bpb=None, val_error=None, artifact="", detail="by fate")
        super().finish(outcome)


class Simulation:
    """An engine without training: ``parallel`` candidates at a time whose losses and fates are drawn."""

    def __init__(self, seed: int, parallel: int) -> None:
        self.rng, self.parallel = random.Random(seed), parallel
        self.running: dict[int, Iterator[CurvePoint]] = {}
        self.assignments: dict[int, Assignment] = {}
        self.most = 0

    def run(self, driver: Driver, steps: int) -> bool:
        """At most so many answers; whether all is done."""
        for _ in range(steps):
            answer = driver.next() if len(self.running) < self.parallel else Wait()
            if isinstance(answer, Assignment):
                self.running[answer.number] = self.curve(answer)
                self.assignments[answer.number] = answer
                self.most = max(self.most, len(self.running))
            elif isinstance(answer, Done):
                assert not self.running
                return True
            else:
                self.advance(driver, self.rng.choice(sorted(self.running)))
        return False

    def curve(self, assignment: Assignment) -> Iterator[CurvePoint]:
        plan = assignment.plan
        for rung in (0.125, 0.25, 0.5):
            step = max(1, int(rung * plan.steps))
            yield CurvePoint(
                "s", assignment.number, assignment.attempt, step, rung, step * plan.step_flops, 1.0,
                val_bpb=self.rng.uniform(2, 4) - rung, rung=rung,
            )  # fmt: skip

    def advance(self, driver: Driver, number: int) -> None:
        point = next(self.running[number], None)
        if point is None:
            self.end(driver, number, self.rng.choices(KINDS, WEIGHTS)[0], 1.0)
        elif driver.report(point) is Verdict.STOP:
            self.end(driver, number, "stopped", point.progress)

    def end(self, driver: Driver, number: int, kind: str, share: float) -> None:
        del self.running[number]
        own = self.assignments[number]
        spent = int(share * own.plan.train_flops)
        loss = self.rng.uniform(1, 3) if kind == "completed" else None
        driver.finish(Outcome(number, own.attempt, kind, spent, spent, own.plan.eval_flops // 2, 1.0, val_bpb=loss))


KINDS, WEIGHTS = ("completed", "lost", "diverged", "out_of_memory"), (12, 3, 1, 1)
