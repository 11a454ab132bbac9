"""Which searches a controller starts to drive, from the database alone."""

import time
from dataclasses import dataclass, field, replace

import pytest

from nas.client.models import WorkerInfo
from nas.errors import StateError
from nas.records import CandidateState, RequestKind, SearchState
from services.controller.reconcile import RESTARTS, Reconciler
from services.controller.settings import Settings
from services.worker.lease import whoami
from tests.contracts.samples import CANDIDATE
from tests.services.controller.conftest import Server, Servers


@dataclass
class Started:
    """A dispatcher that only notes what it is to do; ``here`` are processes that it says are there."""

    started: list[str] = field(default_factory=list)
    here: set[str] = field(default_factory=set)
    stays: bool = False
    error: str = ""
    lost = ""

    def state(self) -> str:
        return "ok"

    def start(self, search_id: str) -> bool:
        if self.error:
            raise StateError(self.error)
        self.started.append(search_id)
        if self.stays:
            self.here.add(search_id)
        return True

    def starting(self, search_id: str) -> bool:
        return search_id in self.here

    def keep(self) -> None:
        return None

    def drain(self) -> None:
        return None

    def forget(self, search_id: str) -> None:
        return None

    def workers(self) -> list[WorkerInfo]:
        return []

    def export(self, search_id: str, number: int) -> tuple[bytes, str]:
        raise StateError("no workers")

    def generate(self, search_id: str, number: int, prompt: str, tokens: int, temperature: float, seed: int) -> str:
        raise StateError("no workers")


@pytest.fixture
def started() -> Started:
    return Started(stays=True)


@pytest.fixture
def served(make_server: Servers, sqlite_url: str, started: Started) -> Server:
    return make_server(sqlite_url, Settings(running=2), dispatcher=started)


def submitted(server: Server, state: SearchState = SearchState.QUEUED, **setting: object) -> str:
    own = str(server.submit().json()["id"])
    record = server.store.search(own)
    server.store.update_search(own, state=state, setting={**record.setting, **setting})
    return own


@pytest.mark.parametrize(
    ("state", "asked", "starts"),
    [
        (SearchState.QUEUED, None, True),
        (SearchState.RUNNING, None, True),  # its driver died
        (SearchState.STOPPING, None, True),
        (SearchState.PAUSED, None, False),
        (SearchState.PAUSED, RequestKind.RESUME, True),
        (SearchState.PAUSED, RequestKind.CANCEL, True),
        (SearchState.PAUSED, RequestKind.STOP, False),
        (SearchState.FAILED, None, False),
        (SearchState.FAILED, RequestKind.RESUME, True),
        (SearchState.COMPLETED, None, False),
        (SearchState.COMPLETED, RequestKind.RESUME, False),
        (SearchState.CANCELLED, RequestKind.CANCEL, False),
    ],
)
def test_what_is_to_be_driven(
    served: Server, started: Started, state: SearchState, asked: RequestKind | None, starts: bool
) -> None:
    own = submitted(served, state)
    if asked is not None:
        served.store.add_request(own, asked, {}, at=1.0)
    reconciler = Reconciler(served.service)
    reconciler.look()
    reconciler.look()
    assert started.started == ([own] if starts else [])


def test_what_a_command_runs_is_its_own(served: Server, started: Started) -> None:
    submitted(served, SearchState.RUNNING, served=False)
    Reconciler(served.service).look()
    assert started.started == []


def test_what_somebody_drives_is_left_alone(served: Server, started: Started) -> None:
    own = submitted(served, SearchState.RUNNING)
    lease = served.store.take_lease(own, whoami(), 60.0)
    reconciler = Reconciler(served.service)
    reconciler.look()
    assert started.started == []
    served.store.drop_lease(lease)
    reconciler.look()
    assert started.started == [own]


def test_so_many_at_a_time_and_the_oldest_first(served: Server, started: Started) -> None:
    queued = [submitted(served) for _ in range(3)]
    running = submitted(served, SearchState.RUNNING)
    reconciler = Reconciler(served.service)
    reconciler.look()
    assert started.started == [running, queued[0]], "what has begun goes before what has not"
    started.here.remove(running)
    served.store.update_search(running, state=SearchState.COMPLETED)
    reconciler.look()
    assert started.started[2:] == [queued[1]]


def test_a_driver_that_keeps_dying_is_given_up(served: Server, started: Started) -> None:
    started.stays = False
    own = submitted(served, SearchState.PAUSED)
    served.store.add_request(own, RequestKind.RESUME, {}, at=1.0)
    reconciler = Reconciler(served.service)
    for _ in range(RESTARTS + 3):
        reconciler.look()
    assert len(started.started) == RESTARTS + 1
    record = served.store.search(own)
    assert record.state is SearchState.FAILED and "died 4 times without getting further" in record.reason
    (request,) = served.store.requests(own)
    assert request.answer.startswith("comes to nothing")


def test_one_that_gets_further_is_not_given_up(served: Server, started: Started) -> None:
    started.stays = False
    own = submitted(served, SearchState.RUNNING)
    reconciler = Reconciler(served.service)
    for number in range(3 * RESTARTS):
        reconciler.look()
        served.store.add_candidate(replace(CANDIDATE, search_id=own, number=number, state=CandidateState.COMPLETED))
    assert len(started.started) == 3 * RESTARTS and served.store.search(own).state is SearchState.RUNNING


def test_what_cannot_be_started_now_is_tried_again(served: Server, started: Started) -> None:
    started.error = "Ray is away"
    own = submitted(served)
    reconciler = Reconciler(served.service)
    for _ in range(2 * RESTARTS):
        reconciler.look()
    assert served.store.search(own).state is SearchState.QUEUED
    started.error = ""
    reconciler.look()
    assert started.started == [own]


def test_it_looks_by_itself_and_says_how_it_is(make_server: Servers, sqlite_url: str, started: Started) -> None:
    server = make_server(sqlite_url, dispatcher=started, reconciles=True)
    own = submitted(server)
    limit = time.monotonic() + 120
    while not started.started and time.monotonic() < limit:
        time.sleep(0.05)
    assert started.started == [own]
    assert server.http.get("/readyz").json() == {"database": "ok", "searches": "ok", "ray": "ok"}
