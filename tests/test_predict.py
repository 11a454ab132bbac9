from dataclasses import replace

import pytest

from nas.calibration import Calibration, Estimate, MemoryFit, TimeFit, Trace
from nas.candidate import Architecture, Candidate, Recipe
from nas.predict import Predictor
from tests.profiles import FINGERPRINT, Written, profile_of, trace_of

CANDIDATE = Candidate(Architecture(1, 16, 2, 8, 2, 48, 256, 32), Recipe(batch_tokens=128))
COMPILED = Calibration(MemoryFit(factor=10.0), TimeFit(per_flop=10.0))
GPU = replace(FINGERPRINT, backend="cuda", memory_bytes=100)
PROFILE = profile_of(MemoryFit(5.0, 2.0, 0.5), TimeFit(per_flop=1.0, per_operator=0.5), compiled=COMPILED)
ALONE = profile_of(MemoryFit(factor=100.0), TimeFit(per_flop=0.25))


def traced(candidate: Candidate, micro_batch: int, recompute: bool) -> Trace:
    """Ten bytes a sequence, half of them and twice the FLOPs with recompute."""
    return trace_of((5 if recompute else 10) * micro_batch, 200 if recompute else 100, operators=8 // micro_batch)


def predictor() -> tuple[Predictor, Written]:
    tracer = Written(traced)
    return Predictor(tracer, PROFILE, ALONE), tracer


def test_memory_is_the_trace_taken_through_the_profile() -> None:
    own, tracer = predictor()
    assert own.memory(CANDIDATE, 2) == Estimate(45, 22.5, 67.5, "traced")
    assert own.memory(CANDIDATE, 4) == Estimate(85, 42.5, 127.5, "traced")
    assert own.memory(CANDIDATE, 4, recompute=True) == Estimate(45, 22.5, 67.5, "traced")
    assert own.memory(CANDIDATE, 4, compiled=True).value == 400
    assert tracer.asked == [(CANDIDATE, 2, False), (CANDIDATE, 4, False), (CANDIDATE, 4, True), (CANDIDATE, 4, False)]


def test_seconds_are_the_trace_taken_through_the_profile() -> None:
    own, tracer = predictor()
    assert own.seconds(CANDIDATE, 2).value == 100 + 0.5 * 4
    assert own.seconds(CANDIDATE, 4, recompute=True).value == 200 + 0.5 * 2
    assert own.seconds(CANDIDATE, 4, compiled=True).value == 1000
    assert tracer.asked == [(CANDIDATE, 2, False), (CANDIDATE, 4, True), (CANDIDATE, 4, False)]


def test_a_run_alone_has_a_profile_of_its_own() -> None:
    own, _ = predictor()
    assert own.seconds(CANDIDATE, 2, alone=True).value == 25
    assert own.seconds(CANDIDATE, 2, recompute=True, alone=True).value == 50
    assert own.seconds(CANDIDATE, 2, compiled=True, alone=True).value == 25, "it has no compiled probes"


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
    assert own.share(CANDIDATE, 2) == share
    assert own.backend == "cuda"
