"""A server's search, driven by a machine that shares only the storage and the database with it."""

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from nas.adapters.sql.store import SqlStore, open_store
from nas.client.models import API
from nas.errors import CorpusError
from nas.records import SearchState
from nas.spec import parse_spec
from services.foreground import drive_inline
from services.ground import survey
from services.home import Home
from services.worker.beginning import prepare
from services.worker.lease import held
from tests.conftest import english
from tests.services.controller.conftest import Server, Servers, make_server  # noqa: F401 - a fixture
from tests.services.driving import knows_this_machine

TEXTS = [("train", (f"{seed}.txt", english(4_000, seed).encode())) for seed in range(6)]
SMALL = {
    "space": {"knobs": {"depth": [1], "width": [16, 32], "head_size": [8], "vocabulary": [256], "context": [32],
                        "batch_tokens": [64]}},
    "device": "cpu",
    "budget": {"total": {"compute": "1GFLOP"}, "candidate": {"compute": "150MFLOP"}},
    "minimize": ["val_bpb", "params"],
}  # fmt: skip


@pytest.fixture
def server(make_server: Servers, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:  # noqa: F811
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as the profile
    knows_this_machine(sqlite_url)
    return make_server(sqlite_url, storage=f"file://{tmp_path}/shared")


@pytest.fixture
def elsewhere(server: Server, tmp_path: Path) -> Home:
    """The home of another machine, with nothing in it."""
    return Home(tmp_path / "elsewhere", server.service.home.database, server.service.home.storage)


def submitted(server: Server) -> str:
    """A search on texts that were brought; then the server's own copies are out of everybody's reach."""
    brought = server.post("/corpora", data={"name": "tiny"}, files=TEXTS)
    assert brought.status_code == 201, brought.text
    own = server.submit(spec={**SMALL, "corpus": brought.json()["reference"]})
    assert own.status_code == 201, own.text
    shutil.rmtree(server.service.home.root)
    return str(own.json()["id"])


def drive(home: Home, search_id: str) -> SearchState:
    with closing(open_store(home.database)) as store:
        with held(store, search_id) as lease:
            ground = prepare(home, lease.store, search_id, None)
        return drive_inline(home, store, search_id, ground, lambda: None, print).state


def test_a_machine_with_another_home_runs_it(server: Server, elsewhere: Home) -> None:
    own = submitted(server)
    assert drive(elsewhere, own) is SearchState.COMPLETED
    found = server.store.search(own)
    assert found.setting["corpus"]["train_bytes"] > 15_000
    (folder,) = elsewhere.corpora.iterdir()
    assert found.spec["corpus"]["train"].startswith(f"{folder.name}/train/")
    assert not server.service.home.root.exists(), "nothing was read or written there"
    assert server.http.delete(f"{API}/searches/{own}").status_code == 204
    depot = elsewhere.depot
    assert depot is not None and not depot.exists(own) and depot.exists(f"corpora/{folder.name}.tar.gz")


def test_without_a_storage_the_texts_are_the_server_s_alone(server: Server, elsewhere: Home, store: SqlStore) -> None:
    own = submitted(server)
    alone = Home(elsewhere.root, elsewhere.database)
    with held(store, own) as lease, pytest.raises(CorpusError, match="must match a file below"):
        prepare(alone, lease.store, own, None)


@pytest.mark.parametrize("reference", ["secret.txt", "no-0123456789ab/train/*"])
def test_a_spec_reads_nothing_else_there(server: Server, elsewhere: Home, reference: str, tmp_path: Path) -> None:
    """Relative to where a driver of a terminal would look, there is something."""
    (tmp_path / "secret.txt").write_text(english(20_000, 1))
    spec = parse_spec({**SMALL, "name": "s", "corpus": reference})
    with pytest.raises(CorpusError, match=f"must match a file below {elsewhere.corpora}"):
        survey(spec, elsewhere.corpora, elsewhere, lambda topic, line: None)


@pytest.fixture
def store(sqlite_url: str, open_) -> SqlStore:  # type: ignore[no-untyped-def]
    return open_(sqlite_url)
