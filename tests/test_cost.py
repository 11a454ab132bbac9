"""The closed forms against the trainer's own module, counted by torch, and against the allocator."""

import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from nas.candidate import Architecture, Candidate, Deviation, Recipe
from nas.cost import (
    LOGITS_CHUNKS,
    Cost,
    body_flops,
    cost,
    decode_bytes,
    decode_operators,
    evaluation_flops,
    forward_flops,
    kv_bytes_per_token,
    latency_ms_per_kb,
    matrix_params,
    memory_bound,
    optimizer_flops,
    params,
    params_by_part,
    recompute_flops,
    step_elements,
    step_operations,
)
from nas.data.texts import Texts
from nas.measure.memory import peak_bytes
from nas.plan import rates, step_flops
from nas.space import Space, load_space
from nas.train.evaluate import score
from nas.train.model import Transformer
from nas.train.optimizer import Optimizers, matrices

SAMPLES, GROUPS = 200, 10
PLAIN = Architecture(depth=3, width=48, heads=4, head_size=12, kv_heads=2, mlp_width=96, vocabulary=512, context=64)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@cache
def space(name: str) -> Space:
    return load_space(name)


def speedrun(rng: random.Random) -> dict[str, Any]:
    """Values of the knobs of speedruns."""
    return {
        "activation": rng.choice(["swiglu", "relu2"]),
        "value_embeddings": rng.choice(["none", "alternate", "all"]),
        "x0_shortcut": rng.choice([False, True]),
        "softcap": rng.choice([0.0, 15.0]),
    }


def sampled(index: int) -> Candidate:
    """A candidate of a shipped space, some with deviations or a vocabulary of bytes.

    Most have a layer or two, and all few sequences in a batch: more are the same terms once more, and time.
    """
    rng = random.Random(index)
    own = space(("llama-tiny", "llama-small")[index % 2])
    knobs = own.sample(rng)
    knobs["depth"] = 1 + index // 2 % 2 if index % 11 else 5
    if index % 7 == 3:
        knobs["vocabulary"] = 256
    candidate = own.decode(knobs)
    architecture = replace(candidate.architecture, **speedrun(rng) if index % 3 == 1 else {})
    if index % 5 == 1:
        layer, kv_heads = rng.randrange(architecture.depth), rng.randint(1, 4)
        own_heads = Deviation(
            layer, heads=kv_heads * rng.randint(1, 3), kv_heads=kv_heads, mlp_width=rng.choice([0, 40])
        )
        architecture = replace(architecture, deviations=(own_heads,))
    sequences = min(candidate.sequences, rng.choice([1, 2, 4]))
    return Candidate(architecture, replace(candidate.recipe, batch_tokens=sequences * architecture.context))


def counted(work: Callable[[], object]) -> int:
    """Matrix products by torch's counter. It has no formula for the fused attention of the CPU, so attention is
    computed by its definition."""
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:
        work()
    return counter.get_total_flops()


def step_counted(candidate: Candidate, passes: int, *, recompute: bool) -> int:
    """The matrix products of one step of the trainer's own module and optimizers, on meta tensors."""
    architecture = candidate.architecture
    with torch.device("meta"):
        model = Transformer(architecture, candidate.recipe.dropout, recompute=recompute)
    optimizers = Optimizers(model, candidate.recipe.optimizer)
    assert params(architecture) == sum(parameter.numel() for parameter in model.parameters())
    assert matrix_params(architecture) == sum(matrix.shape[0] * matrix.shape[1] for matrix in matrices(model))
    shape = (candidate.sequences // passes, architecture.context)
    tokens = torch.empty(shape, dtype=torch.int64, device="meta")

    def step() -> None:
        for _ in range(passes):
            model(tokens, tokens).backward()
        optimizers.step(rates(candidate, 0.5))

    return counted(step)


@pytest.mark.parametrize("group", range(GROUPS))
def test_parameters_and_step_flops_are_exact(group: int) -> None:
    """Every other candidate recomputes its blocks, every third has two micro-batches."""
    for index in range(group, SAMPLES, GROUPS):
        candidate, recompute = sampled(index), index % 20 >= 10
        passes = 2 if index % 3 == 0 and candidate.sequences % 2 == 0 else 1
        expected = cost(candidate, 3.0).step_flops
        assert step_flops(candidate) == expected
        hardware = expected + (recompute_flops(candidate) if recompute else 0)
        assert step_counted(candidate, passes, recompute=recompute) == hardware, candidate


def test_the_samples_are_of_all_kinds() -> None:
    candidates = [sampled(index) for index in range(SAMPLES)]
    architectures = [candidate.architecture for candidate in candidates]
    kinds = {
        "muon": [c.recipe.optimizer == "muon" for c in candidates],
        "dropout": [c.recipe.dropout > 0 for c in candidates],
        "windows": [any(layer.window for layer in a.layers()) for a in architectures],
        "grouped": [a.heads != a.kv_heads for a in architectures],
        "tied": [a.tied for a in architectures],
        "qk_norm": [a.qk_norm for a in architectures],
        "deviating": [not a.uniform for a in architectures],
        "bytes": [a.vocabulary == 256 for a in architectures],
        "squared ReLU": [a.activation == "relu2" for a in architectures],
        "value embeddings": [a.value_embeddings == "all" for a in architectures],
        "value embeddings in every other layer": [a.value_embeddings == "alternate" for a in architectures],
        "shortcuts": [a.x0_shortcut for a in architectures],
        "capped": [a.softcap > 0 for a in architectures],
        "deep": [a.depth > 2 for a in architectures],
    }
    for kind, own in kinds.items():
        assert 10 <= sum(own) <= SAMPLES - 10, kind


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_recomputing_stops_at_what_the_backward_pass_needs(dropout: float) -> None:
    """Without dropout nothing needs the output of a block's last product."""
    candidate = Candidate(PLAIN, Recipe(128, dropout=dropout))
    last = 0 if dropout else 2 * 64 * 96 * 48 * PLAIN.depth
    assert recompute_flops(candidate) == 2 * (body_flops(PLAIN) - last)


@pytest.mark.parametrize("index", range(40))
def test_parts_add_up(index: int) -> None:
    own = sampled(index).architecture
    parts = params_by_part(own)
    assert sum(parts.values()) == params(own) and min(parts.values()) > 0
    assert parts["embedding"] == own.vocabulary * own.width
    assert parts["attention"] + parts["MLP"] == matrix_params(own)
    assert ("head" in parts) == (not own.tied)
    assert ("value embeddings" in parts) == (own.value_embeddings != "none")


@pytest.mark.parametrize("window", [8, 16, 32])
def test_windows_save_what_they_leave_out(window: int) -> None:
    """Blocks of W queries see 2W keys: T x 2W in place of T x T in each of the two short layers."""
    short = replace(PLAIN, window=window, window_pattern="S")
    query = PLAIN.heads * PLAIN.head_size
    saved = 2 * 4 * 64 * (64 - 2 * window) * query
    assert forward_flops(PLAIN) - forward_flops(short) == saved
    tokens = torch.zeros((1, 64), dtype=torch.int64)
    for architecture in (PLAIN, short):
        model = Transformer(architecture)
        assert counted(partial(model.logits, tokens)) == forward_flops(architecture)


@pytest.mark.parametrize("heads", [2, 6])
def test_muon_is_not_free(heads: int) -> None:
    """Newton-Schulz by hand: 5 times 2 m^2 n, 2 m^3 and 2 m^2 n for sides m <= n."""
    architecture = replace(PLAIN, depth=1, heads=heads, kv_heads=heads)
    query = 12 * heads
    by_hand = sum(
        count * 5 * (4 * min(rows, columns) ** 2 * max(rows, columns) + 2 * min(rows, columns) ** 3)
        for count, rows, columns in ((4, query, 48), (3, 96, 48))
    )
    assert optimizer_flops(Candidate(architecture, Recipe(64))) == by_hand
    assert optimizer_flops(Candidate(architecture, Recipe(64, "adamw"))) == 0


def test_costs_of_use_are_per_byte() -> None:
    candidate = Candidate(PLAIN, Recipe(64))
    found = cost(candidate, bytes_per_token=2.5)
    assert found.flops_per_byte == pytest.approx(forward_flops(PLAIN) / 64 / 2.5)
    assert kv_bytes_per_token(PLAIN) == 4 * 2 * (2 * 12) * 3  # float32, keys and values, two heads of 12, three layers
    assert found.kv_bytes_per_byte == kv_bytes_per_token(PLAIN) / 2.5
    assert found.weight_bytes == 4 * found.params
    assert found.step_flops == 3 * forward_flops(PLAIN) + optimizer_flops(candidate)
    assert Cost.from_dict(found.to_dict()) == found
    assert cost(candidate, 5.0).flops_per_byte == found.flops_per_byte / 2


@pytest.mark.parametrize("changes", [{}, {"window": 16, "window_pattern": "SL"}, {"tied": False}])
def test_evaluation_flops_are_exact(tiny_texts: Texts, changes: dict[str, object]) -> None:
    """Of the real scoring: all windows through the body, scored tokens alone through the head."""
    architecture = replace(PLAIN, vocabulary=320, **changes)  # type: ignore[arg-type]
    evaluation = tiny_texts.evaluation("validation", 320, 64)
    assert evaluation.scored_tokens < evaluation.inputs.size
    model, scores = Transformer(architecture), []
    model.initialise(0)
    found = counted(lambda: scores.append(score(model, evaluation, 7)))
    assert found == scores[0].flops == evaluation_flops(architecture, len(evaluation.inputs), evaluation.scored_tokens)


# --- memory ---


@pytest.mark.parametrize("index", range(18))
def test_memory_is_bounded(index: int, tiny_texts: Texts) -> None:
    """Two steps of real training, as the trainer lays them out, and scoring stay below the bound, which is not more
    than twice what they need. Small models are left out of the latter: constants dominate there."""
    rng = random.Random(index)
    knobs = space("llama-tiny").sample(rng)
    if index % 7 == 3:
        knobs["vocabulary"] = 256
    candidate = space("llama-tiny").decode(knobs)
    more = speedrun(rng) if index >= 12 else {}
    candidate = replace(
        candidate,
        architecture=replace(candidate.architecture, **more),
        recipe=replace(candidate.recipe, dropout=0.1 * (index % 3 == 0)),
    )
    sizes = [size for size in range(1, candidate.sequences + 1) if candidate.sequences % size == 0]
    micro_batch, recompute, chunk = rng.choice(sizes), index % 2 == 1, LOGITS_CHUNKS["cpu"][index % 4 // 2]
    architecture = candidate.architecture
    generator = torch.Generator().manual_seed(index)
    shape = (2 * micro_batch, architecture.context)
    tokens = torch.randint(0, architecture.vocabulary, shape, generator=generator)
    evaluation = tiny_texts.evaluation("validation", 256, architecture.context)

    def work() -> None:
        model = Transformer(architecture, candidate.recipe.dropout, recompute=recompute, logits_chunk=chunk)
        model.initialise(0)
        optimizers = Optimizers(model, candidate.recipe.optimizer)
        for step in range(2):
            for first in range(0, 2 * micro_batch if sizes[-1] > micro_batch else micro_batch, micro_batch):
                own = tokens[first : first + micro_batch]
                model(own, own).backward()
            optimizers.step(rates(candidate, step / 2))
        score(model, evaluation, micro_batch)

    peak, bound = peak_bytes(work), memory_bound(candidate, micro_batch, recompute=recompute, logits_chunk=chunk)
    assert peak <= bound
    if peak > 20 * 2**20:
        assert bound <= 2 * peak


@pytest.mark.parametrize("index", range(0, 40, 3))
def test_smaller_micro_batches_recompute_and_smaller_chunks_need_no_more(index: int) -> None:
    candidate = sampled(index)
    sizes = [size for size in range(1, candidate.sequences + 1) if candidate.sequences % size == 0]
    bounds = [memory_bound(candidate, size) for size in sizes]
    lean = [memory_bound(candidate, size, recompute=True) for size in sizes]
    assert bounds == sorted(bounds)
    assert lean == sorted(lean)
    assert all(a <= b for a, b in zip(lean, bounds, strict=True))
    chunks = [memory_bound(candidate, sizes[-1], logits_chunk=chunk) for chunk in LOGITS_CHUNKS["cpu"]]
    assert chunks == sorted(chunks, reverse=True)


def test_peak_bytes() -> None:
    def work() -> None:
        first = torch.empty(2**20, dtype=torch.uint8)
        second = torch.empty(2**21, dtype=torch.uint8)
        del first, second
        torch.empty(2**20, dtype=torch.uint8)

    assert 3 * 2**20 <= peak_bytes(work) < 3 * 2**20 + 2**16
    assert peak_bytes(lambda: None) == 0


# --- what predicts time ---


def test_work_that_is_no_matrix_product_grows_with_its_causes() -> None:
    candidate = Candidate(PLAIN, Recipe(128))
    deeper = Candidate(replace(PLAIN, depth=6), Recipe(128))
    larger = Candidate(PLAIN, Recipe(256))
    assert step_elements(candidate) < step_elements(deeper)
    assert step_elements(candidate) < step_elements(larger) < 2 * step_elements(candidate)
    assert step_operations(candidate) < step_operations(deeper)
    assert step_operations(candidate) == step_operations(larger) < step_operations(candidate, accumulation=2)
    assert step_operations(Candidate(PLAIN, Recipe(128, "adamw"))) < step_operations(candidate)


# --- in use ---


@pytest.mark.parametrize(
    ("changes", "floats"),
    [
        # Embedding 512 x 48; in each of 3 layers qkv 96 x 48, out 48 x 48, gate, up and down 3 x 96 x 48, norms
        # 2 x 48 and 2 x 12; the last norm 48. Of a cache, half of 64 positions: keys and values of 2 heads of 12.
        ({}, 24576 + 3 * (4608 + 2304 + 13824 + 96 + 24) + 48 + 3 * 32 * 48),
        ({"qk_norm": False}, 24576 + 3 * (4608 + 2304 + 13824 + 96) + 48 + 3 * 32 * 48),
        ({"tied": False}, 24576 + 3 * (4608 + 2304 + 13824 + 96 + 24) + 48 + 3 * 32 * 48),  # a row of the other alone
        ({"window": 16, "window_pattern": "SL"}, 24576 + 3 * 20856 + 48 + (16 + 32 + 32) * 48),
        ({"window": 32, "window_pattern": "S"}, 24576 + 3 * 20856 + 48 + 3 * 32 * 48),  # no more than half is filled
        ({"kv_heads": 4}, 24576 + 3 * (20856 + 2304) + 48 + 3 * 32 * 96),
        ({"activation": "relu2"}, 24576 + 3 * (20856 - 4608) + 48 + 3 * 32 * 48),
        ({"value_embeddings": "all"}, 24576 + 3 * (20856 + 2) + 48 + 3 * 32 * 48),  # scales of two heads, no table
        ({"x0_shortcut": True}, 24576 + 3 * (20856 + 2) + 2 * 48 + 3 * 32 * 48),
        ({"softcap": 15.0}, 24576 + 3 * 20856 + 48 + 3 * 32 * 48),
    ],
)
def test_what_the_next_token_reads_by_hand(changes: dict[str, object], floats: int) -> None:
    assert decode_bytes(replace(PLAIN, **changes)) == 4 * floats  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "operators"),
    [
        ({"depth": 1}, 58),
        ({"depth": 3}, 156),
        ({"depth": 3, "qk_norm": False}, 114),
        ({"activation": "relu2"}, 156),
        ({"value_embeddings": "all"}, 165),
        ({"value_embeddings": "alternate"}, 162),
        ({"x0_shortcut": True}, 172),
        ({"softcap": 15.0}, 159),
    ],
)
def test_what_the_next_token_launches(changes: dict[str, object], operators: int) -> None:
    """A test of the decoder counts them."""
    assert decode_operators(replace(PLAIN, **changes)) == operators  # type: ignore[arg-type]


# --- knobs of speedruns ---


@pytest.mark.parametrize(
    ("changes", "more", "forward"),
    [
        ({"activation": "relu2"}, -3 * 48 * 96, -3 * 2 * 64 * 48 * 96),  # a matrix less in each of 3 layers
        ({"value_embeddings": "all"}, 3 * (512 * 24 + 2), 0),  # a row of two heads for each token, and two scales
        ({"value_embeddings": "alternate"}, 2 * (512 * 24 + 2), 0),  # the first and the last
        ({"x0_shortcut": True}, 48 + 3 * 2, 0),
        ({"softcap": 15.0}, 0, 0),
    ],
)
def test_what_knobs_of_speedruns_cost(changes: dict[str, object], more: int, forward: int) -> None:
    """By hand; lookups, scalars and activations are free of FLOPs, of weights they are not."""
    changed = replace(PLAIN, **changes)  # type: ignore[arg-type]
    assert params(changed) - params(PLAIN) == more
    assert forward_flops(changed) - forward_flops(PLAIN) == forward
    assert kv_bytes_per_token(changed) == kv_bytes_per_token(PLAIN)
    wide = 5 * (4 * 48 * 48 * 96 + 2 * 48**3)  # Newton-Schulz of a matrix of the MLP
    muon = Candidate(changed, Recipe(64)), Candidate(PLAIN, Recipe(64))
    assert optimizer_flops(muon[0]) - optimizer_flops(muon[1]) == (-3 * wide if "activation" in changes else 0)


@settings(max_examples=12)
@given(
    st.fixed_dictionaries(
        {
            "activation": st.sampled_from(["swiglu", "relu2"]),
            "value_embeddings": st.sampled_from(["none", "alternate", "all"]),
            "x0_shortcut": st.booleans(),
            "softcap": st.sampled_from([0.0, 15.0]),
            "tied": st.booleans(),
            "qk_norm": st.booleans(),
            "depth": st.integers(1, 4),
            "kv_heads": st.sampled_from([1, 2, 4]),
        }
    ),
    st.sampled_from(["muon", "adamw"]),
    st.booleans(),
    st.booleans(),
)
def test_any_combination_is_counted(knobs: dict[str, Any], optimizer: Any, windowed: bool, recompute: bool) -> None:
    own = replace(PLAIN, **knobs, window=16 if windowed else 0, window_pattern="SL" if windowed else "L")
    candidate = Candidate(own, Recipe(128, optimizer))
    expected = step_flops(candidate) + (recompute_flops(candidate) if recompute else 0)
    assert step_counted(candidate, 2, recompute=recompute) == expected


def test_latency_is_of_text_and_not_of_tokens() -> None:
    assert latency_ms_per_kb(0.002, 4.0) == 500.0, "250 tokens of 2 ms"
    assert latency_ms_per_kb(0.002, 8.0) == 250.0
    assert latency_ms_per_kb(0.0, 8.0) == 0.0
