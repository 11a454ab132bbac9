"""Several processes open one new database at the same moment, write it, and want the lease of one search."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.synchronize import Barrier

from nas.adapters.sql.store import SqlStore
from tests.adapters.sql.writers import ROUNDS, open_at_once_and_write, want_the_lease
from tests.contracts.samples import SEARCH

PROCESSES = 4


def run(target: Callable[[str, str, Barrier], None], url: str, number: int) -> list[str]:
    """Run it in processes, and wait until all have done well; returns their names."""
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(number)
    names = [f"process-{index}" for index in range(number)]
    processes = [spawn.Process(target=target, args=(url, name, start)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0] * number
    return names


def test_processes_open_and_write_a_new_database_at_once(url: str, open_: Callable[[str], SqlStore]) -> None:
    names = run(open_at_once_and_write, url, PROCESSES)
    store = open_(url)
    assert sorted(search.id for search in store.searches()) == names
    assert all(len(store.events(name)) == len(store.ledger(name)) == 5 for name in names)


def test_of_processes_that_want_a_lease_one_gets_it(url: str, open_: Callable[[str], SqlStore]) -> None:
    store = open_(url)
    store.add_search(SEARCH)
    names = run(want_the_lease, url, 2)
    wins = [event.message for event in store.events("s")]
    assert [int(message.split()[1]) for message in wins] == list(range(1, ROUNDS + 1))
    assert {message.split()[0] for message in wins} <= set(names)
