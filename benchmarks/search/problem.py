"""The question that every method is asked: candidates, what their runs cost and give, and a budget."""

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tabular.grid import EVALUATIONS, points
from benchmarks.tabular.replay import TableTexts
from benchmarks.tabular.table import FOLDER, Table, load
from nas.appraise import Appraiser
from nas.candidate import Candidate
from nas.cost import evaluation_flops, forward_flops
from nas.curve import rung_steps
from nas.forecast import Forecast
from nas.outcome import in_log_costs
from nas.pareto import hypervolume
from nas.plan import Allowance, Plan
from nas.search import prepare
from nas.space import Knobs, Space, load_space
from nas.spec import LOSS, Budget, CandidateBudget, Limits, Method, SearchSpec, Total

SHARE = 0.25
"""Of what it would cost to train every candidate to the end."""
SCORES = (0.125, 0.25, 0.5)
"""On the way there, which that price contains. Budgets stay what they were however often a search looks."""
MINIMIZE = (LOSS, "flops_per_byte")
Objectives = tuple[float, ...]


@dataclass(frozen=True)
class Entry:
    """A candidate that the gate admits, with its run.

    Attributes:
        row: of the table, where there is one.
        costs: the cost objectives.
        rung_flops, full_flops: of a score on the rungs' subset and on the whole validation text.
    """

    candidate: Candidate
    knobs: Knobs
    row: int
    plan: Plan
    costs: tuple[float, ...]
    rung_flops: int
    full_flops: int

    @property
    def forward_flops(self) -> int:
        return forward_flops(self.candidate.architecture)


@dataclass(frozen=True, eq=False, kw_only=True)
class Problem(ABC):
    """Under which all methods search.

    Attributes:
        spec: of a search with the problem's budget.
        entries: by the candidate's id, in the order of the space.
        lower: the same candidates trained to the end with less, the least first; empty where there are no such tables.
    """

    spec: SearchSpec
    space: Space
    forecast: Forecast
    entries: Mapping[str, Entry]
    lower: tuple["Problem", ...] = ()

    @property
    def budget(self) -> int:
        """FLOPs of training and scores."""
        return self.spec.budget.search_compute

    @property
    def reference(self) -> Objectives:
        return self.forecast.reference

    # --- what a run costs and gives ---

    def price(self, own: str, rungs: Sequence[float] = ()) -> int:
        """FLOPs that a run to the end is planned to take, with scores at the rungs."""
        return _price(self.entries[own], rungs)

    @abstractmethod
    def spent(self, own: str, progress: float, rungs: Sequence[float] = ()) -> int:
        """FLOPs of a run up to a progress, with scores at those of the rungs that it has passed by then; at the end
        with the score of the whole validation text. A run that diverged took what it took."""

    @abstractmethod
    def loss_at(self, own: str, progress: float) -> float | None:
        """Bits per byte on the rungs' subset at a 16th of progress; ``None`` for a run that had diverged by then."""

    @abstractmethod
    def objectives(self, own: str) -> Objectives | None:
        """Of a run to the end, in the order of the spec; ``None`` for one that diverged."""

    def with_costs(self, own: str, loss: float) -> Objectives:
        """In the order of the spec."""
        costs = iter(self.entries[own].costs)
        return tuple(loss if name == LOSS else next(costs) for name in self.spec.minimize)

    # --- how good a front is ---

    def hypervolume(self, front: Iterable[Objectives]) -> float:
        """Of loss and the natural logarithm of each cost: a factor of cost counts the same everywhere."""
        return hypervolume([self._scaled(own) for own in front], self._scaled(self.reference))

    def _scaled(self, own: Objectives) -> Objectives:
        return in_log_costs(self.spec.minimize, own)


@dataclass(frozen=True, eq=False, kw_only=True)
class TableProblem(Problem):
    """Of the candidates of a table, each of which was trained.

    Attributes:
        draw: which run of a candidate that was made with several seeds.
    """

    table: Table
    draw: int
    lower: tuple["TableProblem", ...] = ()

    def spent(self, own: str, progress: float, rungs: Sequence[float] = ()) -> int:
        entry = self.entries[own]
        steps, recorded = entry.plan.steps, int(self.table.steps[entry.row])
        step = min(recorded, -int(-progress * steps // 1))
        scored = rung_steps(steps, rungs)
        flops = step * entry.plan.step_flops + sum(at <= step and at < recorded for at in scored) * entry.rung_flops
        if step == recorded and recorded in (*scored, steps):  # the last score of the recorded run is asked for
            before = sum(at < recorded for at in rung_steps(steps, self.table.evaluated)) * entry.rung_flops
            flops += int(self.table.eval_flops[entry.row]) - before
        return flops

    def loss_at(self, own: str, progress: float) -> float | None:
        place = round(progress * EVALUATIONS) - 1
        return _number(self.table.validation[self.entries[own].row, place])

    def objectives(self, own: str) -> Objectives | None:
        loss = _number(self.table.val_bpb[self.entries[own].row])
        return None if loss is None else self.with_costs(own, loss)

    @property
    def corpus(self) -> str:
        return str(self.table.about["corpus"])

    @cached_property
    def whole(self) -> float:
        """The hypervolume when every candidate is known."""
        return self.hypervolume([found for own in self.entries if (found := self.objectives(own)) is not None])

    @cached_property
    def digest(self) -> str:
        """Of the table, whatever file it came from."""
        digest = hashlib.sha256(json.dumps([dict(self.table.about), self.table.ids], sort_keys=True).encode())
        for column in (own for own in vars(self.table).values() if isinstance(own, np.ndarray)):
            digest.update(column.tobytes())
        return digest.hexdigest()[:16]


def problem(table: Table, draw: int = 0, lower: Iterable[Table] = (), share: float = SHARE) -> TableProblem:
    """The problem of a table, with a share of what all of it costs."""
    space = load_space(dict(table.about["space"]))
    compute, limits = int(table.about["compute"]), Limits()
    appraiser = Appraiser(TableTexts(table), limits)
    rows: dict[str, list[int]] = {}
    for place, name in enumerate(table.ids):
        rows.setdefault(name, []).append(place)
    entries = entries_of(space, appraiser, compute, lambda own: rows[own][draw % len(rows[own])])
    spec = spec_of(str(table.about["corpus"]), dict(table.about["space"]), 10 * compute, compute)
    total = int(share * sum(_price(own, SCORES) for own in entries.values()))
    spec = replace(spec, budget=replace(spec.budget, total=Total(total)))
    below = sorted(lower, key=lambda other: int(other.about["compute"]))
    return TableProblem(
        table=table,
        draw=draw,
        spec=spec,
        space=space,
        forecast=prepare(spec, space, appraiser),
        entries=entries,
        lower=tuple(problem(other, draw, share=share) for other in below),
    )


def spec_of(corpus: str, space: Mapping[str, Any], total: int, compute: int) -> SearchSpec:
    """A search with so many FLOPs in total and for the training of a candidate."""
    return SearchSpec(
        corpus=corpus,
        space=space,
        budget=Budget(Total(total), CandidateBudget(compute), final=0.0),
        minimize=MINIMIZE,
        method=Method(policy="none"),
    )


def entries_of(space: Space, appraiser: Appraiser, compute: int, row: Callable[[str], int]) -> dict[str, Entry]:
    """The candidates of a closed space that the gate admits; ``row`` is of a table, by the candidate's id."""
    decoded = ((space.decode(knobs), knobs) for knobs in points(space))
    return {
        candidate.id: _entry(appraiser, candidate, knobs, row(candidate.id), compute)
        for candidate, knobs in decoded
        if appraiser.admits(candidate, Allowance(compute))
    }


def _price(entry: Entry, rungs: Sequence[float]) -> int:
    return entry.plan.train_flops + len(rung_steps(entry.plan.steps, rungs)) * entry.rung_flops + entry.full_flops


def _entry(appraiser: Appraiser, candidate: Candidate, knobs: Knobs, row: int, compute: int) -> Entry:
    architecture, facts = candidate.architecture, appraiser.facts(candidate)
    costs = appraiser.cost(candidate).to_dict()
    return Entry(
        candidate=candidate,
        knobs=knobs,
        row=row,
        plan=appraiser.plan(candidate, Allowance(compute)),
        costs=tuple(float(costs[name]) for name in MINIMIZE if name != LOSS),
        rung_flops=evaluation_flops(architecture, facts.rung_windows, facts.rung_tokens),
        full_flops=evaluation_flops(architecture, facts.full_windows, facts.full_tokens),
    )


def _number(value: Any) -> float | None:
    return None if math.isnan(value) else float(value)


# --- the tables that are there ---


def corpora(folder: Path = FOLDER) -> list[str]:
    """With a table of the grid's own budget; those of others bear it in their name."""
    names = [path.name.removesuffix(".json.xz") for path in sorted(folder.glob("*.json.xz"))]
    return [name for name in names if "-" not in name]


def of_corpus(corpus: str, draw: int = 0, folder: Path = FOLDER) -> TableProblem:
    names = [path.name.removesuffix(".json.xz") for path in sorted(folder.glob(f"{corpus}-*-brief.json.xz"))]
    return problem(load(corpus, folder), draw, [load(name, folder) for name in names])
