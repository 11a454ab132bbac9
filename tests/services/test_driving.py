"""What a driver does with a search that it comes too late for."""

from dataclasses import replace
from pathlib import Path

import pytest

from nas.adapters.sql.store import open_store
from nas.records import RequestKind, SearchState
from services.home import Home
from services.worker.driving import Driving
from tests.contracts.samples import SEARCH


@pytest.mark.parametrize("state", [SearchState.COMPLETED, SearchState.CANCELLED])
@pytest.mark.parametrize("asked", [None, RequestKind.RESUME, RequestKind.CANCEL])
def test_what_has_ended_stays_as_it_is(tmp_path: Path, state: SearchState, asked: RequestKind | None) -> None:
    """Another driver was quicker since somebody saw that the search had none."""
    home = Home(tmp_path, f"sqlite:///{tmp_path}/nas.db")
    store = open_store(home.database)
    store.add_search(replace(SEARCH, state=state))
    if asked is not None:
        store.add_request("s", asked, {}, at=1.0)
    Driving().drive(home, "s", cluster=False, patient=False)
    assert store.search("s").state is state and store.events("s") == [] and store.candidates("s") == []
    store.close()
