"""Successive halving by its plain rules, which need no package."""

import itertools
from collections.abc import Sequence

from benchmarks.search.account import Account
from benchmarks.search.peers.orders import shuffled
from benchmarks.search.problem import Problem
from benchmarks.search.trace import Trace

FRACTION = 0.125
ETA = 3
LEVELS = 3


def fixed_fraction(problem: Problem, seed: int) -> Trace:
    """Everyone to 1/8, the best to the end: Egele et al., arXiv 2307.15422.

    Starters are taken by lot as long as half of the budget pays for them (a quarter of what all costs pays for nearly
    everyone); then the best by their loss at 1/8 are trained on, the best first, until the next cannot be paid.
    """
    account, losses = Account(problem, [FRACTION]), dict[str, float]()
    for own in shuffled(problem, seed):
        if account.spent + problem.spent(own, FRACTION, [FRACTION]) > problem.budget / 2:
            break
        if (loss := account.advance(own, FRACTION)) is not None:
            losses[own] = loss
    best = sorted(losses, key=lambda own: losses[own])
    finished = list(itertools.takewhile(lambda own: account.affords(own) and _done(account, own), best))
    for own in best[len(finished) :]:
        account.stop(own, FRACTION)
    return account.trace


def _done(account: Account, own: str) -> bool:
    account.complete(own)
    return True


def complete_schedules(problem: Problem, seed: int) -> Trace:
    """Successive halving (Jamieson and Talwalkar, AISTATS 2016), each level trained anew with its whole schedule.

    Budgets of a run are 1/9, 1/3 and 1; the best third by final loss goes to the next. Starters are taken by lot, as
    many as the budget pays for at the mean price of a run at each level. Only runs with the whole budget count as
    candidates.
    """
    levels = [*problem.lower[-(LEVELS - 1) :], problem]
    account, runners = Account(problem), _starters(problem, levels, seed)
    for level in levels[:-1]:
        losses = {}
        for own in runners:
            price = level.spent(own, 1.0)
            if price > account.left:
                return account.trace
            account.pay(price)
            if (found := level.objectives(own)) is not None:
                losses[own] = found[0]
        ranked = sorted(losses, key=lambda own: losses[own])
        runners = ranked[: max(1, len(runners) // ETA)]
    for own in itertools.takewhile(account.affords, runners):
        account.complete(own)
    return account.trace


def _starters(problem: Problem, levels: Sequence[Problem], seed: int) -> list[str]:
    order = [own for own in shuffled(problem, seed) if all(own in level.entries for level in levels)]
    means = [sum(level.price(own) for own in order) / len(order) for level in levels]
    each = sum(mean / ETA**place for place, mean in enumerate(means))
    return order[: int(problem.budget / each)]
