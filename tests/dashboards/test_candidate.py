"""What pages show of one candidate."""

import json
from dataclasses import replace
from typing import Any

import pytest

from dashboards.candidate import (
    POINTS,
    STYLES,
    costs,
    curve_columns,
    curve_frame,
    curves_figure,
    decision_line,
    difference,
    loss_range,
    profile_of,
    recipe_rows,
)
from nas.calibration import Calibration, DecodeFit, DeviceProfile, Fingerprint, MemoryFit, TimeFit
from nas.candidate import Recipe
from nas.plan import Speed
from nas.records import CandidateRecord, CandidateState, CurvePoint, DecisionRecord, Origin, Verdict, with_measured

RECORD = CandidateRecord("s", 4, "c0ffee", Origin.PROPOSED, CandidateState.COMPLETED, 0.0, {})
EAGER = Calibration(MemoryFit(0.0, 1.0, 0.1), TimeFit(1e-9, mean_error=0.1, error=0.2))
COMPILED = Calibration(MemoryFit(0.0, 1.0, 0.3), TimeFit(1e-9, mean_error=0.3, error=0.5))
PROFILE = DeviceProfile(
    Fingerprint("cpu", "a CPU", "", 2**30, "", "2.9", "", 1, "float32"),
    Speed(1e-9, 0.0, 0.0),
    EAGER,
    DecodeFit(1e-6, 0.0, error=1.5),
    COMPILED,
    context_bytes=2**20,
)
PREDICTED = {"params": 1000, "peak_memory": 3 * 2**20, "train_seconds": 10.0, "latency_ms_per_kb": 4.0}


def shown(record: CandidateRecord, profile: DeviceProfile | None = PROFILE) -> dict[str, tuple[str, ...]]:
    return {
        own.name: (own.expected, own.source, own.interval, own.measured, own.difference)
        for own in costs(record, profile)
    }


def test_predictions_have_intervals() -> None:
    """That of memory is around what is not known exactly: the process's own MiB is."""
    assert shown(replace(RECORD, costs=PREDICTED)) == {
        "parameters": ("1k", "calculated", "exact", "—", "—"),
        "peak memory": ("3 MiB", "predicted", "2.8 MiB to 3.2 MiB", "—", "—"),
        "training time": ("10 s", "predicted", "8 s to 12 s", "—", "—"),
        "latency, milliseconds for a kB of text": ("4 ms", "predicted", "0 ms to 10 ms", "—", "—"),
    }


def test_compiled_runs_have_their_own_errors() -> None:
    found = shown(replace(RECORD, costs=PREDICTED, plan={"compile": True}))
    assert found["training time"][2] == "5 s to 15 s" and found["peak memory"][2] == "2.4 MiB to 3.6 MiB"


def test_without_a_profile_nothing_is_said_of_intervals() -> None:
    found = shown(replace(RECORD, costs=PREDICTED), None)
    assert found["peak memory"][1:3] == ("predicted", "—") and found["parameters"][2] == "exact"


def test_what_was_measured_stands_beside_what_was_expected() -> None:
    measured = with_measured(PREDICTED, {"peak_memory": 3.3 * 2**20, "latency_ms_per_kb": 3.0})
    found = shown(replace(RECORD, costs=measured))
    assert found["peak memory"] == ("3 MiB", "predicted", "2.8 MiB to 3.2 MiB", "3.3 MiB", "+10.0%")
    assert found["latency, milliseconds for a kB of text"][3:] == ("3 ms", "-25.0%")
    assert found["training time"][3:] == ("—", "—")


@pytest.mark.parametrize(
    ("state", "time_bound", "expected"),
    [
        (CandidateState.COMPLETED, False, "+50.0%"),
        (CandidateState.COMPLETED, True, "—"),  # it was shortened: less was done than was predicted
        (CandidateState.STOPPED, False, "—"),
        (CandidateState.TRAINING, False, "—"),
    ],
)
def test_only_whole_runs_tell_of_the_prediction_of_time(state: CandidateState, time_bound: bool, expected: str) -> None:
    record = replace(
        RECORD, state=state, time_bound=time_bound, plan={"seconds": 10.0}, seconds=15.0,
        train_flops_planned=1000, train_flops_spent=500,
    )  # fmt: skip
    found = shown(record)
    assert found["training and evaluation"] == ("10 s", "predicted", "8 s to 12 s", "15 s", expected)
    assert found["training compute"] == ("1 kFLOP", "calculated", "exact", "500 FLOP", "-50.0%")


@pytest.mark.parametrize(
    ("found", "expected", "words"),
    [(110, 100, "+10.0%"), (90, 100, "-10.0%"), (100.01, 100, "±0%"), (5, 0, "—")],
)
def test_differences(found: float, expected: float, words: str) -> None:
    assert difference(found, expected) == words


def test_the_profile_is_that_of_the_device_it_was_planned_for() -> None:
    other = replace(PROFILE, context_bytes=7)
    setting = {
        "devices": [
            {"device": {"hardware": name}, "profile": own.to_dict(), "alone": replace(own, context_bytes=1).to_dict()}
            for name, own in (("one", PROFILE), ("two", other))
        ]
    }
    assert profile_of(setting, RECORD, alone=False) == PROFILE, "a search with one device names none"
    assert profile_of(setting, replace(RECORD, plan={"device": "two"}), alone=False) == other
    assert profile_of(setting, replace(RECORD, plan={"device": "two"}), alone=True) == replace(other, context_bytes=1)


@pytest.mark.parametrize("setting", [{}, {"devices": []}, {"devices": [{"device": {"hardware": "one"}}]}])
def test_a_profile_that_cannot_be_read_is_none(setting: dict[str, Any]) -> None:
    assert profile_of(setting, RECORD, alone=False) is None


def test_the_recipe_has_all_fields_in_words() -> None:
    rows = dict(recipe_rows(Recipe(65536, matrix_rate=1.2345, warmup=0.05)))
    assert len(rows) == 9 and not any("_" in name for name in rows)
    assert rows["tokens in a step"] == "65,536" and rows["warm-up, share of the run"] == "5%"
    assert rows["rate of the matrices, times the rule's"] == "1.23" and rows["optimizer"] == "muon"


# --- decisions ---

POLICY = {"margin": 0.1, "dominators": 1, "deviations": 3.0}
INPUTS: dict[str, Any] = {
    "own": {"number": 4, "loss": 2.5, "costs": [10.0, 5.0]},
    "peers": [
        {"number": 1, "loss": 2.4, "costs": [10.0, 5.0]},  # as dear, and better
        {"number": 2, "loss": 2.3, "costs": [9.0, 4.0]},  # cheaper, and better still
        {"number": 3, "loss": 2.2, "costs": [11.0, 1.0]},  # dearer in one
        {"number": 5, "loss": 2.6, "costs": [1.0, 1.0]},  # worse
    ],
    "policy": POLICY,
    "outlook": None,
}
OUTLOOK = {"mean": 2.2, "deviation": 0.01, "best": 2.1, "number": 2}


def decided(inputs: dict[str, Any]) -> Any:
    return decision_line(DecisionRecord("s", 4, 0.25, Verdict.STOP, "why", inputs, 1.0))


def test_a_decision_names_the_peers_that_count() -> None:
    line = decided(INPUTS)
    assert (line.at, line.verdict, line.reason, line.loss, line.peers) == ("25%", "stop", "why", 2.5, 4)
    assert line.better == ((2, 2.3), (1, 2.4)), "the best first"
    assert (line.expected, line.rule) == ("", "a peer better by 0.1")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"outlook": OUTLOOK}, "3 standard deviations above"),
        ({"outlook": OUTLOOK, "policy": {**POLICY, "deviations": None}}, "a peer better by 0.1"),
        ({"policy": {**POLICY, "dominators": 2}}, "2 peers better by 0.1"),
        ({"policy": {**POLICY, "dominators": 0}}, "stops nothing"),
        ({"policy": None}, ""),
    ],
)
def test_what_it_takes_to_stop(changes: dict[str, Any], rule: str) -> None:
    line = decided({**INPUTS, **changes})
    assert line.rule == rule
    assert line.expected == ("2.200 ± 0.010, against 2.100 of #2" if changes.get("outlook") else "")


@pytest.mark.parametrize("inputs", [{}, {"loss": 2.0, "dominators": [1, 2]}, {"own": None, "peers": None}])
def test_inputs_of_another_version_say_less(inputs: dict[str, Any]) -> None:
    line = decided(inputs)
    assert (line.loss, line.peers, line.better) == (None, 0, ())


# --- curves ---


def point(step: int, **given: Any) -> CurvePoint:
    return CurvePoint("s", 4, 0, step, step / 1000, 10 * step, 1.0, **given)


def test_curves_are_thinned_and_keep_their_ends() -> None:
    points = [point(step, train_bpb=2.0 + step) for step in range(1, 1001)]
    train = curve_columns(RECORD, points)["train"]
    assert len(train["x"]) <= POINTS + 1 and train["x"][0] == 10.0 and train["x"][-1] == 10_000.0
    assert [y for x, y in zip(train["x"], train["y"], strict=True) if y != 2.0 + (x or 0) / 10] == []


def test_what_cannot_be_drawn_is_left_out() -> None:
    odd = [point(0, train_bpb=2.0), point(1, train_bpb=float("inf")), point(2, train_bpb=float("nan")), point(3)]
    assert curve_columns(RECORD, odd)["train"] == {"x": [], "y": []}


def test_rungs_and_the_end_are_apart() -> None:
    record = replace(RECORD, val_bpb=1.9, train_flops_spent=100)
    points = [point(5, val_bpb=2.5, rung=0.5), point(10, val_bpb=1.9, final=True)]
    found = curve_columns(record, points)
    assert found["rungs"] == {"x": [50.0], "y": [2.5]} and found["final"] == {"x": [100.0], "y": [1.9]}
    assert curve_columns(replace(record, val_bpb=None), points)["final"] == {"x": [], "y": []}
    assert loss_range(found) == (1.9, 2.5)
    assert loss_range({}) == (1.0, 4.0)


def test_frames_have_no_data_and_are_json() -> None:
    frame = curve_frame(1000, (0.25, 0.5), 2.0, 3.0)
    assert [own["name"] for own in frame["data"]] == [
        *("training text", "validation, at rungs", "validation, all of it", "stopped here"),
    ]
    assert all("x" not in own and "y" not in own for own in frame["data"])
    assert [own["x0"] for own in frame["layout"]["shapes"]] == [250, 500, 1000]
    assert "shapes" not in curve_frame(0, (0.25,), 2.0, 3.0)["layout"], "of what has no plan"
    assert json.loads(json.dumps(frame, allow_nan=False)) == json.loads(json.dumps(frame))


def test_eight_curves_are_told_apart() -> None:
    curve = curve_columns(replace(RECORD, val_bpb=1.9, train_flops_spent=100), [point(5, train_bpb=2.5, val_bpb=2.6)])
    figure = curves_figure(dict.fromkeys(range(8), curve))
    lines = [own for own in figure["data"] if own["mode"] == "lines"]
    assert len({(own["line"]["color"], own["line"]["dash"]) for own in lines}) == 8 == len(STYLES)
    marks = [own for own in figure["data"] if own["mode"] == "markers"]
    assert len({own["marker"]["symbol"] for own in marks}) == 8 and marks[0]["x"] == [50.0, 100.0]
    json.dumps(figure, allow_nan=False)


@pytest.mark.parametrize(("most", "dtick"), [(10, "D2"), (50, "D2"), (51, 1)])
def test_labels_of_several_curves_do_not_cover_each_other(most: int, dtick: object) -> None:
    curve = curve_columns(RECORD, [point(1, train_bpb=2.5), point(most, train_bpb=2.0)])
    assert curves_figure({1: curve})["layout"]["xaxis"]["dtick"] == dtick
