"""Operators that are one kernel: torch's own on real tensors, and by their name on those that stand for others."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from nas.train.backend import standing_for
from nas.train.fused import attention, dropout, rms_norm
from nas.train.model import window_mask

B, H, T, E = 2, 4, 8, 16
SHAPES = [  # of key heads and keys, and whether causal; those that are not have a mask
    *((4, T, True), (2, T, True), (1, T, True)),
    *((4, 2 * T, False), (2, 2 * T, False), (1, 2 * T, False)),
]
shapes = pytest.mark.parametrize(("kv_heads", "keys", "causal"), SHAPES)
Inputs = tuple[Tensor, Tensor, Tensor, Tensor | None]


class Operators(TorchDispatchMode):
    """The names of the operators that are called, in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func._overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def operators(work: Callable[[], object]) -> list[str]:
    with Operators() as recorded:
        work()
    return recorded.names


def inputs(kv_heads: int, keys: int, causal: bool, device: str, dtype: torch.dtype = torch.float32) -> Inputs:
    """As the model makes them: with a mask there are twice as many keys as queries."""
    generator = torch.Generator().manual_seed(kv_heads)
    made = [
        torch.randn((B, heads, n, E), generator=generator) for heads, n in ((H, T), (kv_heads, keys), (kv_heads, keys))
    ]
    q, k, v = (own.to(device, dtype).requires_grad_() for own in made)
    return q, k, v, None if causal else window_mask(B, T, torch.device(device))[:, None]


def by_definition(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    k, v = (own.repeat_interleave(H // own.shape[1], 1) for own in (k, v))
    seen = mask if mask is not None else torch.ones(T, T, dtype=torch.bool).tril()
    scores = (q @ k.mT / math.sqrt(E)).masked_fill(~seen, -torch.inf)
    return torch.softmax(scores, dim=-1) @ v


# --- on a real device ---


@shapes
def test_attention_is_its_definition(kv_heads: int, keys: int, causal: bool) -> None:
    q, k, v, mask = inputs(kv_heads, keys, causal, "cpu")
    weight = torch.randn((B, H, T, E), generator=torch.Generator().manual_seed(9))
    found = attention(q, k, v, mask, causal=causal)
    gradients = torch.autograd.grad((found * weight).sum(), (q, k, v))
    expected = by_definition(q, k, v, mask)
    torch.testing.assert_close(found, expected)
    for own, other in zip(gradients, torch.autograd.grad((expected * weight).sum(), (q, k, v)), strict=True):
        torch.testing.assert_close(own, other)


@shapes
def test_attention_is_torchs_to_the_last_bit(kv_heads: int, keys: int, causal: bool) -> None:
    q, k, v, mask = inputs(kv_heads, keys, causal, "cpu")
    torchs = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=kv_heads != H)
    found = attention(q, k, v, mask, causal=causal)
    assert torch.equal(found, torchs)
    for own, other in zip(
        torch.autograd.grad(found.sum(), (q, k, v)), torch.autograd.grad(torchs.sum(), (q, k, v)), strict=True
    ):
        assert torch.equal(own, other)


def test_rms_norm_is_its_definition_and_torchs() -> None:
    x = torch.randn((3, 5, 8), generator=torch.Generator().manual_seed(0)).requires_grad_()
    weight = torch.linspace(0.5, 2, 8).requires_grad_()
    scale = torch.linspace(-1, 1, 8)
    found = rms_norm(x, weight, 1e-3)
    assert torch.equal(found, F.rms_norm(x, (8,), weight, 1e-3))
    expected = x / (x.square().mean(-1, keepdim=True) + 1e-3).sqrt() * weight
    torch.testing.assert_close(found, expected)
    for own, other in zip(
        torch.autograd.grad((found * scale).sum(), (x, weight)),
        torch.autograd.grad((expected * scale).sum(), (x, weight)),
        strict=True,
    ):
        torch.testing.assert_close(own, other)


def test_dropout_is_torchs() -> None:
    x = torch.ones(10_000, requires_grad=True)
    torch.manual_seed(3)
    found = dropout(x, 0.25)
    torch.manual_seed(3)
    assert torch.equal(found, F.dropout(x, 0.25))
    assert found.unique().tolist() == pytest.approx([0, 4 / 3])
    assert 0.2 < (found == 0).float().mean() < 0.3
    (gradient,) = torch.autograd.grad(found.sum(), x)
    assert torch.equal(gradient, found.detach()), "what is dropped learns nothing"


# --- standing for a device ---


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("backend", ["cpu", "cuda", "meta"])
@shapes
def test_shapes_are_those_of_the_device(
    kv_heads: int, keys: int, causal: bool, backend: str, dtype: torch.dtype
) -> None:
    q, k, v, mask = inputs(kv_heads, keys, causal, "meta", dtype)
    with standing_for(backend):
        found = attention(q, k, v, mask, causal=causal)
        assert (found.shape, found.dtype, found.device.type) == (q.shape, dtype, "meta")
        gradients = torch.autograd.grad(found, (q, k, v), torch.empty_like(found))
    for own, leaf in zip(gradients, (q, k, v), strict=True):
        assert (own.shape, own.dtype) == (leaf.shape, dtype)


@shapes
def test_standing_for_a_cpu_the_same_kernels_are_called(kv_heads: int, keys: int, causal: bool) -> None:
    """As by a real tensor there, forward and backward."""

    def kernels(device: str) -> list[str]:
        q, k, v, mask = inputs(kv_heads, keys, causal, device)

        def work() -> None:
            found = attention(q, k, v, mask, causal=causal)
            torch.autograd.grad(found, (q, k, v), torch.ones_like(found))

        with standing_for("cpu"):
            return [own for own in operators(work) if "attention" in own or "mm" in own or "repeat" in own]

    kernel = "_scaled_dot_product_flash_attention_for_cpu"
    assert kernels("meta") == kernels("cpu") == [kernel, f"{kernel}_backward"]


@pytest.mark.parametrize(
    ("dtype", "causal", "kernel"),
    [
        (torch.float32, True, "_scaled_dot_product_efficient_attention"),
        (torch.float32, False, "_scaled_dot_product_efficient_attention"),
        (torch.bfloat16, True, "_scaled_dot_product_flash_attention"),
        (torch.bfloat16, False, "_scaled_dot_product_efficient_attention"),
    ],
)
@pytest.mark.parametrize("kv_heads", [1, 4])
def test_standing_for_a_gpu_its_kernels_are_called(
    kv_heads: int, dtype: torch.dtype, causal: bool, kernel: str
) -> None:
    q, k, v, mask = inputs(kv_heads, T if causal else 2 * T, causal, "meta", dtype)

    def work() -> None:
        found = attention(q, k, v, mask, causal=causal)
        torch.autograd.grad(found, (q, k, v), torch.empty_like(found))

    with standing_for("cuda"):
        found = operators(work)
    assert [own for own in found if "attention" in own or "mm" in own] == [kernel, f"{kernel}_backward"]


@shapes
def test_standing_for_nothing_attention_is_torchs_own(kv_heads: int, keys: int, causal: bool) -> None:
    q, k, v, mask = inputs(kv_heads, keys, causal, "meta")
    grouped = [own.repeat_interleave(H // kv_heads, 1) if kv_heads != H else own for own in (k, v)]
    torchs = operators(lambda: F.scaled_dot_product_attention(q, *grouped, attn_mask=mask, is_causal=causal))
    found = operators(lambda: attention(q, k, v, mask, causal=causal))
    assert found[len(found) - len(torchs) :] == torchs
    assert "bmm" in found and not any("scaled_dot_product" in own for own in found), "which takes it apart"


Norm = Callable[[Tensor, Tensor, float], Tensor]
Drop = Callable[[Tensor, float], Tensor]
NORM = ["fused_rms_norm", "_fused_rms_norm_backward"]
DROPOUT = ["native_dropout", "native_dropout_backward"]


def forward_and_backward(device: str, norm: Norm, drop: Drop) -> tuple[list[str], list[str]]:
    """The operators of a norm and of dropout, with their gradients; torch 2.11 names ``detach`` too, which is none."""
    x = torch.ones((2, 3, 8), device=device, requires_grad=True)
    weight = torch.ones(8, device=device, requires_grad=True)
    grad = torch.ones_like(x)
    of_norm = operators(lambda: torch.autograd.grad(norm(x, weight, 1e-6), (x, weight), grad))
    of_drop = operators(lambda: torch.autograd.grad(drop(x, 0.1), x, grad))
    return [own for own in of_norm if own != "detach"], [own for own in of_drop if own != "detach"]


def test_norms_and_dropout_are_one_kernel_on_a_gpu() -> None:
    with standing_for("cuda"):
        assert forward_and_backward("meta", rms_norm, dropout) == (NORM, DROPOUT)


@pytest.mark.parametrize("backend", ["cpu", "meta"])
def test_elsewhere_norms_and_dropout_are_torchs_own(backend: str) -> None:
    torchs = forward_and_backward("meta", lambda x, weight, epsilon: F.rms_norm(x, (8,), weight, epsilon), F.dropout)
    with standing_for(backend):
        found = forward_and_backward("meta", rms_norm, dropout)
    assert found == torchs
    assert len(found[0]) > 2, "which takes it apart"


def test_a_norm_that_stands_for_a_gpus_keeps_its_input_and_a_number_for_each_row() -> None:
    x = torch.empty((2, 3, 8), device="meta", dtype=torch.bfloat16, requires_grad=True)
    weight = torch.empty(8, device="meta", dtype=torch.bfloat16, requires_grad=True)
    kept: list[tuple[tuple[int, ...], torch.dtype]] = []

    def keep(own: Tensor) -> Tensor:
        kept.append((tuple(own.shape), own.dtype))
        return own

    with standing_for("cuda"), torch.autograd.graph.saved_tensors_hooks(keep, lambda own: own):
        rms_norm(x, weight, 1e-6)
    assert kept == [((2, 3, 8), torch.bfloat16), ((8,), torch.bfloat16), ((2, 3, 1), torch.float32)]


@pytest.mark.gpu
def test_a_gpu_calls_the_same_kernels() -> None:
    norm, drop = forward_and_backward("cuda", rms_norm, dropout)
    assert (norm, drop) == (["_fused_rms_norm", NORM[1]], DROPOUT)
    for dtype in (torch.float32, torch.bfloat16):
        for kv_heads, keys, causal in SHAPES:
            found = []
            for device in ("cuda", "meta"):
                q, k, v, mask = inputs(kv_heads, keys, causal, device, dtype)

                def work(q: Tensor = q, k: Tensor = k, v: Tensor = v, mask: Tensor | None = mask) -> None:
                    attended = attention(q, k, v, mask, causal=causal)  # noqa: B023
                    torch.autograd.grad(attended, (q, k, v), torch.ones_like(attended))

                with standing_for("cuda"):
                    found.append([own for own in operators(work) if "attention" in own])
            assert found[0] == found[1], (kv_heads, causal, dtype)


@pytest.mark.parametrize("backend", ["cpu", "cuda", "meta"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shapes_of_norms_and_dropout(backend: str, dtype: torch.dtype) -> None:
    x = torch.empty((2, 3, 8), device="meta", dtype=dtype, requires_grad=True)
    weight = torch.empty(8, device="meta", dtype=dtype, requires_grad=True)
    with standing_for(backend):
        for found, leaves in ((rms_norm(x, weight, 1e-6), (x, weight)), (dropout(x, 0.1), (x,))):
            assert (found.shape, found.dtype) == (x.shape, dtype)
            for own, leaf in zip(torch.autograd.grad(found, leaves, torch.empty_like(found)), leaves, strict=True):
                assert (own.shape, own.dtype) == (leaf.shape, dtype)
