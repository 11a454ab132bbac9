"""Methods that learn nothing: an order of candidates, each trained to the end until the next cannot be paid."""

import itertools
import random
from collections.abc import Iterable, Iterator

from benchmarks.search.account import Account
from benchmarks.search.problem import Problem
from benchmarks.search.trace import Trace

TRIED = 2**14  # points of the even sequence


def in_order(problem: Problem, order: Iterable[str]) -> Trace:
    account = Account(problem)
    for own in itertools.takewhile(account.affords, order):
        account.complete(own)
    return account.trace


def shuffled(problem: Problem, seed: int) -> list[str]:
    """All candidates, by lot."""
    order = list(problem.entries)
    random.Random(seed).shuffle(order)
    return order


def at_random(problem: Problem, seed: int) -> Trace:
    return in_order(problem, shuffled(problem, seed))


def evenly(problem: Problem, seed: int) -> Trace:
    """By `Space.uniform`, which has no seed; what it does not reach comes last."""
    return in_order(problem, _even(problem))


def _even(problem: Problem) -> Iterator[str]:
    """Each candidate once."""
    space, seen = problem.space, set[str]()
    even = (space.decode(space.uniform(index)).id for index in range(TRIED))
    for own in itertools.chain(even, problem.entries):
        if own in problem.entries and own not in seen:
            seen.add(own)
            yield own


def largest_first(problem: Problem, seed: int) -> Trace:
    """By forward FLOPs, those of the same size by lot."""
    order = shuffled(problem, seed)
    return in_order(problem, sorted(order, key=lambda own: -problem.entries[own].forward_flops))


def dial(problem: Problem, seed: int) -> Trace:
    """One candidate, chosen by scaling rules with no search."""
    knobs = problem.forecast.dial
    return in_order(problem, [] if knobs is None else [problem.space.decode(knobs).id])
