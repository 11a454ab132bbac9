"""Chromium, and a server with a search that ran to its end."""

import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser

from benchmarks.dashboard.chromium import NAMES, browsing
from nas.adapters.sql.store import SqlStore, open_store
from nas.records import CandidateState
from services.controller.app import create_app
from services.controller.dispatch import NoRay
from services.controller.service import Service
from services.controller.settings import Settings
from services.home import Home
from tests.dashboards import sample
from tests.programs import program
from tests.services.conftest import Finished
from tests.services.serving import free_port


@pytest.fixture(scope="module")  # of a module alone: while it runs, no other test of its process can run an event loop
def browser() -> Iterator[Browser]:
    program(*NAMES)
    with browsing() as own:
        yield own


@dataclass(frozen=True)
class Site:
    """A server in a thread of this process, for everybody, and the search on it with candidates of each state."""

    service: Service
    url: str
    id: str
    candidates: Mapping[CandidateState, tuple[int, ...]]
    """Their numbers, those of the best losses first."""


@pytest.fixture(scope="module")
def site(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site") / "home"
    shutil.copytree(finished.place.home, folder)
    home = Home(folder, f"sqlite:///{folder / 'nas.db'}")
    with _site(home, finished.id) as own:
        yield own


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The same of a search that is made up: nothing was trained for it."""
    folder = tmp_path_factory.mktemp("sampled")
    home = Home(folder, f"sqlite:///{folder / 'nas.db'}")
    with closing(open_store(home.database)) as store:
        sample.fill(store)
    with _site(home, sample.ID) as own:
        yield own


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[tuple[str, SqlStore]]:
    """A server with a search at work, and its store."""
    store = open_store(f"sqlite:///{tmp_path / 'nas.db'}")
    sample.fill_at_work(store)
    with answering(Service(Home(tmp_path, store.url), store, Settings(), NoRay())) as url:
        yield url, store
    store.close()


@contextmanager
def _site(home: Home, search: str) -> Iterator[Site]:
    with closing(open_store(home.database)) as store:
        service = Service(home, store, Settings(), NoRay())
        found = sorted(store.candidates(search), key=lambda own: (own.val_bpb is None, own.val_bpb))
        states = {state: tuple(own.number for own in found if own.state is state) for state in CandidateState}
        with answering(service) as url:
            yield Site(service, url, search, states)


@contextmanager
def answering(service: Service) -> Iterator[str]:
    """The address of an application that answers from a thread."""
    port = free_port()
    config = uvicorn.Config(
        create_app(service, reconciles=False), port=port, log_config=None, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    limit = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive() and time.monotonic() < limit, "the server does not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=60)
