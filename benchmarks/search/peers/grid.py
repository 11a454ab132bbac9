"""A problem's space as other packages see it."""

import random

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from benchmarks.search.problem import Problem
from nas.space import Knobs, Value

FRUITLESS = 8
"""Proposals in a row of what is known already, after which one that is new is taken by lot, as in our search: every
peer spends its budget."""
Parameters = dict[str, Value]


class Grid:
    """Knobs with a choice as parameters: places of ordered numbers, so that it is known what is near what, and
    categories."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self._problem, self._random = problem, random.Random(f"grid/{seed}")
        space = problem.space
        self.values: dict[str, list[Value]] = {
            knob.name: list(space.values(knob.name)) for knob in space.knobs if len(space.values(knob.name)) > 1
        }
        self._fixed = {
            name: value for name, value in next(iter(problem.entries.values())).knobs.items() if name not in self.values
        }

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        return {
            name: IntDistribution(0, len(values) - 1) if _is_ordered(values) else CategoricalDistribution(values)
            for name, values in self.values.items()
        }

    def id(self, parameters: Parameters) -> str:
        """Of the candidate."""
        return self.id_of({name: self._value(name, own) for name, own in parameters.items()})

    def id_of(self, knobs: Knobs) -> str:
        return self._problem.space.decode({**self._fixed, **knobs}).id

    def parameters(self, own: str) -> Parameters:
        """Of the candidate of an id."""
        knobs = self._problem.entries[own].knobs
        return {
            name: values.index(knobs[name]) if _is_ordered(values) else knobs[name]
            for name, values in self.values.items()
        }

    def draw(self, known: set[str]) -> str | None:
        """One that is not known, by lot."""
        others = [own for own in self._problem.entries if own not in known]
        return self._random.choice(others) if others else None

    def _value(self, name: str, parameter: Value) -> Value:
        values = self.values[name]
        return values[int(parameter)] if _is_ordered(values) else parameter


def _is_ordered(values: list[Value]) -> bool:
    return len(values) > 2 and all(isinstance(own, (int, float)) and not isinstance(own, bool) for own in values)
