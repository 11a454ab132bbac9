import dataclasses
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.calibration import (
    Calibration,
    DecodeFit,
    DeviceProfile,
    Estimate,
    Fingerprint,
    MemoryFit,
    Phase,
    TimeFit,
    Trace,
)
from nas.candidate import Architecture
from nas.cost import decode_bytes
from nas.plan import Compiles
from tests.profiles import FINGERPRINT, profile_of, trace_of

TRACE = Trace(40, Phase(100, 10, 1, 20, 300), Phase(250, 20, 2, 40, 600), Phase(150, 40, 4, 80, 900), checkpoints=5)
EAGER = Calibration(MemoryFit(1000.0, 2.0, 0.1), TimeFit(0.5, 2.0, 0.25, 0.01, 3.0, 0.05, 0.2), watts=10.0)
COMPILED = Calibration(MemoryFit(0.0, 3.0, 0.5), TimeFit(per_checkpoint=0.4, error=0.5), watts=20.0)


def profile(**fields: object) -> DeviceProfile:
    return replace(profile_of(), eager=EAGER, **fields)


# --- traces and estimates ---


def test_a_trace_is_the_sum_of_its_phases_and_the_highest_of_their_peaks() -> None:
    assert (TRACE.flops, TRACE.attention_flops, TRACE.moved_bytes, TRACE.operators) == (70, 7, 140, 1800)
    assert TRACE.peak_bytes == 250
    assert TRACE.phases == (TRACE.forward, TRACE.backward, TRACE.optimizer)
    assert replace(TRACE, optimizer=Phase(251)).peak_bytes == 251
    assert replace(TRACE, forward=Phase(252)).peak_bytes == 252


@pytest.mark.parametrize(
    ("value", "error", "low", "high"),
    [(100, 0.0, 100, 100), (100, 0.25, 75, 125), (100, 1.0, 0, 200), (100, 1.5, 0, 250), (0, 0.5, 0, 0)],
)
def test_an_interval_of_a_relative_error(value: float, error: float, low: float, high: float) -> None:
    assert Estimate.within(value, error, "traced") == Estimate(value, low, high, "traced")


@given(st.floats(0, 1e15), st.floats(0, 10))
def test_an_interval_holds_its_value_and_nothing_below_zero(value: float, error: float) -> None:
    own = Estimate.within(value, error, "traced")
    assert 0 <= own.low <= own.value <= own.high


@given(st.floats(0, 1e15), st.floats(0, 10), st.floats(0, 1e6))
def test_in_another_unit_it_is_as_sure(value: float, error: float, factor: float) -> None:
    own = Estimate.within(value, error, "traced")
    assert own.times(factor) == Estimate(value * factor, own.low * factor, own.high * factor, "traced")


# --- fingerprints ---


@pytest.mark.parametrize("name", [spec.name for spec in dataclasses.fields(Fingerprint)])
def test_every_field_is_in_the_key(name: str) -> None:
    value = getattr(FINGERPRINT, name)
    other = replace(FINGERPRINT, **{name: value + 1 if isinstance(value, int) else f"{value}x"})
    assert other.key != FINGERPRINT.key


def test_what_moves_from_one_field_to_another_changes_the_key() -> None:
    assert replace(FINGERPRINT, driver="1", slice="").key != replace(FINGERPRINT, driver="", slice="1").key


def test_keys_stay_as_they_are() -> None:
    """Profiles are kept by them: another key for the same device would have all of them made again."""
    assert replace(FINGERPRINT).key == FINGERPRINT.key == "5ff97e9d2616677a"


# --- fits ---


def test_fits_by_hand() -> None:
    assert EAGER.memory.bytes(250) == 1000 + 2 * 250
    assert EAGER.time.seconds(TRACE) == 0.5 * (70 - 7) + 2 * 7 + 0.25 * 140 + 0.01 * 1800 + 3 * 5 == 113.5
    assert MemoryFit().bytes(250) == 250
    assert TimeFit().seconds(TRACE) == 0


def test_a_slower_device_is_as_sure() -> None:
    slower = EAGER.time.scaled(2.0)
    assert slower.seconds(TRACE) == 2 * EAGER.time.seconds(TRACE)
    assert (slower.mean_error, slower.error) == (0.05, 0.2)
    assert [2 * own for own in EAGER.time.coefficients] == list(slower.coefficients)


def test_memory_has_the_context_on_top() -> None:
    """The error is of what the fit says: nobody fits the context."""
    assert profile().memory(TRACE) == Estimate(1500, 1350, pytest.approx(1650), "traced")
    assert profile(context_bytes=500).memory(TRACE) == Estimate(2000, 1850, pytest.approx(2150), "traced")


def test_seconds_and_joules() -> None:
    own = profile()
    assert own.seconds_of(TRACE) == Estimate(113.5, pytest.approx(90.8), pytest.approx(136.2), "traced")
    assert own.joules(TRACE) == Estimate(1135, pytest.approx(908), pytest.approx(1362), "traced")
    assert replace(own, eager=replace(EAGER, watts=0.0)).joules(TRACE) is None


def test_seconds_of_a_token_by_hand() -> None:
    """58 operators, as `tests.test_cost` counts them, and what the token reads."""
    small = Architecture(1, 16, 2, 8, 2, 48, 256, 32)
    fit = DecodeFit(per_operator=2.0, per_byte=0.5, error=0.25)
    assert DecodeFit.features(small) == (58, decode_bytes(small))
    value = 2.0 * 58 + 0.5 * decode_bytes(small)
    assert fit.seconds(small) == value
    own = profile(decode=fit)
    assert own.token_seconds(small) == Estimate(value, 0.75 * value, 1.25 * value, "traced")
    assert replace(own, estimated=True).token_seconds(small).method == "listed"


@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from(["depth", "width", "mlp_width", "context", "vocabulary"]))
def test_a_larger_model_never_writes_faster(operator: float, byte: float, name: str) -> None:
    small = Architecture(2, 16, 2, 8, 2, 48, 256, 32)
    large = replace(small, **{name: 2 * getattr(small, name)})  # type: ignore[arg-type]
    fit = DecodeFit(operator, byte)
    assert fit.seconds(small) <= fit.seconds(large)


def test_a_compiled_run_is_predicted_by_compiled_probes() -> None:
    own = profile(compiled=COMPILED, context_bytes=7)
    assert own.memory(TRACE, compiled=True) == Estimate(757, 382, 1132, "traced")
    assert own.seconds_of(TRACE, compiled=True) == Estimate(2, 1, 3, "traced")
    assert own.joules(TRACE, compiled=True) == Estimate(40, 20, 60, "traced")
    assert own.seconds_of(TRACE).value == 113.5


def test_without_compiled_probes_eager_ones_must_do() -> None:
    own = profile()
    assert own.calibration(compiled=True) is own.calibration(compiled=False) is own.eager
    for predict in (own.memory, own.seconds_of, own.joules):
        assert predict(TRACE, compiled=True) == predict(TRACE)


@pytest.mark.parametrize(("estimated", "method"), [(False, "traced"), (True, "listed")])
def test_every_estimate_says_where_it_comes_from(estimated: bool, method: str) -> None:
    own = profile(estimated=estimated)
    assert own.method == method
    for predict in (own.memory, own.seconds_of, own.joules):
        found = predict(TRACE)
        assert found is not None and found.method == method


@given(st.lists(st.integers(0, 10**12), min_size=8, max_size=8))
def test_who_needs_more_is_never_predicted_less(numbers: list[int]) -> None:
    small = trace_of(*numbers[:4])
    large = trace_of(*(a + b for a, b in zip(numbers[:4], numbers[4:], strict=True)))
    own = profile()
    assert own.memory(small).value <= own.memory(large).value
    assert own.seconds_of(small).value <= own.seconds_of(large).value


# --- kept profiles ---


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"compiled": COMPILED, "compiles": Compiles(25.0, 1.07)},
        {"compiled": COMPILED},
        {"decode": DecodeFit(0.1, 0.2, 0.3)},
        {"context_bytes": 1, "probes": 2, "seconds": 3.5, "flops": 4, "made_at": 5.5, "estimated": True},
    ],
)
def test_a_profile_survives_json(fields: dict[str, object]) -> None:
    own = profile(**fields)
    raw = json.loads(json.dumps(own.to_dict()))
    before = json.dumps(raw)
    assert DeviceProfile.from_dict(raw) == own
    assert json.dumps(raw) == before, "what is read is left as it is"
    assert DeviceProfile.from_dict(raw).fingerprint.key == own.fingerprint.key


def test_an_estimate_as_a_mapping() -> None:
    assert Estimate(1.0, 0.5, 2.0, "bound").to_dict() == {"value": 1.0, "low": 0.5, "high": 2.0, "method": "bound"}
