"""How fast a device trains: a few real steps of small shapes, fitted to three non-negative coefficients.

Wall-clock seconds of a step = FLOPs x a + elements x b + operators x c. FLOPs alone miss by a third on small models,
which spend their time moving activations and launching operators. A device profile with memory and held-out error
is a finer thing; this is what a plan needs to know when time is limited.
"""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from nas.candidate import Candidate
from nas.cost import recompute_flops, step_elements, step_operations
from nas.plan import Compiles, Speed, lay_out, rates, step_flops
from nas.train.model import Transformer
from nas.train.optimizer import Optimizers

WARM_UP, MEASURED = 1, 3
COMPILES = {"cpu": Compiles(seconds=25.0, speedup=1.07), "cuda": Compiles(seconds=60.0, speedup=1.4)}
"""What compiling was seen to cost and bring (docs/results/throughput.md)."""


@dataclass(frozen=True, slots=True)
class Timing:
    """A measured step: the least of its repetitions, which others on the machine disturb least."""

    candidate: Candidate
    accumulation: int
    recompute: bool
    seconds: float

    @property
    def flops(self) -> int:
        """What the device did in a step, recomputing included."""
        return step_flops(self.candidate) + (recompute_flops(self.candidate) if self.recompute else 0)


def time_steps(candidate: Candidate, device: str, precision: str, memory: int | None = None) -> Timing:
    """Trains a few steps on random tokens."""
    architecture = candidate.architecture
    layout = lay_out(candidate, memory)
    model = Transformer(architecture, candidate.recipe.dropout, recompute=layout.recompute, precision=precision)
    model.initialise(0)
    model.to(device).train()
    optimizers = Optimizers(model, candidate.recipe.optimizer)
    shape = (layout.micro_batch, architecture.context + 1)
    tokens = torch.randint(0, architecture.vocabulary, shape, generator=torch.Generator().manual_seed(0)).to(device)
    accumulation = candidate.sequences // layout.micro_batch
    seconds = []
    for step in range(WARM_UP + MEASURED):
        started = time.perf_counter()
        for _ in range(accumulation):
            loss = model(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())
            loss.backward()
        optimizers.step(rates(candidate, (step + 0.5) / 1000))
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return Timing(candidate, accumulation, layout.recompute, min(seconds[WARM_UP:]))


def fit_speed(timings: Sequence[Timing], device: str, threads: int) -> Speed:
    """Least squares on the relative error, coefficients non-negative (the best of all sets of free ones)."""
    rows = np.array(
        [
            [timing.flops, step_elements(timing.candidate), step_operations(timing.candidate, timing.accumulation)]
            for timing in timings
        ],
        dtype=np.float64,
    )
    seconds = np.array([t.seconds for t in timings])
    scaled = rows / seconds[:, None]
    best, least = np.zeros(3), np.inf
    for size in (1, 2, 3):
        for free in itertools.combinations(range(3), size):
            own, *_ = np.linalg.lstsq(scaled[:, free], np.ones(len(seconds)), rcond=None)
            coefficients = np.zeros(3)
            coefficients[list(free)] = own
            error = float(np.square(scaled @ coefficients - 1).sum())
            if (own >= 0).all() and error < least * (1 - 1e-9):
                best, least = coefficients, error
    worst = float(np.abs(scaled @ best - 1).max())
    return Speed(float(best[0]), float(best[1]), float(best[2]), error=worst, device=device, threads=threads)


def measure_speed(
    candidates: Sequence[Candidate], device: str, threads: int, precision: str, memory: int | None = None
) -> tuple[Speed, int]:
    """The device's speed from a few candidates, and the FLOPs that measuring it took."""
    timings = [time_steps(candidate, device, precision, memory) for candidate in candidates]
    steps = WARM_UP + MEASURED
    return fit_speed(timings, device, threads), sum(steps * step_flops(timing.candidate) for timing in timings)
