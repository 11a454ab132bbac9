from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nas.candidate import Architecture, Deviation
from nas.train.model import NORM_EPSILON, RMSNorm, Transformer, attend, rotary_table, rotate, window_mask

Build = Callable[..., Transformer]
PLAIN = Architecture(depth=2, width=16, heads=4, head_size=4, kv_heads=2, mlp_width=24, vocabulary=256, context=16)
WINDOWED = replace(PLAIN, depth=3, window=4, window_pattern="SL")
VARIANTS = [
    PLAIN,
    WINDOWED,
    replace(WINDOWED, window=8, window_pattern="S"),
    replace(PLAIN, tied=False, qk_norm=False, kv_heads=4),
    replace(PLAIN, kv_heads=1, deviations=(Deviation(1, heads=3, kv_heads=3, mlp_width=8),)),
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
