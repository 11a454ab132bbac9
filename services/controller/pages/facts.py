"""The head of a search's page: where it stands, its key numbers, and what may be asked of it now."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from dashboards.labels import CALCULATED, MEASURED, PREDICTED, Fact, format_error, quantity, sentence
from nas.adapters.sql.reader import Wanted
from nas.records import CandidateRecord, CandidateState, Origin, SearchRecord, SearchState
from nas.spec import LOSS
from nas.units import format_flops, format_seconds, parse_flops, parse_seconds
from services.controller.service import Service
from services.controller.tallies import Tally
from services.worker.lease import elapsed

SEARCHED = tuple(origin for origin in Origin if origin is not Origin.FINAL)
COUNTED: Mapping[CandidateState, str] = {
    CandidateState.TRAINING: "in training",
    CandidateState.QUEUED: "waiting",
    CandidateState.COMPLETED: "trained to the end",
    CandidateState.STOPPED: "stopped early",
    CandidateState.REJECTED: "rejected by the gate",
    CandidateState.DIVERGED: "diverged",
    CandidateState.FAILED: "failed",
    CandidateState.CANCELLED: "cancelled",
}
GATE: Mapping[str, str] = {
    "compute": "the compute of a candidate",
    "memory": "the memory of a run",
    "export": "the export to a native format",
}
"""Limits of the gate that are no quantities of a candidate."""


@dataclass(frozen=True, slots=True)
class Action:
    """What one may ask of a search. ``means``: what comes of it, to be read before it is confirmed."""

    name: str
    button: str
    means: str
    danger: bool = False


ACTIONS = (
    Action("pause", "Pause", "Whatever is in training saves a checkpoint and ends; nothing is lost. Resume goes on."),
    Action("resume", "Resume", "The search goes on where it was, with the budget that it has left."),
    Action(
        "stop",
        "Stop and finish",
        "No further candidates begin. What is in training is trained to its end, then the final run is made with the "
        "budget kept for it.",
    ),
    Action(
        "cancel",
        "Cancel",
        "The search ends for good, without a final run; what is in training is lost. What was found until now stays.",
        danger=True,
    ),
    Action(
        "delete",
        "Delete",
        "The search is deleted with its records, weights and exports. Nobody can bring them back.",
        danger=True,
    ),
)
_ALLOWED: Mapping[SearchState, Sequence[str]] = {
    SearchState.QUEUED: ("pause", "cancel"),
    SearchState.RUNNING: ("pause", "stop", "cancel"),
    SearchState.PAUSED: ("resume", "cancel"),
    SearchState.STOPPING: ("cancel",),
    SearchState.COMPLETED: ("delete",),
    SearchState.FAILED: ("resume", "delete"),
    SearchState.CANCELLED: ("delete",),
}


@dataclass(frozen=True, slots=True)
class Head:
    """``note``: what a reader must know besides, mostly nothing."""

    sentence: str
    facts: tuple[Fact, ...]
    note: str
    actions: tuple[Action, ...]


def head(service: Service, search: SearchRecord) -> Head:
    """From the search's tally and an index: as quick for many candidates as for few."""
    reader, revision = service.reader, service.reader.revision(search.id)
    tally = service.tallies.of(search.id, revision)
    counts = {state: tally.of(state).candidates for state in CandidateState}
    best = _best(service, search.id) if counts[CandidateState.COMPLETED] else None
    cost = next((name for name in search.spec["minimize"] if name != LOSS), "params")
    total, rejected = sum(counts.values()), counts[CandidateState.REJECTED]
    refused = reader.reasons(search.id, CandidateState.REJECTED) if rejected and not best else []
    return Head(
        sentence=sentence(search, best, candidates=total, rejected=rejected, cost=cost),
        facts=tuple(_facts(service, search, tally, counts, best)),
        note=_refusals(refused, total),
        actions=tuple(own for own in ACTIONS if own.name in _ALLOWED[search.state]),
    )


def _best(service: Service, search_id: str) -> CandidateRecord | None:
    wanted = Wanted(states=(CandidateState.COMPLETED,), origins=SEARCHED)
    found = service.reader.candidates(search_id, wanted, order="val_bpb", limit=1)
    return next((own for own, _ in found if own.val_bpb is not None), None)


def _facts(
    service: Service,
    search: SearchRecord,
    tally: Tally,
    counts: Mapping[CandidateState, int],
    best: CandidateRecord | None,
) -> list[Fact]:
    result = search.result or {}
    facts = []
    if result.get("test_bpb") is not None:
        loss = format_error(result["test_bpb"], result.get("test_error"))
        facts.append(Fact("final run, test", loss, MEASURED, "bits per byte", number=result.get("number")))
    if best is not None:
        loss = format_error(best.val_bpb, best.val_error)
        facts.append(Fact("best of the search, validation", loss, MEASURED, "bits per byte", number=best.number))
    told = ", ".join(f"{counts[state]} {name}" for state, name in COUNTED.items() if counts[state])
    facts.append(Fact("candidates", str(sum(counts.values())), MEASURED, told))
    booked = (tally.search, tally.final)
    took = elapsed(search, service.store.lease(search.id))
    facts += [
        _compute(search, sum(own.spent for own in booked)),
        _time(search, took, sum(own.seconds for own in booked)),
    ]
    return [*facts, *_end(search, took, service.store.now())]


def _compute(search: SearchRecord, flops: float) -> Fact:
    budget = parse_flops(search.spec["budget"]["total"]["compute"])
    share = min(1.0, flops / budget)
    return Fact("compute spent", format_flops(flops), CALCULATED, f"of {format_flops(budget)}", share=share)


def _time(search: SearchRecord, took: float, worked: float) -> Fact:
    limit = search.spec["budget"]["total"].get("time")
    seconds = None if limit is None else parse_seconds(limit)
    note = "no limit" if seconds is None else f"of {format_seconds(seconds)}"
    note += f"; workers {format_seconds(worked)}" if worked else ""
    share = None if seconds is None else min(1.0, took / seconds)
    return Fact("time", format_seconds(took) if took else "—", MEASURED, note, share=share)


def _end(search: SearchRecord, took: float, now: float) -> list[Fact]:
    """When it may be over, by what was forecast before it began."""
    seconds = (search.setting.get("forecast") or {}).get("seconds")
    running = search.state in (SearchState.RUNNING, SearchState.STOPPING)
    if not running or not isinstance(seconds, (int, float)) or not math.isfinite(seconds):
        return []
    left = seconds - took
    if left <= 0:
        return [Fact("expected end", "any time now", PREDICTED, f"{format_seconds(seconds)} were forecast")]
    at = datetime.fromtimestamp(now + left, UTC).strftime("%H:%M UTC")
    return [Fact("expected end", f"in {format_seconds(max(1, round(left)))}", PREDICTED, f"at about {at}")]


def _refusals(reasons: Sequence[str], total: int) -> str:
    """Which limits refuse, the one that refuses most first. A reason is a list of limits with what they say."""
    if not reasons:
        return ""
    limits = Counter(part.partition(":")[0] for reason in reasons for part in reason.split("; "))
    named = [f"{_limit(name)} ({count})" for name, count in limits.most_common()]
    others = f"; then {', '.join(named[1:4])}" if named[1:] else ""
    of = f"all {total}" if len(reasons) == total else f"{len(reasons)} of {total}"
    return f"The gate refused {of} candidates. The limit that refuses most is {named[0]}{others}."


def _limit(name: str) -> str:
    return GATE.get(name) or quantity(name).name
