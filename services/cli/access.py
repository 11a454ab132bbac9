"""From what a user types to records: the home, the store, a search by name or prefix, a candidate by ID/N."""

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from nas.errors import NotFoundError, SpecError, StateError, StorageError
from nas.ports import PublicStore, Store
from nas.records import CandidateRecord, SearchRecord
from services.cli import remote
from services.home import Home, home

if TYPE_CHECKING:
    from dashboards.view import SearchView


@contextmanager
def opened() -> Iterator[tuple[Home, PublicStore]]:
    """The home, and the store of the server that is in use, or else of this machine; closed afterwards."""
    where = home()
    if address := remote.server(where):
        from nas.client.store import RemoteStore

        with remote.client(where, address) as client:
            yield where, RemoteStore(client)
        return
    with opened_here() as found:
        yield found


@contextmanager
def opened_here() -> Iterator[tuple[Home, Store]]:
    """The home and its own store, closed afterwards. Searches whose drivers died are put into order first."""
    from nas.adapters.sql.store import open_store
    from services.worker.lease import sweep

    where = home()
    store = open_store(where.database)
    try:
        with suppress(StorageError):  # reading is possible where writing is not
            sweep(store)
        yield where, store
    finally:
        store.close()


def find_search(store: PublicStore, text: str) -> SearchRecord:
    """The search of that id, the latest of that name, or the one whose id begins so."""
    searches = store.searches()
    exact = [own for own in searches if own.id == text] or [own for own in searches if own.name == text]
    if exact:
        return store.search(exact[-1].id)  # a list may not have all of it
    prefixed = [own for own in searches if text and own.id.startswith(text)]
    if len(prefixed) == 1:
        return store.search(prefixed[0].id)
    if prefixed:
        raise NotFoundError(f"{text!r} is the beginning of several searches: {', '.join(own.id for own in prefixed)}")
    raise NotFoundError(f"no search {text!r}; {_hint(text, [own.id for own in searches])}")


def _hint(text: str, ids: Sequence[str]) -> str:
    if not ids:
        return "there are none yet, begin one with: nas run search.yaml"
    near = difflib.get_close_matches(text.partition("/")[0], ids, n=1)
    return f"did you mean {near[0]}?" if near else "`nas ls` shows what there is"


def find_candidate(store: PublicStore, text: str) -> tuple[SearchRecord, CandidateRecord]:
    """``ID/N``; ``ID`` alone means the search's result."""
    name, slash, number = text.rpartition("/")
    if not slash:
        search = find_search(store, text)
        if search.result is None:
            raise NotFoundError(f"search {search.id} has no result yet; name a candidate, e.g. {search.id}/0")
        return search, store.candidate(search.id, int(search.result["number"]))
    if not number.isdecimal():
        raise SpecError("candidate", "must be ID/N with a number N", text)
    search = find_search(store, name)
    try:
        return search, store.candidate(search.id, int(number))
    except NotFoundError:
        raise NotFoundError(
            f"no candidate {number} in search {search.id}; `nas candidates {search.id}` lists them"
        ) from None


def find_trained(store: PublicStore, text: str) -> tuple[SearchRecord, CandidateRecord]:
    """As `find_candidate`; raises `StateError` for a candidate without weights."""
    search, record = find_candidate(store, text)
    if not record.artifact:
        raise StateError(
            f"candidate {search.id}/{record.number} is {record.state}, only completed ones have weights; "
            f"`nas front {search.id}` shows the best of them"
        )
    return search, record


def look(store: PublicStore, text: str) -> "SearchView":
    """A search with everything that is shown of it."""
    from dashboards.view import view

    return view(store, find_search(store, text).id)
