"""What goes over the wire, beside the records themselves (`nas.records`), which go as they are.

Times are seconds since the epoch (UTC), FLOPs and bytes are integers, losses are bits per byte.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from nas.records import (
    AttemptRecord,
    CandidateRecord,
    CandidateState,
    CurvePoint,
    DecisionRecord,
    EventRecord,
    LedgerRecord,
    LogRecord,
    Origin,
    RequestRecord,
    SearchState,
)

API = "/api/v1"
API_VERSION = 1
"""Rises when a client of the version before would not understand the server any more."""
VERSION_HEADER = "NAS-API-Version"
IDEMPOTENCY_HEADER = "Idempotency-Key"
CSRF_HEADER = "X-CSRF-Token"
REQUEST_HEADER = "X-Request-ID"
SESSION_COOKIE = "nas_session"

Scope = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = ("read", "write", "admin")
"""Each holds those before it."""
JobState = Literal["running", "done", "failed"]

EXAMPLE = {
    "name": "austen",
    "corpus": "austen",
    "space": "llama-tiny",
    "budget": {"total": {"compute": "20TFLOP"}, "candidate": {"compute": "1TFLOP"}, "final": 0.3},
}
"""Of a spec."""
LOGGED: dict[str, Any] = {
    "lines": [
        {
            "search_id": "austen-1a2b3c",
            "number": 3,
            "attempt": 0,
            "sequence": 1,
            "at": 1790000000.0,
            "level": "info",
            "logger": "nas.adapters.tune.trainable",
            "message": "the attempt begins, 12.5 GFLOP planned",
        }
    ],
    "more": False,
}
"""Of a log."""


class _Sent(BaseModel):
    """What a client sends: a field that nobody knows is a mistake."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """Why a request came to nothing (RFC 9457). ``field``, ``rule`` and ``value`` are of the first thing that was
    wrong with what was sent; ``errors`` are all of them. ``trace_id``, where the server failed, is on the lines of its
    log that say why."""

    type: str = Field(examples=["urn:nas:problem:spec"])
    title: str
    status: int
    detail: str
    instance: str = ""
    field: str | None = None
    rule: str | None = None
    value: Any = None
    errors: list[dict[str, Any]] = []
    trace_id: str = ""


class NewSearch(_Sent):
    """``agreed``: text may be repeated more than 16 times."""

    spec: dict[str, Any] = Field(examples=[EXAMPLE])
    agreed: bool = False


class SearchSummary(BaseModel):
    """A search in a list. ``elapsed``: seconds that it has been driven, as far as that was recorded."""

    id: str
    name: str
    state: SearchState
    reason: str
    created_at: float
    started_at: float | None
    finished_at: float | None
    elapsed: float
    result: dict[str, Any] | None
    prospects: dict[str, Any] | None


class SearchDetail(SearchSummary):
    """A search. ``driven``: by a process that may be alive; ``counts``: candidates by state."""

    spec: dict[str, Any]
    setting: dict[str, Any]
    revision: int
    driven: bool
    counts: dict[str, int]


class Validated(BaseModel):
    """What a search would be, if it was submitted."""

    spec: dict[str, Any]
    knobs: int = Field(description="of its space")


class NewForecast(_Sent):
    """``device`` is instead of the spec's: one that the server has, or one of the catalogue, like rtx-4090."""

    spec: dict[str, Any] = Field(examples=[EXAMPLE])
    device: str = Field(default="", max_length=200, examples=["cpu"])


class Expected(BaseModel):
    """``low`` and ``high`` where the device was not measured."""

    predicted: float | None
    low: float | None
    high: float | None


class Fitting(BaseModel):
    """A candidate that keeps every limit: its id by content, what it is in words, the FLOPs of its training, and its
    predicted peak memory."""

    id: str
    words: str
    params: int
    train_flops: int
    memory_bytes: int


class Broken(BaseModel):
    """A limit, the share of the drawn candidates that break it, and by how much the nearest of them does."""

    limit: str = Field(examples=["params"])
    share: float
    nearest: str = Field(examples=["params: needs 1.2M, allowed 1M (+20%)"])


class Fits(BaseModel):
    """Candidates that keep every limit. ``size``: combinations of the space's values, those that differ only within
    ranges counted as one; ``number``: of these, estimated; ``broken``: what the others break."""

    size: float
    number: float
    cheapest: Fitting
    largest: Fitting | None
    broken: list[Broken]


class Note(BaseModel):
    topic: str = Field(examples=["corpus"])
    line: str = Field(examples=["austen: 2.98 MiB train, 456 KiB validation, 423 KiB test"])


class ForecastInfo(BaseModel):
    """What a search would do; nothing was trained for it.

    ``full_trainings``: how many candidates the budget could train to the end; ``epochs``: over the corpus, of the
    dial's run; ``dial`` and ``largest``: knobs of the baselines, where such a candidate fits; ``refused``: why a device
    as slow as its estimate allows would refuse the search; ``notes``: what else a command would say.
    """

    device: str
    fingerprint: str
    estimated: bool
    binding: str
    full_trainings: Expected
    seconds: Expected
    admitted_share: float
    epochs: float
    final_epochs: float
    dial: dict[str, Any] | None
    largest: dict[str, Any] | None
    dial_plan: dict[str, Any] | None
    fits: Fits
    refused: str
    notes: list[Note]


class SearchPage(BaseModel):
    searches: list[SearchSummary]
    next_page_token: str = ""


class CandidatePage(BaseModel):
    """``revision`` is to be given as ``since_revision`` to get what has changed since."""

    candidates: list[CandidateRecord]
    next_page_token: str = ""
    revision: int


class Columns(BaseModel):
    """Candidates as columns of equal length, for those who draw them; six digits of each number.

    ``last_bpb`` is what one that was stopped had come to; ``costs`` are by objective. ``revision`` is to be given as
    ``since_revision`` to get those that have changed since.
    """

    revision: int
    number: list[int]
    state: list[CandidateState]
    origin: list[Origin]
    val_bpb: list[float | None]
    val_error: list[float | None]
    test_bpb: list[float | None]
    test_error: list[float | None]
    last_bpb: list[float | None]
    flops: list[float] = Field(description="spent in training and evaluation")
    audited: list[bool]
    costs: dict[str, list[float | None]]


class Curves(BaseModel):
    points: list[CurvePoint]


class CurveColumns(BaseModel):
    """Learning curves of some candidates, for those who draw them; five digits of each number.

    ``number`` are the candidates that were chosen and ``standing`` what became of each; ``curves`` are those of them
    that have changed since the revision that was asked for. ``rungs`` are shares of a plan.
    """

    revision: int
    number: list[int]
    standing: list[str]
    rungs: list[float]
    curves: list["CurveColumn"]


class CurveColumn(BaseModel):
    """Loss over training FLOPs. ``reason``: why the candidate is in its state, the pruner's for one that it stopped;
    ``planned``: FLOPs."""

    number: int
    flops: list[float]
    loss: list[float]
    planned: float
    reason: str


class Decisions(BaseModel):
    decisions: list[DecisionRecord]


class Attempts(BaseModel):
    attempts: list[AttemptRecord]


class Log(BaseModel):
    """Lines of a candidate's log, oldest first. ``more``: others follow, after the last one's ``sequence``. What is
    sent is what the workers' loggers said: of the product's own all from info on, of others warnings and errors."""

    model_config = ConfigDict(json_schema_extra={"examples": [LOGGED]})

    lines: list[LogRecord]
    more: bool


class LedgerLines(BaseModel):
    ledger: list[LedgerRecord]


class Events(BaseModel):
    events: list[EventRecord]


class Requests(BaseModel):
    requests: list[RequestRecord]


class FrontMember(BaseModel):
    """``values``: by objective, in the order that was asked for."""

    number: int
    values: list[float]
    knee: bool = False


class Front(BaseModel):
    """Of the candidates within the limits, ascending by the first objective that is not the loss."""

    objectives: list[str]
    members: list[FrontMember]
    completed: int = Field(description="candidates that were trained to the end")
    within_limits: int
    revision: int


class VolumeStep(BaseModel):
    """The front's hypervolume once candidate ``number`` was trained, ``flops`` of the search spent by then."""

    flops: int
    volume: float
    number: int


class Hypervolume(BaseModel):
    """Of the loss and of the logarithms of the costs."""

    reference: list[float]
    steps: list[VolumeStep]


class NewCandidate(_Sent):
    """A candidate as `nas.candidate.Candidate.to_dict` has it."""

    architecture: dict[str, Any]
    recipe: dict[str, Any] = {}


class Asked(BaseModel):
    """A request that the driver of a search will answer, by its number (see the search's requests)."""

    search_id: str
    sequence: int
    state: SearchState


class SpaceInfo(BaseModel):
    name: str
    about: str
    space: dict[str, Any]


class Spaces(BaseModel):
    spaces: list[SpaceInfo]


class CorpusInfo(BaseModel):
    """``reference`` is what a spec says in ``corpus``."""

    name: str
    reference: str | dict[str, Any]
    bytes: int
    files: int = 0


class Corpora(BaseModel):
    corpora: list[CorpusInfo]


class DeviceInfo(BaseModel):
    """A device that was profiled; ``profile`` holds its coefficients with their held-out errors."""

    fingerprint: str
    at: float
    profile: dict[str, Any]


class Devices(BaseModel):
    devices: list[DeviceInfo]


class NewProfile(_Sent):
    """``parallel``: runs that share the machine's threads, as in a spec; ``full``: make a full one where only a short
    one is there, which takes minutes; ``refit``: make a full one whatever is there."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    parallel: int = Field(default=1, ge=1, le=1024)
    full: bool = False
    refit: bool = False


class ProfileJob(BaseModel):
    """A worker that profiles a device, or waits until nothing is trained on it. ``device`` is a kind, or auto;
    ``detail`` says why it failed; ``fingerprint``, once it is done, of the profile that is among the devices."""

    id: str
    device: str
    parallel: int
    full: bool
    refit: bool
    state: JobState
    detail: str = ""
    fingerprint: str = ""


class ProfileJobs(BaseModel):
    profiles: list[ProfileJob]


class NewToken(_Sent):
    name: str = Field(min_length=1, max_length=100)
    scope: Scope = "read"
    expires_in: Annotated[float, Field(gt=0)] | None = Field(default=None, description="seconds; never without")


class TokenInfo(BaseModel):
    id: str
    name: str
    scope: Scope
    created_at: float
    expires_at: float | None
    used_at: float | None
    revoked_at: float | None


class CreatedToken(TokenInfo):
    """``secret`` is shown here and nowhere else."""

    secret: str


class TokenList(BaseModel):
    tokens: list[TokenInfo]


class Me(BaseModel):
    """Who asks. ``csrf`` is for a browser, to be sent in the header ``X-CSRF-Token`` with everything that changes
    something."""

    name: str
    scope: Scope
    csrf: str | None = None
    expires_at: float | None = Field(default=None, description="of the token or the session; null: never")


class Login(_Sent):
    token: str


class Version(BaseModel):
    api: int
    nas: str


class Prompt(_Sent):
    """``temperature`` 0 takes the likeliest token."""

    prompt: str = Field(default="", max_length=10_000)
    tokens: int = Field(default=200, ge=1, le=2000)
    temperature: float = Field(default=0.8, ge=0, le=10)
    seed: int = Field(default=0, ge=0)


class Generated(BaseModel):
    text: str


class NewScale(_Sent):
    """The budget that a candidate is carried to."""

    compute: int = Field(ge=1, le=10**30, description="FLOPs of training", examples=[10**12])


class ScaledCandidate(BaseModel):
    """A candidate carried to another budget by scaling rules, which is an extrapolation. ``factor``: its training FLOPs
    over those before; ``binds``: what keeps it from the size or the budget that was asked for; ``device``: that it is
    planned for; ``verified``: a run of it with that budget on the same text, if there is one."""

    candidate: dict[str, Any]
    costs: dict[str, Any]
    plan: dict[str, Any]
    factor: float
    binds: list[str]
    device: str
    verified: CandidateRecord | None


class ExportState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class NewExport(_Sent):
    search_id: str
    number: int = Field(ge=0, lt=2**31)


class ExportInfo(BaseModel):
    """A model to take away. ``sha256`` and ``bytes`` are of its archive; ``detail`` says how it compares with
    transformers, or why it failed."""

    id: str
    search_id: str
    number: int
    state: ExportState
    detail: str = ""
    sha256: str = ""
    bytes: int = 0


class ExportList(BaseModel):
    exports: list[ExportInfo]


class WorkerInfo(BaseModel):
    """A machine of the Ray that trains."""

    id: str
    host: str
    alive: bool
    resources: dict[str, float]


class Workers(BaseModel):
    workers: list[WorkerInfo]
