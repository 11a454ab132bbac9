"""Sample records, and what a driver would write of them."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nas.records import (
    AttemptRecord,
    CandidateRecord,
    CandidateState,
    CurvePoint,
    DecisionRecord,
    LedgerRecord,
    LogLine,
    LogRecord,
    Origin,
    RequestKind,
    SearchRecord,
    SearchState,
    Verdict,
)

if TYPE_CHECKING:
    from nas.ports import Store

HUGE = 10**21 + 7  # FLOPs: above 64 bits, and no float
DOCUMENT = {
    "text": "naïve 日本語 🦙 \"'\\\n",
    "none": None,
    "nested": {"list": [1, 2.5, True, {"deep": []}]},
    "huge": HUGE,
}

SEARCH = SearchRecord("s", "a name", SearchState.QUEUED, 1700000000.123456, {})
FULL_SEARCH = SearchRecord(
    "s", "Größe 🦙", SearchState.COMPLETED, 1.5, DOCUMENT, {"device": "cpu"}, DOCUMENT, "finished", 2.25, 1 / 3
)
CANDIDATE = CandidateRecord("s", 0, "c0ffee", Origin.UNIFORM, CandidateState.QUEUED, 1.0, {})
FULL_CANDIDATE = CandidateRecord(
    "s", 0, "decaf", Origin.FINAL, CandidateState.STOPPED, 3.5, DOCUMENT, {"width": 64}, {"params": HUGE}, DOCUMENT,
    reason="dominated by 3 — «ε»", val_bpb=1 / 3, val_error=0.01, test_bpb=1.25, test_error=1e-300,
    train_flops_planned=HUGE, train_flops_spent=HUGE + 1, hardware_flops=HUGE + 2, eval_flops=HUGE + 3,
    repeated_flops=HUGE + 4, seconds=12.75, time_bound=True, artifact="s/0", started_at=4.5, finished_at=5.5,
)  # fmt: skip
ATTEMPT = AttemptRecord("s", 0, 1, 1.0, "host:1")
FULL_ATTEMPT = AttemptRecord("s", 0, 1, 6.5, "höst:2", 7.5, "lost", "s/0/step-100", 100, 250)
POINT = CurvePoint("s", 0, 1, 100, 0.125, 5, 1.5)
FULL_POINT = CurvePoint("s", 0, 1, 100, 0.125, HUGE, 1.5, 2.5, 2.25, 0.125, True, HUGE + 1, 64)
DECISION = DecisionRecord("s", 0, 0.25, Verdict.AUDIT, "worse than 3 peers", DOCUMENT, 9.5)
LINE = LogLine(8.5, "warning", "py.warnings", "naïve 🦙:\n  File <a>, line 1")
LOG = LogRecord("s", 0, 1, 1, LINE.at, LINE.level, LINE.logger, LINE.message)
LEDGER = LedgerRecord("s", 1, "reserve", "search", 0, HUGE, 60.5, "before dispatch", 1.5)

NOTHING: list[list[Any]] = [[]] * 10  # the contents of a store that knows nothing of a search


def contents(store: "Store", search_id: str = "s") -> list[Any]:
    """Everything a store holds of a search."""
    found = [record for record in store.searches() if record.id == search_id]
    views = (
        store.candidates, store.attempts, store.points, store.decisions, store.ledger, store.events, store.requests
    )  # fmt: skip
    leases = [lease for lease in [store.lease(search_id)] if lease]
    return [found, *(view(search_id) for view in views), store.log(search_id, 0), leases]


def fill(store: "Store") -> None:
    """One row of every kind."""
    store.add_search(SEARCH)
    store.add_candidate(CANDIDATE)
    store.add_attempt(ATTEMPT)
    store.add_points([POINT])
    store.add_decision(DECISION)
    store.add_log("s", 0, 1, [LINE])
    store.add_ledger([LEDGER])
    store.add_event("s", "started", "search started", at=1.0)
    store.add_request("s", RequestKind.PAUSE, {}, at=1.0)
    store.take_lease("s", "host:1", 60)


def write_a_search(store: "Store", search_id: str, candidates: int = 5) -> None:
    """What a driver writes, in small."""
    store.add_search(replace(SEARCH, id=search_id))
    for number in range(candidates):
        with store.transaction():
            store.add_candidate(replace(CANDIDATE, search_id=search_id, number=number))
            store.add_ledger([replace(LEDGER, search_id=search_id, sequence=number + 1, number=number)])
        store.add_points([replace(POINT, search_id=search_id, number=number)])
        store.update_candidate(search_id, number, state=CandidateState.COMPLETED)
        store.add_event(search_id, "done", f"candidate {number}", at=1.0, number=number)
