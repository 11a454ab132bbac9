"""What stands beside the front of a search, in parts that a page fetches whenever the search has changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from dashboards.figures import ledger_bars, ledger_keys, ledger_title, volume_caption, volume_line, volume_title
from dashboards.labels import CALCULATED, MEASURED, PREDICTED, Fact, format_percent, interval, prospects
from dashboards.money import Money
from dashboards.tables import Cell, Column, Row, Table, spending
from dashboards.view import Audit
from nas.adapters.sql.course import AtWork
from nas.client.models import VolumeStep, WorkerInfo
from nas.errors import NasError
from nas.records import DecisionRecord, EventRecord, Origin, SearchRecord, SearchState, Verdict
from nas.units import format_bytes, format_flops, format_seconds, format_share
from services.controller.access import Reading
from services.controller.account import OVER, audits_of, money
from services.controller.curves import front_of
from services.controller.pages.page import PageRoute, part
from services.controller.routes.analysis import volumes_of
from services.controller.service import TheService

router = APIRouter(prefix="/searches/{search_id}/progress", route_class=PageRoute)
LATEST, MOST = 20, 1000
STEPS = 200
"""Rows of the table of the hypervolume, at most."""
Most = Annotated[int, Query(ge=1, le=MOST)]


@router.get("/volume", response_class=HTMLResponse)
def volume(service: TheService, caller: Reading, search_id: str) -> HTMLResponse:
    """The hypervolume: its line for the figure, and what it comes to."""
    search = service.store.search(search_id)
    revision = service.reader.revision(search_id)
    found = volumes_of(service, search_id, revision, rises=True)
    if not found.steps:
        return part("progress-volume.html.j2", search=search, line={"x": [], "y": []}, why=_flat(search))
    spent = service.tallies.of(search_id, revision).candidates_spent
    return part(
        "progress-volume.html.j2",
        search=search,
        title=volume_title(found.steps, spent),
        caption=volume_caption(search.spec["minimize"], found.reference),
        line=volume_line(found.steps, spent),
        why="",
    )


@router.get("/volume/steps", response_class=HTMLResponse)
def volume_steps(service: TheService, caller: Reading, search_id: str) -> HTMLResponse:
    """The hypervolume as a table."""
    search = service.store.search(search_id)
    found = volumes_of(service, search_id, service.reader.revision(search_id), rises=True)
    return part("progress-volume-steps.html.j2", search=search, table_=_steps(found.steps))


def _flat(search: SearchRecord) -> str:
    """Why there is no hypervolume."""
    if search.state in OVER:
        return "No candidate was trained to the end."
    if not search.setting.get("reference"):
        return "No reference point is fixed yet: the search has not begun."
    return "No candidate was trained to the end yet."


def _steps(steps: Sequence[VolumeStep]) -> Table:
    rows = [
        Row((Cell(f"#{own.number}", number=own.number), Cell(format_flops(own.flops)), Cell(f"{own.volume:.4g}")))
        for own in reversed(steps[-STEPS:])
    ]
    last = "" if len(steps) <= STEPS else f", the last {STEPS} of {len(steps)}"
    columns = ("candidate", "search compute spent by then", "hypervolume")
    caption = f"Candidates with which the hypervolume rose{last}, the latest first"
    return Table("volume", caption, tuple(Column(name, numeric=True) for name in columns), tuple(rows))


@router.get("/account", response_class=HTMLResponse)
def account(service: TheService, caller: Reading, search_id: str) -> HTMLResponse:
    """Where the compute went, and what more of it is expected to buy."""
    search = service.store.search(search_id)
    own = money(service, search)
    return part(
        "progress-account.html.j2",
        search=search,
        title=ledger_title(own),
        shown=ledger_keys(own),
        facts=_facts(own),
        ahead=_ahead(search),
        bars=ledger_bars(own),
        table_=spending(own),
    )


def _facts(own: Money) -> list[Fact]:
    parts = own.parts
    spent = f"{format_flops(own.spent)} of {format_flops(own.budget)}"
    found = [Fact("spent", spent, CALCULATED, f"({_percent(own.spent, own.budget)})")]
    if own.open:
        found += [
            Fact("reserved now", format_flops(parts["reserved"]), CALCULATED, "for what is in training"),
            Fact("kept for the final run", format_flops(parts["kept"]), CALCULATED),
        ]
    found.append(Fact("free to spend" if own.open else "unspent", format_flops(parts["unspent"]), CALCULATED))
    if own.gate_saved:
        found.append(Fact("saved by the gate", f"at most {format_flops(own.gate_saved)}", PREDICTED))
    if own.pruner_saved:
        found.append(Fact("saved by stopping early", format_flops(own.pruner_saved), PREDICTED))
    seconds = own.search.seconds + own.final.seconds
    return [*found, *([Fact("worker time", format_seconds(seconds), MEASURED)] if seconds else [])]


def _percent(share: int, whole: int) -> str:
    return format_percent(share / whole) if whole else "—"


def _ahead(search: SearchRecord) -> str:
    """What further search is expected to bring, in words."""
    if search.prospects is not None:
        return f"The next 10% {prospects(search.prospects)}."
    if search.state in OVER:
        return "The search is over."
    return "Not known yet: it takes some candidates that were trained to the end."


@dataclass(frozen=True, slots=True)
class Working:
    """A candidate in training, in words."""

    number: int
    progress: float
    share: str
    of: str
    words: str


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine of the Ray, in words."""

    host: str
    state: str
    has: str


@router.get("/workers", response_class=HTMLResponse)
def workers(service: TheService, caller: Reading, search_id: str) -> HTMLResponse:
    """What is in training, what waits, and which machines there are."""
    search = service.store.search(search_id)
    now, trouble, machines = service.store.now(), "", list[WorkerInfo]()
    try:
        machines = service.dispatcher.workers()
    except NasError as error:
        trouble = str(error)
    return part(
        "progress-workers.html.j2",
        search=search,
        working=[_working(own, now) for own in service.course.at_work(search_id)],
        idle=IDLE[search.state],
        waiting=[number for number, _ in service.course.waiting(search_id, 11)],
        machines=[_machine(own) for own in machines],
        trouble=trouble,
    )


IDLE = {
    SearchState.QUEUED: "Nothing: the search waits to start.",
    SearchState.RUNNING: "Nothing at this moment.",
    SearchState.PAUSED: "Nothing: the search is paused.",
    SearchState.STOPPING: "Nothing at this moment.",
    SearchState.COMPLETED: "Nothing: the search is over.",
    SearchState.FAILED: "Nothing: the search failed.",
    SearchState.CANCELLED: "Nothing: the search was cancelled.",
}


def _working(own: AtWork, now: float) -> Working:
    words = ["the final run"] if own.origin is Origin.FINAL else []
    if own.since is not None and own.attempt is not None:
        words.append(f"attempt {own.attempt}, since {_time(own.since, now).words}")
        words.append(f"for {format_seconds(max(0.0, now - own.since))}")
    else:
        words.append("about to begin")
    if own.worker:
        words.append(f"on {own.worker}")
    planned = format_flops(own.planned) if own.planned else ""
    return Working(own.number, round(own.progress, 4), format_percent(own.progress), planned, ", ".join(words))


def _machine(own: WorkerInfo) -> Machine:
    has = [f"{own.resources[name]:g} {name}s" for name in ("CPU", "GPU") if own.resources.get(name)]
    has += [format_bytes(own.resources["memory"])] if own.resources.get("memory") else []
    return Machine(own.host, "alive" if own.alive else "lost", ", ".join(has) or "—")


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision, in words."""

    number: int
    verdict: str
    words: str
    rung: str
    time: "Time"
    reason: str


@router.get("/decisions", response_class=HTMLResponse)
def decisions(service: TheService, caller: Reading, search_id: str, most: Most = LATEST) -> HTMLResponse:
    """What the pruner decided, the latest first."""
    search = service.store.search(search_id)
    found, now = service.course.decisions(search_id, most + 1), service.store.now()
    counted = _counted(service, search_id) if found else ""
    return part(
        "progress-decisions.html.j2",
        search=search,
        found=[_decided(own, now) for own in found[:most]],
        counted=counted,
        most=most,
        all=len(found) <= most,
    )


VERDICTS = {Verdict.CONTINUE: "goes on", Verdict.STOP: "stopped", Verdict.AUDIT: "stop audited: goes on"}


def _decided(own: DecisionRecord, now: float) -> Decided:
    words, rung = VERDICTS[own.verdict], format_share(own.rung)
    return Decided(own.number, str(own.verdict), words, rung, _time(own.at, now), own.reason)


def _counted(service: TheService, search_id: str) -> str:
    """How many of each, and how many stops were wrong as far as that was looked at."""
    verdicts = service.course.verdicts(search_id)
    audits = service.course.audits(search_id)
    stops = verdicts.get(Verdict.STOP, 0)
    text = f"Told to stop: {stops}, audited instead: {len(audits)}, told to go on: {verdicts.get(Verdict.CONTINUE, 0)}."
    if not audits:
        return text
    front = front_of(service, search_id, service.reader.revision(search_id))
    return f"{text} {_judged(audits_of(audits, front))}"


def _judged(audits: Sequence[Audit]) -> str:
    known = [own.false_stop for own in audits if own.false_stop is not None]
    if not known:
        return "No audit has ended yet, so it is not known how many stops were wrong."
    low, high = (format_percent(bound) for bound in interval(sum(known), len(known)))
    return f"False stops: {sum(known)} of the {len(known)} audited that ended (95% interval {low} to {high})."


@dataclass(frozen=True, slots=True)
class Happened:
    """An event, in words."""

    level: str
    time: "Time"
    number: int | None
    message: str


@router.get("/events", response_class=HTMLResponse)
def events(service: TheService, caller: Reading, search_id: str, most: Most = LATEST) -> HTMLResponse:
    """What happened, the latest first."""
    search = service.store.search(search_id)
    found, now = service.course.events(search_id, most + 1), service.store.now()
    shown = [_happened(own, now) for own in found[:most]]
    return part("progress-events.html.j2", search=search, found=shown, most=most, all=len(found) <= most)


def _happened(own: EventRecord, now: float) -> Happened:
    return Happened(own.level, _time(own.at, now), own.number, own.message)


@dataclass(frozen=True, slots=True)
class Time:
    """For machines, and for people: ``20:14:05 UTC``, with its day unless that is today."""

    exact: str
    words: str


def _time(at: float, now: float) -> Time:
    moment, today = (datetime.fromtimestamp(own, UTC) for own in (at, now))
    day = "" if moment.date() == today.date() else moment.strftime("%Y-%m-%d ")
    return Time(moment.isoformat(timespec="milliseconds"), day + moment.strftime("%H:%M:%S UTC"))
