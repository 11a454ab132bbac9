"""Suggestions by Optuna's multi-objective TPE, kept as an Optuna study that any Optuna tool opens.

The sampler works on a copy of the study in memory, because asking an RDB study takes a transaction for each knob;
the study in the database gets each suggestion as one row and each answer as one update. What did not fit is told as
a violated constraint and PRUNED, never as FAIL: samplers ignore failures and go on proposing the like.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import StorageInternalError
from optuna.samplers import TPESampler
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial
from sqlalchemy.exc import SQLAlchemyError

from nas.errors import StateError, StorageError
from nas.ports import Suggestion
from nas.space import Choice, Knob, Knobs, Range, Space, Value

optuna.logging.set_verbosity(optuna.logging.WARNING)

INDEX = ".index"
"""Ends the name of a parameter that is a position in a knob's ordered values: TPE then knows what is near what."""


def warm() -> None:
    """Does once what the first study of a process takes longer for: a third of a second."""
    RDBStorage("sqlite://").engine.dispose()


class OptunaSuggester:
    """`nas.ports.Suggester` over a study named after the search. Whoever opens it closes it.

    Args:
        url: SQLAlchemy URL of the database that also holds the search; ``None`` for a study that ends with its owner.
        startup: suggestions that are not yet modelled (the seeds).
    """

    def __init__(
        self, url: str | None, name: str, space: Space, objectives: Sequence[str], seed: int, startup: int
    ) -> None:
        self._space, self._seed, self._startup = space, seed, startup
        directions = [StudyDirection.MINIMIZE] * len(objectives)
        with _refusals():
            self._database = _open(url)
            self._study = optuna.create_study(
                storage=self._database,
                study_name=name,
                directions=directions,
                load_if_exists=True,
                sampler=self._sampler(0),
            )
            if not self._study.user_attrs:
                self._study.set_user_attr("objectives", list(objectives))
            self._study_id = self._database.get_study_id_from_name(name)
            history = self._study.get_trials(deepcopy=False)
        self._memory = InMemoryStorage()
        self._copy = optuna.create_study(storage=self._memory, study_name=name, directions=directions)
        self._copy_id = self._memory.get_study_id_from_name(name)
        self._copy.add_trials(history)
        self._projected = len(history)

    def close(self) -> None:
        """Closes the connections to the database. The suggester is not to be used any more."""
        self._database.remove_session()
        if isinstance(self._database, RDBStorage):
            self._database.engine.dispose()

    def asked(self) -> int:
        return len(self._copy.get_trials(deepcopy=False))

    def keys(self) -> dict[int, int]:
        return {
            trial.user_attrs["number"]: trial.number
            for trial in self._copy.get_trials(deepcopy=False)
            if "number" in trial.user_attrs
        }

    def ask(self, knobs: Mapping[str, Any] | None = None) -> Suggestion:
        self._copy.sampler = self._sampler(self.asked())
        if knobs is not None:
            self._copy.enqueue_trial(_parameters(self._space, knobs))
        trial = self._copy.ask()
        chosen: Knobs = {}
        for knob in self._space.knobs:
            if knob.active(chosen):
                chosen[knob.name] = _value(knob, _suggest(trial, knob))
        return Suggestion(trial.number, chosen)

    def name(self, key: int, candidate_id: str, number: int, excess: Mapping[str, float]) -> None:
        self._memory.set_trial_user_attr(self._row(key), "candidate", candidate_id)
        self._memory.set_trial_user_attr(self._row(key), "number", number)
        self._constrain(self._memory, self._row(key), excess)
        self._project(key, TrialState.RUNNING)

    def tell_completed(self, key: int, values: Sequence[float]) -> None:
        self._tell(key, TrialState.COMPLETE, values)

    def tell_stopped(self, key: int) -> None:
        self._tell(key, TrialState.PRUNED)

    def tell_infeasible(self, key: int, excess: Mapping[str, float] | None = None) -> None:
        if excess and not self._is_answered(key):
            with _refusals():
                row = self._database.get_trial_id_from_study_id_trial_number(self._study_id, key)
                self._constrain(self._database, row, excess)
            self._constrain(self._memory, self._row(key), excess)
        self._tell(key, TrialState.PRUNED)

    def forget(self, key: int) -> None:
        if key < self._projected:
            self._tell(key, TrialState.FAIL)
            return
        self._project(key, TrialState.FAIL)
        self._copy.tell(key, state=TrialState.FAIL)

    def _tell(self, key: int, state: TrialState, values: Sequence[float] | None = None) -> None:
        if not self._is_answered(key):
            with _refusals():
                self._study.tell(key, values, state=state)
            self._copy.tell(key, values, state=state)

    def _is_answered(self, key: int) -> bool:
        return self._memory.get_trial(self._row(key)).state.is_finished()

    def _row(self, key: int) -> int:
        """The trial of a key in memory."""
        return self._memory.get_trial_id_from_study_id_trial_number(self._copy_id, key)

    def _constrain(self, storage: BaseStorage, row: int, excess: Mapping[str, float]) -> None:
        for limit, value in excess.items():
            storage.set_trial_system_attr(row, f"constraints:{limit}", float(value))

    def _project(self, key: int, state: TrialState) -> None:
        """Writes the suggestion into the database's study; its number there is its key here."""
        asked = self._memory.get_trial(self._row(key))
        row = create_trial(
            state=state,
            params=asked.params,
            distributions=asked.distributions,
            user_attrs=asked.user_attrs,
            constraints=asked.constraints or None,
        )
        with _refusals():
            created = self._database.create_new_trial(self._study_id, template_trial=row)
            number = self._database.get_trial_number_from_id(created)
        if number != key:
            raise StateError(f"the study numbers suggestion {key} as {number}: another writer is at work on it")
        self._projected = key + 1

    def _sampler(self, key: int) -> TPESampler:
        """Seeded by (seed, key) alone, so that a rebuilt suggester goes on as if it had never died."""
        digest = hashlib.sha256(f"{self._seed}/{key}".encode()).digest()
        return TPESampler(seed=int.from_bytes(digest[:4], "big"), n_startup_trials=self._startup)


@contextmanager
def _refusals() -> Iterator[None]:
    """Raises what the database refuses as our error."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise StorageError(f"the database of the study cannot be used: {reason}") from error


def _open(url: str | None) -> BaseStorage:
    return InMemoryStorage() if url is None else RDBStorage(url, engine_kwargs=_engine_options(url))


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
