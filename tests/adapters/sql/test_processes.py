"""Several processes open one new database at the same moment, and write it."""

import multiprocessing
from collections.abc import Callable

from nas.adapters.sql.store import SqlStore
from tests.adapters.sql.writers import open_at_once_and_write

PROCESSES = 4


def test_processes_open_and_write_a_new_database_at_once(url: str, open_: Callable[[str], SqlStore]) -> None:
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(PROCESSES)
    names = [f"process-{index}" for index in range(PROCESSES)]
    processes = [spawn.Process(target=open_at_once_and_write, args=(url, name, start)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    store = open_(url)
    assert sorted(search.id for search in store.searches()) == names
    assert all(len(store.events(name)) == len(store.ledger(name)) == 5 for name in names)
