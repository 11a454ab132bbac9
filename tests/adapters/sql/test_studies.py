"""A deleted search's study goes with it, out of the tables that Optuna has made; another search's stays as it is."""

from contextlib import closing
from typing import Any

import optuna
import pytest
from optuna.storages._rdb.models import BaseModel
from sqlalchemy import create_engine, inspect, text

from nas.adapters.optuna_suggester import OptunaSuggester
from nas.adapters.sql.store import SqlStore, sqlalchemy_url
from nas.adapters.sql.studies import OF_STUDIES, OF_TRIALS, STUDIES
from nas.adapters.sql.tokens import Answered, Tokens
from nas.errors import StateError
from tests.contracts.samples import SEARCH, fill
from tests.contracts.suggester import SPACE
from tests.helpers import study_of


def rows(url: str) -> dict[str, list[Any]]:
    """Of Optuna's tables."""
    engine = create_engine(sqlalchemy_url(url))
    try:
        with engine.connect() as connection:
            names = set(inspect(connection).get_table_names()) & BaseModel.metadata.tables.keys()
            found = {name: connection.execute(text(f"SELECT * FROM {name}")).all() for name in sorted(names)}
            return {name: sorted(map(repr, own)) for name, own in found.items()}
    finally:
        engine.dispose()


def suggest(url: str, name: str) -> None:
    """A study with something in each table that a suggester writes to, and in those that others may use."""
    with closing(OptunaSuggester(sqlalchemy_url(url), name, SPACE, ["val_bpb", "params"], 0, 2)) as own:
        for number in range(5):
            asked = own.ask()
            own.name(asked.key, f"c{number}", number, {"params": -0.5})
            if number < 3:
                own.tell_completed(asked.key, [2.0 + number, 1e6])
            elif number == 3:
                own.tell_infeasible(asked.key, {"params": 0.5})
    with study_of(sqlalchemy_url(url), name) as study:
        study.set_user_attr("note", "by another tool")
        study._storage.set_study_system_attr(study._study_id, "note", "by another tool")
        row = study._storage.create_new_trial(study._study_id)
        study._storage.set_trial_intermediate_value(row, 1, 2.5)
        study._storage.record_heartbeat(row)  # type: ignore[attr-defined]


def test_its_study_goes_with_a_search(url: str, store: SqlStore) -> None:
    fill(store)
    suggest(url, "other")
    alone = rows(url)
    suggest(url, SEARCH.id)
    both = rows(url)
    assert all(len(both[name]) > len(alone[name]) for name in (STUDIES, *OF_STUDIES, *OF_TRIALS))
    store.delete_search(SEARCH.id)
    assert rows(url) == alone
    assert store.searches() == []
    with study_of(sqlalchemy_url(url), "other") as study:
        assert len(study.trials) == 6 and study.trials[0].values == [2.0, 1e6]
    with pytest.raises(KeyError), study_of(sqlalchemy_url(url), SEARCH.id):
        pass


def test_what_it_came_to_may_be_asked_for_again(store: SqlStore) -> None:
    """The same request would otherwise lead to a search that is not there."""
    fill(store)
    tokens = Tokens(store)
    assert [tokens.remember("ann", key, "d", own) for key, own in (("k", SEARCH.id), ("l", "other"))] == [None, None]
    store.delete_search(SEARCH.id)
    assert tokens.remember("ann", "l", "d", "third") == Answered("d", "other")
    assert tokens.remember("ann", "k", "d", "third") is None


def test_both_or_neither(url: str, store: SqlStore) -> None:
    fill(store)
    suggest(url, SEARCH.id)
    before = rows(url)
    with pytest.raises(StateError, match="not so"), store.transaction():
        store.delete_search(SEARCH.id)
        raise StateError("not so")
    assert rows(url) == before and store.searches() == [SEARCH]


def test_a_name_that_is_taken_again_begins_anew(url: str, store: SqlStore) -> None:
    fill(store)
    suggest(url, SEARCH.id)
    store.delete_search(SEARCH.id)
    with closing(OptunaSuggester(sqlalchemy_url(url), SEARCH.id, SPACE, ["a", "b"], 0, 2)) as own:
        assert own.asked() == 0


@pytest.mark.parametrize("name", ["none", "s'; DROP TABLE studies; --", "%"])
def test_what_is_not_there(url: str, store: SqlStore, name: str) -> None:
    store.delete_search(name)  # no table of Optuna's either
    suggest(url, "other")
    before = rows(url)
    store.delete_search(name)
    assert rows(url) == before


def test_all_tables_of_optuna_are_known() -> None:
    """One that this Optuna has and we do not would keep rows, or refuse."""
    assert optuna.__version__.startswith("5.")
    tables = BaseModel.metadata.tables
    refers = {
        name: {key.column.table.name for column in own.columns for key in column.foreign_keys}
        for name, own in tables.items()
    }
    assert {name for name, own in refers.items() if own == {"trials"}} == set(OF_TRIALS)
    assert {name for name, own in refers.items() if own == {STUDIES}} == set(OF_STUDIES)
    assert {name for name, own in refers.items() if not own} == {STUDIES, "version_info"}
