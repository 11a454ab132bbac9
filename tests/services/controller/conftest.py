"""The application over a real database, asked without a network in between."""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from nas.adapters.sql.store import SqlStore
from nas.client.client import Client
from nas.client.models import API
from nas.ports import Store
from nas.records import LogLine
from services.controller.app import create_app
from services.controller.dispatch import NoRay
from services.controller.service import Service
from services.controller.settings import Settings
from services.home import Home
from services.worker.ahead import foretell, profile
from tests.services.conftest import Finished

SPEC: dict[str, Any] = {
    "name": "tiny",
    "corpus": "austen",
    "space": "llama-tiny",
    "budget": {"total": {"compute": "300GFLOP"}, "candidate": {"compute": "30GFLOP"}},
}


@dataclass
class Server:
    """An application and what it works with. ``http`` is a client of it, as anybody."""

    service: Service
    http: TestClient
    id: str = ""
    """Of a search with candidates, where the fixture has put one."""

    @property
    def store(self) -> SqlStore:
        return self.service.store

    def get(self, path: str, **given: Any) -> httpx2.Response:
        return self.http.get(API + path, **given)

    def post(self, path: str, **given: Any) -> httpx2.Response:
        return self.http.post(API + path, **given)

    def submit(self, **given: Any) -> httpx2.Response:
        return self.post("/searches", json={"spec": {**SPEC, **given.pop("spec", {})}}, **given)

    def token(self, scope: str, **given: Any) -> dict[str, str]:
        """Headers with a new token."""
        return {"Authorization": f"Bearer {self.service.tokens.create(scope, scope, **given)[0]}"}

    def client(self, secret: str = "") -> Client:
        """The Python client, to be closed; its requests go straight into the application."""
        return Client("http://localhost", secret, transport=self.http._transport, retry_seconds=0)


@dataclass
class Workers(NoRay):
    """Does in this process what workers do before there is a search.

    Attributes:
        home: of the server.
        free: whether nothing is trained; a device that is to be profiled waits for that.
        stop: whether what profiles ends as nobody foresaw.
    """

    home: Home | None = None
    free: threading.Event = field(default_factory=threading.Event)
    stop: bool = False

    def __post_init__(self) -> None:
        self.free.set()

    def forecast(self, spec: Mapping[str, Any], device: str) -> dict[str, Any]:
        assert self.home is not None
        return foretell(self.home, spec, device, cluster=False)

    def kind(self, device: str) -> str:
        return "cpu" if device == "auto" else device

    def profile(self, device: str, parallel: int, *, full: bool, refit: bool) -> str:
        assert self.home is not None and self.free.wait(60)
        if self.stop:
            raise OSError("the worker is gone")
        return profile(self.home, device, parallel, full=full, refit=refit, cluster=False)


@dataclass
class Servers:
    """Makes applications, and ends them."""

    folder: Path
    open_: Callable[[str], SqlStore]
    made: list[TestClient] = field(default_factory=list)

    def __call__(self, url: str, settings: Settings | None = None, **given: Any) -> Server:
        home = Home(self.folder / "home", url, given.pop("storage", ""))
        dispatcher = given.pop("dispatcher", NoRay())
        if isinstance(dispatcher, Workers):
            dispatcher.home = home
        service = Service(home, self.open_(url), settings or Settings(), dispatcher)
        http = TestClient(create_app(service, reconciles=given.pop("reconciles", False)), "http://localhost", **given)
        http.__enter__()
        self.made.append(http)
        return Server(service, http)


@pytest.fixture
def make_server(tmp_path: Path, open_: Callable[[str], SqlStore]) -> Iterator[Servers]:
    servers = Servers(tmp_path, open_)
    yield servers
    for http in servers.made:
        http.__exit__(None, None, None)


@pytest.fixture
def server(make_server: Servers, url: str) -> Server:
    """On each database, for everybody."""
    return make_server(url)


@pytest.fixture
def guarded(make_server: Servers, sqlite_url: str) -> Server:
    """Where a token is needed."""
    return make_server(sqlite_url, Settings(auth=True))


@pytest.fixture
def filled(server: Server, finished: Finished, open_: Callable[[str], SqlStore]) -> Server:
    """With a search that ran to its end."""
    copy(open_(f"sqlite:///{finished.place.home / 'nas.db'}"), server.store, finished.id)
    server.id = finished.id
    return server


def copy(source: Store, target: Store, search_id: str) -> None:
    """All that belongs to a search."""
    with target.transaction():
        target.add_search(source.search(search_id))
        for candidate in source.candidates(search_id):
            target.add_candidate(candidate)
        for attempt in source.attempts(search_id):
            target.add_attempt(attempt)
        for candidate in source.candidates(search_id):
            for line in source.log(search_id, candidate.number):
                content = LogLine(line.at, line.level, line.logger, line.message)
                target.add_log(search_id, candidate.number, line.attempt, [content])
        target.add_points(source.points(search_id))
        for decision in source.decisions(search_id):
            target.add_decision(decision)
        target.add_ledger(source.ledger(search_id))
        for event in source.events(search_id):
            target.add_event(search_id, event.kind, event.message, at=event.at, number=event.number, level=event.level)
