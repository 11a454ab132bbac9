import itertools
import math
import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas.candidate import Architecture, Candidate, Recipe
from nas.cost import memory_bound, recompute_flops, step_elements, step_operations
from nas.measure.speed import MEASURED, WARM_UP, Timing, fit_speed, measure_speed, time_steps
from nas.plan import Speed, lay_out, step_flops

TINY = Architecture(depth=1, width=16, heads=2, head_size=8, kv_heads=1, mlp_width=24, vocabulary=256, context=32)


def shape(depth: int, width: int, vocabulary: int, batch: int, optimizer: str = "muon") -> Candidate:
    heads = width // 8
    own = replace(
        TINY, depth=depth, width=width, heads=heads, kv_heads=heads, mlp_width=3 * width, vocabulary=vocabulary
    )
    return Candidate(own, Recipe(batch_tokens=32 * batch, optimizer=optimizer))  # type: ignore[arg-type]


SHAPES = [
    shape(1, 16, 256, 2), shape(8, 16, 256, 1), shape(1, 64, 256, 8), shape(2, 16, 4096, 8), shape(4, 64, 256, 1),
    shape(2, 32, 1024, 4, "adamw"), shape(6, 32, 256, 16, "adamw"), shape(3, 48, 512, 4),
]  # fmt: skip
COEFFICIENTS = st.tuples(
    st.sampled_from([0.0, 1e-11, 1e-9]), st.sampled_from([0.0, 1e-10, 1e-8]), st.sampled_from([0.0, 1e-6, 1e-4])
).filter(any)


def timings_of(speed: Speed, noise: float = 0.0, seed: int = 0) -> list[Timing]:
    rng = random.Random(seed)
    return [Timing(own, 1, False, speed.step_seconds(own) * math.exp(noise * rng.gauss(0, 1))) for own in SHAPES]


@given(COEFFICIENTS)
def test_known_coefficients_are_found(coefficients: tuple[float, float, float]) -> None:
    known = Speed(*coefficients)
    found = fit_speed(timings_of(known), "cpu", 2)
    assert found.error < 1e-6
    assert (found.device, found.threads) == ("cpu", 2)
    for own in SHAPES:
        assert found.step_seconds(own) == pytest.approx(known.step_seconds(own), rel=1e-6)
    for name in ("seconds_per_flop", "seconds_per_element", "seconds_per_operation"):
        share = getattr(known, name)
        assert getattr(found, name) == pytest.approx(share, rel=1e-3, abs=1e-18)


@given(COEFFICIENTS, st.floats(0, 0.5), st.integers(0, 1000), st.integers(1, len(SHAPES)))
def test_noise_makes_no_coefficient_negative(
    coefficients: tuple[float, float, float], noise: float, seed: int, count: int
) -> None:
    timings = timings_of(Speed(*coefficients), noise, seed)[:count]
    found = fit_speed(timings, "cpu", 1)
    values = (found.seconds_per_flop, found.seconds_per_element, found.seconds_per_operation)
    assert all(math.isfinite(value) and value >= 0 for value in values) and any(values)
    errors = [abs(found.step_seconds(own.candidate) / own.seconds - 1) for own in timings]
    assert found.error == pytest.approx(max(errors), abs=1e-9)


@pytest.mark.parametrize("law", [lambda size: 1.0, lambda size: 1 / size, lambda size: 1e-7])
def test_times_that_make_no_sense_still_give_a_speed(law: object) -> None:
    timings = [Timing(own, 1, False, law(step_flops(own))) for own in SHAPES]  # type: ignore[operator]
    found = fit_speed(timings, "cpu", 1)
    assert all(0 < found.step_seconds(own) < math.inf for own in SHAPES)
    assert math.isfinite(found.error)


@given(COEFFICIENTS)
def test_what_is_larger_is_never_predicted_faster(coefficients: tuple[float, float, float]) -> None:
    speed = fit_speed(timings_of(Speed(*coefficients), noise=0.3), "cpu", 1)

    def sizes(candidate: Candidate) -> tuple[int, int, int]:
        return step_flops(candidate), step_elements(candidate), step_operations(candidate)

    for small, large in itertools.permutations(SHAPES, 2):
        if all(a <= b for a, b in zip(sizes(small), sizes(large), strict=True)):
            assert speed.step_seconds(small) <= speed.step_seconds(large)


def test_recomputing_is_counted_as_work() -> None:
    own = shape(4, 64, 256, 4)
    timing = Timing(own, 1, True, 1.0)
    assert timing.flops == step_flops(own) + recompute_flops(own)
    known = Speed(1e-9, 1e-8, 1e-5)
    timings = [
        Timing(own, 1, lean, known.step_seconds(own, recompute=lean)) for own in SHAPES for lean in (False, True)
    ]
    assert fit_speed(timings, "cpu", 1).error < 1e-6


def test_real_steps() -> None:
    torch.set_num_threads(1)
    candidates = [shape(1, 16, 256, 2), shape(2, 16, 256, 2, "adamw"), shape(2, 32, 512, 4)]
    speed, flops = measure_speed(candidates, "cpu", 1, "float32")
    assert flops == (WARM_UP + MEASURED) * sum(map(step_flops, candidates))
    assert all(0 < speed.step_seconds(own) < math.inf for own in candidates)
    assert speed.step_seconds(candidates[0]) <= speed.step_seconds(candidates[2])
    assert 0 <= speed.error < math.inf


def test_a_step_is_laid_out_as_it_will_be_trained() -> None:
    own = shape(2, 16, 256, 4)
    lean = memory_bound(own, 1, recompute=True)
    timing = time_steps(own, "cpu", "float32", memory=lean)
    layout = lay_out(own, lean)
    assert (timing.accumulation, timing.recompute) == (4 // layout.micro_batch, layout.recompute)
    assert timing.accumulation > 1 and timing.seconds > 0
