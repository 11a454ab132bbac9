"""What the processes of `test_processes` run; a module of its own, since they import it."""

from threading import Barrier

from nas.adapters.sql.store import open_store
from tests.contracts.samples import write_a_search


def open_at_once_and_write(url: str, search_id: str, start: Barrier) -> None:
    """Open a database together with others, then write one search."""
    start.wait(timeout=60)
    store = open_store(url)
    write_a_search(store, search_id)
    store.close()
