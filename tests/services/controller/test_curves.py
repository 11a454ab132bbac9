"""Curves as columns: those that say most, thinned, and after a change only what has changed."""

from dataclasses import replace
from typing import Any

import pytest

from dashboards.view import view
from nas.records import CandidateState, CurvePoint, DecisionRecord, Origin, Verdict
from services.controller.routes.curves import MOST
from tests.dashboards import sample
from tests.services.controller.conftest import Server


@pytest.fixture
def sampled(server: Server) -> Server:
    sample.fill(server.store)
    server.id = sample.ID
    return server


def curves(server: Server, **params: Any) -> dict[str, Any]:
    answer = server.get(f"/searches/{server.id}/curves/columns", params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_standings_are_the_report_s(sampled: Server) -> None:
    whole, found = view(sampled.store, sample.ID), curves(sampled)
    begun = [own for own in whole.candidates if own.started_at is not None]
    assert found["number"] == [own.number for own in begun]
    assert found["standing"] == [whole.standing(own) for own in begun]
    assert {own["number"]: own["reason"] for own in found["curves"]} == {own.number: own.reason for own in begun}
    for own in found["curves"]:
        points = whole.points[own["number"]]
        assert own["flops"] == [pytest.approx(point.flops, rel=1e-4) for point in points]
        assert own["loss"] == [pytest.approx(point.train_bpb, rel=1e-4) for point in points]
    assert found["rungs"] == [0.125, 0.25, 0.5]


def test_those_that_say_most_come_first(sampled: Server) -> None:
    """The final run, what is in training, the front, then the latest."""
    whole = view(sampled.store, sample.ID)
    first = replace(whole.candidates[3], number=40, state=CandidateState.TRAINING, val_bpb=None)
    sampled.store.add_candidate(first)
    order = [40, 31, *sorted(whole.front), 30, 27, 26, 24]
    known = [number for number in order if number not in whole.front or number in sorted(whole.front)]
    for most in (1, 2, 5, len(known)):
        assert curves(sampled, most=most)["number"] == sorted(known[:most])


def test_only_what_has_changed(sampled: Server) -> None:
    first = curves(sampled)
    assert curves(sampled, since_revision=first["revision"])["curves"] == []
    sampled.store.add_points([CurvePoint(sample.ID, 19, 1, 9999, 1.0, 10**12, 1.0, 2.0)])
    found = curves(sampled, since_revision=first["revision"])
    assert [own["number"] for own in found["curves"]] == [19]
    assert (found["number"], found["standing"]) == (first["number"], first["standing"])
    assert len(sampled.get(f"/searches/{sample.ID}/curves/columns?since_revision={first['revision']}").content) < 3000


def test_those_asked_for(sampled: Server) -> None:
    found = curves(sampled, numbers=[5, 0, 4, 99], points=2)
    assert [(own["number"], len(own["flops"])) for own in found["curves"]] == [(0, 2), (4, 0), (5, 2)]
    assert found["standing"] == ["dominated" if 0 not in view(sampled.store, sample.ID).front else "front", "rejected",
                                 "stopped"]  # fmt: skip


def test_a_stopped_one_says_why_the_pruner_stopped_it(sampled: Server) -> None:
    """Its record has no reason of its own where the pruner's decision has it."""
    sampled.store.add_candidate(
        replace(sampled.store.candidate(sample.ID, 5), number=50, reason="", state=CandidateState.STOPPED)
    )
    for verdict, reason in ((Verdict.CONTINUE, "not yet"), (Verdict.STOP, "dearer and worse"), (Verdict.AUDIT, "no")):
        sampled.store.add_decision(DecisionRecord(sample.ID, 50, 0.25, verdict, reason, {}, 1.0))
    assert [own["reason"] for own in curves(sampled, numbers=[50])["curves"]] == ["dearer and worse"]


@pytest.mark.parametrize(
    "params",
    [{"most": 0}, {"most": MOST + 1}, {"points": 1}, {"numbers": [-1]}, {"numbers": [2**31]},
     {"numbers": list(range(MOST + 1))}, {"since_revision": -1}],
)  # fmt: skip
def test_what_may_not_be_asked(sampled: Server, params: dict[str, Any]) -> None:
    refused = sampled.get(f"/searches/{sample.ID}/curves/columns", params=params)
    assert (refused.status_code, refused.json()["type"]) == (422, "urn:nas:problem:request")


def test_none(server: Server) -> None:
    own = server.submit().json()["id"]
    empty = server.get(f"/searches/{own}/curves/columns").json()
    assert (empty["number"], empty["curves"], empty["rungs"]) == ([], [], [])
    assert server.get("/searches/none/curves/columns").status_code == 404


def test_what_has_not_changed_is_not_sent_again(sampled: Server) -> None:
    path = f"/searches/{sample.ID}/curves/columns"
    tag = {"If-None-Match": sampled.get(path).headers["ETag"]}
    assert sampled.get(path, headers=tag).status_code == 304
    assert sampled.get(path, headers=tag, params={"most": 3}).status_code == 200


def test_a_finished_search(filled: Server) -> None:
    found = curves(filled)
    assert "final" in found["standing"] and "front" in found["standing"]
    numbers = [own.number for own in filled.store.candidates(filled.id) if own.started_at is not None]
    assert found["number"] == numbers and all(own["flops"] for own in found["curves"])
    assert all(own["reason"] for own, s in zip(found["curves"], found["standing"], strict=True) if s == "stopped")
    assert any(own.origin is Origin.FINAL for own in filled.store.candidates(filled.id))


def test_hypervolume_only_where_it_rises(sampled: Server) -> None:
    whole = sampled.get(f"/searches/{sample.ID}/hypervolume").json()
    risen = sampled.get(f"/searches/{sample.ID}/hypervolume", params={"rises": True}).json()
    last, expected = 0.0, []
    for step in whole["steps"]:
        if step["volume"] > last:
            expected.append(step)
        last = step["volume"]
    assert risen == {"reference": whole["reference"], "steps": expected}
    assert 0 < len(expected) < len(whole["steps"]) and expected[-1]["volume"] == whole["steps"][-1]["volume"]
