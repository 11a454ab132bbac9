"""The question that methods are asked, with training in place of a table: a run goes on as far as a method asks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

from benchmarks.search.problem import Entry, Objectives, Problem, entries_of, spec_of
from benchmarks.tabular.training import EVALUATED
from nas.appraise import Appraiser
from nas.curve import rung_steps
from nas.data.texts import Texts
from nas.search import prepare
from nas.space import Space
from nas.spec import Limits
from nas.train.run import Finish, Report, Request, train


class LiveRun:
    """A candidate in training, which waits wherever it is not asked to go on. It is scored at each 16th; who asks for
    none of these scores pays for none."""

    def __init__(self, entry: Entry, texts: Texts, seed: int) -> None:
        self._events = train(Request(entry.candidate, entry.plan, seed, "cpu", rungs=EVALUATED), texts)
        self._losses: dict[float, float] = {}
        self._finish: Finish | None = None

    def loss_at(self, progress: float) -> float | None:
        """On the rungs' subset; ``None`` of a run that has diverged by then."""
        while progress not in self._losses and self._finish is None:
            self._go_on()
        return self._losses.get(progress)

    def end(self) -> Finish:
        while self._finish is None:
            self._go_on()
        return self._finish

    @property
    def diverged_at(self) -> int | None:
        """The step, of a run that is known to have diverged."""
        return self._finish.step if self._finish is not None and self._finish.validation is None else None

    def _go_on(self) -> None:
        event = next(self._events)
        if isinstance(event, Finish):
            self._finish = event
        elif isinstance(event, Report) and event.rung is not None and event.val_bpb is not None:
            self._losses[event.rung] = event.val_bpb


@dataclass(frozen=True, eq=False, kw_only=True)
class LiveProblem(Problem):
    """Attributes:
    seed: of all runs.
    runs: that have begun, by the candidate's id.
    """

    texts: Texts
    seed: int
    runs: dict[str, LiveRun] = field(default_factory=dict)

    def spent(self, own: str, progress: float, rungs: Sequence[float] = ()) -> int:
        entry, diverged_at = self.entries[own], self._run(own).diverged_at
        steps = entry.plan.steps
        step = min(ceil(progress * steps), steps if diverged_at is None else diverged_at)
        scores = sum(at <= step and at < steps for at in rung_steps(steps, rungs)) * entry.rung_flops
        whole = entry.full_flops if step == steps else 0
        return step * entry.plan.step_flops + scores + whole

    def loss_at(self, own: str, progress: float) -> float | None:
        return self._run(own).loss_at(progress)

    def objectives(self, own: str) -> Objectives | None:
        score = self._run(own).end().validation
        return None if score is None else self.with_costs(own, score.bpb)

    def _run(self, own: str) -> LiveRun:
        if own not in self.runs:
            self.runs[own] = LiveRun(self.entries[own], self.texts, self.seed)
        return self.runs[own]


def live_problem(texts: Texts, space: Space, total: int, compute: int, seed: int) -> LiveProblem:
    """The candidates of a closed space, with so many FLOPs in total and for each of them."""
    appraiser = Appraiser(texts, Limits())
    spec = spec_of(texts.corpus.name, space.to_dict(), total, compute)
    return LiveProblem(
        spec=spec,
        space=space,
        forecast=prepare(spec, space, appraiser),
        entries=entries_of(space, appraiser, compute, lambda own: 0),
        texts=texts,
        seed=seed,
    )
