"""Optuna's multi-objective samplers with their own defaults; every candidate is trained to the end.

What is proposed again is answered with what is known, at no charge. Optuna has no pruning with several objectives.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, TPESampler
from optuna.trial import TrialState

from benchmarks.search.account import Account
from benchmarks.search.peers.grid import FRUITLESS, Grid
from benchmarks.search.problem import Objectives, Problem
from benchmarks.search.trace import Trace


def tpe(problem: Problem, seed: int) -> Trace:
    """Ozaki et al., JAIR 73, 2022."""
    return _search(problem, TPESampler(seed=seed), seed)


def nsga_ii(problem: Problem, seed: int) -> Trace:
    """Deb et al., IEEE TEC 6(2), 2002; a population of 50."""
    return _search(problem, NSGAIISampler(seed=seed), seed)


def gp(problem: Problem, seed: int) -> Trace:
    """Gaussian processes with the expected improvement of the log hypervolume."""
    return _search(problem, GPSampler(seed=seed), seed)


def _search(problem: Problem, sampler: BaseSampler, seed: int) -> Trace:
    grid, account = Grid(problem, seed), Account(problem)
    known: dict[str, Objectives | None] = {}
    fruitless = 0
    with _quiet():
        study = optuna.create_study(directions=["minimize"] * len(problem.spec.minimize), sampler=sampler)
        while True:
            if fruitless == FRUITLESS:
                if (drawn := grid.draw(set(known))) is None:
                    return account.trace
                study.enqueue_trial(dict(grid.parameters(drawn)))
            trial = study.ask(grid.distributions)
            own = grid.id(trial.params)
            fruitless = fruitless + 1 if own in known or own not in problem.entries else 0
            if not fruitless:
                if not account.affords(own):
                    return account.trace
                known[own] = account.complete(own)
            values = known.get(own)
            study.tell(trial, values, state=TrialState.PRUNED if values is None else TrialState.COMPLETE)


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna says little, and warns of no sampler that is still on trial."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
