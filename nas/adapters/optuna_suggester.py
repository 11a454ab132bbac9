"""Suggestions by Optuna's multi-objective TPE, kept as an Optuna study that any Optuna tool opens.

The sampler works on a copy of the study in memory, because asking an RDB study takes a transaction for each knob;
the study in the database gets each suggestion as one row and each answer as one update. What did not fit is told as
a violated constraint and PRUNED, never as FAIL: samplers ignore failures and go on proposing the like.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial

from nas.ports import Suggestion
from nas.space import Choice, Knob, Knobs, Range, Space, Value

optuna.logging.set_verbosity(optuna.logging.WARNING)

INDEX = ".index"
"""Ends the name of a parameter that is a position in a knob's ordered values: TPE then knows what is near what."""


class OptunaSuggester:
    """`nas.ports.Suggester` over a study named after the search.

    Args:
        url: SQLAlchemy URL of the database that also holds the search.
        startup: suggestions that are not yet modelled (the seeds).
    """

    def __init__(self, url: str, name: str, space: Space, objectives: Sequence[str], seed: int, startup: int) -> None:
        self._space, self._seed, self._startup = space, seed, startup
        directions = ["minimize"] * len(objectives)
        self._storage = RDBStorage(url, engine_kwargs=_engine_options(url))
        self._study = optuna.create_study(
            storage=self._storage,
            study_name=name,
            directions=directions,
            load_if_exists=True,
            sampler=self._sampler(0),
        )
        if not self._study.user_attrs:
            self._study.set_user_attr("objectives", list(objectives))
        self._memory = optuna.create_study(directions=directions, sampler=self._sampler(0))
        history = self._study.get_trials(deepcopy=False)
        self._memory.add_trials(history)
        self._study_id = self._storage.get_study_id_from_name(name)
        self._projected = {trial.number for trial in history}
        self._asked: dict[int, optuna.Trial] = {}

    def keys(self) -> dict[int, int]:
        return {
            trial.user_attrs["number"]: trial.number
            for trial in self._memory.get_trials(deepcopy=False)
            if "number" in trial.user_attrs
        }

    def ask(self, knobs: Mapping[str, Any] | None = None) -> Suggestion:
        key = len(self._memory.get_trials(deepcopy=False))
        self._memory.sampler = self._sampler(key)
        if knobs is not None:
            self._memory.enqueue_trial(_parameters(self._space, knobs))
        trial = self._asked[key] = self._memory.ask()
        chosen: Knobs = {}
        for knob in self._space.knobs:
            if knob.active(chosen):
                chosen[knob.name] = _value(knob, _suggest(trial, knob))
        return Suggestion(trial.number, chosen)

    def name(self, key: int, candidate_id: str, number: int, excess: Mapping[str, float]) -> None:
        attributes = {"candidate": candidate_id, "number": number}
        for name, value in attributes.items():
            self._asked[key].set_user_attr(name, value)
        for limit, value in excess.items():
            self._asked[key].set_constraint(limit, value)
        self._project(key, attributes, excess)

    def tell_completed(self, key: int, values: Sequence[float]) -> None:
        self._tell(key, TrialState.COMPLETE, values)

    def tell_stopped(self, key: int) -> None:
        self._tell(key, TrialState.PRUNED)

    def tell_infeasible(self, key: int, excess: Mapping[str, float] | None = None) -> None:
        for limit, value in (excess or {}).items():
            if key in self._asked:  # it is not when the suggester was rebuilt in between
                self._asked[key].set_constraint(limit, value)
            row = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, key)
            self._storage.set_trial_system_attr(row, f"constraints:{limit}", value)
        self._tell(key, TrialState.PRUNED)

    def forget(self, key: int) -> None:
        if key not in self._projected:
            self._project(key, {}, {})
        self._tell(key, TrialState.FAIL)

    def _tell(self, key: int, state: TrialState, values: Sequence[float] | None = None) -> None:
        self._study.tell(key, values, state=state)
        self._memory.tell(key, values, state=state)
        self._asked.pop(key, None)

    def _project(self, key: int, attributes: Mapping[str, Any], excess: Mapping[str, float]) -> None:
        """Writes the suggestion into the database's study; its number there is its key here."""
        asked = self._memory.get_trials(deepcopy=False)[key]
        row = create_trial(
            state=TrialState.RUNNING,
            params=asked.params,
            distributions=asked.distributions,
            user_attrs=dict(attributes),
            constraints=dict(excess) or None,
        )
        created = self._storage.create_new_trial(self._study_id, template_trial=row)
        number = self._storage.get_trial_number_from_id(created)
        if number != key:
            raise RuntimeError(f"the study numbers suggestion {key} as {number}: another writer is at work on it")
        self._projected.add(key)

    def _sampler(self, key: int) -> TPESampler:
        """Seeded by (seed, key) alone, so that a rebuilt suggester goes on as if it had never died."""
        digest = hashlib.sha256(f"{self._seed}/{key}".encode()).digest()
        return TPESampler(seed=int.from_bytes(digest[:4], "big"), n_startup_trials=self._startup)


def _engine_options(url: str) -> dict[str, Any]:
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": 30}}
    return {"pool_pre_ping": True, "pool_recycle": 1800}


def _is_ordered(domain: Choice) -> bool:
    return len(domain.values) > 2 and all(
        isinstance(v, (int, float)) and not isinstance(v, bool) for v in domain.values
    )


Distribution = FloatDistribution | IntDistribution | CategoricalDistribution


def _distribution(knob: Knob) -> tuple[str, Distribution]:
    domain = knob.domain
    if isinstance(domain, Range):
        return knob.name, FloatDistribution(domain.low, domain.high, log=domain.log)
    if _is_ordered(domain):
        return knob.name + INDEX, IntDistribution(0, len(domain.values) - 1)
    return knob.name, CategoricalDistribution(domain.values)


def _suggest(trial: optuna.Trial, knob: Knob) -> Any:
    name, distribution = _distribution(knob)
    if isinstance(distribution, FloatDistribution):
        return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(name, distribution.low, distribution.high)
    return trial.suggest_categorical(name, distribution.choices)


def _value(knob: Knob, suggested: Any) -> Value:
    if isinstance(knob.domain, Choice) and _is_ordered(knob.domain):
        value: Value = knob.domain.values[suggested]
        return value
    own: Value = suggested
    return own


def _parameters(space: Space, knobs: Mapping[str, Value]) -> dict[str, Any]:
    """Knobs as Optuna's parameters."""
    parameters = {}
    for knob in space.knobs:
        if knob.name in knobs:
            name, distribution = _distribution(knob)
            value = knobs[knob.name]
            index = isinstance(knob.domain, Choice) and isinstance(distribution, IntDistribution)
            parameters[name] = knob.domain.values.index(value) if index else value  # type: ignore[union-attr]
    return parameters
