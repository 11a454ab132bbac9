"""Operators that are one kernel on the device that they run on.

On the meta device torch takes them apart, into pieces that no device makes: the scores of attention, T x T, would
seem to be in memory. A tensor that stands for one on a device is given to that device's kernel by its name.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import nas.train.cuda  # noqa: F401  which of the kernels
from nas.train.backend import backend_of


def attention(
    q_BHTE: Tensor, k_BKSE: Tensor, v_BKSE: Tensor, mask: Tensor | None = None, *, causal: bool = False
) -> Tensor:
    """softmax(q k^T / sqrt(E)) v; ``mask`` (B, 1, T, S) is true where a key may be seen. K is H or divides it."""
    backend, heads = backend_of(q_BHTE), q_BHTE.shape[1]
    grouped = k_BKSE.shape[1] != heads
    if grouped and backend != "cpu":  # the CPU's kernel takes groups as they are
        repeats, grouped = heads // k_BKSE.shape[1], False
        k_BKSE, v_BKSE = k_BKSE.repeat_interleave(repeats, 1), v_BKSE.repeat_interleave(repeats, 1)
    if q_BHTE.is_meta and backend == "cpu":
        return _attention_on_cpu(q_BHTE, k_BKSE, v_BKSE, mask, causal)
    if q_BHTE.is_meta and backend == "cuda":
        return _attention_on_cuda(q_BHTE, k_BKSE, v_BKSE, mask, causal)
    return F.scaled_dot_product_attention(q_BHTE, k_BKSE, v_BKSE, attn_mask=mask, is_causal=causal, enable_gqa=grouped)


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """`F.rms_norm` over the last dimension."""
    if x.is_meta and backend_of(x) == "cuda":
        fused: Tensor = _FusedRMSNorm.apply(x, weight)  # type: ignore[no-untyped-call]
        return fused
    return F.rms_norm(x, weight.shape, weight, epsilon)


def dropout(x: Tensor, probability: float) -> Tensor:
    """`F.dropout` in training."""
    if x.is_meta and backend_of(x) == "cuda":
        fused: Tensor = torch.ops.aten.native_dropout(x, probability, True)[0]
        return fused
    return F.dropout(x, probability)


def _attention_on_cpu(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    bias = _as_bias(mask, q.dtype) if mask is not None else None
    attended: Tensor = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, causal, attn_mask=bias)[
        0
    ]
    return attended


def _attention_on_cuda(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """Flash for bfloat16 without a mask, the memory-efficient kernel for the rest."""
    if mask is None and q.dtype == torch.bfloat16:
        flash: Tensor = torch.ops.aten._scaled_dot_product_flash_attention(q, k, v, 0.0, causal)[0]
        return flash
    bias = _as_bias(mask, q.dtype).expand(-1, q.shape[1], -1, -1) if mask is not None else None
    efficient: Tensor = torch.ops.aten._scaled_dot_product_efficient_attention(q, k, v, bias, True, 0.0, causal)[0]
    return efficient


def _as_bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where a key may be seen, else -inf: what torch makes of a mask."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask.logical_not(), -torch.inf)


class _FusedRMSNorm(torch.autograd.Function):
    """`aten::_fused_rms_norm` without values: that has no meta kernel, and torch takes it apart there by any name."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        y, scale = _fused_rms_norm(x, weight)
        ctx.save_for_backward(x, weight, scale)
        normed: Tensor = y
        return normed

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, weight, scale = ctx.saved_tensors
        grad_x, grad_weight = torch.ops.aten._fused_rms_norm_backward(
            grad, x, weight.shape, scale, weight, [True, True]
        )
        return grad_x, grad_weight


@torch.library.custom_op("nas::fused_rms_norm", mutates_args=())
def _fused_rms_norm(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    raise NotImplementedError("of meta tensors only")


@_fused_rms_norm.register_fake
def _(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), x.new_empty((*x.shape[:-1], 1), dtype=torch.float32)
