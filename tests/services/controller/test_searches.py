"""Searches over the API: submitted once, looked at cheaply, asked something."""

from typing import Any

import pytest

from nas.client.models import API, IDEMPOTENCY_HEADER, ExportInfo, ExportState
from nas.records import RequestKind, SearchState
from services.controller.settings import Quotas, Settings
from tests.services.controller.conftest import Server, Servers


def test_what_is_submitted_is_queued_with_its_spec_resolved(server: Server) -> None:
    made = server.submit()
    assert made.status_code == 201
    found = made.json()
    assert made.headers["Location"] == f"{API}/searches/{found['id']}"
    assert (found["name"], found["state"], found["driven"], found["counts"]) == ("tiny", "queued", False, {})
    assert found["spec"]["budget"]["total"]["compute"] == 300 * 10**9 and found["spec"]["minimize"]
    assert server.get(f"/searches/{found['id']}").json() == found
    assert [event.message for event in server.store.events(found["id"])] == ["submitted by local"]


def test_the_same_key_gives_the_same_search(server: Server) -> None:
    first, again = (server.submit(headers={IDEMPOTENCY_HEADER: "k"}) for _ in range(2))
    assert again.status_code == 201 and again.json()["id"] == first.json()["id"]
    assert "Idempotent-Replayed" in again.headers and "Idempotent-Replayed" not in first.headers
    assert server.submit(headers={IDEMPOTENCY_HEADER: "l"}).json()["id"] != first.json()["id"]
    other = server.submit(headers={IDEMPOTENCY_HEADER: "k"}, spec={"name": "other"})
    assert other.status_code == 422 and other.json()["field"] == IDEMPOTENCY_HEADER
    assert len(server.store.searches()) == 2


@pytest.mark.parametrize(
    ("changes", "field", "rule"),
    [
        ({"corpus": "/etc/passwd"}, "corpus", "must be a name, or a path below the server's corpora"),
        ({"corpus": "../../secrets/*"}, "corpus", "must be a name, or a path below the server's corpora"),
        ({"corpus": {"train": ["a/*", "~root/x"]}}, "corpus.train", "must be a name, or a path below"),
        ({"corpus": {"huggingface": "some/set"}}, "corpus", "must be files: a server opens no addresses"),
        ({"space": "/etc/hosts"}, "space", "must be a mapping, or one of "),
        ({"space": "nothing"}, "space", "must be a mapping, or one of "),
        ({"budget": {}}, "budget.total", "is required"),
        ({"budget": {"total": {"compute": "1"}, "more": 1}}, "budget.more", "is not known here"),
        ({"minimize": ["val_bpb", "beauty"]}, "minimize", "must be of val_bpb"),
        ({"extra": 1}, "extra", "is not known here"),
    ],
)
def test_what_a_spec_may_not(
    make_server: Servers, sqlite_url: str, changes: dict[str, Any], field: str, rule: str
) -> None:
    server = make_server(sqlite_url)
    for params in ({}, {"validate_only": True}):
        refused = server.submit(spec=changes, params=params)
        problem = refused.json()
        assert (refused.status_code, problem["type"], problem["field"]) == (422, "urn:nas:problem:spec", field)
        assert problem["rule"].startswith(rule) and refused.headers["Content-Type"] == "application/problem+json"
    assert server.store.searches() == []


def test_a_link_out_of_the_corpora_is_outside(make_server: Servers, sqlite_url: str) -> None:
    server = make_server(sqlite_url)
    folder = server.service.home.corpora
    folder.mkdir(parents=True)
    (folder / "out").symlink_to("/etc")
    assert server.submit(spec={"corpus": "out/passwd"}).json()["field"] == "corpus"


def test_validating_submits_nothing(server: Server) -> None:
    found = server.submit(params={"validate_only": True})
    assert found.status_code == 200 and found.json()["knobs"] > 5
    assert found.json()["spec"]["space"] == "llama-tiny" and server.store.searches() == []


def test_quotas(make_server: Servers, sqlite_url: str) -> None:
    quotas = Quotas(compute=10**12, open_searches=2, body_bytes=4000)
    server = make_server(sqlite_url, Settings(quotas=quotas))
    dear = server.submit(spec={"budget": {"total": {"compute": "2TFLOP"}}})
    assert (dear.status_code, dear.json()["type"]) == (422, "urn:nas:problem:quota")
    assert "must be at most 1 TFLOP on this server, found 2 TFLOP" in dear.json()["detail"]
    large = server.submit(spec={"name": "x" * 5000})
    assert (large.status_code, large.json()["status"]) == (413, 413)
    assert [server.submit().status_code for _ in range(3)] == [201, 201, 422]
    server.store.update_search(server.store.searches()[0].id, state=SearchState.COMPLETED)
    assert server.submit().status_code == 201


def test_too_many_a_minute(make_server: Servers, sqlite_url: str) -> None:
    server = make_server(sqlite_url, Settings(quotas=Quotas(requests=5, submissions=2)))
    answers = [server.submit() for _ in range(3)]
    assert [own.status_code for own in answers] == [201, 201, 429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    assert [server.get("/searches").status_code for _ in range(3)] == [200, 200, 429]


def test_pages_are_whole_whatever_comes_in_between(server: Server) -> None:
    """The newest first; what is submitted while somebody turns pages is on none of the later ones."""
    made = [server.submit(spec={"name": f"s{number}"}).json()["id"] for number in range(5)]
    shown: list[str] = []
    token = ""
    while True:
        page = server.get("/searches", params={"page_size": 2, "page_token": token}).json()
        shown += [own["id"] for own in page["searches"]]
        if not (token := page["next_page_token"]):
            break
        server.submit(spec={"name": "late"})
    assert shown == made[::-1]


@pytest.mark.parametrize("token", ["x", "!!", "e30", "WzFd", "W251bGwsIDFd", "💥"])
def test_page_tokens_that_nobody_made(server: Server, token: str) -> None:
    for path in ("/searches", f"/searches/{server.submit().json()['id']}/candidates"):
        refused = server.get(path, params={"page_token": token})
        assert (refused.status_code, refused.json()["field"]) == (422, "page_token")


def test_by_state(server: Server) -> None:
    first, second = (server.submit().json()["id"] for _ in range(2))
    server.store.update_search(first, state=SearchState.PAUSED)
    for states, expected in ((["paused"], [first]), (["queued"], [second]), (["paused", "queued"], [second, first])):
        page = server.get("/searches", params={"state": states}).json()
        assert [own["id"] for own in page["searches"]] == expected
    assert server.get("/searches", params={"state": "asleep"}).status_code == 422


def test_what_has_not_changed_is_not_sent_again(filled: Server) -> None:
    paths = ["", "/candidates", "/front", "/hypervolume", "/ledger", "/curves", "/decisions", "/attempts"]
    for path in [f"/searches/{filled.id}{own}" for own in paths] + ["/searches"]:
        first = filled.get(path)
        tag = {"If-None-Match": first.headers["ETag"]}
        again = filled.get(path, headers=tag)
        assert (first.status_code, again.status_code, again.content) == (200, 304, b""), path
        assert filled.get(path, params={"page_size": 3}, headers=tag).status_code == 200, "another question"
        filled.store.add_event(filled.id, "note", "something", at=1.0)
        assert filled.get(path, headers=tag).status_code == 200, path


# --- asking something ---

VERBS = ("pause", "resume", "stop", "cancel")
ALLOWED = {
    #                       pause  resume  stop   cancel
    SearchState.QUEUED:    (True,  False,  True,  True),
    SearchState.RUNNING:   (True,  False,  True,  True),
    SearchState.STOPPING:  (True,  False,  True,  True),
    SearchState.PAUSED:    (True,  True,   True,  True),
    SearchState.FAILED:    (True,  True,   True,  True),
    SearchState.COMPLETED: (False, False,  False, False),
    SearchState.CANCELLED: (False, False,  False, False),
}  # fmt: skip


@pytest.mark.parametrize("state", ALLOWED)
def test_what_may_be_asked_in_which_state(make_server: Servers, sqlite_url: str, state: SearchState) -> None:
    server = make_server(sqlite_url)
    own = server.submit().json()["id"]
    server.store.update_search(own, state=state)
    for verb, allowed in zip(VERBS, ALLOWED[state], strict=True):
        answer = server.post(f"/searches/{own}/{verb}")
        assert answer.status_code == (202 if allowed else 409), verb
    kinds = [RequestKind(verb) for verb, allowed in zip(VERBS, ALLOWED[state], strict=True) if allowed]
    assert [request.kind for request in server.store.requests(own)] == kinds


def test_what_is_asked_already_is_not_asked_twice(server: Server) -> None:
    own = server.submit().json()["id"]
    first, again = (server.post(f"/searches/{own}/pause").json() for _ in range(2))
    assert first == again == {"search_id": own, "sequence": 1, "state": "queued"}
    server.store.answer_request(own, 1, "pauses", at=1.0)
    assert server.post(f"/searches/{own}/pause").json()["sequence"] == 2
    (asked, *_) = [event for event in server.store.events(own) if event.kind == "asked"]
    assert asked.message == "local asks to pause"
    shown = server.get(f"/searches/{own}/requests").json()["requests"]
    assert [(request["sequence"], request["answer"]) for request in shown] == [(1, "pauses"), (2, "")]
    assert len(server.get(f"/searches/{own}/requests", params={"unanswered": True}).json()["requests"]) == 1


def test_a_clone_has_what_was_changed(server: Server) -> None:
    own = server.submit().json()
    clone = server.post(f"/searches/{own['id']}/clone", json={"method": {"seed": 7}, "name": "again"})
    found = clone.json()
    assert clone.status_code == 201 and found["id"] != own["id"] and found["name"] == "again"
    assert found["spec"]["method"]["seed"] == 7 and found["spec"]["budget"] == own["spec"]["budget"]
    assert server.post(f"/searches/{own['id']}/clone").json()["spec"] == own["spec"]
    assert server.post(f"/searches/{own['id']}/clone", json={"corpus": "/etc/passwd"}).status_code == 422


def test_only_what_is_over_is_deleted(server: Server) -> None:
    own = server.submit().json()["id"]
    path = f"{API}/searches/{own}"
    assert server.http.delete(path).status_code == 409
    server.store.update_search(own, state=SearchState.CANCELLED)
    weights, exports = server.service.home.artifacts / own / "0", server.service.home.exports
    weights.mkdir(parents=True)
    exports.mkdir()
    made = ExportInfo(id=f"{own}-0", search_id=own, number=0, state=ExportState.DONE)
    (exports / f"{own}-0.json").write_text(made.model_dump_json())
    (exports / "another-0.json").write_text(made.model_copy(update={"search_id": "another"}).model_dump_json())
    assert (server.http.delete(path).status_code, server.http.delete(path).status_code) == (204, 404)
    assert server.store.searches() == [] and not weights.exists()
    assert [path.name for path in exports.iterdir()] == ["another-0.json"]


def test_what_is_not_there(server: Server) -> None:
    own = server.submit().json()["id"]
    parts = ["", "/candidates", "/candidates/0", "/front", "/hypervolume", "/ledger", "/events", "/events/stream",
             "/requests", "/curves", "/decisions", "/attempts", "/report"]  # fmt: skip
    for part in parts:
        missing = server.get(f"/searches/none{part}")
        assert (missing.status_code, missing.json()["type"]) == (404, "urn:nas:problem:not-found"), part
        assert missing.json()["instance"] == f"{API}/searches/none{part}"
    for number in (0, -1, 2**70):
        assert server.get(f"/searches/{own}/candidates/{number}").status_code == 404
    assert server.get("/nothing").json()["type"] == "urn:nas:problem:not-found"
    assert server.http.put(f"{API}/searches").status_code == 405


def test_a_queued_search_can_be_shown(server: Server) -> None:
    """Nothing has been prepared yet: no forecast, no reference, no candidates."""
    own = server.submit().json()["id"]
    assert server.get(f"/searches/{own}/front").json()["members"] == []
    assert server.get(f"/searches/{own}/hypervolume").json() == {"reference": [], "steps": []}
    assert "Waiting" in server.get(f"/searches/{own}/report").text


def test_two_of_one_key_at_once(server: Server) -> None:
    """One submits, the others get what it came to."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(server.submit, headers={IDEMPOTENCY_HEADER: "same"}) for _ in range(8)]
        ids = {own.result().json()["id"] for own in asked}
    assert len(ids) == 1 and len(server.store.searches()) == 1
