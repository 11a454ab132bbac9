"""Profiles: which steps are probed, what is made of the answers, and one for real."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.calibration import Calibration, DecodeFit, DeviceProfile, Fingerprint, MemoryFit, TimeFit, Trace
from nas.candidate import Architecture, Candidate, Recipe
from nas.cost import LOGITS_CHUNKS, memory_bound
from nas.errors import ProbeError, ProfileError
from nas.measure import calibrate
from nas.measure.calibrate import (
    COMPILED,
    FEWEST,
    FULL,
    LEAST_ERROR,
    MEMORY_SHARE,
    SHORT,
    STEP_FLOPS,
    Measured,
    fit_decode,
    fit_memory,
    fit_speed,
    fit_time,
    fit_watts,
    profile_device,
    shapes,
)
from nas.measure.fingerprint import fingerprint_here, memory_here
from nas.measure.probe import Probe, ProbeRequest
from nas.measure.trace import trace_step
from nas.plan import Compiles, Layout, Speed, step_flops
from tests.profiles import DECODE, FINGERPRINT, trace_of

GPU = replace(FINGERPRINT, backend="cuda", memory_bytes=80 * 2**30, precision="bfloat16")
CANDIDATE = Candidate(Architecture(1, 16, 2, 8, 2, 48, 256, 32), Recipe(batch_tokens=64))


def probe_of(
    seconds: float = 1.0,
    reserved: int = 1,
    joules: float | None = None,
    compile_seconds: float = 0,
    token_seconds: float | None = None,
) -> Probe:
    return Probe(reserved, reserved, 0, seconds, compile_seconds, joules, token_seconds, 5, 500)


def measured(trace: Trace, own: Probe, micro_batch: int = 1, compile: bool = False) -> Measured:
    request = ProbeRequest(CANDIDATE, Layout(micro_batch), compile=compile, decodes=not compile)
    return Measured(request, trace, own)


# --- what is probed ---


@pytest.mark.parametrize("device", [FINGERPRINT, GPU])
@pytest.mark.parametrize("count", [SHORT, FULL])
def test_steps_of_all_sizes_that_fit(device: Fingerprint, count: int) -> None:
    found = list(shapes("cuda:3", device, count))
    assert found == list(shapes("cuda:3", device, count)), "the same every time"
    assert len(found) == len(set(found)) == count
    assert [request.layout.recompute for request in found] == [index % 4 == 3 for index in range(count)]
    assert {(own.device, own.threads, own.precision, own.compile, own.decodes) for own in found} == {
        ("cuda:3", device.threads, device.precision, False, True)
    }
    assert [own.layout.logits_chunk for own in found] == [
        LOGITS_CHUNKS[device.backend][at % 3 == 2] for at in range(count)
    ]
    assert all(request.candidate.sequences in (size := request.layout.micro_batch, 2 * size) for request in found)
    assert all(memory_bound(own.candidate, own.layout.micro_batch) <= 0.4 * device.memory_bytes for own in found)
    sizes = [math.log(step_flops(request.candidate)) for request in found]
    least, most = map(math.log, STEP_FLOPS[device.backend])
    third = count // 3
    assert sum(sizes[:third]) < sum(sizes[-third:]), "they grow"
    assert max(sizes) - min(sizes) > 0.4 * (most - least)
    kinds = {request.candidate.recipe.optimizer for request in found}, {request.layout.micro_batch for request in found}
    assert kinds[0] == {"muon", "adamw"} and len(kinds[1]) >= 3


@settings(max_examples=5)
@given(st.integers(2**27, 2**34), st.integers(0, 100))
def test_no_probe_takes_more_than_its_share(memory: int, seed: int) -> None:
    own = replace(FINGERPRINT, memory_bytes=memory)
    for request in shapes("cpu", own, 6, seed):
        assert memory_bound(request.candidate, request.layout.micro_batch) <= MEMORY_SHARE * memory


def test_another_seed_probes_others() -> None:
    assert list(shapes("cpu", FINGERPRINT, 4)) != list(shapes("cpu", FINGERPRINT, 4, seed=1))


def test_of_an_unknown_memory_the_machines_counts() -> None:
    unknown, here = (replace(FINGERPRINT, memory_bytes=own) for own in (0, memory_here()))
    assert list(shapes("cpu", unknown, 3)) == list(shapes("cpu", here, 3))


def test_those_made_again_compiled_are_of_the_larger_ones() -> None:
    steps = [measured(trace_of(flops=flops), probe_of()) for flops in (5, 1, 9, 3, 7, 2, 8, 4, 6)]
    assert [own.trace.flops for own in calibrate._spread(steps, 2)] == [4, 7]
    assert [own.trace.flops for own in calibrate._spread(steps, 6)] == [4, 5, 6, 7, 8, 9]
    assert [own.trace.flops for own in calibrate._spread(steps, 9)] == [4, 5, 6, 7, 8, 9]


# --- fits ---

TRACES = [
    trace_of(
        peak_bytes=int(3e7 * (1 + index % 5)),
        flops=int(2e7 * 2**index),
        moved_bytes=moved,
        operators=operators,
        attention_flops=int(2e7 * 2**index / share),
        checkpoints=checkpoints,
    )
    for index, (moved, operators, share, checkpoints) in enumerate(
        [
            *(
                (10**7, 900, 3, 0),
                (10**8, 300, 9, 1),
                (3 * 10**7, 2000, 2, 0),
                (10**9, 400, 30, 8),
                (10**8, 3000, 5, 2),
            ),
            *((10**9, 500, 2, 0), (10**7, 800, 50, 4), (10**8, 200, 3, 0), (3 * 10**9, 700, 4, 9), (10**7, 600, 2, 1)),
        ]
    )
]
COEFFICIENTS = st.tuples(
    st.sampled_from([1e-11, 1e-9]),
    st.sampled_from([0.0, 1e-11, 1e-9]),
    st.sampled_from([0.0, 1e-10]),
    st.sampled_from([0.0, 1e-6]),
    st.sampled_from([0.0, 1e-3]),
)


@given(st.sampled_from([0.0, 1e6, 3e8]), st.sampled_from([1.0, 1.2, 2.5]))
def test_known_memory_is_found(base: float, factor: float) -> None:
    known = MemoryFit(base, factor)
    found = fit_memory([measured(own, probe_of(reserved=round(known.bytes(own.peak_bytes)))) for own in TRACES])
    assert found.factor == pytest.approx(factor, rel=1e-5)
    assert found.base == pytest.approx(base, abs=100)
    assert found.error == LEAST_ERROR, "no fit is called better"


def test_memory_is_what_is_reserved_and_the_error_the_largest() -> None:
    """Of 1, 1 and 2 times the peak, a fit to the others makes 2/1.25 = 1.2 x, 1.2 x and 1 x."""
    traces = [trace_of(peak_bytes=1000)] * 3
    probes = [replace(probe_of(reserved=own), peak_bytes=7) for own in (1000, 1000, 2000)]
    found = fit_memory([measured(*own) for own in zip(traces, probes, strict=True)])
    assert found.bytes(1000) == pytest.approx(1000 * 2.5 / 2.25)  # sum(1 / v) / sum(1 / v^2)
    assert found.error == pytest.approx(0.5)


@given(COEFFICIENTS)
def test_known_times_are_found(coefficients: tuple[float, ...]) -> None:
    known = TimeFit(*coefficients)
    found = fit_time([measured(own, probe_of(known.seconds(own))) for own in TRACES])
    for name in ("per_flop", "per_attention_flop", "per_byte", "per_operator", "per_checkpoint"):
        assert getattr(found, name) == pytest.approx(getattr(known, name), rel=1e-4, abs=1e-13)
    assert found.mean_error < 1e-4 and found.error == LEAST_ERROR


def test_times_that_are_off_have_an_error() -> None:
    known = TimeFit(1e-9, 2e-9, 1e-10, 1e-6, 1e-3)
    off = [1.3 if index % 2 else 1.0 for index in range(len(TRACES))]
    steps = [measured(own, probe_of(known.seconds(own) * by)) for own, by in zip(TRACES, off, strict=True)]
    found = fit_time(steps)
    assert LEAST_ERROR < found.mean_error <= found.error


@given(COEFFICIENTS)
@settings(max_examples=8)
def test_a_known_speed_is_found(coefficients: tuple[float, ...]) -> None:
    known, steps = Speed(coefficients[0], *coefficients[2:4]), []
    for request in REQUESTS:
        seconds = known.step_seconds(request.candidate, passes_of(request))
        flops = trace_of(flops=step_flops(request.candidate))
        steps.append(Measured(request, flops, probe_of(seconds)))
    found = fit_speed(steps)
    assert found.error < 1e-4
    assert (found.device, found.threads) == ("cpu:0", 3)
    for request, own in zip(REQUESTS, steps, strict=True):
        assert own.passes == passes_of(request)
        assert found.step_seconds(request.candidate, own.passes) == pytest.approx(own.probe.step_seconds, rel=1e-4)


def passes_of(request: ProbeRequest) -> int:
    return request.candidate.sequences // request.layout.micro_batch


REQUESTS = list(shapes("cpu:0", replace(FINGERPRINT, threads=3), 8))


@given(st.sampled_from([0.0, 1e-6, 3e-5]), st.sampled_from([1e-11, 1e-9]))
def test_a_known_speed_of_use_is_found(operator: float, byte: float) -> None:
    known = DecodeFit(operator, byte)
    steps = [
        Measured(own, trace_of(), probe_of(token_seconds=known.seconds(own.candidate.architecture))) for own in REQUESTS
    ]
    found = fit_decode(steps)
    assert found.per_operator == pytest.approx(operator, rel=1e-4, abs=1e-10)
    assert found.per_byte == pytest.approx(byte, rel=1e-4)
    assert found.error == LEAST_ERROR, "no fit is called better"
    untimed = Measured(REQUESTS[0], trace_of(), probe_of(token_seconds=None))
    assert fit_decode([untimed, *steps]) == found, "only what timed a token counts"


def test_a_speed_of_use_that_is_off_has_an_error() -> None:
    """Every other token takes a half more."""
    known = DecodeFit(1e-5, 1e-10)
    steps = [
        Measured(
            own, trace_of(), probe_of(token_seconds=known.seconds(own.candidate.architecture) * (1 + index % 2 / 2))
        )
        for index, own in enumerate(REQUESTS)
    ]
    assert 0.1 < fit_decode(steps).error < 1.0


@pytest.mark.parametrize(
    ("joules", "watts"),
    [([None, None], 0.0), ([100.0], 50.0), ([100.0, 300.0, 20.0], 50.0), ([None, 100.0, None, 300.0], 100.0)],
)
def test_watts_are_the_median_of_what_was_counted(joules: list[float | None], watts: float) -> None:
    """Of steps of two seconds."""
    assert fit_watts([measured(trace_of(), probe_of(2.0, joules=own)) for own in joules]) == watts


# --- compiled ---

EAGER = Calibration(MemoryFit(100.0, 2.0, 0.25), TimeFit(1.0, 0.0, 2.0, 3.0, 4.0, 0.02, 0.05), watts=7.0)
PLAIN = [  # as fitted: 300 bytes and 20 s, 500 bytes and 34 s
    measured(trace_of(100, 1, 3, 3, checkpoints=1), probe_of(20.0, 300)),
    measured(trace_of(200, 6, 6, 4, checkpoints=1), probe_of(36.0, 500), 2),
]
AGAIN = [  # a half and three quarters of the time, 1.1 and 1.5 times the memory
    measured(PLAIN[0].trace, probe_of(10.0, 330, 40.0, 12.0), 1, compile=True),
    measured(PLAIN[1].trace, probe_of(25.5, 750, None, 20.0), 2, compile=True),
]


def test_the_compiled_calibration_by_hand() -> None:
    found = calibrate._as_compiled(EAGER, PLAIN, AGAIN)
    by = (0.5 + 0.75) / 2
    assert found.time == TimeFit(by, 0.0, 2 * by, 3 * by, 4 * by, 0.02, 0.25)  # 20 x 0.625 / 10 - 1
    assert found.memory.base == pytest.approx(150) and found.memory.factor == pytest.approx(3), "the most that was seen"
    assert found.memory.error == pytest.approx(1.5 / 1.1 - 1)
    assert found.watts == 4.0


def test_few_compiled_steps_are_not_called_better_than_the_many() -> None:
    found = calibrate._as_compiled(EAGER, PLAIN[:1], AGAIN[:1])
    assert (found.time.error, found.memory.error) == (0.05, 0.25)


def test_what_compiling_costs_and_brings_by_hand() -> None:
    assert calibrate._compiles(PLAIN, AGAIN) == Compiles(16.0, pytest.approx((2 + 36 / 25.5) / 2))
    assert calibrate._compiles(PLAIN, AGAIN[1:]) == Compiles(20.0, pytest.approx(36 / 25.5))


# --- whole profiles ---


@cache
def traced(candidate: Candidate, layout: Layout) -> Trace:
    return trace_step(candidate, layout)


class Device:
    """Answers as a device whose coefficients are known: 1.5 x the peak and 1 MiB; 10 GFLOP a second, twice that
    compiled. Of its probes all fail but the first ``well``, and of compiled ones all unless ``compiles``."""

    def __init__(self, well: int = 100, *, compiles: bool = True) -> None:
        self.well, self.compiles = well, compiles
        self.asked: list[ProbeRequest] = []

    def __call__(self, request: ProbeRequest) -> Probe:
        self.asked.append(request)
        if len(self.asked) > self.well or (request.compile and not self.compiles):
            raise ProbeError("hung", "for a test")
        trace = traced(request.candidate, request.layout)
        seconds = trace.flops * 1e-10 / (2 if request.compile else 1)
        reserved = round(1.5 * trace.peak_bytes) + 2**20
        token = DECODE.seconds(request.candidate.architecture) if request.decodes else None
        return Probe(
            trace.peak_bytes, reserved, len(self.asked), seconds, 30.0 * request.compile, None, token, 5, 10**6
        )


@pytest.fixture
def profiled(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[DeviceProfile, list[str]]]:
    def profile(device: Device, *, short: bool) -> tuple[DeviceProfile, list[str]]:
        told: list[str] = []
        monkeypatch.setattr(calibrate, "probe", device)
        return profile_device("cpu", FINGERPRINT, short=short, tell=told.append, now=lambda: 1234.5), told

    return profile


Profiled = Callable[..., tuple[DeviceProfile, list[str]]]


def test_a_full_profile_of_a_device_that_is_known(profiled: Profiled) -> None:
    device = Device()
    found, told = profiled(device, short=False)
    compiled = [request for request in device.asked if request.compile]
    assert len(device.asked) - len(compiled) == FULL and len(compiled) == COMPILED["cpu"]
    assert all(replace(own, compile=False, decodes=True) in device.asked[:FULL] for own in compiled)
    assert not any(own.decodes for own in compiled), "a compiled step says nothing of a token"
    assert (found.probes, found.flops, found.context_bytes) == (
        len(device.asked),
        10**6 * len(device.asked),
        len(device.asked),
    )
    assert found.eager.memory.factor == pytest.approx(1.5, rel=1e-3)
    assert found.eager.memory.base == pytest.approx(2**20, rel=0.01)
    assert found.eager.time.coefficients[:2] == pytest.approx((1e-10, 1e-10), rel=1e-3)
    assert found.speed.seconds_per_flop == pytest.approx(1e-10, rel=1e-3)
    assert found.compiled is not None
    assert found.compiled.time.per_flop == pytest.approx(0.5e-10, rel=1e-3)
    assert found.compiled.memory.factor == pytest.approx(1.5, rel=1e-3)
    assert found.compiles == Compiles(30.0, pytest.approx(2.0))
    assert found.decode.per_operator == pytest.approx(DECODE.per_operator, rel=1e-3)
    assert found.decode.per_byte == pytest.approx(DECODE.per_byte, rel=1e-3)
    assert told == [] and found.made_at == 1234.5


def test_a_profile_without_a_compiler(profiled: Profiled) -> None:
    found, told = profiled(Device(compiles=False), short=False)
    assert (found.compiled, found.compiles, found.probes) == (None, None, FULL)
    assert told == [f"probe {number} of 2: the probe hung: for a test" for number in (1, 2)]


def test_what_ended_well_is_enough_or_not(profiled: Profiled) -> None:
    found, told = profiled(Device(FEWEST), short=True)
    assert found.probes == FEWEST and found.compiled is None
    assert told == [f"probe {number} of {SHORT}: the probe hung: for a test" for number in range(FEWEST + 1, SHORT + 1)]
    with pytest.raises(ProfileError, match=f"a processor cannot be profiled: of {SHORT} probes {FEWEST - 1} ended"):
        profiled(Device(FEWEST - 1), short=True)


def test_this_machine() -> None:
    told: list[str] = []
    here = fingerprint_here("cpu", 1, "float32")
    found = profile_device("cpu", here, short=True, tell=told.append, now=lambda: 1234.5)
    assert found.fingerprint == here and found.made_at == 1234.5
    assert found.probes + len(told) == SHORT and told == []
    assert found.eager.memory.error < 0.1
    assert found.eager.memory.bytes(2**26) == pytest.approx(2**26, rel=0.1)
    assert found.context_bytes == 0 and found.eager.watts == 0
    assert found.flops > SHORT * STEP_FLOPS["cpu"][0] and found.seconds > 0
    small, large = (trace_step(replace(CANDIDATE, recipe=Recipe(own)), Layout(own // 32)) for own in (64, 4096))
    assert 0 < found.seconds_of(small).value < found.seconds_of(large).value
    assert 0 < found.eager.time.mean_error <= 10 * found.eager.time.error
    assert found.compiled is None and found.compiles is None
    assert 0 < found.token_seconds(CANDIDATE.architecture).value < 0.1 and 0 < found.decode.error < 10
    assert DeviceProfile.from_dict(found.to_dict()) == found
