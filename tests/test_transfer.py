"""Candidates carried to other budgets: what stays, what grows, what binds."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.appraise import Appraiser
from nas.candidate import Architecture, Candidate, Deviation, Recipe
from nas.cost import forward_flops
from nas.errors import InfeasibleError
from nas.gate import MINIMUM_STEPS
from nas.plan import Allowance, Speed, TextFacts
from nas.space import load_space
from nas.spec import Limits
from nas.transfer import transfer

TINY = load_space("llama-tiny")
CANDIDATE = Candidate(Architecture(2, 64, 4, 16, 2, 192, 512, 64), Recipe(512, matrix_rate=1.5))
TRAINED = 10**13
SPEED = Speed(1e-9, 0.0, 0.0)
CANDIDATES = st.integers(0, 200).map(lambda index: TINY.decode(TINY.uniform(index)))
FACTORS = st.floats(1, 60)


class Meter:
    """Text of two bytes a token."""

    def bytes_per_token(self, vocabulary: int) -> float:
        return 2.0

    def facts(self, vocabulary: int, context: int) -> TextFacts:
        return TextFacts(2.0, 10**7, 1, 10, 2, 20, 3, 30)


def appraiser(speed: Speed | None = None, **limits: Any) -> Appraiser:
    return Appraiser(Meter(), Limits(**limits), speed)


def trained(candidate: Candidate, flops: int = TRAINED) -> int:
    """What a plan of that budget spends on training."""
    return appraiser().plan(candidate, Allowance(flops)).train_flops


def size(candidate: Candidate) -> int:
    return forward_flops(candidate.architecture)


@given(CANDIDATES)
@settings(max_examples=30)
def test_the_same_budget_gives_the_candidate_itself(candidate: Candidate) -> None:
    """Whatever is left of a step."""
    found = transfer(candidate, trained(candidate), Allowance(TRAINED), appraiser())
    assert (found.candidate, found.factor, found.binds) == (candidate, 1.0, ())
    assert found.plan == appraiser().plan(candidate, Allowance(TRAINED))
    assert found.costs == appraiser().costs(candidate, found.plan)


@given(CANDIDATES, FACTORS, FACTORS)
@settings(max_examples=30)
def test_a_larger_budget_never_gives_a_smaller_model(candidate: Candidate, factor: float, more: float) -> None:
    flops = [int(TRAINED * factor), int(TRAINED * factor * more)]
    small, large = (transfer(candidate, trained(candidate), Allowance(own), appraiser()) for own in flops)
    assert size(candidate) <= size(small.candidate) <= size(large.candidate)
    assert candidate.recipe.batch_tokens <= small.candidate.recipe.batch_tokens <= large.candidate.recipe.batch_tokens
    assert small.plan.train_flops <= flops[0]


@given(CANDIDATES, st.floats(0.1, 60), st.integers(1, 30))
@settings(max_examples=30)
def test_what_comes_out_keeps_ratios_and_limits(candidate: Candidate, factor: float, room: int) -> None:
    limited = appraiser(flops_per_byte=room * appraiser().cost(candidate).flops_per_byte.__ceil__())
    grant = Allowance(int(TRAINED * factor), memory=2**30)
    found = transfer(candidate, trained(candidate), grant, limited)
    was, now = candidate.architecture, found.candidate.architecture
    assert limited.admits(found.candidate, grant)
    assert found.plan.train_flops <= grant.flops and found.plan.memory_bytes <= 2**30
    assert now.heads * was.width == now.width * was.heads and now.kv_heads * was.heads == now.heads * was.kv_heads
    assert abs(now.mlp_width - was.mlp_width / was.width * now.width) <= 4, "but for rounding to a multiple of 8"
    for name in ("head_size", "vocabulary", "context", "tied", "qk_norm", "window", "window_pattern"):
        assert getattr(now, name) == getattr(was, name)
    assert replace(found.candidate.recipe, batch_tokens=candidate.recipe.batch_tokens) == candidate.recipe


def test_how_far_it_was_carried() -> None:
    found = transfer(CANDIDATE, trained(CANDIDATE), Allowance(16 * TRAINED), appraiser())
    assert found.factor == pytest.approx(16, rel=1e-3)
    assert size(found.candidate) / size(CANDIDATE) == pytest.approx(16**0.45, rel=0.15)
    assert found.binds == ()


def test_what_binds() -> None:
    """The rules ask for about 3.5 times the parameters; there is room for half as many again."""
    params = appraiser().cost(CANDIDATE).params
    found = transfer(CANDIDATE, trained(CANDIDATE), Allowance(16 * TRAINED), appraiser(params=3 * params // 2))
    (said,) = found.binds
    assert said.startswith("params: needs ") and ", allowed " in said
    assert params < appraiser().cost(found.candidate).params <= 3 * params // 2


def test_nothing_larger_fits() -> None:
    full = appraiser(params=appraiser().cost(CANDIDATE).params)
    found = transfer(CANDIDATE, trained(CANDIDATE), Allowance(16 * TRAINED), full)
    assert found.candidate == CANDIDATE and found.binds[0].startswith("params: ")
    assert found.plan.train_flops > 15 * TRAINED, "the same model is trained for longer"


def test_time_binds() -> None:
    """A second for a GFLOP, and a quarter of the time that the FLOPs would take: it is scaled to what is left."""
    own, seconds = appraiser(SPEED), 4 * TRAINED * 1e-9
    found = transfer(CANDIDATE, trained(CANDIDATE), Allowance(16 * TRAINED, seconds), own)
    assert found.binds == ("time: allows 40 TFLOP of 160 TFLOP",)
    assert found.factor == pytest.approx(4, rel=0.01) and found.plan.seconds <= seconds
    free = transfer(CANDIDATE, trained(CANDIDATE), Allowance(4 * TRAINED), own)
    assert size(found.candidate) == size(free.candidate)


def test_layers_that_differ_stay_as_they_are() -> None:
    deviating = replace(
        CANDIDATE, architecture=replace(CANDIDATE.architecture, deviations=(Deviation(0, mlp_width=8),))
    )
    found = transfer(deviating, trained(deviating), Allowance(16 * TRAINED), appraiser(export="any"))
    assert found.candidate == deviating
    assert found.binds == ("deviations: layers that differ have no counterpart at another depth; it stays as it is",)


def test_shapes_end_somewhere() -> None:
    small = Candidate(Architecture(1, 16, 1, 16, 1, 48, 256, 32), Recipe(64))
    found = transfer(small, trained(small, 10**10), Allowance(10**16), appraiser())
    assert (found.candidate.architecture.width, found.candidate.architecture.depth) == (128, 3)
    assert found.binds == ("shape: is looked for up to 8 times the width and 3 times the depth",)


def test_a_smaller_budget_gives_a_smaller_model_down_to_what_can_be_paid() -> None:
    found = transfer(CANDIDATE, trained(CANDIDATE), Allowance(TRAINED // 16), appraiser())
    assert size(found.candidate) < size(CANDIDATE) and found.factor == pytest.approx(1 / 16, rel=0.1)
    rule = f"compute: must allow {MINIMUM_STEPS} steps of a candidate within the limits, found 1 MFLOP; the nearest"
    with pytest.raises(InfeasibleError, match=rule):
        transfer(CANDIDATE, trained(CANDIDATE), Allowance(10**6), appraiser())


@pytest.mark.parametrize("memory", [None, 2**24])
def test_memory_is_kept(memory: int | None) -> None:
    found = transfer(CANDIDATE, trained(CANDIDATE), Allowance(60 * TRAINED, math.inf, memory), appraiser())
    assert bool(found.binds) is (memory is not None)
    assert memory is None or (found.plan.memory_bytes <= memory and found.binds[0].startswith("memory: needs "))
