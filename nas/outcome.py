"""What became of an attempt, in the words of the records."""

from collections.abc import Iterable
from typing import Any

from nas.ports import Outcome
from nas.records import CandidateRecord, CandidateState, Origin
from nas.spec import LOSS
from nas.units import format_flops, format_seconds

COMPLETED, STOPPED, DIVERGED, CANCELLED = "completed", "stopped", "diverged", "cancelled"
OUT_OF_MEMORY, LOST = "out_of_memory", "lost"

_STATES = {
    COMPLETED: CandidateState.COMPLETED,
    STOPPED: CandidateState.STOPPED,
    DIVERGED: CandidateState.DIVERGED,
    CANCELLED: CandidateState.CANCELLED,
    OUT_OF_MEMORY: CandidateState.REJECTED,
    LOST: CandidateState.FAILED,
}


def state_of(outcome: Outcome) -> tuple[CandidateState, str]:
    """The candidate's state after its last attempt, and why."""
    return _STATES[outcome.kind], outcome.detail


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
        "repeated_flops": outcome.repeated_flops,
        "seconds": outcome.seconds,
        "artifact": outcome.artifact,
        "time_bound": outcome.time_bound,
    }


def objectives(minimize: Iterable[str], record: CandidateRecord) -> list[float]:
    """A completed candidate's values, in the order of the spec."""
    return [float(record.val_bpb or 0.0) if name == LOSS else float(record.costs[name]) for name in minimize]


def sentence(record: CandidateRecord) -> str:
    """One line for the log."""
    spent = f"{format_flops(record.train_flops_spent)} in {format_seconds(record.seconds)}"
    if record.state is CandidateState.COMPLETED:
        loss = f"{record.val_bpb:.4f} bits per byte"
        if record.origin is Origin.FINAL and record.test_bpb is not None:
            loss = f"test {record.test_bpb:.4f}, validation {loss}"
        return f"candidate {record.number} completed: {loss}, {spent}"
    return f"candidate {record.number} {record.state}: {spent}" + (f" ({record.reason})" if record.reason else "")
