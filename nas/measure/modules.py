"""A candidate module by module: parameters and forward FLOPs as fvcore counts them, held against the closed forms.

fvcore follows the graph of one forward pass and asks a handler for the count of each operator. Its own handlers count
multiply-adds and know nothing of fused attention; here each count is of FLOPs, an operator without handler is an
error, and so is a sum that differs from `nas.cost` (fvcore 0.1.5.post20221221; its issue 69 says that it counts MACs).

The model is traced on the meta device. On the CPU, torch.jit cannot trace oneDNN's products (`nas.train.products`) and
sees a norm as one opaque Python function; without oneDNN a trace takes two to three times as long for large candidates.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nas.candidate import Architecture, Candidate
from nas.cost import FLOP_CONVENTION, forward_flops, params
from nas.errors import ProfileError
from nas.train.model import Transformer

Count = Callable[[Sequence[Any], Sequence[Any]], Counter[str]]  # inputs and outputs of an operator, as torch._C.Value

PRODUCTS, OTHER = "products", "other"
ELEMENTWISE = {  # FLOPs for each number that comes out
    "add": 1,
    "div": 1,
    "mul": 1,
    "neg": 1,
    "pow": 1,  # a square
    "relu": 1,
    "rms_norm": 4,  # square, sum, times the inverse root, times the weight
    "silu": 4,  # negation, exponential, addition, division
    "square": 1,
    "sub": 1,
    "tanh": 1,
}
SOFTMAX = 5  # FLOPs for each score: largest, difference, exponential, sum, division
FREE = ("embedding", "le", "pad", "repeat", "repeat_interleave", "unfold")  # move or compare; fvcore knows of others


@dataclass(frozen=True, slots=True)
class ModuleRow:
    """A module with all that is in it.

    Attributes:
        name: dotted, '' for the whole model.
        kind: name of its class.
        depth: how deep it is nested, 0 for the whole model.
        params: weights, a shared one counted once, where it lives.
        flops: forward FLOPs of one sequence of full context by ``model_flops_v1``. The product of a tied head has no
            module of its own and is the whole model's.
        other_flops: FLOPs of the same pass that are not in ``model_flops_v1``: norms, rotary positions, softmax,
            activations, residual sums, to the order.
    """

    name: str
    kind: str
    depth: int
    params: int
    flops: int
    other_flops: int


def module_table(candidate: Candidate) -> list[ModuleRow]:
    """A row for each module of the candidate, parents before their children.

    Raises:
        ProfileError: an operator that no handler counts, or a sum that is not that of the closed forms.
    """
    with torch.device("meta"):
        model = Transformer(candidate.architecture).eval()
    model.forward = model.logits  # type: ignore[assignment, method-assign]  # the pass that is counted, without a loss
    counts, weights = _counted(model, candidate.architecture.context)
    rows = [
        ModuleRow(
            name=name,
            kind=type(module).__name__,
            depth=name.count(".") + 1 if name else 0,
            params=weights[name],
            flops=counts[name][PRODUCTS],
            other_flops=counts[name][OTHER],
        )
        for name, module in model.named_modules()
    ]
    _check(candidate.architecture, rows[0])
    return rows


def _check(architecture: Architecture, whole: ModuleRow) -> None:
    for what, counted, closed in (
        ("parameters", whole.params, params(architecture)),
        (f"forward FLOPs ({FLOP_CONVENTION})", whole.flops, forward_flops(architecture)),
    ):
        if counted != closed:
            raise ProfileError(f"{what}: fvcore counts {counted:,}, the closed form {closed:,}")


def _counted(model: nn.Module, context: int) -> tuple[Mapping[str, Counter[str]], Mapping[str, int]]:
    """Of each module, by name: FLOPs of products and of the rest for one sequence, and parameters."""
    with warnings.catch_warnings():  # of functions that fvcore compiles when it is imported
        warnings.filterwarnings("ignore", r"`torch\.jit\.script` is deprecated", DeprecationWarning)
        from fvcore.nn import FlopCountAnalysis, parameter_count
    analysis = FlopCountAnalysis(model, torch.zeros((1, context), dtype=torch.int64, device="meta"))
    analysis.clear_op_handles().set_op_handle(**_handlers())
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    with torch.no_grad(), _Tracing(model):
        counts = analysis.by_module_and_operator()
    if unknown := analysis.unsupported_ops():
        raise ProfileError(f"no formula for the FLOPs of {', '.join(sorted(unknown))}")
    return counts, parameter_count(model)


class _Tracing(TorchFunctionMode):
    """What a trace needs to see of a model that it would not see by itself.

    Shapes are numbers, as they are when the model runs, and not traced tensors, which torch's functions refuse for a
    flag. A product with the weight of an `nn.Linear` that a parent makes by itself belongs to that module: fvcore
    takes an operator for the module on top of the stack of scopes.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.projections = {
            module.weight: name for name, module in model.named_modules() if isinstance(module, nn.Linear)
        }

    def __torch_function__(
        self, func: Any, types: object, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        work = partial(func, *args, **(kwargs or {}))
        if func == Tensor.shape.__get__:  # type: ignore[attr-defined]
            return torch.Size(map(int, work()))
        name = self.projections.get(args[1]) if func is F.linear else None
        if name is None:
            return work()
        state = torch._C._get_tracing_state()
        state.push_scope(name)
        try:
            return work()
        finally:
            state.pop_scope()


def _handlers() -> dict[str, Count | None]:
    """The count of each operator, by name; None for those that have no arithmetic."""
    from fvcore.nn.jit_handles import addmm_flop_jit, bmm_flop_jit, linear_flop_jit, matmul_flop_jit

    return {
        "aten::addmm": _doubled(addmm_flop_jit),
        "aten::bmm": _doubled(bmm_flop_jit),
        "aten::linear": _doubled(linear_flop_jit),
        "aten::matmul": _doubled(matmul_flop_jit),
        "aten::mm": _doubled(matmul_flop_jit),
        "aten::scaled_dot_product_attention": _attention,
        **{f"aten::{name}": _elementwise(flops) for name, flops in ELEMENTWISE.items()},
        **dict.fromkeys(f"aten::{name}" for name in FREE),
    }


def _doubled(macs: Callable[[Sequence[Any], Sequence[Any]], int]) -> Count:
    return lambda inputs, outputs: Counter({PRODUCTS: 2 * macs(inputs, outputs)})


def _elementwise(flops: int) -> Count:
    """So many FLOPs for each number that comes out; positions and truth values are not counted."""

    def count(inputs: Sequence[Any], outputs: Sequence[Any]) -> Counter[str]:
        kind = outputs[0].type()
        return Counter({OTHER: flops * prod(kind.sizes()) if kind.dtype().is_floating_point else 0})

    return count


def _attention(inputs: Sequence[Any], outputs: Sequence[Any]) -> Counter[str]:
    """Queries by keys and scores by values, of every key that the kernel computes, seen or not."""
    B, H, T, E = inputs[0].type().sizes()
    scores = B * H * T * inputs[1].type().sizes()[2]
    return Counter({PRODUCTS: 4 * scores * E, OTHER: SOFTMAX * scores})
