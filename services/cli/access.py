"""From what a user types to records: the home, the store, a search by name or prefix, a candidate by ID/N."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nas.errors import NotFoundError, SpecError
from nas.ports import Store
from nas.records import CandidateRecord, SearchRecord
from services.home import Home, home

if TYPE_CHECKING:
    from dashboards.view import SearchView


@contextmanager
def opened() -> Iterator[tuple[Home, Store]]:
    """The home and its store, closed afterwards."""
    from nas.adapters.sql.store import open_store

    where = home()
    store = open_store(where.database)
    try:
        yield where, store
    finally:
        store.close()


def find_search(store: Store, text: str) -> SearchRecord:
    """The search of that id, of that unique prefix, or the latest of that name."""
    searches = store.searches()
    exact = [own for own in searches if own.id == text]
    named = [own for own in searches if own.name == text]
    prefixed = [own for own in searches if own.id.startswith(text)]
    if exact or named:
        return (exact or named)[-1]
    if len(prefixed) == 1:
        return prefixed[0]
    if prefixed:
        raise NotFoundError(f"{text!r} is the beginning of several searches: {', '.join(own.id for own in prefixed)}")
    raise NotFoundError(f"no search {text!r}; `nas ls` shows what there is")


def find_candidate(store: Store, text: str) -> tuple[SearchRecord, CandidateRecord]:
    """``ID/N``; ``ID`` alone means the search's result."""
    name, slash, number = text.rpartition("/")
    if not slash:
        search = find_search(store, text)
        if search.result is None:
            raise NotFoundError(f"search {search.id} has no result yet; name a candidate, e.g. {search.id}/0")
        return search, store.candidate(search.id, int(search.result["number"]))
    if not number.isdigit():
        raise SpecError("candidate", "must be ID/N with a number N", text)
    search = find_search(store, name)
    return search, store.candidate(search.id, int(number))


def look(store: Store, text: str) -> "SearchView":
    """A search with everything that is shown of it."""
    from dashboards.view import view

    return view(store, find_search(store, text).id)
