"""What the methods' traces come to on one corpus, and on all."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.search.compare import Floats, bootstrap, holm, median, signed_rank
from benchmarks.search.problem import TableProblem
from benchmarks.search.trace import Trace, history

SHARES = (0.25, 0.5, 1.0)
"""Of the budget, at which fronts are compared."""
PLACES = 201
"""At which the figure draws."""
TOLERANCE = 1e-9  # of a hypervolume that is reached


@dataclass(frozen=True, eq=False)
class Result:
    """A method on a corpus. Regret: what is missing of the hypervolume of all candidates, as a share of it.

    Attributes:
        regrets: (seeds, places), evenly over the budget from 0 to 1.
        histories: (share of the budget, hypervolume as a share of the whole) after each gain, by seed.
        completed, stopped, spent: by seed; spent as a share of the budget.
    """

    method: str
    seeds: tuple[int, ...]
    regrets: Floats
    histories: tuple[tuple[tuple[float, float], ...], ...]
    completed: tuple[int, ...]
    stopped: tuple[int, ...]
    spent: tuple[float, ...]

    def regret(self, share: float) -> Floats:
        """(seeds,), at a share of the budget."""
        column: Floats = self.regrets[:, round(share * (PLACES - 1))]
        return column

    def share_to(self, volume: float) -> Floats:
        """(seeds,), the share of the budget after which so much is reached; infinite where it never is."""
        reached = [[at for at, own in steps if own >= volume - TOLERANCE] for steps in self.histories]
        return np.array([min(own, default=np.inf) for own in reached])


def result(method: str, problems: Mapping[int, TableProblem], traces: Mapping[int, Trace]) -> Result:
    """By the problem of each seed."""
    rows, histories, spent = [], [], []
    for seed, trace in traces.items():
        problem = problems[seed]
        found = history(trace, problem)
        rows.append([1 - found.at(problem.budget * own) / problem.whole for own in np.linspace(0, 1, PLACES)])
        steps = zip(found.flops, found.volumes, strict=True)
        histories.append(tuple((at / problem.budget, own / problem.whole) for at, own in steps))
        spent.append(trace.spent / problem.budget)
    return Result(
        method=method,
        seeds=tuple(traces),
        regrets=np.array(rows),
        histories=tuple(histories),
        completed=tuple(len(own.completed) for own in traces.values()),
        stopped=tuple(len(own.stopped) for own in traces.values()),
        spent=tuple(spent),
    )


@dataclass(frozen=True)
class Pair:
    """Ours against a peer at a share of the budget, over the seeds: the median of the differences in regret (below 0:
    ours is better), and p by Wilcoxon, corrected by Holm for all peers."""

    ours: str
    peer: str
    share: float
    difference: float
    p: float


def pairs(own: Sequence[Result], others: Sequence[Sequence[Result]], share: float) -> list[Pair]:
    """``own`` by corpus, each of ``others`` likewise: seeds are paired, and pairs of all corpora taken together."""
    mine = np.concatenate([result.regret(share) for result in own])
    theirs = [np.concatenate([result.regret(share) for result in peer]) for peer in others]
    adjusted = holm([signed_rank(mine, values) for values in theirs])
    return [
        Pair(own[0].method, peer[0].method, share, median(mine - values), p)
        for peer, values, p in zip(others, theirs, adjusted, strict=True)
    ]


def best_peer(results: Sequence[Result]) -> tuple[str, float]:
    """The one with the largest median of its final hypervolume, and that, as a share of the whole."""
    finals = {own.method: 1 - statistics.median(own.regret(1.0)) for own in results}
    name = max(finals, key=lambda own: finals[own])
    return name, finals[name]


def to_target(results: Sequence[Result], targets: Sequence[float]) -> tuple[float, float, float]:
    """The median share of the budget to the target of each corpus, and its interval over seeds and corpora."""
    groups = [own.share_to(target) for own, target in zip(results, targets, strict=True)]
    return median(np.concatenate(groups)), *bootstrap(groups)
