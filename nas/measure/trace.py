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
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from nas.calibration import Trace
from nas.candidate import Candidate
from nas.measure.recorder import Recorder
from nas.plan import Layout, rates
from nas.train.backend import counting, standing_for
from nas.train.model import Transformer
from nas.train.optimizer import Optimizers

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
    recorder = Recorder(ROUNDING[backend])
    for tensor in (*model.parameters(), *model.buffers(), *_make_state(optimizers), tokens):
        recorder.hold(tensor)
    resident = recorder.live
    with _interrupted_afterwards(), standing_for(backend), counting(recorder.times), recorder:
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
