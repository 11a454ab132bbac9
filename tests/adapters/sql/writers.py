"""What the processes of `test_processes` run; a module of its own, since they import it."""

from contextlib import suppress
from multiprocessing.synchronize import Barrier

from nas.adapters.sql.store import open_store
from nas.errors import LeaseError
from tests.contracts.samples import write_a_search

ROUNDS = 20


def open_at_once_and_write(url: str, search_id: str, start: Barrier) -> None:
    """Open a database together with others, then write one search."""
    start.wait(timeout=60)
    store = open_store(url)
    write_a_search(store, search_id)
    store.close()


def want_the_lease(url: str, holder: str, start: Barrier) -> None:
    """Try to take the lease of one search at the same moment as others, several times; tell each success."""
    store = open_store(url)
    for _ in range(ROUNDS):
        start.wait(timeout=60)
        dead = store.lease("s")
        start.wait(timeout=60)  # all have read it
        with suppress(LeaseError):
            lease = store.take_lease("s", holder, 60, replacing=dead)
            store.fenced(lease).add_event("s", "won", f"{holder} {lease.token}", at=store.now())
    store.close()
