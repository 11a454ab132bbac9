import json

from nas.records import (
    CandidateState,
    DecisionRecord,
    Origin,
    RequestKind,
    RequestRecord,
    SearchRecord,
    SearchState,
    Verdict,
    to_dict,
)


def test_records_become_json() -> None:
    record = DecisionRecord("s", 3, 0.25, Verdict.AUDIT, "why", {"rung": 0.25, "own": {"costs": (1.0,)}}, 5.0)
    raw = json.loads(json.dumps(to_dict(record)))
    assert raw["verdict"] == "audit"
    assert type(to_dict(record)["verdict"]) is str
    assert raw["inputs"] == {"rung": 0.25, "own": {"costs": [1.0]}}
    search = SearchRecord("s", "n", SearchState.QUEUED, 1.0, {"corpus": "austen"})
    assert to_dict(search)["state"] == "queued"
    assert to_dict(search)["result"] is None
    assert to_dict(RequestRecord("s", 1, RequestKind.ENQUEUE, {}, 1.0))["kind"] == "enqueue"


def test_terminal_states() -> None:
    going_on = {state for state in CandidateState if not state.terminal}
    assert going_on == {CandidateState.QUEUED, CandidateState.TRAINING}


def test_words() -> None:
    """They are in databases: a word may be added, never changed."""
    assert set(SearchState) >= {"queued", "running", "paused", "stopping", "completed", "failed", "cancelled"}
    assert set(CandidateState) >= {"queued", "training", "completed", "stopped", "diverged", "cancelled", "failed"}
    assert set(Origin) >= {"dial", "largest", "uniform", "proposed", "given", "final"}
    assert set(Verdict) == {"continue", "stop", "audit"}
    assert set(RequestKind) >= {"pause", "stop", "cancel", "enqueue"}
