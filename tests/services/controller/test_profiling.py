"""Profiles that are asked for over the API; what workers do is done in this process."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from nas.calibration import DeviceProfile
from nas.client.models import ProfileJob
from nas.errors import NotFoundError, ProfileError, StateError
from services.controller.profiling import KEPT
from services.profiles import keep
from tests.services.controller.conftest import Server, Servers, Workers
from tests.services.driving import PROFILE


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Workers:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return Workers()


@pytest.fixture
def worked(make_server: Servers, sqlite_url: str, workers: Workers) -> Iterator[Server]:
    """Whose device has a full profile already. Nothing is at work afterwards."""
    server = make_server(sqlite_url, dispatcher=workers)
    keep(server.store, replace(PROFILE, compiled=PROFILE.eager))
    yield server
    workers.stop = True
    workers.free.set()
    for own in server.service.profiling.all():
        wait_for(server, own)


def wait_for(server: Server, job: ProfileJob) -> None:
    limit = time.monotonic() + 60
    while server.service.profiling.find(job.id).state == "running":
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_from_the_question_to_the_profile(worked: Server) -> None:
    answer = worked.post("/profiles", json={"device": "cpu", "full": True})
    assert (answer.status_code, answer.json()["state"]) == (202, "running")
    with worked.client() as client:
        done = client.profiled(client.profile_job(answer.json()["id"]))
        assert (done.state, done.fingerprint, done.detail) == ("done", PROFILE.fingerprint.key, "")
        assert client.profile_jobs() == [done] == [client.profile_job(done.id)]
        (listed,) = client.devices().devices
        assert (listed.fingerprint, DeviceProfile.from_dict(listed.profile).probes) == (done.fingerprint, 10)
        with pytest.raises(NotFoundError, match="no profile 'p_none' was asked for since this server began"):
            client.profile_job("p_none")


# asked for while full and refit are as in the first two columns: whether it is the same job
SAME = [
    #full, refit, then: full, refit, parallel, device
    (False, False, False, False, 1, "cpu", True),
    (False, False, False, False, 1, "auto", True),
    (False, False, True, False, 1, "cpu", False),
    (False, False, False, True, 1, "cpu", False),
    (False, False, False, False, 2, "cpu", False),
    (True, False, False, False, 1, "cpu", True),
    (True, False, True, False, 1, "auto", True),
    (True, False, True, True, 1, "cpu", False),
    (False, True, True, False, 1, "cpu", True),
    (False, True, False, True, 1, "cpu", True),
]  # fmt: skip


@pytest.mark.parametrize(("full", "refit", "then_full", "then_refit", "parallel", "device", "same"), SAME)
def test_one_at_a_time_for_a_device(
    worked: Server,
    workers: Workers,
    full: bool,
    refit: bool,
    then_full: bool,
    then_refit: bool,
    parallel: int,
    device: str,
    same: bool,
) -> None:
    workers.free.clear()
    with worked.client() as client:
        try:
            first = client.profile("cpu", full, refit=refit)
            if same:
                assert client.profile(device, then_full, parallel=parallel, refit=then_refit) == first
            else:
                with pytest.raises(StateError, match=f"profile {first.id} of cpu is under way: ask for another when"):
                    client.profile(device, then_full, parallel=parallel, refit=then_refit)
            assert client.profile("cuda").id != first.id, "of another device"
            assert len(client.profile_jobs()) == 2
        finally:
            workers.stop = True
            workers.free.set()
        wait_for(worked, first)
        assert client.profile("cpu").id != first.id, "what is over is asked for anew"


def test_many_at_once_get_one(worked: Server, workers: Workers) -> None:
    workers.free.clear()
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(worked.post("/profiles", json={}))) for _ in range(8)]
    for own in threads:
        own.start()
    for own in threads:
        own.join()
    assert {own.status_code for own in found} == {202} and len({own.json()["id"] for own in found}) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_one_that_fails_says_why(worked: Server) -> None:
    with worked.client() as client:
        job = client.profile("cuda")
        with pytest.raises(ProfileError, match="device: must be auto, cpu, or cuda on a machine with a GPU, found"):
            client.profiled(job)
        assert client.profile_job(job.id).fingerprint == ""
        assert client.profile("cuda").id != job.id, "asked again, it is tried again"


def test_a_failure_that_nobody_foresaw(worked: Server, workers: Workers) -> None:
    workers.stop = True
    with worked.client() as client, pytest.raises(ProfileError, match="the worker is gone"):
        client.profiled(client.profile("cpu"))


def test_without_workers(make_server: Servers, sqlite_url: str) -> None:
    server = make_server(sqlite_url)
    refused = server.post("/profiles", json={"device": "auto"})
    assert (refused.status_code, refused.json()["detail"]) == (409, "this server has no workers")
    assert server.get("/profiles").json() == {"profiles": []}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"device": "rtx-4090"}, "device"),
        ({"device": "cuda:1"}, "device"),
        ({"parallel": 0}, "parallel"),
        ({"parallel": 10**9}, "parallel"),
        ({"full": "maybe"}, "full"),
        ({"threads": 3}, "threads"),
    ],
)
def test_what_is_no_question(worked: Server, body: dict[str, Any], field: str) -> None:
    refused = worked.post("/profiles", json=body)
    assert (refused.status_code, refused.json()["field"]) == (422, field)
    assert worked.get("/profiles").json() == {"profiles": []}


def test_old_ones_are_forgotten_and_never_one_at_work(worked: Server, workers: Workers) -> None:
    workers.free.clear()
    with worked.client() as client:
        at_work = client.profile("cpu")
    profiling = worked.service.profiling
    for number in range(KEPT + 10):
        own = at_work.model_copy(update={"id": f"p_{number}", "state": "done"})
        profiling._jobs[own.id] = own
    profiling._forget()
    assert len(profiling.all()) == KEPT and profiling.find(at_work.id) == at_work
    assert [own.id for own in profiling.all()][1] == "p_11"
