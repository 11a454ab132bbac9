"""What drivers and workers log, on a Ray of several processes; and that a terminal sees nothing of it."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import ray

from nas.adapters.sql.store import open_store
from nas.records import RequestKind, SearchRecord, SearchState, queued_search
from nas.spec import load_spec
from services.controller.dispatch import RayDispatcher
from services.home import Home
from services.worker.cluster import connected
from tests.services.driving import Place, make_place

# Ray and Tune warn of what is theirs to change.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(300)]
WAIT_SECONDS = 120


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return make_place(tmp_path_factory.mktemp("logs"))


@pytest.fixture(scope="module", autouse=True)
def session(place: Place) -> Iterator[Path]:
    """The folder with the logs of a local Ray."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        with connected(None, cpus=2):
            yield Path(ray._private.worker._global_node.get_session_dir_path()) / "logs"


def lines_of(session: Path, search_id: str) -> list[dict[str, Any]]:
    """As docs/deploy.md says: by the id alone."""
    found = []
    for path in session.glob("worker-*.err"):
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith("{") and search_id in line:
                found.append({**json.loads(line), "file": path.name})
    return sorted(found, key=lambda own: own["timestamp"])


def submit(place: Place, spec: str) -> tuple[Home, SearchRecord]:
    home = Home(place.home, f"sqlite:///{place.home / 'nas.db'}")
    raw = load_spec(place.folder / spec)
    record = queued_search(raw.name, raw.to_dict(), {"base": str(place.folder), "served": True}, at=time.time())
    with closing(open_store(home.database)) as store:
        store.add_search(record)
    return home, record


def drive(home: Home, search_id: str, dispatcher: RayDispatcher) -> SearchRecord:
    limit = time.monotonic() + WAIT_SECONDS
    assert dispatcher.start(search_id)
    while dispatcher.starting(search_id):
        assert time.monotonic() < limit
        time.sleep(0.2)
    with closing(open_store(home.database)) as store:
        return store.search(search_id)


@pytest.fixture(scope="module")
def driven(place: Place, session: Path) -> tuple[SearchRecord, list[dict[str, Any]]]:
    home, record = submit(place, "tiny.yaml")
    done = drive(home, record.id, RayDispatcher(home, cluster=False))
    return done, lines_of(session, record.id)


def test_one_search_is_followed_by_its_id(place: Place, driven: tuple[SearchRecord, list[dict[str, Any]]]) -> None:
    record, lines = driven
    assert record.state is SearchState.COMPLETED, record.reason
    assert all(own["search_id"] == record.id for own in lines)
    driver = [own for own in lines if "attempt" not in own]
    assert len({own["file"] for own in driver}) == 1
    said = [own["event"] for own in driver]
    assert said[0].startswith("a driver begins, process ")
    assert said[-2:] == [(record.result or {})["sentence"], "the driver ends"]
    with closing(open_store(f"sqlite:///{place.home / 'nas.db'}")) as store:
        ended = {own.number: str(own.state) for own in store.candidates(record.id)}
    told = {own["candidate"]: own["kind"] for own in driver if "candidate" in own and own["kind"] in ended.values()}
    assert told == ended and len(ended) > 3


def test_each_attempt_has_its_beginning_and_its_end(
    place: Place, driven: tuple[SearchRecord, list[dict[str, Any]]]
) -> None:
    record, lines = driven
    driver = next(own["file"] for own in lines if "attempt" not in own)
    with closing(open_store(f"sqlite:///{place.home / 'nas.db'}")) as store:
        attempts = {(own.number, own.attempt) for own in store.attempts(record.id)}
        candidates = {own.number: own for own in store.candidates(record.id)}
    found: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for own in lines:
        if "attempt" in own:
            assert own["file"] != driver and own["logger"] == "nas.adapters.tune.trainable"
            found.setdefault((own["candidate"], own["attempt"]), []).append(own)
    assert found.keys() == attempts
    for (number, _), (begun, ended) in found.items():
        assert begun["event"].startswith("the attempt begins, ")
        assert begun["flops"] == candidates[number].train_flops_planned
        assert ended["event"].endswith(": completed") or ended["event"].split(": ", 1)[1].startswith("stopped")
        assert ended["flops"] == candidates[number].train_flops_spent and ended["seconds"] >= 0


def test_a_pause_and_what_cannot_be_driven(place: Place, session: Path) -> None:
    home, record = submit(place, "tiny.yaml")
    with closing(open_store(home.database)) as store:
        store.add_request(record.id, RequestKind.PAUSE, {}, at=time.time())
    dispatcher = RayDispatcher(home, cluster=False)
    assert drive(home, record.id, dispatcher).state is SearchState.PAUSED
    said = [own["event"] for own in lines_of(session, record.id)]
    assert said[-2:] == ["asked to pause", "the driver ends"]
    place.write_spec("wrong.yaml", corpus="corpus: none/*.txt")
    home, wrong = submit(place, "wrong.yaml")
    assert drive(home, wrong.id, RayDispatcher(home, cluster=False)).state is SearchState.FAILED
    told = lines_of(session, wrong.id)[-1]
    assert told["level"] == "warning" and told["event"].startswith("the driver ends: corpus.train: must match a file")


def test_files_of_a_deleted_search_are_taken_from_workers(place: Place, tmp_path: Path) -> None:
    home = Home(tmp_path, f"sqlite:///{place.home / 'nas.db'}")
    for own in ("gone", "kept"):
        (home.artifacts / own / "0").mkdir(parents=True)
    dispatcher = RayDispatcher(home, cluster=True)
    dispatcher.forget("gone")
    limit = time.monotonic() + WAIT_SECONDS
    while (home.artifacts / "gone").exists():
        assert time.monotonic() < limit
        time.sleep(0.1)
    assert (home.artifacts / "kept" / "0").is_dir()
    ray.kill(dispatcher._spare)


@pytest.mark.parametrize("engine", ["ray", "inline"])
def test_a_terminal_sees_nothing_of_it(place: Place, engine: str) -> None:
    place.write_spec("short.yaml", total="  total: {compute: 1GFLOP, candidates: 1}")
    done = place.finish("run", "short.yaml", "--engine", engine)
    assert done.code == 0, done.err
    said = [line for line in done.err.splitlines() if "candidate 0 completed" in line]
    assert len(said) == 1, "an event is told once"
    for word in ("{", "driver", "attempt", "search_id", "INFO"):
        assert word not in done.err, done.err
