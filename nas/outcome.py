"""What became of an attempt, in the words of the records."""

import math
from collections.abc import Iterable
from typing import Any

from nas.ports import Assignment, Outcome
from nas.records import AttemptRecord, CandidateRecord, CandidateState, CurvePoint, Origin
from nas.spec import LOSS
from nas.units import format_flops, format_seconds

COMPLETED, STOPPED, DIVERGED, CANCELLED = "completed", "stopped", "diverged", "cancelled"
OUT_OF_MEMORY, LOST = "out_of_memory", "lost"
LEAST_COST = 1e-9
"""Whose logarithm stands for that of nothing."""
OVER_LIMIT = "over_limit"  # a limit on the result, by what was measured before the run
OUT_OF_MEMORY_EXCESS = 0.05  # by how much it is said to have needed more than there was
INTERRUPTED = "interrupted"  # the candidate goes on another time, from its checkpoint
ABANDONED = "abandoned"  # of an attempt whose driver died: nobody heard how it ended
UNFINISHED = (STOPPED, LOST, INTERRUPTED)
"""Ends that say nothing of what a run would have come to."""

_STATES = {
    COMPLETED: CandidateState.COMPLETED,
    STOPPED: CandidateState.STOPPED,
    DIVERGED: CandidateState.DIVERGED,
    CANCELLED: CandidateState.CANCELLED,
    OUT_OF_MEMORY: CandidateState.REJECTED,
    OVER_LIMIT: CandidateState.REJECTED,
    LOST: CandidateState.FAILED,
}


def state_of(outcome: Outcome) -> tuple[CandidateState, str]:
    """The candidate's state after its last attempt, and why."""
    return _STATES[outcome.kind], outcome.detail


def in_words(outcome: Outcome) -> str:
    """``lost, the worker's node is gone``: its kind, and why where that was said."""
    return f"{outcome.kind}, {outcome.detail}" if outcome.detail else outcome.kind


def ended(assignment: Assignment, kind: str, last: CurvePoint | None, detail: str = "") -> Outcome:
    """The outcome of an attempt of which nothing is known but its last point."""
    spent, step = (last.flops, last.step) if last else (0, 0)
    return Outcome(
        number=assignment.number,
        attempt=assignment.attempt,
        kind=kind,
        train_flops=spent,
        hardware_flops=spent + step * assignment.plan.recompute_step_flops,
        eval_flops=last.eval_flops if last else 0,
        seconds=last.seconds if last else 0.0,
        detail=detail,
    )


def repeated_steps(attempts: Iterable[AttemptRecord]) -> int:
    """Steps that are known to have been made more than once, by attempts that went on from before where earlier ones
    had got to."""
    repeated = reached = 0
    for first, last in sorted((own.first_step, own.last_step) for own in attempts):
        repeated += max(0, min(last, reached) - first)
        reached = max(reached, last)
    return repeated


def measured(outcome: Outcome) -> dict[str, Any]:
    """The fields of a candidate's record that an outcome fills."""
    return {
        "val_bpb": outcome.val_bpb,
        "val_error": outcome.val_error,
        "test_bpb": outcome.test_bpb,
        "test_error": outcome.test_error,
        "train_flops_spent": outcome.train_flops,
        "hardware_flops": outcome.hardware_flops,
        "eval_flops": outcome.eval_flops,
        "seconds": outcome.seconds,
        "artifact": outcome.artifact,
        "time_bound": outcome.time_bound,
    }


def objectives(minimize: Iterable[str], record: CandidateRecord) -> list[float]:
    """A completed candidate's values, in the order of the spec."""
    return [float(record.val_bpb or 0.0) if name == LOSS else float(record.costs[name]) for name in minimize]


def in_log_costs(names: Iterable[str], values: Iterable[float]) -> tuple[float, ...]:
    """Objectives as a search weighs them: the loss, and the natural logarithm of each cost, so that a factor of it
    counts the same for small models and large ones."""
    pairs = zip(names, values, strict=True)
    return tuple(value if name == LOSS else math.log(max(value, LEAST_COST)) for name, value in pairs)


def sentence(record: CandidateRecord) -> str:
    """One line for the log."""
    spent = f"{format_flops(record.train_flops_spent)} in {format_seconds(record.seconds)}"
    if record.state is CandidateState.COMPLETED:
        loss = f"{record.val_bpb:.4f} bits per byte"
        if record.origin is Origin.FINAL and record.test_bpb is not None:
            loss = f"test {record.test_bpb:.4f}, validation {loss}"
        return f"candidate {record.number} completed: {loss}, {spent}"
    return f"candidate {record.number} {record.state}: {spent}" + (f" ({record.reason})" if record.reason else "")
