"""What is read of a search without loading it is what all of it says, on every database."""

from dataclasses import replace
from typing import Any

import pytest

from dashboards.view import view
from nas.adapters.sql.course import Course, Taken
from nas.adapters.sql.reader import Reader
from nas.adapters.sql.store import SqlStore
from nas.records import (
    AttemptRecord,
    CandidateState,
    CurvePoint,
    DecisionRecord,
    Origin,
    SearchRecord,
    SearchState,
    Verdict,
)
from tests.contracts.samples import CANDIDATE, POINT
from tests.contracts.samples import SEARCH as EMPTY
from tests.dashboards import sample

T, C, Q, S = CandidateState.TRAINING, CandidateState.COMPLETED, CandidateState.QUEUED, CandidateState.STOPPED


@pytest.fixture
def store(url: str, open_: Any) -> SqlStore:
    """With a search beside which another must not be seen."""
    store: SqlStore = open_(url)
    sample.fill(store)
    return store


@pytest.fixture
def bare(url: str, open_: Any) -> SqlStore:
    store: SqlStore = open_(url)
    store.add_search(EMPTY)
    return store


def test_what_candidates_have_taken(store: SqlStore) -> None:
    """Those of the search itself; of later revisions only what has changed."""
    course = Course(store)
    records = [own for own in store.candidates(sample.ID) if own.origin is not Origin.FINAL]
    expected = [
        Taken(own.number, own.state, own.train_flops_spent, own.eval_flops, own.train_flops_planned) for own in records
    ]
    assert sorted(course.taken(sample.ID), key=lambda own: own.number) == expected
    revision = Reader(store).revision(sample.ID)
    assert course.taken(sample.ID, revision) == []
    store.update_candidate(sample.ID, 3, train_flops_spent=7)
    assert course.taken(sample.ID, revision) == [replace(expected[3], train=7)]


def test_lines_of_the_account(store: SqlStore) -> None:
    lines = store.ledger(sample.ID)
    for after in (0, 1, len(lines) - 1, len(lines), len(lines) + 1):
        assert Course(store).booked(sample.ID, after) == lines[after:]


@pytest.mark.parametrize(
    # points of a curve, asked for: places that are left
    ("count", "points", "left"),
    [
        (0, 5, []),
        (1, 5, [0]),
        (5, 5, [0, 1, 2, 3, 4]),
        (6, 5, [0, 2, 4, 5]),
        (9, 5, [0, 2, 4, 6, 8]),
        (10, 5, [0, 3, 6, 9]),
        (9, 2, [0, 8]),
        (4, 1000, [0, 1, 2, 3]),
    ],
)
def test_curves_are_thinned_and_keep_their_ends(bare: SqlStore, count: int, points: int, left: list[int]) -> None:
    for number in (0, 1):
        bare.add_candidate(replace(CANDIDATE, number=number))
    bare.add_points([replace(POINT, step=n, flops=10**20 * (n + 1), train_bpb=3.0 - n / 8) for n in range(count)])
    bare.add_points([replace(POINT, number=1, step=1, train_bpb=2.0)])
    found = Course(bare).curves("s", [0], points)
    assert [(own.flops, own.loss) for own in found.get(0, [])] == [(1e20 * (n + 1), 3.0 - n / 8) for n in left]
    assert found.keys() <= {0}


def test_a_curve_has_only_what_a_logarithmic_axis_shows(bare: SqlStore) -> None:
    bare.add_candidate(CANDIDATE)
    losses: list[tuple[int, int, float | None, float | None]] = [
        # step, FLOPs, training, validation
        (0, 0, 5.0, None),
        (1, 10, None, None),
        (2, 20, None, 2.5),
        (3, 30, 2.0, 2.25),
        (4, 40, float("nan"), None),
        (5, 50, 0.0, None),
    ]
    bare.add_points([replace(POINT, step=s, flops=f, train_bpb=t, val_bpb=v) for s, f, t, v in losses])
    assert [(own.flops, own.loss) for own in Course(bare).curves("s", [0], 100)[0]] == [(20, 2.5), (30, 2.0)]


def test_what_training_has_begun_with(bare: SqlStore) -> None:
    for number, (origin, state, begun) in enumerate(
        [
            (Origin.DIAL, C, True),
            (Origin.UNIFORM, T, True),
            (Origin.UNIFORM, CandidateState.REJECTED, False),
            (Origin.UNIFORM, S, True),
            (Origin.UNIFORM, Q, False),
            (Origin.FINAL, C, True),
            (Origin.UNIFORM, C, True),
        ]
    ):
        at = 1.0 if begun else None
        bare.add_candidate(replace(CANDIDATE, number=number, origin=origin, state=state, started_at=at))
    course = Course(bare)
    assert course.begun("s", 9) == [(5, True), (1, True), (6, False), (3, False), (0, False)]
    assert course.begun("s", 3) == [(5, True), (1, True), (6, False)]
    assert [own.number for own in course.heads("s", [6, 0, 99])] == [0, 6]
    assert course.waiting("s", 9) == [(4, Origin.UNIFORM)]


def test_heads_tell_what_has_changed(store: SqlStore) -> None:
    before = store_revision(store)
    store.add_points([CurvePoint(sample.ID, 3, 1, 9999, 1.0, 10, 1.0, 2.0)])
    changed = [own.number for own in Course(store).heads(sample.ID, range(8)) if own.revision > before]
    assert changed == [3]


def store_revision(store: SqlStore) -> int:
    from nas.adapters.sql.reader import Reader

    return Reader(store).revision(sample.ID)


def test_rungs_that_were_reached(store: SqlStore) -> None:
    course = Course(store)
    assert course.rungs(sample.ID, range(40)) == [0.125, 0.25, 0.5]
    assert course.rungs(sample.ID, [5]) == [0.125] and course.rungs(sample.ID, [4]) == []


def test_what_is_in_training(bare: SqlStore) -> None:
    """The last attempt of each, and the furthest it was heard of; one that has only been chosen has neither."""
    for number, state in enumerate((T, C, T, Q)):
        bare.add_candidate(replace(CANDIDATE, number=number, state=state, train_flops_planned=10**20))
    for number, attempt in ((0, 0), (0, 1), (1, 0)):
        bare.add_attempt(AttemptRecord("s", number, attempt, 10.0 + attempt, f"host {attempt}"))
    bare.add_points([replace(POINT, step=step, progress=step / 10) for step in (1, 4)])
    told = [(own.number, own.planned, own.attempt, own.since, own.worker, own.progress)
            for own in Course(bare).at_work("s")]  # fmt: skip
    assert told == [(0, 10**20, 1, 11.0, "host 1", 0.4), (2, 10**20, None, None, "", 0.0)]


def test_what_was_decided(store: SqlStore) -> None:
    course, whole = Course(store), view(store, sample.ID)
    assert course.decisions(sample.ID, 100) == list(reversed(whole.decisions))
    assert course.decisions(sample.ID, 2) == list(reversed(whole.decisions))[:2]
    assert course.verdicts(sample.ID) == {Verdict.STOP: 8, Verdict.AUDIT: 3}
    assert [own.number for own in course.audits(sample.ID)] == [own.number for own in whole.audits] == [15, 20, 29]


def test_only_the_first_audit_of_a_candidate_counts(store: SqlStore) -> None:
    store.add_decision(DecisionRecord(sample.ID, 15, 0.5, Verdict.AUDIT, "again", {}, 9.0))
    assert [(own.number, own.rung) for own in Course(store).audits(sample.ID)] == [
        (own.number, own.rung) for own in view(store, sample.ID).audits
    ]


def test_events_the_latest_first(store: SqlStore) -> None:
    events = store.events(sample.ID)
    assert Course(store).events(sample.ID, 9) == events[::-1] and Course(store).events(sample.ID, 1) == [events[-1]]


def test_another_search_is_not_seen(bare: SqlStore) -> None:
    sample.fill(bare)
    course = Course(bare)
    nothing: list[Any] = [course.begun("s", 9), course.heads("s", [0]), course.curves("s", [0], 9), course.taken("s"),
                          course.booked("s"), course.at_work("s"), course.waiting("s", 9), course.decisions("s", 9),
                          course.verdicts("s"), course.audits("s"), course.events("s", 9)]  # fmt: skip
    assert not any(nothing) and not course.rungs("s", [5])


def test_a_search_of_the_sample_is_over(store: SqlStore) -> None:
    record: SearchRecord = store.search(sample.ID)
    assert record.state is SearchState.COMPLETED and Course(store).at_work(sample.ID) == []
