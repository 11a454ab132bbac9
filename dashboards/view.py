"""One search as all its readers see it: tables, text plots, figures and pages take everything from a `SearchView`.

Built once from the records, frozen; nothing here draws or formats.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nas.curve import Progress, hypervolume_history
from nas.ledger import FINAL, SEARCH, Balance, Ledger
from nas.outcome import in_log_costs
from nas.pareto import front_mask, knee
from nas.ports import PublicStore
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
    Verdict,
)
from nas.spec import DEFAULT_FINAL, final_share
from nas.units import parse_flops, parse_seconds

LOSS = "val_bpb"


class Standing(StrEnum):
    """What became of a candidate, as a reader of the front asks it."""

    FRONT = "front"
    DOMINATED = "dominated"  # trained to the end, and another is better in everything
    STOPPED = "stopped"
    REJECTED = "rejected"
    DIVERGED = "diverged"
    FINAL = "final"  # the final run, whose budget is its own: never on the front
    OPEN = "open"  # queued or in training
    LOST = "lost"  # failed or cancelled


OUTCOMES = {
    CandidateState.COMPLETED: Standing.DOMINATED,
    CandidateState.STOPPED: Standing.STOPPED,
    CandidateState.REJECTED: Standing.REJECTED,
    CandidateState.DIVERGED: Standing.DIVERGED,
    CandidateState.QUEUED: Standing.OPEN,
    CandidateState.TRAINING: Standing.OPEN,
    CandidateState.FAILED: Standing.LOST,
    CandidateState.CANCELLED: Standing.LOST,
}


@dataclass(frozen=True, slots=True)
class Audit:
    """A stop that was recorded but not executed.

    Attributes:
        false_stop: the candidate ended on the front, so the stop would have been wrong; ``None`` while unknown
            (it is still training, failed or was cancelled).
        extra_flops: what training on after the rung took.
    """

    number: int
    rung: float
    reason: str
    false_stop: bool | None
    extra_flops: int


@dataclass(frozen=True, slots=True)
class Account:
    """One account of the ledger. A reserve is not spent; ``budget_seconds`` is ``None`` without a time limit."""

    balance: Balance
    budget_seconds: float | None


@dataclass(frozen=True, slots=True)
class Spending:
    """Where the FLOPs of the whole budget went; the parts add up to it unless the budget was overdrawn."""

    completed: int
    stopped: int
    unfinished: int  # diverged, failed, cancelled, still in training
    evaluation: int
    other: int  # on the search account, but of no candidate: probes
    final: int
    unspent: int


@dataclass(frozen=True, slots=True)
class VolumeStep:
    """The front's hypervolume, in loss and logarithms of costs, once candidate ``number`` was trained, ``flops`` of the
    search spent by then."""

    flops: int
    volume: float
    number: int


@dataclass(frozen=True, slots=True)
class SearchView:
    """Everything a reader wants to know of a search, computed once.

    Attributes:
        points: loss curves by candidate number, in order of steps.
        objectives: what is minimised, in the order of the spec.
        front: numbers of the feasible, completed, non-dominated candidates, the cheapest first.
        knee: the member of the front farthest from its extremes; ``None`` for fewer than three members.
        volumes: hypervolume over the search's FLOPs; empty without a reference point.
        gate_saved_flops: at most this; what the rejected would have been given.
        pruner_saved_flops: planned less spent, over the stopped.
        idle_seconds: of the candidates with one attempt that is over, ascending: how long they held a worker while it
            was not training (a fresh process, its imports, the model's making and saving).
        by_state, by_origin: how many candidates; ``by_state`` without the final run.
    """

    search: SearchRecord
    candidates: tuple[CandidateRecord, ...]
    points: Mapping[int, tuple[CurvePoint, ...]]
    decisions: tuple[DecisionRecord, ...]
    ledger: tuple[LedgerRecord, ...]
    events: tuple[EventRecord, ...]
    objectives: tuple[str, ...]
    front: tuple[int, ...]
    knee: int | None
    volumes: tuple[VolumeStep, ...]
    search_account: Account
    final_account: Account
    spending: Spending
    gate_saved_flops: int
    pruner_saved_flops: int
    audits: tuple[Audit, ...]
    idle_seconds: tuple[float, ...]
    by_state: Mapping[CandidateState, int]
    by_origin: Mapping[Origin, int]
    front_by_origin: Mapping[Origin, tuple[int, ...]]

    @property
    def costs(self) -> tuple[str, ...]:
        """The costs to draw loss against: the cost objectives, or parameters when loss is the only objective."""
        return tuple(name for name in self.objectives if name != LOSS) or ("params",)

    @property
    def final(self) -> CandidateRecord | None:
        """The final run."""
        return next((c for c in reversed(self.candidates) if c.origin is Origin.FINAL), None)

    @property
    def members(self) -> tuple[CandidateRecord, ...]:
        """The candidates of the front."""
        return tuple(self.candidate(number) for number in self.front)

    @property
    def best(self) -> CandidateRecord | None:
        """The member of the front with the lowest validation loss."""
        return min(self.members, key=lambda c: c.val_bpb or math.inf, default=None)

    @property
    def false_stops(self) -> tuple[int, int]:
        """(false stops, audited stops of which the end is known)."""
        known = [audit.false_stop for audit in self.audits if audit.false_stop is not None]
        return sum(known), len(known)

    def candidate(self, number: int) -> CandidateRecord:
        return next(c for c in self.candidates if c.number == number)

    def standing(self, record: CandidateRecord) -> Standing:
        """What became of a candidate."""
        return standing(record.origin, record.state, record.number in self.front)


def standing(origin: Origin, state: CandidateState, on_front: bool) -> Standing:
    """What became of a candidate."""
    if origin is Origin.FINAL:
        return Standing.FINAL
    return Standing.FRONT if on_front else OUTCOMES[state]


def view(store: PublicStore, search_id: str) -> SearchView:
    """Everything about one search; raises `NotFoundError` for an unknown one."""
    search = store.search(search_id)
    candidates = tuple(store.candidates(search_id))
    searched = [c for c in candidates if c.origin is not Origin.FINAL]
    decisions, ledger = tuple(store.decisions(search_id)), tuple(store.ledger(search_id))
    objectives = tuple(search.spec.get("minimize") or (LOSS, "flops_per_byte"))
    front = front_numbers(searched, objectives)
    search_account, final_account = _accounts(search, ledger)
    return SearchView(
        search=search,
        candidates=candidates,
        points=_by_number(store.points(search_id)),
        decisions=decisions,
        ledger=ledger,
        events=tuple(store.events(search_id)),
        objectives=objectives,
        front=front,
        knee=_knee(searched, front, objectives),
        volumes=_volumes(searched, objectives, search.setting.get("reference") or ()),
        search_account=search_account,
        final_account=final_account,
        spending=_spending(searched, search_account.balance, final_account.balance),
        gate_saved_flops=_gate_saved(search, searched),
        pruner_saved_flops=_pruner_saved(searched),
        audits=_audits(decisions, searched, front),
        idle_seconds=_idle(candidates, store.attempts(search_id)),
        by_state=Counter(c.state for c in searched),
        by_origin=Counter(c.origin for c in candidates),
        front_by_origin=_front_by_origin(searched, front),
    )


def _idle(candidates: Sequence[CandidateRecord], attempts: Sequence[AttemptRecord]) -> tuple[float, ...]:
    counts = Counter(own.number for own in attempts)
    trained = {own.number: own.seconds for own in candidates if own.state.terminal}
    held = (
        own.finished_at - own.started_at - trained[own.number]
        for own in attempts
        if own.finished_at is not None and own.number in trained and counts[own.number] == 1
    )
    return tuple(sorted(max(0.0, seconds) for seconds in held))


def values(record: CandidateRecord, objectives: Sequence[str]) -> tuple[float, ...] | None:
    """The objectives of a candidate that was trained to the end; ``None`` for any other."""
    if record.state is not CandidateState.COMPLETED or record.origin is Origin.FINAL:
        return None
    found = [record.val_bpb if name == LOSS else record.costs.get(name) for name in objectives]
    numbers = tuple(float(value) for value in found if value is not None and math.isfinite(value))
    return numbers if len(numbers) == len(objectives) else None


def front_numbers(records: Iterable[CandidateRecord], objectives: Sequence[str]) -> tuple[int, ...]:
    """The non-dominated among those trained to the end, ascending by the first cost."""
    compared = _compared(records, objectives)
    if not compared:
        return ()
    mask = front_mask([point for _, point in compared])
    kept = [pair for pair, on_front in zip(compared, mask, strict=True) if on_front]
    first = next((index for index, name in enumerate(objectives) if name != LOSS), 0)
    return tuple(record.number for record, _ in sorted(kept, key=lambda pair: (pair[1][first], pair[0].number)))


def last_loss(points: Sequence[CurvePoint]) -> float | None:
    """The last validation loss of a curve."""
    return next((p.val_bpb for p in reversed(points) if p.val_bpb is not None and math.isfinite(p.val_bpb)), None)


def _compared(
    records: Iterable[CandidateRecord], objectives: Sequence[str]
) -> list[tuple[CandidateRecord, tuple[float, ...]]]:
    found = ((record, values(record, objectives)) for record in records)
    return [(record, point) for record, point in found if point is not None]


def _knee(records: Sequence[CandidateRecord], front: Sequence[int], objectives: Sequence[str]) -> int | None:
    members = _compared([c for c in records if c.number in front], objectives)
    if len(members) < 3:
        return None
    return members[knee([point for _, point in members])][0].number


def _volumes(
    records: Sequence[CandidateRecord], objectives: Sequence[str], reference: Sequence[float]
) -> tuple[VolumeStep, ...]:
    if len(reference) != len(objectives):
        return ()
    spent, finished = 0, []
    for record in sorted((c for c in records if c.state.terminal), key=_finishing):
        spent += record.train_flops_spent + record.eval_flops
        point = values(record, objectives)
        if point is not None:
            finished.append((record.number, Progress(spent, in_log_costs(objectives, point))))
    corner = in_log_costs(objectives, reference)
    history = hypervolume_history([progress for _, progress in finished], corner)
    return tuple(VolumeStep(*step, number) for (number, _), step in zip(finished, history, strict=True))


def _finishing(record: CandidateRecord) -> tuple[float, int]:
    return (math.inf if record.finished_at is None else record.finished_at, record.number)


def grants(search: SearchRecord) -> tuple[int, int]:
    """FLOPs that the search and the final run were given."""
    budget: dict[str, Any] = search.spec.get("budget") or {}
    total, share = budget.get("total") or {}, final_share(budget.get("final", DEFAULT_FINAL))
    compute = parse_flops(total["compute"]) if "compute" in total else 0
    final_flops = int(compute * share)
    return compute - final_flops, final_flops


def _accounts(search: SearchRecord, records: Sequence[LedgerRecord]) -> tuple[Account, Account]:
    budget: dict[str, Any] = search.spec.get("budget") or {}
    total, share = budget.get("total") or {}, final_share(budget.get("final", DEFAULT_FINAL))
    seconds = parse_seconds(total["time"]) if total.get("time") is not None else None
    ledger = Ledger(search.id, *grants(search), records)
    return (
        Account(ledger.balance(SEARCH), None if seconds is None else seconds * (1 - share)),
        Account(ledger.balance(FINAL), None if seconds is None else seconds * share),
    )


def _spending(records: Sequence[CandidateRecord], search: Balance, final: Balance) -> Spending:
    trained: Counter[CandidateState] = Counter()
    for record in records:
        trained[record.state] += record.train_flops_spent
    return spending(trained, sum(record.eval_flops for record in records), search, final)


def spending(trained: Mapping[CandidateState, int], evaluation: int, search: Balance, final: Balance) -> Spending:
    """Where the FLOPs went, from those that candidates of each state were trained with."""
    completed, stopped = (trained.get(own, 0) for own in (CandidateState.COMPLETED, CandidateState.STOPPED))
    total = sum(trained.values())
    return Spending(
        completed=completed,
        stopped=stopped,
        unfinished=total - completed - stopped,
        evaluation=evaluation,
        other=max(0, search.spent - total - evaluation),
        final=final.spent,
        unspent=max(0, search.granted + final.granted - search.spent - final.spent),
    )


def _gate_saved(search: SearchRecord, records: Iterable[CandidateRecord]) -> int:
    return int(search.setting.get("candidate_flops") or 0) * sum(c.state is CandidateState.REJECTED for c in records)


def _pruner_saved(records: Iterable[CandidateRecord]) -> int:
    stopped = (c for c in records if c.state is CandidateState.STOPPED)
    return sum(max(0, c.train_flops_planned - c.train_flops_spent) for c in stopped)


def _audits(
    decisions: Iterable[DecisionRecord], records: Iterable[CandidateRecord], front: Sequence[int]
) -> tuple[Audit, ...]:
    """The first audit of each candidate: the others would not have been reached."""
    by_number = {c.number: c for c in records}
    audits: dict[int, Audit] = {}
    for decision in decisions:
        record = by_number.get(decision.number)
        if decision.verdict is Verdict.AUDIT and record is not None and decision.number not in audits:
            false = false_stop(record.state, record.number in front)
            extra = max(0, record.train_flops_spent - int(decision.rung * record.train_flops_planned))
            audits[decision.number] = Audit(decision.number, decision.rung, decision.reason, false, extra)
    return tuple(audits.values())


def false_stop(state: CandidateState, on_front: bool) -> bool | None:
    """Whether an audited stop would have been wrong; ``None`` while unknown."""
    return on_front if state in (CandidateState.COMPLETED, CandidateState.DIVERGED) else None


def _front_by_origin(records: Iterable[CandidateRecord], front: Sequence[int]) -> dict[Origin, tuple[int, ...]]:
    origin = {c.number: c.origin for c in records}
    return {kind: tuple(n for n in front if origin[n] is kind) for kind in Origin if kind in origin.values()}


def _by_number(points: Iterable[CurvePoint]) -> dict[int, tuple[CurvePoint, ...]]:
    curves: dict[int, list[CurvePoint]] = {}
    for point in points:
        curves.setdefault(point.number, []).append(point)
    return {number: tuple(curve) for number, curve in curves.items()}
