"""The schema's versions, and its life beside Optuna's tables in the same database."""

import threading
from collections.abc import Callable, Iterator

import optuna
import pytest
from alembic import command
from sqlalchemy import Engine, MetaData, create_engine, insert, inspect, text

from nas.adapters.sql.schema import VERSION_TABLE, migrations
from nas.adapters.sql.store import SqlStore, open_store, sqlalchemy_url
from nas.errors import SchemaError
from nas.records import to_dict
from tests.contracts.samples import ATTEMPT, CANDIDATE, FULL_POINT, POINT, SEARCH

Open = Callable[[str], SqlStore]


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """A plain look at the database, past the store."""
    engine = create_engine(sqlalchemy_url(url))
    yield engine
    engine.dispose()


def test_the_migrations_lead_to_the_models(store: SqlStore, engine: Engine) -> None:
    with engine.connect() as connection:
        command.check(migrations(connection))


def test_a_database_of_the_first_schema_is_brought_up_to_date(url: str, engine: Engine, open_: Open) -> None:
    with engine.begin() as connection:
        command.upgrade(migrations(connection), "0001")
        tables = MetaData()
        tables.reflect(connection)
        records = {"searches": SEARCH, "candidates": CANDIDATE, "attempts": ATTEMPT, "curve_points": POINT}
        for name, record in records.items():
            table = tables.tables[name]
            values = {key: value for key, value in to_dict(record).items() if key in table.c}
            connection.execute(insert(table).values(values))
        assert "first_step" not in tables.tables["attempts"].c
    store = open_(url)
    found = [store.searches(), store.candidates("s"), store.attempts("s"), store.points("s")]
    assert found == [[record] for record in records.values()]
    assert (store.requests("s"), store.lease("s")) == ([], None)
    store.fenced(store.take_lease("s", "host:1", 60)).add_points([FULL_POINT])
    assert store.points("s") == [POINT, FULL_POINT]
    with engine.connect() as connection:
        command.check(migrations(connection))


def test_optuna_shares_the_database(url: str, engine: Engine, open_: Open) -> None:
    open_(url).add_search(SEARCH)
    storage = optuna.storages.RDBStorage(sqlalchemy_url(url))
    study = optuna.create_study(storage=storage, directions=["minimize", "minimize"])
    for _ in range(2):
        trial = study.ask()
        study.tell(trial, [trial.suggest_float("x", 0, 1), 1.0])
    with engine.connect() as connection:
        command.check(migrations(connection))
    assert open_(url).searches() == [SEARCH]
    assert len(study.trials) == 2
    storage.engine.dispose()


def test_optuna_may_come_first(url: str, engine: Engine, open_: Open) -> None:
    optuna.storages.RDBStorage(sqlalchemy_url(url)).engine.dispose()
    open_(url).add_search(SEARCH)
    assert {"alembic_version", VERSION_TABLE} <= set(inspect(engine).get_table_names())


def test_a_newer_database_is_left_alone(url: str, engine: Engine, open_: Open) -> None:
    open_(url).add_search(SEARCH)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(SchemaError, match=r"9999 is newer than this version of nas.*: upgrade nas, or use another"):
        open_store(url)
    with engine.connect() as connection:
        assert connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar_one() == "9999"


def test_tables_of_another_program_are_left_alone(store: SqlStore, url: str, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"DELETE FROM {VERSION_TABLE}"))
    with pytest.raises(SchemaError, match=r"tables of another program \(answers, attempts, .*\): use another database"):
        open_store(url)


def test_threads_open_new_databases_at_once(url: str, open_: Open) -> None:
    opened: list[SqlStore] = []
    urls = [url, url, *["sqlite://"] * 6]
    threads = [threading.Thread(target=lambda url: opened.append(open_(url)), args=(url,)) for url in urls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [store.searches() for store in opened] == [[]] * 8
