"""A spec that nobody had to write: texts and a time are enough."""

import torch

from nas.measure.speed import time_steps
from nas.plan import step_flops
from nas.space import load_space
from nas.spec import Budget, CandidateBudget, Method, SearchSpec, Total
from services.device import precision_for, resolve_device, threads_for

CANDIDATES = 16  # full trainings that the search's share should pay for


def quick_spec(corpus: str, seconds: float, space: str, parallel: int, seed: int) -> SearchSpec:
    """A spec whose compute is what this machine does in the time; the time binds."""
    device = resolve_device("auto")
    name = space or ("llama-small" if device == "cuda" else "llama-tiny")
    workers = parallel or (1 if device == "cuda" else threads_for("cpu", 1))
    threads = threads_for(device, workers)
    torch.set_num_threads(threads)
    typical = load_space(name).decode(load_space(name).defaults)
    timing = time_steps(typical, device, precision_for(device))
    rate = step_flops(typical) / timing.seconds * workers
    total = max(1, int(1.5 * rate * seconds))
    budget = Budget(
        total=Total(compute=total, time=seconds),
        candidate=CandidateBudget(compute=max(1, int(total * 0.7 / 1.5 / CANDIDATES))),
        final=0.3,
    )
    return SearchSpec(corpus, name, budget, name="fit", method=Method(parallel=workers, seed=seed))
