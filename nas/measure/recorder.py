"""What operators do, seen one by one: the bytes that are alive, those that are read and written, FLOPs.

Operators of a training step are few and their operands alike, from layer to layer and from candidate to candidate. What
one does to tensors without storage follows from the shapes, strides and types of its operands, so each is asked once
and remembered: torch's own functions for tensors without storage are Python, and took four fifths of a trace.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from nas.calibration import Phase
from nas.train.products import ONEDNN

REMEMBERED = 2**16
"""Operators with operands that are remembered, some hundred bytes each; then all are forgotten."""


@dataclass(slots=True)
class Counts:
    """Of a part of a step: the most bytes alive, and sums over its operators."""

    peak_bytes: int = 0
    flops: int = 0
    attention_flops: int = 0
    moved_bytes: int = 0
    operators: int = 0

    def times(self, passes: int) -> Phase:
        counts = (self.flops, self.attention_flops, self.moved_bytes, self.operators)
        return Phase(self.peak_bytes, *(passes * count for count in counts))


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within it, counts what is done to tensors on the meta device.

    Args:
        rounding: bytes that an allocator rounds a tensor up to.
    """

    def __init__(self, rounding: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self._rounding = rounding
        self._storages: dict[int, weakref.ref[Any]] = {}
        self._now = Counts()
        self._times = 1

    def hold(self, tensor: Tensor) -> None:
        """Takes note of a tensor's storage, if it is new."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._storages:
            return
        size = -(-storage.nbytes() // self._rounding) * self._rounding
        self._storages[key] = weakref.ref(storage, lambda _: self._free(key, size))
        self.live += size

    def _free(self, key: int, size: int) -> None:
        del self._storages[key]
        self.live -= size

    @contextmanager
    def phase(self) -> Iterator[Counts]:
        self._now = Counts(peak_bytes=self.live)
        yield self._now
        self._now = Counts()

    @contextmanager
    def times(self, count: int) -> Iterator[None]:
        """Within it, each operator counts so many times."""
        self._times = count
        yield
        self._times = 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.is_view:
            out = func(*args, **kwargs)
            for tensor in _tensors((out,)):
                self.hold(tensor)
            self._now.peak_bytes = max(self._now.peak_bytes, self.live)
            return out
        effect, out = _done(func, args, kwargs)
        for tensor in _tensors((out,)):
            self.hold(tensor)
        self._count(effect)
        return out

    def _count(self, effect: "Effect") -> None:
        now, times = self._now, self._times
        now.peak_bytes = max(now.peak_bytes, self.live + effect.inside_bytes)
        now.operators += times
        now.moved_bytes += times * effect.moved_bytes
        now.flops += times * effect.flops
        now.attention_flops += times * effect.attention_flops


# --- what is remembered ---


@dataclass(frozen=True, slots=True)
class New:
    """A tensor with a storage of its own."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class Given:
    """An operand, by its position: the operator writes into it."""

    position: int


UNKNOWN = object()
"""A result that shares its storage with an operand in another way: the operator has to be called."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What an operator does to operands like some that it was given.

    Attributes:
        result: what it gives, with `New` and `Given` in place of tensors, or `UNKNOWN`.
        inside_bytes: that its kernel allocates and frees again.
    """

    result: Any
    flops: int
    attention_flops: int
    moved_bytes: int
    inside_bytes: int


_effects: dict[Any, Effect] = {}


def _done(func: Any, args: Any, kwargs: Any) -> tuple[Effect, Any]:
    """What an operator that is no view does, and what it gives; called only when that does not follow from before."""
    if func.namespace == "profiler":  # its operands are no tensors
        return Effect(UNKNOWN, 0, 0, 0, 0), func(*args, **kwargs)
    key = (func, _alike(args), tuple((name, _alike(value)) for name, value in kwargs.items()))
    known = _effects.get(key)
    if known is not None and known.result is not UNKNOWN:
        return known, _make(known.result, args)
    out = _apply(func, args, kwargs)
    if known is None:
        if len(_effects) >= REMEMBERED:
            _effects.clear()
        known = _effects[key] = _observed(func, args, kwargs, out)
    return known, out


def _alike(value: Any) -> Any:
    """The same for what an operator cannot tell apart, where tensors have no values."""
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype
    if isinstance(value, (tuple, list)):
        return tuple(map(_alike, value))
    return type(value), value  # 1, 1.0 and True are equal and not alike


def _observed(func: Any, args: Any, kwargs: Any, out: Any) -> Effect:
    flops = _flops(func, args, kwargs, out)
    return Effect(
        result=_description(out, args, {operand.untyped_storage()._cdata for operand in _tensors(args)}),
        flops=flops,
        attention_flops=flops if func._overloadpacket in _ATTENTION else 0,
        moved_bytes=sum(tensor.nbytes for tensor in _tensors((*args, out))),
        inside_bytes=_inside(func, args),
    )


def _apply(func: Any, args: Any, kwargs: Any) -> Any:
    if func is _aten._fused_adamw_.default:  # torch has nothing that does it to tensors without storage
        return None
    return func(*args, **kwargs)


def _description(out: Any, args: Any, storages: set[int]) -> Any:
    if isinstance(out, Tensor):
        position = next((at for at, operand in enumerate(args) if operand is out), None)
        if position is not None:
            return Given(position)
        shared = out.untyped_storage()._cdata in storages or out.untyped_storage().nbytes() != out.nbytes
        return UNKNOWN if shared else New(tuple(out.shape), out.stride(), out.dtype)
    if isinstance(out, (tuple, list)):
        parts = [_description(part, args, storages) for part in out]
        return UNKNOWN if any(part is UNKNOWN for part in parts) else type(out)(parts)
    return out


def _make(result: Any, args: Any) -> Any:
    """What an operator gives that has such a result."""
    if isinstance(result, New):
        return torch.empty_strided(result.shape, result.strides, dtype=result.dtype, device="meta")
    if isinstance(result, Given):
        return args[result.position]
    if isinstance(result, (tuple, list)):
        return type(result)(_make(part, args) for part in result)
    return result


# --- what is counted ---


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (tuple, list)):
            found += _tensors(value)
    return found


def _inside(func: Any, args: Any) -> int:
    """Bytes that a kernel allocates and frees again."""
    if func is _LINEAR and not args[0].is_contiguous():  # oneDNN wants its first operand row by row
        return int(args[0].nbytes)
    return 0


def _flops(func: Any, args: Any, kwargs: Any, out: Any) -> int:
    packet = func._overloadpacket
    if packet in _ATTENTION:
        return _ATTENTION[packet](*args)
    formula = flop_registry.get(packet)
    return int(formula(*args, **kwargs, out_val=out)) if formula else 0


def _attention_flops(q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> int:
    """All keys of the kernel, causal or not: 2 products of T x S x E, 2 FLOPs each."""
    return 4 * q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2] * q.shape[3]


def _attention_backward_flops(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> int:
    """Twice the forward pass: the scores that the kernel makes again are not the model's work."""
    return 2 * _attention_flops(q, k, v)


_aten = torch.ops.aten
_LINEAR = torch.ops.mkldnn._linear_pointwise.default if ONEDNN else None
_ATTENTION: dict[Any, Callable[..., int]] = {
    _aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    _aten._scaled_dot_product_flash_attention: _attention_flops,
    _aten._scaled_dot_product_efficient_attention: _attention_flops,
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward_flops,
    _aten._scaled_dot_product_flash_attention_backward: _attention_backward_flops,
    _aten._scaled_dot_product_efficient_attention_backward: _attention_backward_flops,
}
