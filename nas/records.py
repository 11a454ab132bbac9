"""What a search writes down: frozen records, the same in memory, in the database and on the wire.

Times are seconds since the epoch (UTC) as floats, FLOPs and bytes are integers, losses are bits per byte.
"""

import dataclasses
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class SearchState(StrEnum):
    """queued -> running -> completed | failed | cancelled; running <-> paused; running -> stopping -> completed."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class CandidateState(StrEnum):
    """queued -> training -> completed | stopped | diverged | cancelled | failed; queued -> rejected;
    training -> queued when an attempt is lost."""

    QUEUED = "queued"
    TRAINING = "training"
    COMPLETED = "completed"
    STOPPED = "stopped"
    DIVERGED = "diverged"
    CANCELLED = "cancelled"
    FAILED = "failed"
    REJECTED = "rejected"

    @property
    def terminal(self) -> bool:
        """No further change is allowed."""
        return self not in (CandidateState.QUEUED, CandidateState.TRAINING)


class Origin(StrEnum):
    """Where a candidate came from."""

    DIAL = "dial"  # what scaling rules choose for the budget, without search
    LARGEST = "largest"  # the largest that fits
    UNIFORM = "uniform"  # a seed: an evenly spread configuration of the space
    PROPOSED = "proposed"  # by the suggester, having seen results
    GIVEN = "given"  # by the user
    FINAL = "final"  # the chosen candidate, scaled to the final budget


class Verdict(StrEnum):
    """What the pruner says at a rung. AUDIT is a stop that is recorded but not executed."""

    CONTINUE = "continue"
    STOP = "stop"
    AUDIT = "audit"


class RequestKind(StrEnum):
    """What somebody asks of the driver of a search."""

    PAUSE = "pause"  # keep checkpoints, leave the machine; the search may go on later
    STOP = "stop"  # start nothing new; what is in training finishes
    CANCEL = "cancel"  # end now
    ENQUEUE = "enqueue"  # train a candidate of the user
    RESUME = "resume"  # go on, where nothing drives the search
    STOP_CANDIDATE = "stop_candidate"  # train a candidate no further


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with the middle 80% of what is believed."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Prospects:
    """What further search is expected to bring.

    Attributes:
        flops: that would be spent.
        runs: candidates that they would train or stop.
        widening: of the front, as a share of its hypervolume.
        loss: by how much the best loss would fall, in bits per byte.
    """

    flops: int
    runs: int
    widening: Estimate
    loss: Estimate


@dataclass(frozen=True, slots=True)
class SearchRecord:
    """One search.

    Attributes:
        spec: the resolved specification (`nas.spec.SearchSpec.to_dict`).
        setting: facts fixed before the first candidate: device, threads, versions, corpus and tokenizers,
            predicted speed, the hypervolume's reference point, the planned number of full trainings.
        result: the outcome of the final run; ``None`` until there is one.
        prospects: of the next tenth of its budget (`Prospects`); ``None`` while too little is known.
    """

    id: str
    name: str
    state: SearchState
    created_at: float
    spec: dict[str, Any]
    setting: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] | None = None
    reason: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    prospects: dict[str, Any] | None = None


def queued_search(name: str, spec: Mapping[str, Any], setting: Mapping[str, Any], *, at: float) -> SearchRecord:
    """A new search, whose id is made of its name and a few letters by lot."""
    slug = "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-") or "search"
    return SearchRecord(
        id=f"{slug[:40]}-{secrets.token_hex(3)}",
        name=name,
        state=SearchState.QUEUED,
        created_at=at,
        spec=dict(spec),
        setting=dict(setting),
    )


@dataclass(frozen=True, slots=True)
class CandidateRecord:
    """One candidate of a search.

    Attributes:
        number: 0-based order of proposal within its search.
        id: content hash of the candidate (`nas.candidate.Candidate.id`).
        candidate: the candidate as a mapping (`Candidate.to_dict`).
        knobs: the values by which the suggester knows it; empty for candidates outside its space.
        costs: the objectives but the loss, by their names, and what else `nas.cost.Cost` knows. Where one was measured,
            ``NAME_predicted`` keeps what had been predicted.
        plan: `nas.plan.Plan.to_dict`; empty while it has none (rejected).
        reason: why it is in its state: the gate's limit, the pruner's dominators, the error.
        val_bpb, val_error: validation loss at p = 1 over the whole split and its standard error.
        test_bpb, test_error: the same on the test split; read for the final run only.
        train_flops_planned, train_flops_spent: by ``model_flops_v1``.
        eval_flops: spent on evaluation, charged to the search and not to the candidate.
        repeated_flops: work done again after an attempt was lost; outside the budget.
        seconds: wall-clock seconds of training and evaluation.
        time_bound: a replan shortened the run because the machine was slower than predicted.
        artifact: folder with the final weights and tokenizer, relative to the artifacts' root.
    """

    search_id: str
    number: int
    id: str
    origin: Origin
    state: CandidateState
    created_at: float
    candidate: dict[str, Any]
    knobs: dict[str, Any] = field(default_factory=dict)
    costs: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    val_bpb: float | None = None
    val_error: float | None = None
    test_bpb: float | None = None
    test_error: float | None = None
    train_flops_planned: int = 0
    train_flops_spent: int = 0
    hardware_flops: int = 0
    eval_flops: int = 0
    repeated_flops: int = 0
    seconds: float = 0.0
    time_bound: bool = False
    artifact: str = ""
    started_at: float | None = None
    finished_at: float | None = None


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One run of a candidate on a worker, from ``first_step`` on; last heard of at ``last_step``.

    ``worker`` is its machine and device, ``node-3, cuda:0``; empty until the worker has said so.
    """

    search_id: str
    number: int
    attempt: int
    started_at: float
    worker: str
    finished_at: float | None = None
    outcome: str = ""
    checkpoint: str = ""
    first_step: int = 0
    last_step: int = 0


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One point of a loss curve. ``flops`` are training FLOPs spent, ``progress`` is their share of the plan.

    ``train_bpb`` is the mean over the steps since the last point, ``val_bpb`` is measured at rungs on the fixed
    subset of the validation split (and at p = 1 on all of it, with ``final`` set). ``eval_flops`` are what the
    candidate has spent on evaluation so far; ``first_step`` is the step that its attempt went on from.
    """

    search_id: str
    number: int
    attempt: int
    step: int
    progress: float
    flops: int
    seconds: float
    train_bpb: float | None = None
    val_bpb: float | None = None
    rung: float | None = None
    final: bool = False
    eval_flops: int = 0
    first_step: int = 0


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A pruning decision with everything it was made from."""

    search_id: str
    number: int
    rung: float
    verdict: Verdict
    reason: str
    inputs: dict[str, Any]
    at: float


@dataclass(frozen=True, slots=True)
class LedgerRecord:
    """One line of a search's account, in order of ``sequence``.

    ``kind`` is ``reserve`` (before dispatch), ``settle`` (releases the reservation of the same number and charges
    what was spent), ``charge`` (spent without a reservation, e.g. measuring the device's speed) or ``transfer``
    (what the search left over, handed to the final account).
    """

    search_id: str
    sequence: int
    kind: str
    account: str  # "search" or "final"
    number: int | None
    flops: int
    seconds: float
    note: str
    at: float


@dataclass(frozen=True, slots=True)
class EventRecord:
    """Something a person may want to read. ``sequence`` is ascending within a search."""

    search_id: str
    sequence: int
    at: float
    kind: str
    message: str
    number: int | None = None
    level: str = "info"


@dataclass(frozen=True, slots=True)
class LogLine:
    """What a worker logged, ``at`` a time by its clock. ``level`` is Python's in small letters; ``message`` holds the
    traceback of an error too."""

    at: float
    level: str
    logger: str
    message: str


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A `LogLine` of an attempt. ``sequence`` is ascending within its candidate, over all attempts."""

    search_id: str
    number: int
    attempt: int
    sequence: int
    at: float
    level: str
    logger: str
    message: str


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """Who drives a search. Times are by the database's clock.

    ``token`` rises with each new holder and never falls: of two that both believe to drive, the higher one does.
    """

    search_id: str
    holder: str
    token: int
    renewed_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """What somebody asks of the driver of a search. ``sequence`` is ascending within a search.

    ``answer`` says what became of it, in words for who asked; ``answered_at`` is ``None`` while nobody took it up.
    """

    search_id: str
    sequence: int
    kind: RequestKind
    content: dict[str, Any]
    at: float
    answered_at: float | None = None
    answer: str = ""


PREDICTED = "_predicted"


def with_measured(costs: Mapping[str, Any], measured: Mapping[str, float]) -> dict[str, Any]:
    """The costs with what was measured in place of what was predicted, which is kept beside it."""
    predicted = {name + PREDICTED: predicted_cost(costs, name) for name in measured if name in costs}
    return {**costs, **measured, **predicted}


def measured_cost(costs: Mapping[str, Any], name: str) -> float | None:
    """A cost if it was measured."""
    return float(costs[name]) if name + PREDICTED in costs else None


def predicted_cost(costs: Mapping[str, Any], name: str) -> float:
    """A cost as it was before anything was measured: what candidates in training compare by."""
    return float(costs[name + PREDICTED] if name + PREDICTED in costs else costs[name])


def to_dict(record: Any) -> dict[str, Any]:
    """A record as a JSON-ready mapping (enums become their text)."""
    return {spec.name: _plain(getattr(record, spec.name)) for spec in dataclasses.fields(record)}


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, StrEnum) else value
