"""A search taken away with all that is its own. What others may use stays: texts, tokenizers, profiles of devices."""

import shutil

from nas.errors import StateError
from nas.records import SearchState
from services.controller.service import Service
from services.worker.lease import is_driven

OVER = (SearchState.COMPLETED, SearchState.CANCELLED, SearchState.FAILED)
"""States of a search that nothing will drive unless somebody asks for it."""


def delete_search(service: Service, search_id: str) -> None:
    """The storage comes first: if it refuses, the search is still there to be deleted again.

    Raises `NotFoundError`, and `StateError` for one that is not over.
    """
    home = service.home
    _check_over(service, search_id)
    if home.depot is not None:
        home.depot.delete(search_id)
    with service.store.transaction():
        _check_over(service, search_id)  # somebody may have woken it meanwhile
        service.store.delete_search(search_id)
    shutil.rmtree(home.artifacts / search_id, ignore_errors=True)
    service.exports.forget(search_id)
    service.dispatcher.forget(search_id)


def _check_over(service: Service, search_id: str) -> None:
    record = service.store.search(search_id)
    if record.state not in OVER or is_driven(service.store, search_id):
        raise StateError(f"search {search_id} is {record.state}: cancel it first")
