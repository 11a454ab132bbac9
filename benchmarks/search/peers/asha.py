"""Asynchronous successive halving by the schedulers of Ray Tune and Syne Tune, one run at a time, with their defaults.

Progress is counted in 16ths: ``max_t`` is 16 and the grace period 1. A run is scored, and its score charged, only at
its scheduler's milestones.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.search.account import Account
from benchmarks.search.compare import Floats
from benchmarks.search.peers.grid import FRUITLESS, Grid
from benchmarks.search.problem import Problem
from benchmarks.search.trace import Trace
from nas.errors import MissingDependencyError
from nas.spec import LOSS

PARTS = 16
TIME = "training_iteration"  # the name that Ray's searcher reads
Result = dict[str, Any]
NO_CONTROLLER: Any = None  # Ray's scheduler is handed one and does not use it


def milestones(reduction: int) -> list[int]:
    """In 16ths, as both packages space them from a grace period of 1."""
    return [reduction**place for place in range(PARTS) if reduction**place < PARTS]


def _train(account: Account, own: str, marks: list[int], stops: Callable[[Result], bool]) -> Result:
    """A run under a scheduler; its last result."""
    result: Result = {TIME: 0}
    for mark in marks:
        loss = account.advance(own, mark / PARTS)
        if loss is None:
            return result
        result = {TIME: mark, LOSS: loss}
        if stops(result):
            account.stop(own, mark / PARTS)
            return result
    found = account.complete(own)
    return result if found is None else {TIME: PARTS, LOSS: found[0]}


# --- Ray Tune ---


def ray_asha(problem: Problem, seed: int) -> Trace:
    """`AsyncHyperBandScheduler` on the loss (Li et al., arXiv 1810.05934; reduction factor 4) with `OptunaSearch`,
    which proposes by TPE for the loss alone and takes the last loss of a stopped run for its result."""
    from ray.tune.schedulers import AsyncHyperBandScheduler
    from ray.tune.search.optuna import OptunaSearch

    reduction = 4
    marks = milestones(reduction)
    grid, account = Grid(problem, seed), Account(problem, [mark / PARTS for mark in marks])
    scheduler = AsyncHyperBandScheduler(TIME, LOSS, "min", max_t=PARTS, grace_period=1, reduction_factor=reduction)
    searcher = OptunaSearch(grid.distributions, LOSS, "min", seed=seed)
    known: dict[str, Result] = {}

    def run(own: str, trial: Any) -> Result:
        def stops(result: Result) -> bool:
            if searched:
                searcher.on_trial_result(trial.trial_id, result)
            return bool(scheduler.on_trial_result(NO_CONTROLLER, trial, result) == "STOP")

        searched = not trial.trial_id.startswith("drawn")
        scheduler.on_trial_add(NO_CONTROLLER, trial)
        known[own] = result = _train(account, own, marks, stops)
        scheduler.on_trial_complete(NO_CONTROLLER, trial, result)
        return result

    fruitless, asked = 0, 0
    while True:
        if fruitless == FRUITLESS:
            drawn, fruitless = grid.draw(set(known)), 0
            if drawn is None or not account.affords(drawn):
                return account.trace
            result = run(drawn, SimpleNamespace(trial_id=f"drawn{asked}"))
            if LOSS in result:
                searcher.add_evaluated_point(dict(grid.parameters(drawn)), result[LOSS])
        trial = SimpleNamespace(trial_id=f"{asked}")
        asked += 1
        own = grid.id(searcher.suggest(trial.trial_id) or {})
        fruitless = fruitless + 1 if own in known or own not in problem.entries else 0
        if not fruitless:
            if not account.affords(own):
                return account.trace
            run(own, trial)
        searcher.on_trial_complete(trial.trial_id, {TIME: 0, **known.get(own, {})})


# --- Syne Tune ---


def mo_asha(problem: Problem, seed: int) -> Trace:
    """`MOASHA` on all objectives (Schmucker et al., arXiv 2106.12639; reduction factor 3) as it is shipped; it proposes
    at random.

    Of version 0.16.0: where its bracket wants the rank of each candidate, `NonDominatedPriority` gives the candidates
    in the order of their ranks, so that a verdict depends on who came when.
    """
    return _mo_asha(problem, seed, put_right=False)


def mo_asha_put_right(problem: Problem, seed: int) -> Trace:
    """The same with ranks where ranks are wanted, by the package's own fronts and epsilon-net: as the paper has it."""
    return _mo_asha(problem, seed, put_right=True)


def _mo_asha(problem: Problem, seed: int, *, put_right: bool) -> Trace:
    try:
        from syne_tune.backend.trial_status import Trial
        from syne_tune.config_space import choice
        from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA
    except ImportError:
        raise MissingDependencyError(
            "syne-tune: must be installed to run MO-ASHA anew: pip install --no-deps -c constraints.txt syne-tune"
        ) from None
    reduction = 3
    marks = milestones(reduction)
    grid, account = Grid(problem, seed), Account(problem, [mark / PARTS for mark in marks])
    scheduler = MOASHA(
        {name: choice(values) for name, values in grid.values.items()},
        list(problem.spec.minimize),
        time_attr=TIME,
        max_t=PARTS,
        grace_period=1,
        reduction_factor=reduction,
        random_seed=seed,
        multiobjective_priority=_ranks if put_right else None,
    )
    known: set[str] = set()
    fruitless = 0
    with _seeded(seed):  # it draws from numpy's shared generator
        while True:
            proposed: str | None = grid.id_of(scheduler.suggest().config)
            if proposed in known or proposed not in problem.entries:
                fruitless += 1
                if fruitless < FRUITLESS:
                    continue
                proposed = grid.draw(known)
            fruitless = 0
            if proposed is None or not account.affords(proposed):
                return account.trace
            costs = dict(zip(problem.spec.cost_objectives, problem.entries[proposed].costs, strict=True))
            trial = Trial(len(known), dict(problem.entries[proposed].knobs), datetime.min)
            scheduler.on_trial_add(trial)
            result = _train(account, proposed, marks, partial(_syne_stops, scheduler, trial, costs))
            if LOSS in result:
                scheduler.on_trial_complete(trial, {**result, **costs})
            known.add(proposed)


def _ranks(objectives: Floats) -> Floats:
    """(N,) of (N, M): by front, and within a front by what spreads best, the lowest loss first."""
    from syne_tune.optimizer.schedulers.multiobjective.non_dominated_priority import (
        compute_epsilon_net,
        pareto_efficient,
    )

    ranks, left = np.empty(len(objectives)), np.arange(len(objectives))
    while left.size:
        front = pareto_efficient(objectives[left])
        ranks[left[front]] = len(objectives) - left.size + compute_epsilon_net(objectives[left[front]], dim=0)
        left = left[~front]
    return ranks


def _syne_stops(scheduler: Any, trial: Any, costs: Mapping[str, float], result: Result) -> bool:
    return bool(scheduler.on_trial_result(trial, {**result, **costs}) == "STOP")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)
