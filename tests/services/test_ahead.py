"""What a server has a worker find out before there is a search."""

import contextlib
import json
from dataclasses import replace
from typing import Any

import pytest

from nas.adapters.sql.store import open_store
from nas.calibration import Fingerprint
from nas.document import read_text
from nas.errors import InfeasibleError, NotFoundError, StateError
from nas.measure.fingerprint import fingerprint_here
from nas.records import queued_search
from nas.spec import parse_spec
from services.cpus import cores
from services.home import Home
from services.profiles import keep
from services.worker import actor
from services.worker.ahead import foretell, profile
from services.worker.cluster import connected
from tests.services.driving import PROFILE, SPEC, Place


@pytest.fixture
def home(place: Place, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Of a server that was given the texts of a place; each worker has one thread."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    own = Home(place.home, f"sqlite:///{place.home / 'nas.db'}")
    own.corpora.symlink_to(place.folder)
    return own


def spec_of(**changes: Any) -> dict[str, Any]:
    raw = {**read_text(SPEC, "spec").to_dict(), **changes}
    return parse_spec(raw).to_dict()


def profiles_in(home: Home) -> dict[str, Any]:
    with contextlib.closing(open_store(home.database)) as store:
        return {key: store.device_profile(key) for key in (fingerprint(threads).key for threads in (1, 2))}


def fingerprint(threads: int) -> Fingerprint:
    return fingerprint_here("cpu", threads, "float32")


@pytest.mark.parametrize("device", ["", "cpu", "rtx-4090"])
def test_it_is_the_forecast_of_the_command(place: Place, home: Home, device: str) -> None:
    found = foretell(home, spec_of(), device, cluster=False)
    notes = found.pop("notes")
    options = ["--device", device] if device else []
    assert json.loads(json.dumps(found)) == {
        name: value
        for name, value in place.run("forecast", "tiny.yaml", *options, "-o", "json").json.items()
        if name != "schema_version"
    }
    lines = place.run("forecast", "tiny.yaml", *options).out.splitlines()
    assert [f"{note['topic']:<11}{note['line']}" for note in notes] == lines[:3]


@pytest.mark.parametrize(("parallel", "threads"), [(1, 1), (2, 1)])
def test_a_device_without_a_profile_is_not_probed(home: Home, parallel: int, threads: int) -> None:
    with contextlib.closing(open_store(home.database)) as store:
        store.save_device_profile(PROFILE.fingerprint.key, {}, at=0.0)  # as if of another version
    said = (
        rf"with 1 thread has no profile yet, and a forecast makes none; nas profile device --device cpu --parallel "
        rf'{parallel} does, or POST /api/v1/profiles {{"device": "cpu", "parallel": {parallel}}}$'
    )
    spec = spec_of(method={"parallel": parallel}, corpus="none/*")  # which would be found out later
    with pytest.raises(StateError, match=said):
        foretell(home, spec, "", cluster=False)
    assert profiles_in(home)[PROFILE.fingerprint.key] == {}
    assert foretell(home, spec_of(), "rtx-4090", cluster=False)["estimated"], "what is only listed needs none"


@pytest.mark.skipif(cores() < 2, reason="needs two processors")
def test_a_run_that_is_alone_has_a_profile_of_its_own(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    spec = spec_of(method={"parallel": cores()})
    with pytest.raises(StateError, match=f"with {cores()} threads has no profile yet"):
        foretell(home, spec, "", cluster=False)
    with contextlib.closing(open_store(home.database)) as store:
        keep(store, replace(PROFILE, fingerprint=fingerprint(cores())))
    assert foretell(home, spec, "", cluster=False)["fingerprint"] == PROFILE.fingerprint.key


def test_what_cannot_be_foreseen(home: Home) -> None:
    with pytest.raises(InfeasibleError, match="breaks params: needs "):
        foretell(home, spec_of(limits={"params": "1k"}), "", cluster=False)
    with pytest.raises(NotFoundError, match="nearest are rtx-4090"):
        foretell(home, spec_of(), "rtx-409", cluster=False)


@pytest.mark.parametrize(("compiled", "full"), [(False, False), (True, False), (True, True)])
def test_a_profile_that_will_do_is_not_made_again(home: Home, compiled: bool, full: bool) -> None:
    with contextlib.closing(open_store(home.database)) as store:
        keep(store, replace(PROFILE, compiled=PROFILE.eager if compiled else None))
    before = profiles_in(home)
    assert profile(home, "cpu", 1, full=full, refit=False, cluster=False) == PROFILE.fingerprint.key
    assert profiles_in(home) == before


@pytest.mark.timeout(600)
def test_workers_have_the_threads_that_the_server_allows(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray says one to what reserves no processor; a search and its forecast must not take that for the machine's."""
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"):
        monkeypatch.setenv(name, "0")  # as they are set for Ray, and not for the tests that follow
    monkeypatch.delenv("OMP_NUM_THREADS")
    made = queued_search("tiny", spec_of(), {"base": str(home.corpora), "served": True, "agreed": True}, at=0.0)
    with contextlib.closing(open_store(home.database)) as store:
        keep(store, replace(PROFILE, fingerprint=fingerprint(cores())))
        store.add_search(made)
        with connected(None):
            import ray

            for _ in range(2):  # in the same process, which Ray keeps
                found = ray.get(actor.ask_forecast(home, False, spec_of(), ""), timeout=120)
                assert found["fingerprint"] == fingerprint(cores()).key
            asked = actor.ask_profile(home, False, "cpu", 1, full=False, refit=False)
            assert ray.get(asked, timeout=120) == fingerprint(cores()).key
            end = actor.take_up(actor.spare(home, False), home, made.id, cluster=False)
            ray.wait([end], timeout=300)
        assert store.search(made.id).setting["threads"] == cores()
