"""The Python client and the store of a server: the same as what is in the database."""

from dataclasses import replace
from pathlib import Path

import pytest

from nas.client.models import SCOPES
from nas.client.store import RemoteStore
from nas.errors import AccessError, NotFoundError, SpecError, StateError
from nas.records import CandidateState, RequestKind, SearchState, to_dict
from tests.contracts.samples import CANDIDATE, FULL_CANDIDATE, FULL_POINT, FULL_SEARCH, LINE, SEARCH
from tests.services.controller.conftest import SPEC, Server


def test_a_server_s_store_is_the_store(filled: Server) -> None:
    with filled.client() as client:
        remote, own, search = RemoteStore(client), filled.store, filled.id
        assert remote.search(search) == own.search(search)
        assert [found.id for found in remote.searches()] == [found.id for found in own.searches()]
        assert remote.candidates(search) == own.candidates(search)
        assert remote.candidate(search, 0) == own.candidate(search, 0)
        assert remote.points(search) == own.points(search) and remote.points(search, 0) == own.points(search, 0)
        assert remote.attempts(search) == own.attempts(search)
        assert remote.attempts(search, 0) == own.attempts(search, 0)
        assert remote.decisions(search) == own.decisions(search)
        assert remote.log(search, 0) == own.log(search, 0) and len(own.log(search, 0)) >= 2
        assert remote.log(search, 0, attempt=0, after=1, limit=1) == own.log(search, 0)[1:2]
        assert remote.log(search, 0, attempt=7) == []
        assert remote.ledger(search) == own.ledger(search)
        assert remote.events(search) == own.events(search) and remote.events(search, 3) == own.events(search, 3)
        assert remote.requests(search) == own.requests(search) == []
        assert remote.lease(search) is None and abs(remote.now() - own.now()) < 60
        with pytest.raises(NotFoundError, match="no candidate 99 in search"):
            remote.candidate(search, 99)


def test_records_cross_the_wire_as_they_are(server: Server) -> None:
    """Also FLOPs beyond 64 bits, and text of all kinds."""
    server.store.add_search(FULL_SEARCH)
    server.store.add_candidate(FULL_CANDIDATE)
    server.store.add_points([FULL_POINT])
    with server.client() as client:
        remote = RemoteStore(client)
        assert remote.search("s") == server.store.search("s")
        assert remote.candidates("s") == server.store.candidates("s")
        assert remote.points("s") == server.store.points("s")


def test_a_log_comes_by_pages(server: Server) -> None:
    server.store.add_search(SEARCH)
    server.store.add_candidate(CANDIDATE)
    server.store.add_log("s", 0, 0, [replace(LINE, message=f"line {place}") for place in range(1500)])
    server.store.add_log("s", 0, 1, [LINE])
    path, whole = "/searches/s/candidates/0/log", server.store.log("s", 0)
    with server.client() as client:
        assert RemoteStore(client).log("s", 0) == whole and len(whole) == 1501
    for query, found, more in (
        ("", whole[:100], True),
        ("?limit=1000&after=1000", whole[1000:], False),
        ("?limit=1&after=1500", whole[1500:], False),
        ("?attempt=1", whole[1500:], False),
        ("?attempt=0&after=1499", whole[1499:1500], False),
        ("?attempt=2", [], False),
    ):
        answer = server.get(path + query).json()
        assert (answer["lines"], answer["more"]) == ([to_dict(own) for own in found], more), query
    tag = server.get(path).headers["ETag"]
    assert server.get(path, headers={"If-None-Match": tag}).status_code == 304
    server.store.add_log("s", 0, 1, [LINE])
    assert server.get(path, headers={"If-None-Match": tag}).status_code == 200, "a line is a change"
    for wrong, status in (
        ("/searches/s/candidates/7/log", 404), ("/searches/x/candidates/0/log", 404), (path + "?limit=1001", 422),
        (path + "?after=-1", 422), (path + "?attempt=-1", 422), (path + f"?attempt={2**31}", 422),
    ):  # fmt: skip
        assert server.get(wrong).status_code == status, wrong


def test_asking_through_a_server_s_store(server: Server) -> None:
    with server.client() as client:
        remote, own = RemoteStore(client), client.submit(SPEC).id
        for kind in (RequestKind.PAUSE, RequestKind.STOP, RequestKind.CANCEL):
            made = remote.add_request(own, kind, {}, at=0.0)
            assert (made.search_id, made.kind) == (own, kind)
        with pytest.raises(StateError, match="there is nothing to resume"):
            remote.add_request(own, RequestKind.RESUME, {}, at=0.0)
        assert [found.kind for found in remote.requests(own, unanswered=True)] == ["pause", "stop", "cancel"]


def test_candidates_by_what_is_wanted(filled: Server) -> None:
    with filled.client() as client:
        everything = filled.store.candidates(filled.id)
        done = list(client.candidates(filled.id, state=["completed"], order_by="val_bpb", page_size=2))
        losses = [own.val_bpb for own in done]
        assert losses == sorted(losses) and len(done) == sum(own.state == "completed" for own in everything)
        worst = list(client.candidates(filled.id, order_by="val_bpb", descending=True, page_size=3))
        assert [own.number for own in worst] != [own.number for own in everything]
        assert {own.number for own in worst} == {own.number for own in everything}, "those without a loss come last"
        assert [own.val_bpb is None for own in worst] == sorted(own.val_bpb is None for own in worst)
        page = filled.get(f"/searches/{filled.id}/candidates").json()
        assert list(client.candidates(filled.id, since_revision=page["revision"])) == []
        filled.store.update_candidate(filled.id, 1, reason="touched")
        changed = list(client.candidates(filled.id, since_revision=page["revision"]))
        assert [own.number for own in changed] == [1]


def test_tables(filled: Server) -> None:
    path = f"/searches/{filled.id}/candidates"
    lines = filled.get(path, params={"format": "csv"}).text.split("\r\n")
    head, *rows = [line.split(",") for line in lines if line]
    count = len(filled.store.candidates(filled.id))
    assert len(rows) == count and {"number", "val_bpb", "cost.params", "knob.width"} <= set(head)
    assert len(filled.get(path, params={"format": "ndjson"}).text.splitlines()) == count
    filled.store.update_candidate(filled.id, 0, reason="=cmd|' /C calc'!A0")
    assert ",'=cmd|" in filled.get(path, params={"format": "csv"}).text, "no formula for a spreadsheet"


def test_the_front(filled: Server) -> None:
    with filled.client() as client:
        whole = client.front(filled.id)
        assert whole.objectives == ["val_bpb", "flops_per_byte"] and whole.members
        losses, costs = zip(*(own.values for own in whole.members), strict=True)
        assert list(costs) == sorted(costs) and list(losses) == sorted(losses, reverse=True)
        cheapest = whole.members[0].values[1]
        limited = client.front(filled.id, limits={"flops_per_byte": cheapest})
        assert [own.number for own in limited.members] == [whole.members[0].number]
        assert limited.within_limits < whole.completed or whole.completed == 1
        none = client.front(filled.id, ["val_bpb", "params"], {"params": 1})
        assert none.members == [] and none.objectives == ["val_bpb", "params"]
        steps = client.hypervolume(filled.id).steps
        assert [own.volume for own in steps] == sorted(own.volume for own in steps) and len(steps) == whole.completed
    once, twice = "objectives=params", "objectives=params&objectives=params"
    for query in ("max.beauty=1", "max.params=x", "max.params=nan", once, twice):
        assert filled.get(f"/searches/{filled.id}/front?{query}").status_code == 422, query


def test_following(filled: Server) -> None:
    """What is over ends at once; who has heard more than there is begins again."""
    with filled.client() as client:
        events = filled.store.events(filled.id)
        assert list(client.follow(filled.id)) == events
        assert list(client.follow(filled.id, after=3)) == events[3:]
        assert list(client.follow(filled.id, after=10_000)) == events
        assert list(client.follow(filled.id, after=10**29)) == events, "beyond what a database can hold"
        with pytest.raises(NotFoundError):
            list(client.follow("none"))


def test_texts_are_brought(server: Server, tmp_path: Path) -> None:
    for name, text in (("a.txt", "one"), ("b.txt", "two"), ("c.txt", "three")):
        (tmp_path / name).write_text(text)
    a, b, c = (tmp_path / name for name in ("a.txt", "b.txt", "c.txt"))
    with server.client() as client:
        made = client.upload("mine", {"train": [a, b], "validation": [c]})
        assert (made.name, made.bytes, made.files) == ("mine", 11, 3)
        (folder,) = server.service.home.corpora.iterdir()
        assert made.reference == {split: f"{folder.name}/{split}/*" for split in ("train", "validation")}
        assert client.upload("mine", {"train": [b, a], "validation": [c]}) == made, "in whatever order"
        assert client.upload("mine", {"train": [a, c], "validation": [b]}) != made
        assert client.submit({**SPEC, "corpus": made.reference}).spec["corpus"] == made.reference


@pytest.mark.parametrize(
    ("name", "files", "field"),
    [
        ("../up", {"train": ("a.txt", b"x")}, "name"),
        ("", {"train": ("a.txt", b"x")}, "name"),
        ("mine", {"train": ("../../etc/x", b"x")}, None),
        ("mine", {"train": (".hidden", b"x")}, "files.train"),
        ("mine", {"train": ("a.txt", b"\xff\xfe")}, "files.train"),
        ("mine", {"validation": ("a.txt", b"x")}, "train"),
    ],
)
def test_texts_that_are_none(server: Server, name: str, files: dict[str, tuple[str, bytes]], field: str | None) -> None:
    answer = server.post("/corpora", data={"name": name}, files=list(files.items()))
    if field is None:
        assert answer.status_code == 201, "a path is only a name"
        assert [own.name for own in server.service.home.corpora.rglob("*") if own.is_file()] == ["0000-x"]
    else:
        assert (answer.status_code, answer.json()["field"]) == (422, field)
        assert not list(server.service.home.corpora.rglob("*.txt")), "nothing of it is kept"


def test_tokens_by_the_client(guarded: Server) -> None:
    secret, _ = guarded.service.tokens.create("root", "admin")
    with guarded.client(secret) as client:
        assert client.me().scope == SCOPES[-1]
        made = client.create_token("ann", "write", 60.0)
        assert [own.name for own in client.tokens()] == ["root", "ann"]
        with guarded.client(made.secret) as ann:
            assert ann.submit(SPEC).state is SearchState.QUEUED
            with pytest.raises(AccessError, match="token 'ann' has scope write; this needs admin"):
                ann.tokens()
            client.revoke_token(made.id)
            with pytest.raises(AccessError, match="was revoked"):
                ann.me()


def test_what_a_server_has(filled: Server) -> None:
    with filled.client() as client:
        assert {own.name for own in client.spaces().spaces} >= {"llama-tiny"}
        assert client.workers().workers == [] and client.version().api == 1
        assert client.devices().devices == []
        assert client.report(filled.id).startswith("<!DOCTYPE html>") or "<html" in client.report(filled.id)[:200]
        with pytest.raises(StateError, match="this server has no workers"):
            done = next(own for own in client.candidates(filled.id) if own.state is CandidateState.COMPLETED)
            client.generate(filled.id, done.number)
        with pytest.raises(StateError, match="this server has no workers"):
            client.scale(filled.id, done.number, 10**9)
        with pytest.raises(NotFoundError, match="no candidate 99 in search"):
            client.scale(filled.id, 99, 10**9)
        for compute in (0, -1, 10**31):
            with pytest.raises(SpecError, match="compute: "):
                client.scale(filled.id, done.number, compute)
