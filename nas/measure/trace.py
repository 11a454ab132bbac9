"""What a training step does to a device, found without the device: one pass over tensors that have no storage.

The trainer's own module, loss and optimizers run on meta tensors that stand for those of the target
(`nas.train.backend`), under a dispatch mode that sees every operator: its FLOPs by ``model_flops_v1``, the bytes that
it reads and writes, and every storage from its birth to its death, so that the peak of live bytes is that of the real
step. Optimizer state is made before the step that is traced, as it is there in every step but the first.

Attention is one operator here as on the device: its scores are never in memory. Known error of the peak: see
docs/results/profiling.md.
"""

import signal
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from nas.calibration import Phase, Trace
from nas.candidate import Candidate
from nas.plan import Layout, rates
from nas.train.backend import standing_for
from nas.train.model import Transformer
from nas.train.optimizer import Optimizers
from nas.train.products import ONEDNN

ROUNDING = {"cpu": 1, "cuda": 512}
"""Bytes that an allocator rounds a tensor up to (CUDA: c10/cuda/CUDACachingAllocator.cpp, kMinBlockSize)."""


def trace_step(candidate: Candidate, layout: Layout, *, backend: str = "cpu", precision: str = "float32") -> Trace:
    """Traces one optimizer step of a candidate.

    Its accumulation is what the recipe asks for; passes are alike, so one is traced and counted as many times. Takes
    some tens of milliseconds; `nas.measure.tracer` keeps what it found.
    """
    architecture, accumulation = candidate.architecture, candidate.sequences // layout.micro_batch
    with torch.device("meta"):
        model = Transformer(
            architecture,
            candidate.recipe.dropout,
            recompute=layout.recompute,
            precision=precision,
            logits_chunk=layout.logits_chunk,
        )
        tokens = torch.empty((layout.micro_batch, architecture.context), dtype=torch.int64)
        optimizers = Optimizers(model, candidate.recipe.optimizer)
    recorder = _Recorder(ROUNDING[backend])
    for tensor in (*model.parameters(), *model.buffers(), *_make_state(optimizers), tokens):
        recorder.hold(tensor)
    resident = recorder.live
    with _interrupted_afterwards(), standing_for(backend), recorder:
        if accumulation > 1:
            _make_gradients(model)
        with recorder.phase() as forward:
            loss = model(tokens, tokens) / accumulation
        with recorder.phase() as backward:
            loss.backward()
        del loss
        with recorder.phase() as optimizer:
            optimizers.step(rates(candidate, 0.5))
    return Trace(
        resident,
        forward.times(accumulation),
        backward.times(accumulation),
        optimizer.times(1),
        checkpoints=accumulation * architecture.depth if layout.recompute else 0,
    )


def _make_state(optimizers: Optimizers) -> list[Tensor]:
    """As the first step leaves it, for the fused kernel, which torch does not let meta tensors have."""
    adam, muon = optimizers.adam, optimizers.muon
    for group in adam.param_groups:
        group["fused"] = True
        for parameter in group["params"]:
            moments = {name: torch.empty_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
            adam.state[parameter] = {"step": torch.empty((), device="meta"), **moments}
    states = list(adam.state.values())
    if muon is not None:
        for parameter in muon.param_groups[0]["params"]:
            muon.state[parameter]["momentum"] = torch.empty_like(parameter)
        states += muon.state.values()
    return [tensor for state in states for tensor in state.values()]


def _make_gradients(model: Transformer) -> None:
    """As the pass before leaves them."""
    for parameter in model.parameters():
        parameter.grad = torch.empty_like(parameter)


@contextmanager
def _interrupted_afterwards() -> Iterator[None]:
    """Ctrl-C waits for the end of the block: raised while a storage is freed, Python would say so and go on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen: list[int] = []
    former = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
    if seen:
        signal.raise_signal(signal.SIGINT)


# --- what is recorded ---


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operators, and the bytes that are alive."""

    def __init__(self, rounding: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self._rounding = rounding
        self._storages: dict[int, weakref.ref[Any]] = {}
        self._now = _Counts()

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
    def phase(self) -> Iterator["_Counts"]:
        self._now = _Counts(peak_bytes=self.live)
        yield self._now
        self._now = _Counts()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs) if func is not _aten._fused_adamw_.default else None  # it has no meta kernel
        outputs = _tensors((out,))
        for tensor in outputs:
            self.hold(tensor)
        now = self._now
        now.peak_bytes = max(now.peak_bytes, self.live + _inside(func, args))
        if not func.is_view:
            now.operators += 1
            now.moved_bytes += sum(tensor.nbytes for tensor in (*_tensors(args), *outputs))
            flops = _flops(func, args, kwargs, out)
            now.flops += flops
            now.attention_flops += flops if func._overloadpacket in _ATTENTION else 0
        return out


@dataclass
class _Counts:
    peak_bytes: int = 0
    flops: int = 0
    attention_flops: int = 0
    moved_bytes: int = 0
    operators: int = 0

    def times(self, passes: int) -> Phase:
        counts = (self.flops, self.attention_flops, self.moved_bytes, self.operators)
        return Phase(self.peak_bytes, *(passes * count for count in counts))


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
