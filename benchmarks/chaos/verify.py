"""What must hold of the records of a search that was killed and went on. Pure: records in, sentences out."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nas.outcome import LOST, repeated_steps
from nas.ports import Store
from nas.records import (
    AttemptRecord,
    CandidateRecord,
    CandidateState,
    CurvePoint,
    DecisionRecord,
    EventRecord,
    LedgerRecord,
    Origin,
    SearchRecord,
    SearchState,
)
from nas.search import MAXIMUM_LOST
from nas.spec import parse_spec


@dataclass(frozen=True)
class Records:
    """All that a database holds of a search."""

    search: SearchRecord
    candidates: Sequence[CandidateRecord]
    attempts: Sequence[AttemptRecord]
    points: Sequence[CurvePoint]
    decisions: Sequence[DecisionRecord]
    ledger: Sequence[LedgerRecord]
    events: Sequence[EventRecord]


def read(store: Store, search_id: str) -> Records:
    return Records(
        store.search(search_id),
        store.candidates(search_id),
        store.attempts(search_id),
        store.points(search_id),
        store.decisions(search_id),
        store.ledger(search_id),
        store.events(search_id),
    )


def violations(records: Records) -> list[str]:
    """What does not hold of a search that has completed."""
    checks = (ending, repetition, curves, accounts, losses)
    return [found for check in checks for found in check(records)]


def ending(records: Records) -> Iterator[str]:
    """Completed with a result; every candidate has ended, and none is there twice (the final run may repeat one)."""
    search = records.search
    if search.state is not SearchState.COMPLETED or search.result is None:
        yield f"the search is {search.state} ({search.reason}), its result {search.result}"
    for own in records.candidates:
        if not own.state.terminal:
            yield f"candidate {own.number} is {own.state}"
        if own.state is CandidateState.COMPLETED and own.val_bpb is None:
            yield f"candidate {own.number} completed without a loss"
    searched = [own.id for own in records.candidates if own.origin is not Origin.FINAL]
    for identity, count in _repeated(searched):
        yield f"candidate {identity} is there {count} times"
    for key, count in _repeated((own.number, own.rung) for own in records.decisions):
        yield f"candidate {key[0]} was decided upon {count} times at rung {key[1]}"


def repetition(records: Records) -> Iterator[str]:
    """No attempt goes on from before a checkpoint that there was: a rung's is written before its point is recorded."""
    for own in records.candidates:
        attempts = [attempt for attempt in records.attempts if attempt.number == own.number]
        rungs = [point.step for point in records.points if point.number == own.number and point.rung is not None]
        for attempt in attempts:
            earlier = max((each.last_step for each in attempts if each.attempt < attempt.attempt), default=0)
            saved = max((step for step in rungs if step <= earlier), default=0)
            if attempt.last_step > 0 and attempt.first_step < saved:
                yield (
                    f"candidate {own.number}: attempt {attempt.attempt + 1} went on from step {attempt.first_step}, "
                    f"though the one before had got to {earlier}, beyond the checkpoint at {saved}"
                )
        steps = repeated_steps(attempts) * int(own.plan.get("step_flops", 0))
        if own.repeated_flops != steps:
            yield f"candidate {own.number}: {own.repeated_flops} repeated FLOPs, its attempts say {steps}"


def curves(records: Records) -> Iterator[str]:
    """Each position once, at the FLOPs of its step, and never backwards."""
    for key, count in _repeated((own.number, own.step, own.final) for own in records.points):
        yield f"candidate {key[0]} has {count} points at step {key[1]}"
    for own in records.candidates:
        points = [point for point in records.points if point.number == own.number]
        for point in points:
            if point.flops != point.step * own.plan["step_flops"]:
                yield f"candidate {own.number}: {point.flops} FLOPs at step {point.step}"
        for name in ("step", "flops", "eval_flops"):
            values = [getattr(point, name) for point in points]
            if values != sorted(values):
                yield f"candidate {own.number}: {name} of its points goes backwards"
        full = own.plan["steps"] * own.plan["step_flops"] if own.plan else 0
        if own.state is CandidateState.COMPLETED and not own.time_bound and own.train_flops_spent != full:
            yield f"candidate {own.number} completed with {own.train_flops_spent} FLOPs of {full}"


def accounts(records: Records) -> Iterator[str]:
    """Each candidate that trained is reserved for and settled once, for what it spent; no more than the budget."""
    lines: dict[int, dict[str, list[int]]] = {}
    for line in records.ledger:
        if line.number is not None:
            lines.setdefault(line.number, {}).setdefault(line.kind, []).append(line.flops)
    for own in records.candidates:
        reserved, settled = (lines.get(own.number, {}).get(kind, []) for kind in ("reserve", "settle"))
        expected = 1 if own.plan else 0
        if (len(reserved), len(settled)) != (expected, expected):
            yield f"candidate {own.number} has {len(reserved)} reservations and {len(settled)} settlements"
        elif own.plan and settled[0] > reserved[0]:
            yield f"candidate {own.number}: {settled[0]} FLOPs settled, {reserved[0]} reserved"
        elif own.plan and settled[0] != own.train_flops_spent + own.eval_flops:
            spent = own.train_flops_spent + own.eval_flops
            yield f"candidate {own.number}: {settled[0]} FLOPs settled, {spent} spent"
    total = sum(line.flops for line in records.ledger if line.kind in ("settle", "charge"))
    budget = parse_spec(records.search.spec).budget.total.compute
    if total > budget:
        yield f"{total} FLOPs spent of {budget}"


def losses(records: Records) -> Iterator[str]:
    """No candidate lost more attempts than it may; all attempts have ended."""
    lost = Counter(own.number for own in records.attempts if own.outcome == LOST)
    for number, count in lost.items():
        if count > MAXIMUM_LOST:
            yield f"candidate {number} lost {count} attempts"
    for own in records.attempts:
        if own.finished_at is None:
            yield f"candidate {own.number}: nobody ended attempt {own.attempt + 1}"


def _repeated(keys: Iterable[Any]) -> list[tuple[Any, int]]:
    return [(key, count) for key, count in Counter(keys).items() if count > 1]


# --- two searches of the same fate ---


def fate(records: Records) -> dict[str, Any]:
    """What must not depend on what was killed: candidates, decisions and losses, by what they are of."""
    found: dict[str, Any] = {}
    for own in records.candidates:
        facts = (own.id, own.origin, own.knobs, own.state, own.plan.get("train_flops"), own.val_bpb, own.test_bpb)
        found[f"candidate {own.number}"] = facts
    for decision in records.decisions:
        found[f"decision on {decision.number} at {decision.rung}"] = decision.verdict
    for point in records.points:
        found[f"point of {point.number} at step {point.step}"] = (point.train_bpb, point.val_bpb, point.rung)
    return found


def differences(one: Records, other: Records) -> list[str]:
    """Where the fates of two searches part."""
    first, second = fate(one), fate(other)
    names = [*first, *(name for name in second if name not in first)]
    return [
        f"{name}: {first.get(name, 'is not there')} or {second.get(name, 'is not there')}"
        for name in names
        if first.get(name) != second.get(name)
    ]
