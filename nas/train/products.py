"""Matrix products in float32 on the CPU by oneDNN where that is faster than what torch takes of itself.

torch gives these products to MKL, which off Intel's processors does not use AVX-512; oneDNN, which comes with torch
as well, does, and is about twice as fast there (docs/results/throughput.md). The sums differ by rounding only.
"""

import platform
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from nas.train.backend import backend_of


def _prefer_onednn() -> bool:
    """Whether oneDNN's products are there and faster: AVX-512 on a processor that is not Intel's."""
    cpuinfo = Path("/proc/cpuinfo")
    vendor = cpuinfo.read_text() if cpuinfo.is_file() else platform.processor()
    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    usable = there and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return usable and torch.backends.cpu.get_cpu_capability() == "AVX512" and "GenuineIntel" not in vendor


ONEDNN = _prefer_onednn()

if ONEDNN:  # so that no counter of FLOPs takes these products for free

    @register_flop_formula(torch.ops.mkldnn._linear_pointwise)
    def _flops(a_shape: torch.Size, b_shape: torch.Size, *rest: Any, **more: Any) -> int:
        return 2 * a_shape.numel() * b_shape[0]


def by_onednn(*operands: Tensor) -> bool:
    """Whether a product of these operands goes to oneDNN."""
    return ONEDNN and all(backend_of(x) == "cpu" and x.dtype == torch.float32 for x in operands)


def rows_by_rows(a_NK: Tensor, b_MK: Tensor) -> Tensor:
    """a @ b.T, without gradients."""
    if not by_onednn(a_NK, b_MK):
        return a_NK @ b_MK.t()
    if torch.compiler.is_compiling():
        opaque: Tensor = _opaque(a_NK, b_MK)
        return opaque
    product: Tensor = torch.ops.mkldnn._linear_pointwise(a_NK, b_MK, None, "none", [], "")
    return product


@torch.library.custom_op("nas::rows_by_rows", mutates_args=())
def _opaque(a_NK: Tensor, b_MK: Tensor) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(a_NK, b_MK, None, "none", [], "")
    return product


@_opaque.register_fake
def _(a_NK: Tensor, b_MK: Tensor) -> Tensor:
    return a_NK.new_empty((*a_NK.shape[:-1], b_MK.shape[0]))


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """`F.linear` without a bias, in the precision of ``x``."""
    weight = weight.to(x.dtype)
    if by_onednn(x, weight):
        y: Tensor = _Linear.apply(x, weight)  # type: ignore[no-untyped-call]
        return y
    return F.linear(x, weight)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_OI: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight_OI)
        return rows_by_rows(x, weight_OI)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, weight_OI = ctx.saved_tensors
        x_NI, grad_NO = x.flatten(0, -2), grad.flatten(0, -2)
        # oneDNN copies its first operand when that is transposed: the narrower one comes first.
        if grad_NO.shape[1] <= x_NI.shape[1]:
            grad_weight = rows_by_rows(grad_NO.t(), x_NI.t())
        else:
            grad_weight = rows_by_rows(x_NI.t(), grad_NO.t()).t()
        return rows_by_rows(grad, weight_OI.t()), grad_weight
