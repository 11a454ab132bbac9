from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nas.candidate import Architecture, Deviation
from nas.plan import Rates
from nas.train.model import (
    NORM_EPSILON,
    RMSNorm,
    SquaredMLP,
    Transformer,
    attend,
    rotary_table,
    rotate,
    window_mask,
)
from nas.train.optimizer import Optimizers

Build = Callable[..., Transformer]
PLAIN = Architecture(depth=2, width=16, heads=4, head_size=4, kv_heads=2, mlp_width=24, vocabulary=256, context=16)
WINDOWED = replace(PLAIN, depth=3, window=4, window_pattern="SL")
VARIANTS = [
    PLAIN,
    WINDOWED,
    replace(WINDOWED, window=8, window_pattern="S"),
    replace(PLAIN, tied=False, qk_norm=False, kv_heads=4),
    replace(PLAIN, kv_heads=1, deviations=(Deviation(1, heads=3, kv_heads=3, mlp_width=8),)),
    replace(PLAIN, activation="relu2"),
    replace(PLAIN, value_embeddings="alternate"),
    replace(PLAIN, value_embeddings="all", deviations=(Deviation(1, heads=3, kv_heads=3),)),
    replace(PLAIN, x0_shortcut=True),
    replace(PLAIN, softcap=2.0),
    replace(WINDOWED, activation="relu2", value_embeddings="all", x0_shortcut=True, softcap=2.0, tied=False),
]


def visible(context: int, window: int) -> Tensor:
    """(T, T), true where query i may see key j: itself and what lies before, with a window only W - 1 of it."""
    query, key = torch.arange(context)[:, None], torch.arange(context)[None, :]
    seen = key <= query
    return seen & (key > query - window) if window else seen


def naive(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Attention head by head, query by query, as it is written down."""
    mask = visible(q.shape[2], window)
    y = torch.empty_like(q)
    for head in range(q.shape[1]):
        shared = head * k.shape[1] // q.shape[1]
        scores = q[:, head] @ k[:, shared].mT / q.shape[-1] ** 0.5
        y[:, head] = scores.masked_fill(~mask, -torch.inf).softmax(-1) @ v[:, shared]
    return y


@given(
    blocks=st.integers(1, 5),
    window=st.integers(1, 6),
    batch=st.integers(1, 2),
    kv_heads=st.integers(1, 3),
    groups=st.integers(1, 3),
    long=st.booleans(),
)
@settings(max_examples=40)
def test_attention(blocks: int, window: int, batch: int, kv_heads: int, groups: int, long: bool) -> None:
    """Windows in blocks, and queries that share keys and values, equal the definition."""
    generator = torch.Generator().manual_seed(blocks * 100 + window)
    context = blocks * window

    def draw(heads: int) -> Tensor:
        return torch.randn(batch, heads, context, 4, generator=generator, dtype=torch.float64, requires_grad=True)

    q, k, v = draw(kv_heads * groups), draw(kv_heads), draw(kv_heads)
    own = 0 if long else window
    found, expected = attend(q, k, v, own), naive(q, k, v, own)
    torch.testing.assert_close(found, expected)
    weights = torch.randn(found.shape, generator=generator, dtype=torch.float64)
    ours = torch.autograd.grad((found * weights).sum(), (q, k, v), retain_graph=True)
    theirs = torch.autograd.grad((expected * weights).sum(), (q, k, v))
    torch.testing.assert_close(ours, theirs)


@given(blocks=st.integers(1, 5), window=st.integers(1, 6))
@settings(max_examples=20)
def test_window_masks_say_who_sees_whom(blocks: int, window: int) -> None:
    mask = window_mask(blocks, window, torch.device("cpu"))
    assert mask.shape == (blocks, window, 2 * window)
    whole = torch.zeros(blocks * window, blocks * window, dtype=torch.bool)
    for block in range(blocks):
        own = whole[block * window : (block + 1) * window]
        own[:, block * window : (block + 1) * window] = mask[block, :, window:]
        if block:
            own[:, (block - 1) * window : block * window] = mask[block, :, :window]
    assert torch.equal(whole, visible(blocks * window, window))
    assert not mask[0, :, :window].any()


@pytest.mark.parametrize("architecture", VARIANTS)
@pytest.mark.parametrize("position", [0, 7, 8, 15])
def test_nothing_sees_what_comes_later(architecture: Architecture, position: int, random_model: Build) -> None:
    model = random_model(architecture)
    tokens = torch.randint(0, 256, (2, 16), generator=torch.Generator().manual_seed(0))
    other = tokens.clone()
    other[:, position] = (other[:, position] + 1) % 256
    before, after = model.logits(tokens), model.logits(other)
    assert torch.equal(before[:, :position], after[:, :position])
    assert not torch.equal(before[:, position], after[:, position])


@pytest.mark.parametrize("layers", [1, 2])
def test_a_window_is_all_that_is_seen(layers: int, random_model: Build) -> None:
    """Through n short layers of window 4 a token reaches 3 n positions on; the last layer is long and made deaf."""
    model = random_model(replace(WINDOWED, depth=layers + 1, window_pattern="S"))
    with torch.no_grad():
        model.blocks[-1].attention.out.weight.zero_()
    tokens = torch.randint(0, 256, (1, 16), generator=torch.Generator().manual_seed(0))
    other = tokens.clone()
    other[:, 2] = (other[:, 2] + 1) % 256
    differs = (model.logits(tokens) != model.logits(other)).any(-1)[0]
    assert differs.nonzero()[:, 0].tolist() == list(range(2, 2 + 3 * layers + 1))


@pytest.mark.parametrize("architecture", VARIANTS)
def test_shorter_text_is_a_prefix(architecture: Architecture, random_model: Build) -> None:
    """Positions count from the start, so that what stands behind changes nothing."""
    model = random_model(architecture)
    tokens = torch.randint(0, 256, (1, 16), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model.logits(tokens[:, :8]), model.logits(tokens)[:, :8], atol=1e-5, rtol=1e-5)


def test_shared_keys_equal_repeated_ones(random_model: Build) -> None:
    grouped, full = random_model(PLAIN), random_model(replace(PLAIN, kv_heads=4))
    with torch.no_grad():
        for theirs, ours in zip(full.parameters(), grouped.parameters(), strict=True):
            if theirs.shape == ours.shape:
                theirs.copy_(ours)
        for theirs, ours in zip(full.blocks, grouped.blocks, strict=True):
            q, k, v = ours.attention.qkv.weight.split(ours.attention.sizes)
            repeated = [part.view(2, 4, 16).repeat_interleave(2, 0).reshape(16, 16) for part in (k, v)]
            theirs.attention.qkv.weight.copy_(torch.cat([q, *repeated]))
    tokens = torch.randint(0, 256, (2, 16), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(grouped.logits(tokens), full.logits(tokens), atol=1e-5, rtol=1e-5)


# --- parts ---


def test_rms_norm() -> None:
    norm = RMSNorm(6)
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(0)) * 5
    with torch.no_grad():
        norm.weight.copy_(torch.arange(6.0))
    expected = x / (x.square().mean(-1, keepdim=True) + NORM_EPSILON).sqrt() * torch.arange(6.0)
    torch.testing.assert_close(norm(x), expected)


def test_rotation_knows_only_distances() -> None:
    """The product of a rotated query and a rotated key depends on how far apart they stand."""
    cos, sin = rotary_table(64, 8)
    assert cos.dtype == torch.float32
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(8, generator=generator), torch.randn(8, generator=generator)
    turned_q, turned_k = (rotate(x.expand(1, 64, 1, 8), cos, sin)[0, :, 0] for x in (q, k))
    products = turned_q @ turned_k.T
    for distance in (0, 1, 20):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(turned_q.norm(dim=-1), q.norm().expand(64))
    torch.testing.assert_close(turned_q[0], q)
    assert (products[0, 1:] - products[0, 0]).abs().max() > 0.1


def test_query_and_key_norms_bound_the_scores(random_model: Build) -> None:
    """With norms of weight 1, queries and keys have length sqrt(E), however large their projections grow."""
    model = random_model(replace(PLAIN, kv_heads=4))
    attention = model.blocks[0].attention
    with torch.no_grad():
        attention.query_norm.weight.fill_(1.0)
        attention.key_norm.weight.fill_(1.0)
    x = torch.randn(1, 16, 16, generator=torch.Generator().manual_seed(0))
    before = attention(x, model.cos_TE, model.sin_TE)
    with torch.no_grad():
        attention.qkv.weight[:32] *= 1000  # queries and keys
    torch.testing.assert_close(attention(x, model.cos_TE, model.sin_TE), before, atol=1e-4, rtol=1e-3)
    plain = Transformer(replace(PLAIN, qk_norm=False))
    assert plain.blocks[0].attention.query_norm is None
    assert len(list(plain.parameters())) == len(list(model.parameters())) - 2 * PLAIN.depth


def test_a_shared_head_is_the_embedding() -> None:
    tied, untied = Transformer(PLAIN), Transformer(replace(PLAIN, tied=False))
    assert tied.head_weight is tied.embedding.weight
    assert set(untied.state_dict()) - set(tied.state_dict()) == {"head.weight"}
    assert untied.head_weight.data_ptr() != untied.embedding.weight.data_ptr()


@pytest.mark.parametrize("architecture", VARIANTS)
@pytest.mark.parametrize("recompute", [False, True])
def test_the_loss_is_that_of_the_logits(architecture: Architecture, recompute: bool, random_model: Build) -> None:
    model = random_model(architecture, recompute=recompute)
    generator = torch.Generator().manual_seed(0)
    tokens, targets = torch.randint(0, 256, (2, 2, 16), generator=generator)
    loss = model(tokens, targets)
    expected = F.cross_entropy(model.logits(tokens).flatten(0, 1), targets.flatten())
    torch.testing.assert_close(loss, expected)
    ours = torch.autograd.grad(loss, list(model.parameters()))
    theirs = torch.autograd.grad(expected, list(model.parameters()))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_recomputing_changes_no_bit(random_model: Build) -> None:
    """Dropout draws the same masks again."""
    gradients = []
    for recompute in (False, True):
        model = random_model(WINDOWED, 0.3, recompute=recompute).train()
        torch.manual_seed(5)
        model(torch.arange(32).view(2, 16), torch.arange(1, 33).view(2, 16)).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_dropout_is_for_training_only(random_model: Build) -> None:
    model, tokens = random_model(PLAIN, 0.5), torch.arange(16)[None]
    model.train()
    assert not torch.equal(model.hidden(tokens), model.hidden(tokens))
    model.eval()
    assert torch.equal(model.hidden(tokens), model.hidden(tokens))


# --- knobs of speedruns ---


def test_squared_relu() -> None:
    mlp = SquaredMLP(6, 10)
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    hidden = x @ mlp.up.weight.T
    torch.testing.assert_close(mlp(x), (hidden * (hidden > 0)) ** 2 @ mlp.down.weight.T)


def test_values_have_what_their_tokens_add(random_model: Build) -> None:
    """Head by head: a head whose scale is zero is that of a model without."""
    with_table, without = random_model(replace(PLAIN, value_embeddings="all")), random_model(PLAIN)
    without.load_state_dict(with_table.state_dict(), strict=False)
    tokens = torch.randint(0, 256, (2, 16), generator=torch.Generator().manual_seed(0))
    x = torch.randn(2, 16, 16, generator=torch.Generator().manual_seed(1))
    own, plain = with_table.blocks[0], without.blocks[0]
    turned = (with_table.cos_TE, with_table.sin_TE)
    query, key, value = own.attention.project(x, *turned, own.added(tokens))
    plain_query, plain_key, plain_value = plain.attention.project(x, *turned, plain.added(tokens))
    assert torch.equal(query, plain_query)
    assert torch.equal(key, plain_key)
    table, scale = own.value_embedding.table.weight, own.value_embedding.scale
    for head in range(2):
        added = scale[head] * table[tokens, 4 * head : 4 * head + 4]
        torch.testing.assert_close(value[:, head], plain_value[:, head] + added)


@pytest.mark.parametrize(
    ("which", "depth", "layers"),
    [("none", 3, []), ("all", 3, [0, 1, 2]), ("alternate", 3, [0, 2]), ("alternate", 4, [1, 3])],
)
def test_which_layers_have_tables(which: str, depth: int, layers: list[int]) -> None:
    model = Transformer(replace(PLAIN, depth=depth, value_embeddings=which))  # type: ignore[arg-type]
    assert [i for i, block in enumerate(model.blocks) if block.value_embedding is not None] == layers
    assert all(tuple(model.blocks[i].value_embedding.table.weight.shape) == (256, 8) for i in layers)


def test_a_shortcut_mixes_in_the_normed_embedding(random_model: Build) -> None:
    """With shares of (0, 1) a layer reads the embedding alone, whatever the layers below made of it."""
    model = random_model(replace(PLAIN, x0_shortcut=True))
    with torch.no_grad():
        model.blocks[1].mixture.shares.copy_(torch.tensor([0.0, 1.0]))
    tokens = torch.randint(0, 256, (2, 16), generator=torch.Generator().manual_seed(0))
    x0 = model.x0_norm(model.embedding(tokens))
    alone = model.blocks[1](torch.zeros_like(x0), model.cos_TE, model.sin_TE, tokens, x0)
    torch.testing.assert_close(model.hidden(tokens), model.norm(alone))


def test_a_shortcut_begins_as_none() -> None:
    shortcut, plain = Transformer(replace(PLAIN, x0_shortcut=True)), Transformer(PLAIN)
    shortcut.initialise(0)
    plain.load_state_dict(shortcut.state_dict(), strict=False)
    tokens = torch.arange(32).view(2, 16)
    assert torch.equal(shortcut.hidden(tokens), plain.hidden(tokens))
    assert all(block.mixture.shares.tolist() == [1.0, 0.0] for block in shortcut.blocks)


@pytest.mark.parametrize("softcap", [0.5, 3.0, 1000.0])
def test_logits_are_capped(softcap: float, random_model: Build) -> None:
    capped, plain = random_model(replace(PLAIN, softcap=softcap)), random_model(PLAIN)
    tokens = torch.arange(32).view(2, 16)
    expected = plain.logits(tokens)
    torch.testing.assert_close(capped.logits(tokens), softcap * torch.tanh(expected / softcap))
    assert capped.logits(tokens).abs().max() <= softcap


@pytest.mark.parametrize(("optimizer", "loss"), [("muon", 2.522653579711914), ("adamw", 4.856808662414551)])
def test_what_was_trained_before_these_knobs_is_trained_alike(optimizer: str, loss: float) -> None:
    """Fields at their default draw the same weights and make the same steps; the losses are those of before."""
    model = Transformer(replace(WINDOWED, tied=optimizer == "muon"))
    model.initialise(3)
    optimizers = Optimizers(model, optimizer)
    tokens = torch.randint(0, 256, (4, 17), generator=torch.Generator().manual_seed(0))
    for _ in range(5):
        found = model(tokens[:, :-1], tokens[:, 1:])
        found.backward()
        optimizers.step(Rates(matrix=0.02, embedding=0.05, head=0.01, vector=0.01, decay=0.0))
    assert found.item() == pytest.approx(loss, rel=1e-5)


# --- initialisation ---


@pytest.mark.parametrize("architecture", VARIANTS)
def test_initial_weights_are_a_function_of_architecture_and_seed(architecture: Architecture) -> None:
    models = [Transformer(architecture) for _ in range(3)]
    torch.manual_seed(123)
    for model, seed in zip(models, (1, 1, 2), strict=True):
        torch.rand(seed)  # the global generator has no say
        model.initialise(seed)
    first, same, other = (torch.cat([p.flatten() for p in model.parameters()]) for model in models)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("tied", [True, False])
def test_training_starts_at_knowing_nothing(tied: bool) -> None:
    """Each block is the identity. A head of its own guesses; a shared one has logits of order 1 for all tokens but the
    one that is read, for which it is sqrt(D)."""
    model = Transformer(replace(PLAIN, width=64, tied=tied))
    model.initialise(0)
    tokens = torch.arange(256).view(16, 16)
    torch.testing.assert_close(model.hidden(tokens), model.norm(model.embedding(tokens)))
    logits = model.logits(tokens).view(256, 256)
    own, others = logits.diagonal(), logits[~torch.eye(256, dtype=torch.bool)]
    assert others.std().item() == pytest.approx(1.0 if tied else 0.0, abs=0.05)
    assert own.mean().item() == pytest.approx(8.0 if tied else 0.0, abs=0.2)
    deviations = {name: p.std().item() for name, p in model.named_parameters() if p.ndim == 2}
    assert deviations["blocks.0.attention.qkv.weight"] == pytest.approx(1 / 8, rel=0.1)
    assert deviations["embedding.weight"] == pytest.approx(1 / 8 if tied else 1, rel=0.1)
    assert all(p.eq(1).all() for p in model.parameters() if p.ndim == 1)
