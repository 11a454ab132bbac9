import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.records import (
    CandidateState,
    DecisionRecord,
    Origin,
    RequestKind,
    RequestRecord,
    SearchRecord,
    SearchState,
    Verdict,
    measured_cost,
    predicted_cost,
    to_dict,
    with_measured,
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


@pytest.mark.parametrize(
    ("costs", "measured", "expected"),
    [
        ({}, {}, {}),
        ({"params": 7}, {}, {"params": 7}),
        ({"params": 7, "a": 10}, {"a": 12}, {"params": 7, "a": 12, "a_predicted": 10}),
        ({"a": 10, "b": 20}, {"a": 12, "b": 20}, {"a": 12, "a_predicted": 10, "b": 20, "b_predicted": 20}),
        ({"a": 12, "a_predicted": 10}, {"a": 13}, {"a": 13, "a_predicted": 10}),  # measured again
        ({"a": 12, "a_predicted": 10}, {}, {"a": 12, "a_predicted": 10}),
        ({}, {"a": 12}, {"a": 12}),  # nothing was predicted
    ],
)
def test_what_is_measured_takes_the_place_of_what_was_predicted(
    costs: dict[str, Any], measured: dict[str, float], expected: dict[str, Any]
) -> None:
    before = dict(costs)
    assert with_measured(costs, measured) == expected
    assert costs == before, "costs are values"
    assert with_measured(expected, measured) == with_measured(with_measured(costs, measured), measured)


NUMBERS = st.dictionaries(st.sampled_from(["params", "peak_memory", "latency_ms_per_kb"]), st.floats(1e-3, 1e12))


@given(NUMBERS, NUMBERS, NUMBERS)
def test_predictions_survive_all_that_is_measured(
    costs: dict[str, float], first: dict[str, float], again: dict[str, float]
) -> None:
    """And JSON."""
    own = json.loads(json.dumps(with_measured(with_measured(costs, first), again)))
    for name, predicted in costs.items():
        measured = {**first, **again}.get(name)
        assert own[name] == (predicted if measured is None else measured)
        assert measured_cost(own, name) == measured
        assert predicted_cost(own, name) == predicted_cost(costs, name) == predicted


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
