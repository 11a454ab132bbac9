"""What is read token by token against what is read at once."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from nas.candidate import Architecture, Deviation
from nas.cost import decode_operators
from nas.train.decode import Decoder
from nas.train.model import Transformer

Build = Callable[..., Transformer]
PLAIN = Architecture(depth=2, width=16, heads=4, head_size=4, kv_heads=2, mlp_width=24, vocabulary=256, context=16)
WINDOWED = replace(PLAIN, depth=3, window=4, window_pattern="SL")
VARIANTS = {
    "plain": PLAIN,
    "windows": WINDOWED,
    "a window of one": replace(WINDOWED, window=1),
    "a third of the context": replace(WINDOWED, context=18, window=6, window_pattern="SSL"),
    "half of the context": replace(WINDOWED, window=8),
    "a key head for each": replace(PLAIN, kv_heads=4),
    "one key head": replace(PLAIN, kv_heads=1),
    "untied": replace(PLAIN, tied=False),
    "no norm of queries": replace(PLAIN, qk_norm=False),
    "layers that deviate": replace(PLAIN, deviations=(Deviation(1, heads=3, kv_heads=3, mlp_width=8),)),
    "squared ReLU": replace(PLAIN, activation="relu2"),
    "value embeddings": replace(PLAIN, value_embeddings="all"),
    "value embeddings in every other layer": replace(WINDOWED, value_embeddings="alternate", kv_heads=4),
    "a shortcut from the embedding": replace(PLAIN, x0_shortcut=True),
    "a cap": replace(PLAIN, softcap=2.0),
    "all knobs of speedruns": replace(
        WINDOWED, activation="relu2", value_embeddings="all", x0_shortcut=True, softcap=15.0, tied=False
    ),
}
variant = pytest.mark.parametrize("name", VARIANTS)


def text(architecture: Architecture, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, architecture.vocabulary, (architecture.context,), generator=generator)


def read(model: Transformer, tokens: Tensor, first: int) -> Tensor:
    """Logits (T - first + 1, V) of what follows each of the tokens from the last of the ``first`` on."""
    decoder, last = Decoder(model), len(tokens)
    pieces = [tokens[:first], *(tokens[at : at + 1] for at in range(first, last))]
    return torch.stack([decoder.read(piece) for piece in pieces])


@variant
@settings(max_examples=12)
@given(st.data())
def test_logits_are_those_of_the_whole(name: str, random_model: Build, data: st.DataObject) -> None:
    """However many tokens are read at first: a multiple of the window or not, one, or all."""
    architecture = VARIANTS[name]
    first = data.draw(st.integers(1, architecture.context))
    model, tokens = random_model(architecture).eval(), text(architecture, first)
    with torch.no_grad():
        expected = model.logits(tokens[None])[0, first - 1 :]
    torch.testing.assert_close(read(model, tokens, first), expected, atol=1e-4, rtol=1e-4)


@variant
@pytest.mark.parametrize("first", [1, 7])
def test_in_half_precision_up_to_rounding(name: str, first: int, random_model: Build) -> None:
    """As far from the whole as that is from float32."""
    architecture = VARIANTS[name]
    tokens = text(architecture)
    half = random_model(architecture, precision="bfloat16").eval()
    with torch.no_grad():
        whole, exact = (
            own.logits(tokens[None])[0, first - 1 :].float() for own in (half, random_model(architecture).eval())
        )
    found = read(half, tokens, first)
    assert found.dtype == torch.float32
    mine, rounding = ((own - exact).square().mean().sqrt() / exact.std() for own in (found, whole))
    assert 0 < mine < 1.25 * rounding < 0.03


def test_full_is_when_the_context_is(random_model: Build) -> None:
    decoder, tokens, context = Decoder(random_model(PLAIN).eval()), text(PLAIN), PLAIN.context
    assert not decoder.full
    decoder.read(tokens[: context - 2])
    assert not decoder.full
    decoder.read(tokens[-2:-1])
    assert not decoder.full
    decoder.read(tokens[-1:])
    assert decoder.full
    at_once = Decoder(random_model(PLAIN).eval())
    at_once.read(tokens)
    assert at_once.full


def test_decoders_share_nothing_and_keep_no_gradients(random_model: Build) -> None:
    model = random_model(WINDOWED).eval()
    one, other = (text(WINDOWED, seed) for seed in (1, 2))
    alone = read(model, one, 3)
    first, second = Decoder(model), Decoder(model)
    mixed = []
    for at in range(WINDOWED.context):
        mixed.append(first.read(one[at : at + 1]))
        second.read(other[at : at + 1])
    torch.testing.assert_close(torch.stack(mixed)[2:], alone, atol=1e-4, rtol=1e-4)
    assert not any(logits.requires_grad for logits in mixed)
    assert all(parameter.grad is None for parameter in model.parameters())


@variant
def test_operators_are_counted_to_the_one(name: str, random_model: Build) -> None:
    """Of a token amid a context, on the CPU. Views launch nothing; nor does the one, not called so, with which torch
    gives a product by MKL its shape."""

    class Counted(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            self.count += not (func.is_view or func is torch.ops.aten._unsafe_view.default)
            return func(*args, **(kwargs or {}))

    architecture = VARIANTS[name]
    decoder, tokens = Decoder(random_model(architecture).eval()), text(architecture)
    decoder.read(tokens[:8])
    with Counted() as counted:
        decoder.read(tokens[8:9])
    assert counted.count == decode_operators(architecture)
