"""A search on a table instead of a machine: the same decisions and the same account as with real training, in seconds.

Everything but the training is real: `nas.search`, the suggester, the gate, the pruner, the ledger. The clock is
simulated: it goes on by the processor time that the runs took.
"""

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.tabular.grid import EVALUATIONS, points
from benchmarks.tabular.table import REPORTS, Table
from benchmarks.tabular.training import EVALUATED
from nas.adapters.memory_store import MemoryStore
from nas.adapters.optuna_suggester import OptunaSuggester
from nas.appraise import Appraiser
from nas.cost import evaluation_flops
from nas.curve import RUNGS, rung_steps
from nas.errors import SpecError
from nas.outcome import COMPLETED, DIVERGED, STOPPED, ended
from nas.plan import TextFacts
from nas.policy import STARTUP
from nas.ports import Assignment, Done, Driver, Outcome, Store, Suggester
from nas.records import (
    CandidateRecord,
    CurvePoint,
    DecisionRecord,
    LedgerRecord,
    SearchRecord,
    SearchState,
    Verdict,
)
from nas.search import Search, prepare
from nas.space import Choice, Space, load_space
from nas.spec import LATENCY, PEAK_MEMORY, TRAIN_SECONDS, SearchSpec
from nas.units import format_flops

NAME = "replay"
"""Of the search, in its store."""
MakeSuggester = Callable[[SearchSpec, Space], Suggester]
Watch = Callable[[Driver], Driver]
"""Stands between the engine and the search, e.g. to stop runs that the search would let go on."""


class TableTexts:
    """`nas.ports.TextMeter` by the sizes that the table keeps."""

    def __init__(self, table: Table) -> None:
        self._facts = table.facts

    def bytes_per_token(self, vocabulary: int) -> float:
        return next(facts.bytes_per_token for (own, _), facts in self._facts.items() if own == vocabulary)

    def facts(self, vocabulary: int, context: int) -> TextFacts:
        return self._facts[vocabulary, context]


class TableEngine:
    """Carries out what a driver hands out, by looking it up: ``parallel`` at a time on a clock of its own.

    Args:
        draw: which run of a candidate that was made with several seeds.
    """

    def __init__(self, table: Table, parallel: int = 1, draw: int = 0) -> None:
        self._table, self._parallel, self._seconds = table, parallel, 0.0
        rows: dict[str, list[int]] = {}
        for row, own in enumerate(table.ids):  # in the order of seeds
            rows.setdefault(own, []).append(row)
        self._rows = {own: several[draw % len(several)] for own, several in rows.items()}

    def clock(self) -> float:
        """Seconds since the beginning."""
        return self._seconds

    def run(self, driver: Driver) -> None:
        """Until the driver is done. As in `nas.ports.Engine`, but for halts: it is over in seconds."""
        running: list[_Event] = []
        begun = 0
        while True:
            while len(running) < self._parallel and isinstance(answer := driver.next(), Assignment):
                begun += 1
                heapq.heappush(running, self._begin(answer, begun))
            if not running:
                if isinstance(answer, Done):
                    return
                raise RuntimeError("a driver with nothing in training must hand out a run or be done")
            event = heapq.heappop(running)
            self._seconds = event.at
            if (further := event.tell(driver)) is not None:
                heapq.heappush(running, further)

    def _begin(self, assignment: Assignment, order: int) -> "_Event":
        lookup = _Lookup(self._table, self._rows[assignment.candidate.id], assignment)
        return _Event.next(self._seconds, order, lookup, lookup.points())


@dataclass(frozen=True, slots=True)
class _Event:
    """What happens next in a run: a point, or with none its end. ``began`` and ``order`` are the run's."""

    at: float
    order: int
    began: float
    lookup: "_Lookup"
    points: Iterator[CurvePoint]
    point: CurvePoint | None

    @classmethod
    def next(cls, began: float, order: int, lookup: "_Lookup", points: Iterator[CurvePoint]) -> "_Event":
        point = next(points, None)
        seconds = lookup.end().seconds if point is None else point.seconds
        return cls(began + seconds, order, began, lookup, points, point)

    def __lt__(self, other: "_Event") -> bool:
        return (self.at, self.order) < (other.at, other.order)

    def tell(self, driver: Driver) -> "_Event | None":
        """Tells the driver, and says what is next in the run if it goes on."""
        if self.point is None:
            driver.finish(self.lookup.end())
        elif driver.report(self.point) is Verdict.STOP:
            driver.finish(ended(self.lookup.assignment, STOPPED, self.point))
        else:
            return self.next(self.began, self.order, self.lookup, self.points)
        return None


@dataclass(frozen=True)
class _Lookup:
    """An assignment as a row of the table has it."""

    table: Table
    row: int
    assignment: Assignment

    def points(self) -> Iterator[CurvePoint]:
        """As a run reports them: training losses at the 32nds of progress, validation losses at the rungs."""
        own, steps = self.assignment, self.assignment.plan.steps
        rungs, evaluated, scored = rung_steps(steps, RUNGS), rung_steps(steps, EVALUATED), 0
        for step, place in {-(-part * steps // REPORTS): part - 1 for part in range(1, REPORTS + 1)}.items():
            train, validation = float(self.table.train[self.row, place]), None
            if math.isnan(train):
                return  # it diverged
            if rung := rungs.get(step):
                scored += self._rung_flops
                validation = float(self.table.validation[self.row, round(evaluated[step] * EVALUATIONS) - 1])
            spent = step * own.plan.step_flops
            yield CurvePoint(
                search_id=own.search_id,
                number=own.number,
                attempt=own.attempt,
                step=step,
                progress=step / steps,
                flops=spent,
                seconds=self._seconds(spent + scored),
                train_bpb=train,
                val_bpb=validation,
                rung=rung,
                eval_flops=scored,
            )

    def end(self) -> Outcome:
        """As a run ends that nobody stops."""
        own, loss, made = self.assignment, float(self.table.val_bpb[self.row]), int(self.table.steps[self.row])
        spent, scored = made * own.plan.step_flops, self._scored(made)
        completed = not math.isnan(loss)
        return Outcome(
            number=own.number,
            attempt=own.attempt,
            kind=COMPLETED if completed else DIVERGED,
            train_flops=spent,
            hardware_flops=spent + made * own.plan.recompute_step_flops,
            eval_flops=scored,
            seconds=self._seconds(spent + scored),
            val_bpb=loss if completed else None,
            val_error=float(self.table.val_error[self.row]) if completed else None,
            detail="" if completed else "the loss is not finite",
        )

    def _scored(self, made: int) -> int:
        """FLOPs of the scores at the rungs, and of one after the last step if the recorded run was scored there."""
        steps = self.assignment.plan.steps
        rungs, evaluated = ([step for step in rung_steps(steps, own)] for own in (RUNGS, EVALUATED))
        before = sum(step < made for step in evaluated) * self._rung_flops
        last = int(self.table.eval_flops[self.row]) - before if made in (*rungs, steps) else 0
        return sum(step < made for step in rungs) * self._rung_flops + last

    @property
    def _rung_flops(self) -> int:
        architecture = self.assignment.candidate.architecture
        facts = self.table.facts[architecture.vocabulary, architecture.context]
        return evaluation_flops(architecture, facts.rung_windows, facts.rung_tokens)

    def _seconds(self, flops: int) -> float:
        """The run was scored more often than a search does: a FLOP of scoring is taken to last as long as one of
        training."""
        table, row = self.table, self.row
        all_flops = table.steps[row] * table.step_flops[row] + table.eval_flops[row]
        return float(flops * table.seconds[row] / all_flops)


# --- a whole search ---


@dataclass(frozen=True)
class Replayed:
    """A search that is over. Times in its records are seconds of the simulated clock, and so are ``seconds``."""

    spec: SearchSpec
    store: Store
    seconds: float

    @property
    def candidates(self) -> list[CandidateRecord]:
        return self.store.candidates(NAME)

    @property
    def decisions(self) -> list[DecisionRecord]:
        return self.store.decisions(NAME)

    @property
    def points(self) -> list[CurvePoint]:
        return self.store.points(NAME)

    @property
    def ledger(self) -> list[LedgerRecord]:
        return self.store.ledger(NAME)


def by_tpe(spec: SearchSpec, space: Space) -> Suggester:
    """As searches open it: proposals are the policy's, and TPE's where it asks the suggester."""
    return OptunaSuggester(None, NAME, space, spec.minimize, spec.method.seed, STARTUP)


def unwatched(driver: Driver) -> Driver:
    return driver


def replay(
    spec: SearchSpec,
    table: Table,
    make_suggester: MakeSuggester = by_tpe,
    draw: int = 0,
    watch: Watch = unwatched,
) -> Replayed:
    """Searches on the table; ``draw`` is as in `TableEngine`.

    Raises:
        SpecError: for a spec that the table cannot answer.
        InfeasibleError: when no candidate fits.
    """
    space, store = load_space(spec.space), MemoryStore()
    check(spec, space, table)
    appraiser = Appraiser(TableTexts(table), spec.limits)
    setting = {"forecast": prepare(spec, space, appraiser).to_dict()}
    record = SearchRecord(NAME, spec.name, SearchState.RUNNING, 0.0, spec.to_dict(), setting)
    store.add_search(record)
    engine = TableEngine(table, spec.method.parallel, draw)
    clock = engine.clock
    suggester = make_suggester(spec, space)
    engine.run(watch(Search(record, spec, space, store, suggester, appraiser, clock=clock, now=clock)))
    return Replayed(spec, store, engine.clock())


def check(spec: SearchSpec, space: Space, table: Table) -> None:
    """Raises `SpecError` for what the table cannot answer: other candidates, another budget of theirs, time and memory,
    a final run."""
    compute, budget, limits = int(table.about["compute"]), spec.budget, spec.limits
    if not table.evaluated:
        raise SpecError("table", "must be of runs that were scored on their way", f"{table.about['corpus']}, brief")
    if any(not isinstance(knob.domain, Choice) for knob in space.knobs):
        raise SpecError("space", "must list the values of every knob", space.name)
    if not {space.decode(knobs).id for knobs in points(space)} <= set(table.ids):
        raise SpecError("space", "must have no candidate that is not in the table", space.name)
    if budget.candidate.compute != compute:
        found = format_flops(budget.candidate.compute)
        raise SpecError("budget.candidate.compute", f"must be that of the table, {format_flops(compute)}", found)
    if budget.final_share:
        raise SpecError("budget.final", "must be 0: the table has no final runs", budget.final)
    absent = {
        "budget.total.time": None if math.isinf(budget.total.time) else budget.total.time,
        "budget.candidate.time": None if math.isinf(budget.candidate.time) else budget.candidate.time,
        "budget.candidate.memory": budget.candidate.memory,
        "limits.peak_memory": limits.peak_memory,
        "limits.train_seconds": limits.train_seconds,
        "limits.latency_ms_per_kb": limits.latency_ms_per_kb,
    }
    for name, value in absent.items():
        if value is not None:
            raise SpecError(name, "must be absent: a replay has no device", value)
    for name in (PEAK_MEMORY, TRAIN_SECONDS, LATENCY):
        if name in spec.minimize:
            raise SpecError("minimize", "must be the loss and costs in closed form: a replay has no device", name)
