"""Candidates as columns: all of them, and what has changed since, on each database."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from nas.records import CandidateState, Origin, Verdict
from nas.spec import LOSS, OBJECTIVES
from services.controller import columns as module
from tests.dashboards import sample
from tests.services.controller.conftest import Server

C = CandidateState
COSTS = tuple(name for name in OBJECTIVES if name != LOSS)
LISTS = ("number", "state", "origin", "val_bpb", "val_error", "test_bpb", "test_error", "last_bpb", "flops", "audited")


def columns(server: Server, since: int | None = None) -> dict[str, Any]:
    answer = server.get(f"/searches/{sample.ID}/columns", params={} if since is None else {"since_revision": since})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def rows(found: Mapping[str, Any]) -> dict[int, tuple[Any, ...]]:
    """By number, as a page keeps them."""
    lists = [found[name] for name in LISTS] + [found["costs"][name] for name in COSTS]
    assert len({len(own) for own in lists}) == 1
    return {row[0]: row for row in zip(*lists, strict=True)}


def test_all_of_them(server: Server) -> None:
    sample.fill(server.store)
    found = columns(server)
    records = server.store.candidates(sample.ID)
    assert found["revision"] == server.service.reader.revision(sample.ID)
    assert found["number"] == [own.number for own in records]
    assert found["state"] == [str(own.state) for own in records]
    assert found["origin"] == [str(own.origin) for own in records]
    assert found["val_bpb"] == [
        None if own.val_bpb is None else pytest.approx(own.val_bpb, rel=1e-5) for own in records
    ]
    assert found["flops"] == pytest.approx([own.train_flops_spent + own.eval_flops for own in records], rel=1e-5)
    assert set(found["costs"]) == set(COSTS)
    assert found["costs"]["params"] == pytest.approx([own.costs["params"] for own in records], rel=1e-5)
    stopped = [own.state is C.STOPPED for own in records]
    assert [own is not None for own in found["last_bpb"]] == stopped and any(stopped)
    audited = {own.number for own in server.store.decisions(sample.ID) if own.verdict is Verdict.AUDIT}
    assert found["audited"] == [own.number in audited for own in records] and audited


def test_what_has_changed_completes_what_was_there(server: Server) -> None:
    """Taken in change by change, it is what a fresh reading gives."""
    sample.fill(server.store, sample.PLOTS[:16])
    kept = rows(found := columns(server))
    own = server.store.candidate(sample.ID, 0)
    store = server.store
    changes = (
        lambda: store.add_candidate(replace(own, number=50, state=C.TRAINING, val_bpb=None, val_error=None)),
        lambda: store.update_candidate(sample.ID, 50, state=C.COMPLETED, val_bpb=2.1, costs={"params": 7}),
        lambda: None,
        lambda: store.add_candidate(replace(own, number=51, state=C.REJECTED, reason="params")),
        lambda: store.add_candidate(replace(own, number=49, state=C.REJECTED, reason="params")),  # before others
        lambda: _stopped_and_audited(server),
        lambda: store.add_event(sample.ID, "told", "no candidate has changed", at=1.0),
    )
    for change in changes:
        change()
        found = columns(server, found["revision"])
        kept |= rows(found)
        anew = module.columns_of(server.service.reader, sample.ID, None, found["revision"])
        assert columns(server) == anew.model_dump(mode="json")
        assert kept == rows(columns(server))
    assert kept[52][LISTS.index("audited")] is True and kept[53][LISTS.index("last_bpb")] == 2.75


def _stopped_and_audited(server: Server) -> None:
    own = server.store.candidate(sample.ID, 0)
    curve = server.store.points(sample.ID, 0)[-1]
    for number, verdict, state in ((52, Verdict.AUDIT, C.COMPLETED), (53, Verdict.STOP, C.STOPPED)):
        with server.store.transaction():
            server.store.add_candidate(replace(own, number=number, state=C.TRAINING, val_bpb=None))
            server.store.add_points([replace(curve, number=number, val_bpb=2.75)])
            decision = server.store.decisions(sample.ID)[0]
            server.store.add_decision(replace(decision, number=number, verdict=verdict))
            server.store.update_candidate(sample.ID, number, state=state, val_bpb=2.5 if state is C.COMPLETED else None)


def test_of_one_change_only_one_is_sent(server: Server) -> None:
    sample.fill(server.store)
    before = columns(server)
    server.store.update_candidate(sample.ID, 3, seconds=1.0)
    found = columns(server, before["revision"])
    assert found["number"] == [3] and found["revision"] > before["revision"]
    assert len(json.dumps(found)) < 1000
    assert columns(server, found["revision"])["number"] == []


def test_more_than_are_asked_for_by_number(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, whether rows are asked for by their numbers or all are read."""
    sample.fill(server.store)
    by_number = columns(server, 0)
    monkeypatch.setattr(module, "NAMED", 0)
    assert columns(server, 0) == by_number


def test_the_final_run_has_its_test_loss_and_error(server: Server) -> None:
    sample.fill(server.store)
    found = columns(server)
    final = found["origin"].index(str(Origin.FINAL))
    for name, value in (("test_bpb", 2.168), ("test_error", 0.006)):
        assert found[name] == [value if place == final else None for place in range(len(found["number"]))]


def test_costs_that_are_no_numbers_are_gaps(server: Server) -> None:
    sample.fill(server.store, ())
    own = sample.candidate_record(0, sample.PLOTS[0], sample.START)
    server.store.add_candidate(replace(own, costs={"params": "many", "flops_per_byte": None, "peak_memory": 5}))
    found = columns(server)["costs"]
    assert found["params"] == [None] and found["flops_per_byte"] == [None] and found["peak_memory"] == [5.0]
    assert found["latency_ms_per_kb"] == [None]


def test_what_has_not_changed_is_not_sent_again(server: Server) -> None:
    sample.fill(server.store)
    path = f"/searches/{sample.ID}/columns"
    tag = server.get(path).headers["ETag"]
    assert server.get(path, headers={"If-None-Match": tag}).status_code == 304
    server.store.update_candidate(sample.ID, 3, seconds=1.0)
    assert server.get(path, headers={"If-None-Match": tag}).status_code == 200


def test_no_candidates(server: Server) -> None:
    sample.fill(server.store, ())
    assert rows(columns(server)) == {}


@pytest.mark.parametrize(
    ("search", "since", "status"), [("nothing", 0, 404), (sample.ID, -1, 422), (sample.ID, "x", 422)]
)
def test_unhappy_paths(server: Server, search: str, since: Any, status: int) -> None:
    sample.fill(server.store, ())
    assert server.get(f"/searches/{search}/columns", params={"since_revision": since}).status_code == status


def test_a_token_is_needed(guarded: Server) -> None:
    sample.fill(guarded.store, ())
    path = f"/searches/{sample.ID}/columns"
    assert guarded.get(path).status_code == 401
    assert guarded.get(path, headers=guarded.token("read")).status_code == 200
