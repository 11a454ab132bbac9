"""Our search with its parts exchanged one by one, so that each part of a gain is attributed to what makes it.

Three factors: who proposes, who stops runs, what is tried first. Everything else is our search as it is.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from ray.tune.schedulers import AsyncHyperBandScheduler

from benchmarks.search import ours
from benchmarks.search.peers.asha import NO_CONTROLLER, PARTS
from benchmarks.search.problem import TableProblem
from benchmarks.search.trace import Trace
from benchmarks.tabular.replay import NAME, Watch, unwatched
from nas.adapters.optuna_suggester import OptunaSuggester
from nas.policy import STARTUP, TPE
from nas.ports import Assignment, Done, Driver, Outcome, Suggester, Suggestion, Wait
from nas.records import CurvePoint, LogLine, Verdict
from nas.space import Space
from nas.spec import LOSS, SearchSpec

MakeSampler = Callable[[int], BaseSampler]
SAMPLERS: Mapping[str, MakeSampler] = {
    "random": lambda seed: RandomSampler(seed=seed),
    "tpe": lambda seed: TPESampler(seed=seed, n_startup_trials=STARTUP),
    "nsga-ii": lambda seed: NSGAIISampler(seed=seed),
    "gp": lambda seed: GPSampler(seed=seed, n_startup_trials=STARTUP),
}
FIRST = ("none", "ours")


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination."""

    sampler: str
    pruner: str
    first: str

    @property
    def name(self) -> str:
        return f"{self.sampler} / {self.pruner} / {self.first}"


def cells() -> Iterator[Cell]:
    return itertools.starmap(Cell, itertools.product(SAMPLERS, PRUNERS, FIRST))


def search(problem: TableProblem, seed: int, cell: Cell) -> Trace:
    def suggester(spec: SearchSpec, space: Space) -> Suggester:
        ignored = 0 if cell.first == "ours" else STARTUP
        return Sampled(SAMPLERS[cell.sampler], ignored, spec, space)

    return ours.search(problem, seed, TPE.name, suggester, PRUNERS[cell.pruner])


class Sampled(OptunaSuggester):
    """With any sampler of Optuna, seeded as ours is, by the search's seed and the suggestion's key.

    Args:
        ignored: of so many first suggestions, which are a search's seeds, the sampler proposes others.
    """

    def __init__(self, make_sampler: MakeSampler, ignored: int, spec: SearchSpec, space: Space) -> None:
        self._make_sampler, self._ignored = make_sampler, ignored
        super().__init__(None, NAME, space, spec.minimize, spec.method.seed, STARTUP)

    def ask(self, knobs: Mapping[str, Any] | None = None) -> Suggestion:
        return super().ask(None if self.asked() < self._ignored else knobs)

    def _sampler(self, key: int) -> BaseSampler:  # type: ignore[override]  # wider than TPE
        digest = hashlib.sha256(f"{self._seed}/{key}".encode()).digest()
        return self._make_sampler(int.from_bytes(digest[:4], "big"))


class Watched:
    """Between the engine and a search: what becomes of a run at a rung is for this to say."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def next(self, device: str = "") -> Assignment | Wait | Done:
        return self._driver.next(device)

    def report(self, point: CurvePoint) -> Verdict:
        self._driver.report(point)
        return Verdict.CONTINUE

    def began(self, number: int, attempt: int, worker: str) -> None:
        self._driver.began(number, attempt, worker)

    def logged(self, number: int, attempt: int, lines: Sequence[LogLine], *, more: bool = False) -> None:
        self._driver.logged(number, attempt, lines, more=more)

    def finish(self, outcome: Outcome) -> None:
        self._driver.finish(outcome)


class Halving(Watched):
    """Ray Tune's ASHA on the loss, at the search's own rungs, from 1/16 to 1/2, the better half of which goes on."""

    def __init__(self, driver: Driver) -> None:
        super().__init__(driver)
        self._asha = AsyncHyperBandScheduler("progress", LOSS, "min", max_t=PARTS, grace_period=1, reduction_factor=2)

    def next(self, device: str = "") -> Assignment | Wait | Done:
        answer = super().next(device)
        if isinstance(answer, Assignment):
            self._asha.on_trial_add(NO_CONTROLLER, _trial(answer.number))
        return answer

    def report(self, point: CurvePoint) -> Verdict:
        verdict = super().report(point)
        if point.rung is None or point.val_bpb is None:
            return verdict
        result = {"progress": point.rung * PARTS, LOSS: point.val_bpb}
        stops = self._asha.on_trial_result(NO_CONTROLLER, _trial(point.number), result) == "STOP"
        return Verdict.STOP if stops else verdict


def _trial(number: int) -> Any:
    """What the scheduler asks of a trial."""
    return SimpleNamespace(trial_id=str(number))


PRUNERS: Mapping[str, Watch] = {"none": Watched, "dominance": unwatched, "asha": Halving}
