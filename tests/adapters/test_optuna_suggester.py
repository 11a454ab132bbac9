"""`OptunaSuggester` keeps the promises of a suggester, and its study is one that any Optuna tool opens."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import create_engine, text
from sqlalchemy import inspect as tables_of

from nas.adapters.optuna_suggester import OptunaSuggester
from nas.adapters.sql.store import SqlStore, sqlalchemy_url
from nas.data.texts import Texts
from nas.errors import StateError, StorageError
from nas.outcome import objectives
from nas.pareto import front_mask
from nas.ports import Suggester
from nas.records import CandidateState, Origin
from nas.space import Space, load_space
from tests.contracts.suggester import SPACE, Play, SuggesterContract
from tests.helpers import Simulation, World, spec_of, study_of

Open = Callable[..., OptunaSuggester]


def as_port(suggester: OptunaSuggester) -> Suggester:
    """For the type checker."""
    return suggester


@pytest.fixture
def database(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture
def open_study(database: str) -> Iterator[Open]:
    opened: list[OptunaSuggester] = []

    def open_study(space: Space, *, seed: int = 0, startup: int = 5, study: str = "s", objectives: int = 2) -> Any:
        names = ["val_bpb", "params", "flops_per_byte"][:objectives]
        opened.append(OptunaSuggester(database, study, space, names, seed, startup))
        return opened[-1]

    yield open_study
    for suggester in opened:
        suggester.close()


class TestContract(SuggesterContract):
    """Over a study in SQLite."""


class TestOnPostgres:
    """What rests on the database most."""

    @pytest.fixture
    def database(self, postgres_url: str) -> str:
        return sqlalchemy_url(postgres_url)

    test_keys = SuggesterContract.test_keys_count_and_name_candidates


def test_without_a_database_the_same_is_suggested(open_study: Open) -> None:
    def open_nowhere(space: Space, *, startup: int) -> OptunaSuggester:
        return OptunaSuggester(None, "s", space, ["val_bpb", "params"], 0, startup)

    kept, passing = Play(open_study), Play(open_nowhere)
    for _ in range(25):
        kept.turn()
        passing.turn()
    assert passing.made == kept.made and passing.suggester.keys() == kept.suggester.keys()
    passing.suggester.close()  # type: ignore[attr-defined]


def test_the_study_says_what_was_told(open_study: Open, database: str) -> None:
    play = Play(open_study)
    for _ in range(20):
        play.turn()
    with study_of(database) as study:
        told = study.get_trials(deepcopy=False)
    assert [trial.number for trial in told] == [key for key, _ in play.made]
    for trial, (key, knobs) in zip(told, play.made, strict=True):
        number = trial.user_attrs.get("number")
        waiting = (key, number) in play.running
        over = trial.constraints.get("params", -1.0) > 0
        kind = (
            TrialState.FAIL if number is None
            else TrialState.RUNNING if waiting
            else TrialState.PRUNED if over or number % 6 in (4, 5)
            else TrialState.COMPLETE
        )  # fmt: skip
        assert trial.state is kind
        assert trial.user_attrs == ({} if number is None else {"number": number, "candidate": f"id {number}"})
        assert ("peak_memory_measured" in trial.constraints) is (
            number is not None and number % 6 == 4 and not over and not waiting
        )
        assert trial.params["matrix_rate"] == knobs["matrix_rate"]
        assert SPACE.domain("width").values[trial.params["width.index"]] == knobs["width"]  # type: ignore[union-attr]
        assert trial.params["tied"] is knobs["tied"]
        assert ("weight_decay" in trial.params) is (knobs["optimizer"] == "adamw")
        assert study.user_attrs == {"objectives": ["val_bpb", "params"]}
        assert study.directions == 2 * [StudyDirection.MINIMIZE]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_objectives(open_study: Open, database: str, count: int) -> None:
    suggester = open_study(SPACE, startup=3, objectives=count)
    for number in range(8):
        own = suggester.ask()
        suggester.name(own.key, "id", number, {"params": -0.1})
        if number % 4 == 3:
            suggester.tell_stopped(own.key)
        else:
            suggester.tell_completed(own.key, [1.0 + number, 2.0, 3.0 - number][:count])
    with study_of(database) as study:
        assert study.best_trials


def test_a_second_writer_is_noticed(open_study: Open) -> None:
    ours, theirs = open_study(SPACE), open_study(SPACE)
    mine, other = ours.ask(), theirs.ask()
    theirs.name(other.key, "id", 0, {})
    with pytest.raises(StateError, match="suggestion 0 as 1: another writer"):
        ours.name(mine.key, "id", 0, {})


def test_a_database_that_refuses(open_study: Open, database: str) -> None:
    suggester = open_study(SPACE)
    own = suggester.ask()
    suggester.name(own.key, "id", 0, {})
    engine = create_engine(database)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE trial_values"))
    engine.dispose()
    with pytest.raises(StorageError, match="no such table: trial_values"):
        suggester.tell_completed(own.key, [1.0, 2.0])
    with pytest.raises(StorageError, match="cannot be used"):
        OptunaSuggester("sqlite:////no/such/folder/file.db", "s", SPACE, ["val_bpb"], 0, 1)


def test_the_methods_are_those_of_the_port() -> None:
    methods = {name for name, member in vars(Suggester).items() if inspect.isfunction(member) and name[0] != "_"}
    assert len(methods) == 8
    for name in methods:
        own, port = (inspect.signature(getattr(kind, name)) for kind in (OptunaSuggester, Suggester))
        assert own.parameters == port.parameters, name


def test_values_of_every_kind_come_back(open_study: Open) -> None:
    """Also those that only JSON has touched: 2 for 2.0."""
    space = load_space(
        {
            "knobs": {
                "depth": [1, 2],
                "width": [16, 32, 48],
                "vocabulary": [256, 320],
                "mlp_ratio": [1, 2.5, 4],
                "kv_ratio": [0.5, 1],
                "tied": [True, False],
                "matrix_rate": {"min": 1, "max": 2},
            }
        }
    )
    given = {
        "depth": 2,
        "width": 48,
        "vocabulary": 256,
        "mlp_ratio": 4.0,
        "kv_ratio": 1.0,
        "tied": False,
        "matrix_rate": 2,
    }
    suggester = open_study(space)
    own = suggester.ask(given)
    assert own.knobs == given
    suggester.name(own.key, "id", 0, {})
    assert space.decode(own.knobs) == space.decode(given)


def test_the_front_of_the_study_is_ours_and_both_live_in_one_database(
    url: str, open_: Callable[[str], SqlStore], tiny_texts: Texts, tmp_path: Any
) -> None:
    spec = spec_of(
        method={"parallel": 2, "policy": "none"},
        budget={"total": {"compute": "5GFLOP"}},
        minimize=["val_bpb", "flops_per_byte", "params"],
    )
    world = World(open_(url), sqlalchemy_url(url), tiny_texts, tmp_path, spec)
    Simulation(0, parallel=2).run(world.enter(), 10_000)
    completed = [
        own for own in world.candidates if own.state is CandidateState.COMPLETED and own.origin is not Origin.FINAL
    ]
    kept = front_mask([objectives(spec.minimize, own) for own in completed])
    ours = {own.number: objectives(spec.minimize, own) for own, member in zip(completed, kept, strict=True) if member}
    with study_of(world.study) as study:
        best = study.best_trials
    assert {trial.user_attrs["number"]: trial.values for trial in best} == ours
    assert 1 < len(ours) < len(completed)
    by_number = {own.number: own for own in world.candidates}
    for trial in best:
        assert trial.user_attrs["candidate"] == by_number[trial.user_attrs["number"]].id
    engine = create_engine(world.study)
    tables = set(tables_of(engine).get_table_names())
    engine.dispose()
    assert {"searches", "candidates", "ledger", "studies", "trials", "alembic_version"} <= tables
    world.close()
