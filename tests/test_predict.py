from dataclasses import replace

import pytest

from nas.calibration import Calibration, Estimate, MemoryFit, TimeFit, Trace
from nas.candidate import Architecture, Candidate, Recipe
from nas.plan import Layout
from nas.predict import Predictor
from tests.profiles import FINGERPRINT, Written, profile_of, trace_of

CANDIDATE = Candidate(Architecture(1, 16, 2, 8, 2, 48, 256, 32), Recipe(batch_tokens=128))
COMPILED = Calibration(MemoryFit(factor=10.0), TimeFit(per_flop=10.0))
GPU = replace(FINGERPRINT, backend="cuda", memory_bytes=100)
PROFILE = profile_of(MemoryFit(5.0, 2.0, 0.5), TimeFit(per_flop=1.0, per_operator=0.5), compiled=COMPILED)
ALONE = profile_of(MemoryFit(factor=100.0), TimeFit(per_flop=0.25))
TWO, FOUR, AGAIN = Layout(2), Layout(4), Layout(4, recompute=True)


def traced(candidate: Candidate, layout: Layout) -> Trace:
    """Ten bytes a sequence, half of them and twice the FLOPs with recompute."""
    each, flops = (5, 200) if layout.recompute else (10, 100)
    return trace_of(each * layout.micro_batch, flops, operators=8 // layout.micro_batch)


def predictor() -> tuple[Predictor, Written]:
    tracer = Written(traced)
    return Predictor(tracer, PROFILE, ALONE), tracer


def test_memory_is_the_trace_taken_through_the_profile() -> None:
    own, tracer = predictor()
    assert own.memory(CANDIDATE, TWO) == Estimate(45, 22.5, 67.5, "traced")
    assert own.memory(CANDIDATE, FOUR) == Estimate(85, 42.5, 127.5, "traced")
    assert own.memory(CANDIDATE, AGAIN) == Estimate(45, 22.5, 67.5, "traced")
    assert own.memory(CANDIDATE, FOUR, compiled=True).value == 400
    assert tracer.asked == [(CANDIDATE, layout) for layout in (TWO, FOUR, AGAIN, FOUR)]


def test_seconds_are_the_trace_taken_through_the_profile() -> None:
    own, tracer = predictor()
    assert own.seconds(CANDIDATE, TWO).value == 100 + 0.5 * 4
    assert own.seconds(CANDIDATE, AGAIN).value == 200 + 0.5 * 2
    assert own.seconds(CANDIDATE, FOUR, compiled=True).value == 1000
    assert tracer.asked == [(CANDIDATE, layout) for layout in (TWO, AGAIN, FOUR)]


def test_a_run_alone_has_a_profile_of_its_own() -> None:
    own, _ = predictor()
    assert own.seconds(CANDIDATE, TWO, alone=True).value == 25
    assert own.seconds(CANDIDATE, AGAIN, alone=True).value == 50
    assert own.seconds(CANDIDATE, TWO, compiled=True, alone=True).value == 25, "it has no compiled probes"


@pytest.mark.parametrize(
    ("layout", "alone", "speedup"),
    [
        (TWO, False, (100 + 0.5 * 4) / 1000),  # compiled 10 s a FLOP
        (FOUR, False, (100 + 0.5 * 2) / 1000),
        (AGAIN, False, (200 + 0.5 * 2) / 2000),
        (TWO, True, None),  # its profile has no compiled probes
    ],
)
def test_what_compiling_brings_is_told_for_each_step(layout: Layout, alone: bool, speedup: float | None) -> None:
    own, tracer = predictor()
    assert own.speedup(CANDIDATE, layout, alone=alone) == speedup
    assert tracer.asked == [(CANDIDATE, layout)]


@pytest.mark.parametrize(
    ("peak", "operators", "share"),
    [
        (10, 0, 1.0),  # it does nothing but compute
        (10, 100, 0.5),  # as long as launching takes, others may compute
        (10, 300, 0.25),
        (40, 300, 0.6),  # 1.5 x 40 bytes of 100
        (80, 300, 1.0),
        (1, 10_000, 1 / 16),  # a process takes something, too
    ],
)
def test_a_share_of_a_device_is_of_its_memory_or_of_its_time(peak: int, operators: int, share: float) -> None:
    """A hundred FLOPs take as long as a hundred operators; memory is sure to a half."""
    profile = replace(profile_of(MemoryFit(error=0.5), TimeFit(per_flop=1.0, per_operator=1.0)), fingerprint=GPU)
    own = Predictor(Written(lambda *_: trace_of(peak, 100, operators=operators)), profile, profile)
    assert own.share(CANDIDATE, TWO) == share
    assert own.backend == "cuda"
