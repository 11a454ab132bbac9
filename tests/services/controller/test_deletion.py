"""Nothing of a deleted search is left but what others may use.

                 |  database                |  home                  |  storage
of the search    |  records, study, answer  |  artifacts/S, exports  |  S
of others        |  theirs                  |  artifacts/T, theirs   |  T, corpora, tokenizers
"""

import threading
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest

from nas.adapters.optuna_suggester import OptunaSuggester
from nas.adapters.sql.store import sqlalchemy_url
from nas.client.models import API, IDEMPOTENCY_HEADER, ExportState
from nas.errors import NotFoundError
from nas.records import SearchState
from services.controller.dispatch import NoRay
from services.controller.exports import Exports
from tests.contracts.samples import CANDIDATE, LINE
from tests.contracts.suggester import SPACE
from tests.data.depots import FaultySystem, plant, tree
from tests.helpers import study_of
from tests.services.controller.conftest import Server, Servers


@dataclass
class Noting(NoRay):
    """A dispatcher that notes whose files it is to delete, and exports when it is let to."""

    forgotten: list[str] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)
    may: threading.Event = field(default_factory=threading.Event)

    def forget(self, search_id: str) -> None:
        self.forgotten.append(search_id)

    def export(self, search_id: str, number: int) -> tuple[bytes, str]:
        self.asked.set()
        assert self.may.wait(30)
        return b"archive", "compared"


class Refusing(FaultySystem):
    """A storage that lets nobody delete anything, while it ``refuses``."""

    protocol = "refusing"
    refuses: ClassVar[bool] = False

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return super()._strip_protocol(path.removeprefix("refusing://"))

    def rm_file(self, path: str) -> None:
        if self.refuses:
            raise PermissionError("not yours")
        super().rm_file(path)


def over(server: Server, name: str) -> str:
    """A search that is over, with a study, weights and an answer to its request."""
    own = str(server.submit(spec={"name": name}, headers={IDEMPOTENCY_HEADER: name}).json()["id"])
    server.store.update_search(own, state=SearchState.CANCELLED)
    server.store.add_candidate(replace(CANDIDATE, search_id=own))
    server.store.add_log(own, 0, 0, [LINE])
    url = sqlalchemy_url(server.store.url)
    with closing(OptunaSuggester(url, own, SPACE, ["val_bpb", "params"], 0, 1)) as suggester:
        suggester.name(suggester.ask().key, "c", 0, {})
    plant(server.service.home.artifacts / own / "0", {"weights.safetensors": b"w", "checkpoint.pt": b"c"})
    return own


def delete(server: Server, own: str) -> int:
    return int(server.http.delete(f"{API}/searches/{own}").status_code)


@pytest.mark.parametrize("storage", ["folder", "file"])
def test_what_goes_and_what_stays(make_server: Servers, url: str, storage: str, tmp_path: Path) -> None:
    dispatcher, shared = Noting(), tmp_path / "shared"
    address = str(shared) if storage == "folder" else f"file://{shared}"
    server = make_server(url, storage=address, dispatcher=dispatcher)
    own, other = over(server, "own"), over(server, "other")
    kept = {f"{other}/0/weights.safetensors": b"w", "corpora/abc.jsonl.gz": b"c", "tokenizers/t": b"t"}
    plant(shared, {**kept, f"{own}/0/weights.safetensors": b"w", f"{own}/1/checkpoint.pt": b"c"})
    assert delete(server, own) == 204
    assert [record.id for record in server.store.searches()] == [other]
    assert [len(server.store.log(name, 0)) for name in (own, other)] == [0, 1]
    assert tree(shared) == kept
    assert [path.name for path in server.service.home.artifacts.iterdir()] == [other]
    assert dispatcher.forgotten == [own]
    with pytest.raises(KeyError), study_of(sqlalchemy_url(server.store.url), own):
        pass
    with study_of(sqlalchemy_url(server.store.url), other) as study:
        assert len(study.trials) == 1
    again = server.submit(spec={"name": "own"}, headers={IDEMPOTENCY_HEADER: "own"})
    assert again.status_code == 201 and again.json()["id"] not in (own, other)


def test_a_storage_that_refuses_keeps_the_search(
    make_server: Servers, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec.register_implementation("refusing", Refusing, clobber=True)
    server = make_server(sqlite_url, storage="refusing://bucket")
    own = over(server, "own")
    depot = server.service.home.depot
    assert depot is not None
    depot.publish(server.service.home.artifacts / own, own)
    monkeypatch.setattr(Refusing, "refuses", True)
    refused = server.http.delete(f"{API}/searches/{own}")
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:nas:problem:storage")
    assert [record.id for record in server.store.searches()] == [own]
    assert (server.service.home.artifacts / own / "0" / "weights.safetensors").exists()
    monkeypatch.setattr(Refusing, "refuses", False)
    assert delete(server, own) == 204 and not depot.exists(own)


def test_an_export_under_way_leaves_nothing(tmp_path: Path) -> None:
    dispatcher = Noting()
    exports = Exports(tmp_path, dispatcher)
    exports.start("s", 0)
    assert dispatcher.asked.wait(30)
    exports.forget("s")
    dispatcher.may.set()
    exports._threads.shutdown(wait=True)
    assert tree(tmp_path) == {} and exports.all() == []
    with pytest.raises(NotFoundError):
        exports.find("s-0")


def test_an_export_that_nobody_forgot_is_kept(tmp_path: Path) -> None:
    dispatcher = Noting()
    dispatcher.may.set()
    exports = Exports(tmp_path, dispatcher)
    exports.start("s", 0)
    exports._threads.shutdown(wait=True)
    exports.forget("t")
    assert exports.find("s-0").state is ExportState.DONE and exports.archive("s-0").read_bytes() == b"archive"
