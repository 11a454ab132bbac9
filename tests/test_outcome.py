from dataclasses import fields, replace

import pytest

from nas.outcome import in_words, measured, objectives, repeated_steps, sentence, state_of
from nas.ports import Outcome
from nas.records import AttemptRecord, CandidateRecord, CandidateState, Origin

OUTCOME = Outcome(3, 1, "completed", 10, 11, 12, 1.5, 2.5, 0.1, 2.6, 0.2, "s/3", True, "because", {"params": 8})
RECORD = CandidateRecord(
    "s", 3, "id", Origin.PROPOSED, CandidateState.COMPLETED, 0.0, {},
    costs={"params": 7, "flops_per_byte": 8.5}, val_bpb=2.5, train_flops_spent=3 * 10**12, seconds=75.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("completed", CandidateState.COMPLETED),
        ("stopped", CandidateState.STOPPED),
        ("diverged", CandidateState.DIVERGED),
        ("cancelled", CandidateState.CANCELLED),
        ("out_of_memory", CandidateState.REJECTED),
        ("over_limit", CandidateState.REJECTED),
        ("lost", CandidateState.FAILED),
    ],
)
def test_states(kind: str, state: CandidateState) -> None:
    assert state_of(replace(OUTCOME, kind=kind)) == (state, "because")
    assert state.terminal


def test_everything_that_is_measured_is_recorded() -> None:
    recorded = measured(OUTCOME)
    names = {spec.name for spec in fields(CandidateRecord)}
    assert set(recorded) <= names
    kept = {"train_flops": "train_flops_spent"}
    for spec in fields(Outcome):
        if spec.name not in ("number", "attempt", "kind", "detail", "measured"):  # the last are costs
            assert recorded[kept.get(spec.name, spec.name)] == getattr(OUTCOME, spec.name)


def test_objectives_come_in_the_order_of_the_spec() -> None:
    assert objectives(("flops_per_byte", "val_bpb", "params"), RECORD) == [8.5, 2.5, 7.0]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (RECORD, "candidate 3 completed: 2.5000 bits per byte, 3 TFLOP in 1 min 15 s"),
        (
            replace(RECORD, origin=Origin.FINAL, test_bpb=2.25),
            "candidate 3 completed: test 2.2500, validation 2.5000 bits per byte, 3 TFLOP in 1 min 15 s",
        ),
        (replace(RECORD, state=CandidateState.STOPPED), "candidate 3 stopped: 3 TFLOP in 1 min 15 s"),
        (
            replace(RECORD, state=CandidateState.FAILED, reason="its process ended with code 1"),
            "candidate 3 failed: 3 TFLOP in 1 min 15 s (its process ended with code 1)",
        ),
    ],
)
def test_a_line_for_the_log(record: CandidateRecord, expected: str) -> None:
    assert sentence(record) == expected


@pytest.mark.parametrize(
    ("walked", "repeated"),
    [
        ([], 0),
        ([(0, 10)], 0),
        ([(0, 10), (10, 20)], 0),  # from its checkpoint
        ([(0, 10), (8, 20)], 2),
        ([(0, 10), (0, 20)], 10),  # from the beginning
        ([(0, 10), (0, 5), (0, 20)], 15),  # twice, and the second one did not get as far
        ([(0, 0), (0, 20)], 0),  # never heard of
        ([(0, 9), (10, 20)], 0),  # nobody heard that it got to its checkpoint
        ([(0, 10), (5, 8), (6, 12)], 7),  # 3, then 4
    ],
)
def test_steps_that_were_repeated(walked: list[tuple[int, int]], repeated: int) -> None:
    attempts = [
        AttemptRecord("s", 3, number, 0.0, "", first_step=first, last_step=last)
        for number, (first, last) in enumerate(walked)
    ]
    assert repeated_steps(attempts) == repeated


@pytest.mark.parametrize(("detail", "expected"), [("", "lost"), ("its node is gone", "lost, its node is gone")])
def test_an_outcome_in_words(detail: str, expected: str) -> None:
    assert in_words(replace(OUTCOME, kind="lost", detail=detail)) == expected
