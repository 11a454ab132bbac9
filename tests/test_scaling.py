import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nas.candidate import Architecture, Candidate, Deviation, Recipe
from nas.cost import forward_flops
from nas.plan import TextFacts, step_flops
from nas.scaling import dial, expected_excess, fresh_bytes, largest, law_excess, scale
from nas.space import Space, load_space

ARCHITECTURE = Architecture(
    depth=3, width=64, heads=4, head_size=16, kv_heads=2, mlp_width=192, vocabulary=1024, context=128
)
CANDIDATE = Candidate(ARCHITECTURE, Recipe(1024))


@cache
def tiny() -> Space:
    return load_space("llama-tiny")


def admits_steps(flops: int) -> Callable[[Candidate], bool]:
    return lambda candidate: 20 * step_flops(candidate) <= flops


def chosen(flops: int, admits: Callable[[Candidate], bool] | None = None) -> Candidate | None:
    knobs = dial(tiny(), flops, facts_of, admits or admits_steps(flops))
    return None if knobs is None else tiny().decode(knobs)


def test_the_dial_grows_with_the_budget() -> None:
    sizes = []
    for flops in (10**10, 10**11, 10**12, 10**13, 10**14):
        candidate = chosen(flops)
        assert candidate is not None
        sizes.append(forward_flops(candidate.architecture))
    assert sizes == sorted(sizes)
    assert sizes[-1] > 4 * sizes[0]


def test_the_dial_keeps_to_what_is_admitted() -> None:
    limit = 10**8
    candidate = chosen(10**13, lambda c: forward_flops(c.architecture) <= limit)
    assert candidate is not None
    assert forward_flops(candidate.architecture) <= limit < forward_flops(chosen(10**13).architecture)  # type: ignore[union-attr]
    assert chosen(10**13, lambda _: False) is None


def test_the_dial_gives_knobs_of_the_space() -> None:
    knobs = dial(tiny(), 10**12, facts_of, lambda _: True)
    assert knobs is not None
    assert tiny().encode(tiny().decode(knobs)) == knobs
    depth, width = int(knobs["depth"]), int(knobs["width"])
    others = [abs(math.log(int(other) * 24 / width)) for other in tiny().values("depth")]
    assert abs(math.log(depth * 24 / width)) == min(others)


def test_the_law() -> None:
    assert law_excess(4e6, 1e6, 1e8) == pytest.approx(3.48 * 4e6**-0.34 + 313 * 1e8**-0.49 + 136 * 1e6**-0.593)


@given(st.floats(1e3, 1e9), st.floats(1e3, 1e9), st.floats(1e5, 1e11), st.sampled_from([0, 1, 2]))
def test_more_of_anything_promises_less_loss(layers: float, head: float, read: float, which: int) -> None:
    own = [layers, head, read]
    more = [value * (1.5 if place == which else 1) for place, value in enumerate(own)]
    assert law_excess(*more) < law_excess(*own)


@pytest.mark.parametrize(("flops", "tokens"), [(10**18, 18), (10**20, 8)])
def test_where_heads_weigh_little_a_parameter_gets_about_20_tokens(flops: int, tokens: float) -> None:
    """Of 4 bytes; as Hoffmann et al. found, far above the budgets that the constants were fitted to."""
    sizes = [10 ** (power / 50) for power in range(300, 500)]
    best = min(sizes, key=lambda size: law_excess(size, 1e9, 4 * flops / (6 * size)))
    assert flops / (6 * best**2) == pytest.approx(tokens, rel=0.1)


@given(st.floats(1e3, 1e12), st.floats(0.01, 4))
def test_up_to_four_epochs_teach_nearly_as_new_text_does(size: float, epochs: float) -> None:
    """A tenth less at four of them; the more often a text was read the less, and never more than a limit."""
    fresh = fresh_bytes(size, epochs)
    assert 0.9 * size * epochs <= fresh <= size * epochs * (1 + 1e-12)
    assert fresh <= fresh_bytes(size, epochs + 1) <= fresh_bytes(size, math.inf) == pytest.approx(16.4 * size)
    assert epochs > 1 or fresh == size * epochs


def facts_of(vocabulary: int, context: int, train_bytes: float = 10e6, longer: float = 1.0) -> TextFacts:
    token = (1 + math.log2(vocabulary) / 4) * longer
    return TextFacts(token, round(train_bytes / token), 10, 1_000, 100, 10_000, 90, 9_000)


def test_the_law_of_a_run() -> None:
    """By the parameters in matrix products, those of the head apart, and the bytes that its FLOPs pay for; of a small
    text by what repeats are worth."""
    flops, own = 10**12, ARCHITECTURE
    head = own.vocabulary * own.width
    layers = forward_flops(own) / (2 * own.context) - head
    read = flops / step_flops(CANDIDATE) * CANDIDATE.recipe.batch_tokens * facts_of(1024, 128).bytes_per_token
    assert expected_excess(CANDIDATE, flops, partial(facts_of, train_bytes=1e12)) == pytest.approx(
        law_excess(layers, head, read), rel=1e-6
    )
    small = expected_excess(CANDIDATE, flops, partial(facts_of, train_bytes=1e6))
    assert small == pytest.approx(law_excess(layers, head, fresh_bytes(1e6, read / 1e6)), rel=1e-5)
    asked: list[tuple[int, int]] = []
    expected_excess(CANDIDATE, flops, lambda *sizes: asked.append(sizes) or facts_of(*sizes))
    assert asked == [(own.vocabulary, own.context)]


@given(st.integers(0, 200), st.integers(10**9, 10**13), st.floats(1.01, 100), st.floats(1.01, 3))
def test_more_compute_and_longer_tokens_promise_less_loss(index: int, flops: int, more: float, longer: float) -> None:
    candidate = tiny().decode(tiny().uniform(index))
    facts = partial(facts_of, train_bytes=1e12)
    own = expected_excess(candidate, flops, facts)
    assert expected_excess(candidate, int(flops * more), facts) < own
    assert expected_excess(candidate, flops, partial(facts, longer=longer)) < own


@pytest.mark.parametrize(
    ("compute", "shape"),
    [(0.6e12, (1, 32, 4096)), (2.5e12, (2, 48, 4096)), (1e13, (3, 64, 8192)), (1e14, (4, 96, 8192))],
)
def test_the_dial_of_measured_budgets(compute: float, shape: tuple[int, int, int]) -> None:
    """Depth, width and vocabulary for a text like the shipped one; what each is worth there: docs/results/law.md."""
    sizes = {512: 2.34, 1024: 2.87, 2048: 3.32, 4096: 3.78, 8192: 4.09}  # bytes per token

    def facts(vocabulary: int, context: int) -> TextFacts:
        own = facts_of(vocabulary, context)
        token = sizes[vocabulary]
        return replace(own, bytes_per_token=token, train_tokens=round(3.1e6 / token))

    knobs = dial(tiny(), round(compute), facts, lambda _: True)
    assert knobs is not None
    assert (knobs["depth"], knobs["width"], knobs["vocabulary"]) == shape


@pytest.mark.parametrize("flops", [10**10, 10**12, 10**14])
def test_the_law_decides_what_the_dial_chooses(flops: int) -> None:
    """Of the widths and vocabularies, each at the depth that its width asks for."""
    own = chosen(flops, lambda _: True)
    assert own is not None
    ruled = []
    for knobs in tiny().grid("depth", "width", "vocabulary"):
        off = [abs(math.log(int(depth) * 24 / int(knobs["width"]))) for depth in tiny().values("depth")]
        if tiny().values("depth")[off.index(min(off))] == knobs["depth"]:
            ruled.append(tiny().decode(knobs))
    excess = [expected_excess(candidate, flops, facts_of) for candidate in ruled]
    assert len(ruled) == 6 * 5 and own == ruled[excess.index(min(excess))]


def test_the_largest() -> None:
    knobs = largest(tiny(), lambda _: True)
    assert knobs is not None
    top = tiny().decode(knobs).architecture
    assert (top.depth, top.width, top.vocabulary, top.mlp_width) == (8, 192, 8192, 768)
    limit = forward_flops(top) // 10
    fitting = largest(tiny(), lambda c: forward_flops(c.architecture) <= limit)
    assert fitting is not None
    size = forward_flops(tiny().decode(fitting).architecture)
    assert size <= limit
    grid = tiny().grid("depth", "width", "vocabulary", "mlp_ratio")
    assert not any(size < forward_flops(tiny().decode(other).architecture) <= limit for other in grid)
    assert largest(tiny(), lambda _: False) is None


@given(st.integers(0, 200), st.floats(0.3, 30), st.integers(0, 1))
@settings(max_examples=40)
def test_a_scaled_candidate_keeps_its_ratios(index: int, ratio: float, recipe: int) -> None:
    origin = tiny().decode(tiny().uniform(index))
    scaled = scale(origin, 10**12, int(ratio * 10**12), lambda _: True)
    was, now = origin.architecture, scaled.architecture
    assert now.heads * was.width == now.width * was.heads
    assert now.heads * was.kv_heads == now.kv_heads * was.heads
    assert abs(now.mlp_width - was.mlp_width / was.width * now.width) <= 4
    kept = ("head_size", "vocabulary", "context", "tied", "qk_norm", "window", "window_pattern")
    assert all(getattr(now, name) == getattr(was, name) for name in kept)
    assert replace(scaled.recipe, batch_tokens=origin.recipe.batch_tokens) == origin.recipe
    assume(ratio > 2 or ratio < 0.5)
    bigger = forward_flops(now) >= forward_flops(was)
    assert bigger == (ratio > 1) or now == was
    assert scaled.recipe.batch_tokens >= origin.recipe.batch_tokens or ratio < 1


def test_scaling_follows_the_rule() -> None:
    """Parameters in matrix products grow as compute^0.45."""
    for ratio in (4, 16):
        scaled = scale(CANDIDATE, 10**12, ratio * 10**12, lambda _: True)
        grown = forward_flops(scaled.architecture) / forward_flops(ARCHITECTURE)
        assert grown == pytest.approx(ratio ** (0.28 / 0.62), rel=0.12)
        aspect = scaled.architecture.width / scaled.architecture.depth
        assert 0.5 <= aspect / (ARCHITECTURE.width / ARCHITECTURE.depth) <= 2
    assert scale(CANDIDATE, 10**12, 10**12, lambda _: True) == CANDIDATE


@given(st.integers(0, 60), st.floats(0.3, 30), st.integers(10**9, 10**13))
@settings(max_examples=30)
def test_scaling_never_leaves_what_is_admitted(index: int, ratio: float, flops: int) -> None:
    admits = admits_steps(flops)
    origin = tiny().decode(tiny().uniform(index))
    scaled = scale(origin, 10**12, int(ratio * 10**12), admits)
    assert scaled == origin or admits(scaled)


def test_what_cannot_be_scaled_stays() -> None:
    deviating = replace(CANDIDATE, architecture=replace(ARCHITECTURE, deviations=(Deviation(0, mlp_width=8),)))
    assert scale(deviating, 10**12, 10**13, lambda _: True) == deviating
    assert scale(CANDIDATE, 10**12, 10**13, lambda _: False) == CANDIDATE


@pytest.mark.parametrize("kv_heads", [1, 2, 6])
def test_heads_that_do_not_divide_the_width_scale_together(kv_heads: int) -> None:
    odd = replace(CANDIDATE, architecture=replace(ARCHITECTURE, width=64, heads=6, kv_heads=kv_heads))
    for ratio in (3, 10, 100):
        scaled = scale(odd, 10**12, ratio * 10**12, lambda _: True).architecture
        assert scaled.heads * 64 == scaled.width * 6
        assert scaled.heads * kv_heads == scaled.kv_heads * 6
    assert scaled.width > 64
