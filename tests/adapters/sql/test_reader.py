"""What a service reads in parts is what a whole reading comes to, on each database."""

from collections import Counter
from dataclasses import replace

import pytest

from dashboards.view import last_loss, view
from nas.adapters.sql.reader import NOTHING, Reader
from nas.adapters.sql.store import SqlStore
from nas.records import CandidateState, Origin, Verdict
from tests.dashboards import sample

C = CandidateState


@pytest.fixture
def filled(store: SqlStore) -> SqlStore:
    """With the sample, and another search that must not be mixed up with it."""
    sample.fill(store)
    other = replace(sample.search_record(), id="other")
    store.add_search(other)
    own = sample.candidate_record(0, sample.PLOTS[0], sample.START)
    store.add_candidate(replace(own, search_id="other", val_bpb=0.1, reason="other"))
    return store


def test_progress(filled: SqlStore) -> None:
    records = filled.candidates(sample.ID)
    searched = [own for own in records if own.origin is not Origin.FINAL]
    found = Reader(filled).progress([sample.ID, "other", "nothing"])
    assert set(found) == {sample.ID, "other"}
    own = found[sample.ID]
    assert own.counts == Counter(str(c.state) for c in searched)
    assert own.best == min(c.val_bpb for c in searched if c.val_bpb is not None)
    assert own.flops == pytest.approx(sum(c.train_flops_spent + c.eval_flops for c in searched))
    final = [c for c in records if c.origin is Origin.FINAL]
    assert own.final_flops == pytest.approx(sum(c.train_flops_spent + c.eval_flops for c in final))
    assert own.seconds == pytest.approx(sum(c.seconds for c in records))


def test_the_best_is_of_those_trained_to_the_end(filled: SqlStore) -> None:
    """A loss on the way, and the final run's, are none of the search's."""
    own = sample.candidate_record(0, sample.PLOTS[0], sample.START)
    before = Reader(filled).progress([sample.ID])[sample.ID].best
    for number, state, origin in ((70, C.STOPPED, Origin.PROPOSED), (71, C.COMPLETED, Origin.FINAL)):
        filled.add_candidate(replace(own, number=number, state=state, origin=origin, val_bpb=0.2))
    assert Reader(filled).progress([sample.ID])[sample.ID].best == before
    filled.add_candidate(replace(own, number=72, val_bpb=0.3))
    assert Reader(filled).progress([sample.ID])[sample.ID].best == 0.3


def test_no_candidates_no_progress(store: SqlStore) -> None:
    sample.fill(store, ())
    reader = Reader(store)
    assert reader.progress([sample.ID]) == {} and reader.progress([]) == {}
    assert NOTHING.best is None
    assert reader.briefs(sample.ID) == [] and reader.last_losses(sample.ID) == {}
    assert reader.audited(sample.ID) == set() and reader.reasons(sample.ID, C.REJECTED) == []


def test_last_losses_are_of_those_that_were_stopped(filled: SqlStore) -> None:
    reader = Reader(filled)
    stopped = [own.number for own in filled.candidates(sample.ID) if own.state is C.STOPPED]
    curves = {number: last_loss(filled.points(sample.ID, number)) for number in stopped}
    assert reader.last_losses(sample.ID) == curves
    assert len(curves) > 2
    assert reader.last_losses(sample.ID, stopped[:1]) == {stopped[0]: curves[stopped[0]]}
    completed = next(own.number for own in filled.candidates(sample.ID) if own.state is C.COMPLETED)
    assert reader.last_losses(sample.ID, [completed]) == {} and reader.last_losses(sample.ID, []) == {}


def test_the_last_loss_is_the_last_that_was_measured(filled: SqlStore) -> None:
    number = next(own.number for own in filled.candidates(sample.ID) if own.state is C.STOPPED)
    points = filled.points(sample.ID, number)
    before = Reader(filled).last_losses(sample.ID)[number]
    filled.add_points([replace(points[-1], step=points[-1].step + 10, val_bpb=None)])
    assert Reader(filled).last_losses(sample.ID)[number] == before
    filled.add_points([replace(points[-1], step=points[-1].step + 20, val_bpb=1.25)])
    assert Reader(filled).last_losses(sample.ID)[number] == 1.25


def test_audited(filled: SqlStore) -> None:
    expected = {own.number for own in view(filled, sample.ID).audits}
    reader = Reader(filled)
    assert reader.audited(sample.ID) == expected and len(expected) > 1
    first = min(expected)
    assert 0 not in expected and reader.audited(sample.ID, [first, 0]) == {first}
    assert reader.audited("other") == set()
    verdicts = {own.verdict for own in filled.decisions(sample.ID)}
    assert Verdict.STOP in verdicts  # others than audits were there to be confused with


def test_briefs(filled: SqlStore) -> None:
    records = filled.candidates(sample.ID)
    briefs = Reader(filled).briefs(sample.ID)
    for brief, record in zip(briefs, records, strict=True):
        for name in ("number", "state", "origin", "val_bpb", "val_error", "test_bpb", "test_error", "costs"):
            assert getattr(brief, name) == getattr(record, name)
        assert brief.flops == record.train_flops_spent + record.eval_flops


def test_briefs_of_what_has_changed(filled: SqlStore) -> None:
    reader = Reader(filled)
    revision = reader.revision(sample.ID)
    assert reader.briefs(sample.ID, revision) == []
    filled.update_candidate(sample.ID, 3, reason="looked at again")
    filled.update_candidate("other", 0, reason="of another search")
    assert [own.number for own in reader.briefs(sample.ID, revision)] == [3]
    assert reader.briefs(sample.ID, reader.revision(sample.ID)) == []


def test_reasons(filled: SqlStore) -> None:
    filled.add_candidate(
        replace(sample.candidate_record(4, sample.PLOTS[4], sample.START), number=88, reason="params: needs 3M")
    )
    reader = Reader(filled)
    expected = [own.reason for own in filled.candidates(sample.ID) if own.state is C.REJECTED]
    assert reader.reasons(sample.ID, C.REJECTED) == expected and expected[-1] == "params: needs 3M"
    assert reader.reasons("other", C.COMPLETED) == ["other"]
    assert reader.reasons("other", C.REJECTED) == []


def test_sums_do_not_overflow(store: SqlStore) -> None:
    """Each may have more FLOPs than an integer of the database."""
    sample.fill(store, ())
    own = sample.candidate_record(0, sample.PLOTS[0], sample.START)
    for number in range(3):
        store.add_candidate(replace(own, number=number, train_flops_spent=9 * 10**24, eval_flops=10**20))
    assert Reader(store).progress([sample.ID])[sample.ID].flops == pytest.approx(27.0003e24)
    assert [brief.flops for brief in Reader(store).briefs(sample.ID)] == [9 * 10**24 + 10**20] * 3
