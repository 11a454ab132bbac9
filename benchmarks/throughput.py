"""Training throughput against the same model of `transformers`: whole optimizer steps, interleaved in one process.

python -m benchmarks.throughput [--quick] [--threads N] [--device cpu|cuda] [--out FILE]
"""

import argparse
import importlib
import math
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from torch import Tensor

from benchmarks.machine import machine, publish, table
from nas.candidate import Architecture, Candidate, Recipe
from nas.export.huggingface import config
from nas.export.weights import to_huggingface
from nas.plan import rates
from nas.train.model import Transformer
from nas.train.optimizer import Optimizers

Step = Callable[[], Tensor]
Seconds = Mapping[str, Sequence[float]]

EAGER, COMPILED = "eager", "compiled"
LOGIT_TOLERANCE = 1e-3

ABOUT = """\
Tokens per second of whole training steps: forward, backward, optimizer. `nas` is `Transformer` with the recipe
`adamw`; against it `LlamaForCausalLM` of the same shape and weights with SDPA attention, its loss from labels, no
key/value cache, and `torch.optim.AdamW` as it comes or with `fused=True`. Ratios above 1 mean that `nas` is faster:
median of the rounds, quartiles in brackets. All contenders of a model take turns in one process, {steps} steps in each
of {rounds} rounds. Compile seconds are those of a cold cache.
"""


@dataclass(frozen=True)
class Result:
    """What was measured of one model: seconds of a step by contender and round, compile seconds by contender."""

    candidate: Candidate
    seconds: Seconds
    compiling: Mapping[str, float]


def llama(
    depth: int, width: int, heads: int, kv_heads: int, vocabulary: int, batch_tokens: int, **more: Any
) -> Candidate:
    """A candidate that `LlamaForCausalLM` computes too, its MLP 3 times as wide as the model."""
    shape: dict[str, Any] = {"context": 256, "mlp_width": 3 * width, "qk_norm": False} | more
    architecture = Architecture(
        depth=depth,
        width=width,
        heads=heads,
        head_size=width // heads,
        kv_heads=kv_heads,
        vocabulary=vocabulary,
        **shape,
    )
    return Candidate(architecture, Recipe(batch_tokens, optimizer="adamw"))


QUICK = [llama(1, 32, 2, 1, 512, 128, context=64)]
MODELS = {
    "cpu": [
        llama(3, 64, 4, 4, 4096, 1024),
        llama(4, 128, 4, 2, 4096, 1024),
        llama(5, 192, 6, 3, 8192, 2048, tied=False),
        llama(6, 256, 8, 8, 2048, 2048),
    ],
    "cuda": [
        llama(8, 512, 8, 8, 16384, 65536, context=1024),
        llama(12, 768, 12, 12, 16384, 65536, context=1024),
        llama(16, 1024, 16, 8, 32768, 65536, context=1024, tied=False),
    ],
}


# --- the contenders ---


def ours(candidate: Candidate, device: str, *, compiled: bool = False) -> Step:
    """A training step as `nas.train.run` makes it."""
    model = our_model(candidate, precision(device)).to(device).train()
    optimizers = Optimizers(model, candidate.recipe.optimizer)
    tokens = batch(candidate, device)
    inputs, targets = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    forward: Callable[..., Tensor] = torch.compile(model, dynamic=False) if compiled else model
    now = rates(candidate, 0.5)

    def step() -> Tensor:
        loss: Tensor = forward(inputs, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizers.step(now)
        return loss

    return step


def theirs(candidate: Candidate, device: str, *, fused: bool = False, compiled: bool = False) -> Step:
    """A training step as a user of `transformers` writes it."""
    model = their_model(candidate).to(device).train()
    options: dict[str, Any] = {"fused": True} if fused else {}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, **options)
    inputs = batch(candidate, device)[:, :-1].contiguous()
    forward = torch.compile(model) if compiled else model

    def step() -> Tensor:
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision(device) == "bfloat16"):
            loss: Tensor = forward(input_ids=inputs, labels=inputs, use_cache=False).loss
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return step


def our_model(candidate: Candidate, precision: str = "float32") -> Transformer:
    model = Transformer(candidate.architecture, precision=precision)
    model.initialise(0)
    return model


def their_model(candidate: Candidate) -> Any:
    """The model of `transformers` with the weights of `our_model`; compared, so that both surely do the same work."""
    transformers: Any = importlib.import_module("transformers")
    settings = config(candidate.architecture)
    described = transformers.AutoConfig.for_model(settings.pop("model_type"), **settings)
    model = transformers.AutoModelForCausalLM.from_config(described, attn_implementation="sdpa")
    origin = our_model(candidate)
    model.load_state_dict(to_huggingface(origin), strict=candidate.architecture.tied is False)
    inputs = batch(candidate, "cpu")[:1, :-1]
    with torch.no_grad():
        difference = (model(input_ids=inputs).logits - origin.logits(inputs)).abs().max().item()
    if difference > LOGIT_TOLERANCE:
        raise RuntimeError(f"logits must agree within {LOGIT_TOLERANCE}, found a difference of {difference:.2g}")
    return model


def batch(candidate: Candidate, device: str) -> Tensor:
    shape = (candidate.sequences, candidate.architecture.context + 1)
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, candidate.architecture.vocabulary, shape, generator=generator).to(device)


def precision(device: str) -> str:
    return "bfloat16" if device.startswith("cuda") else "float32"


# --- measuring ---


def measure(candidate: Candidate, device: str, modes: Sequence[str], rounds: int, steps: int) -> Result:
    """All contenders of one model in turns."""
    torch.compiler.reset()  # otherwise the compiler gives up after a few models of one class
    contenders: dict[str, Step] = {}
    for mode in modes:
        compiled = mode == COMPILED
        contenders[f"nas {mode}"] = ours(candidate, device, compiled=compiled)
        contenders[f"adamw {mode}"] = theirs(candidate, device, compiled=compiled)
        contenders[f"fused {mode}"] = theirs(candidate, device, fused=True, compiled=compiled)
    muon = replace(candidate, recipe=replace(candidate.recipe, optimizer="muon"))
    contenders["muon eager"] = ours(muon, device)
    first = {name: timed(step, 2, device) for name, step in contenders.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, step in contenders.items():
            seconds[name].append(timed(step, steps, device))
    compiling = {name: 2 * (first[name] - median(seconds[name])) for name in contenders}
    return Result(candidate, seconds, compiling)


def timed(step: Step, steps: int, device: str) -> float:
    """Seconds of a step, the mean of ``steps``."""
    started = time.perf_counter()
    for _ in range(steps):
        step()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / steps


def ratios(slow: Sequence[float], fast: Sequence[float]) -> list[float]:
    return [theirs / ours for theirs, ours in zip(slow, fast, strict=True)]


# --- writing down ---


def spread(values: Sequence[float]) -> str:
    """Median and quartiles."""
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


def name_of(candidate: Candidate) -> str:
    a = candidate.architecture
    heads = f"{a.heads}" if a.heads == a.kv_heads else f"{a.heads}/{a.kv_heads}"
    tied = "tied" if a.tied else "untied"
    return f"{a.depth} x {a.width}, {heads} heads, V {a.vocabulary} {tied}, {candidate.recipe.batch_tokens} tokens"


def against_transformers(results: Sequence[Result], modes: Sequence[str]) -> str:
    rows = []
    for result in results:
        for mode in modes:
            own = result.seconds[f"nas {mode}"]
            compiling = [f"{result.compiling[f'{name} {mode}']:.0f} s" for name in ("nas", "adamw")]
            rows.append(
                [
                    name_of(result.candidate),
                    mode,
                    f"{result.candidate.recipe.batch_tokens / median(own):,.0f}",
                    *(spread(ratios(result.seconds[f"{name} {mode}"], own)) for name in ("adamw", "fused")),
                    " / ".join(compiling) if mode == COMPILED else "-",
                ]
            )
    return table(["model", "mode", "tokens/s", "x AdamW", "x fused AdamW", "compiling: nas / transformers"], rows)


def compiled_against_eager(results: Sequence[Result]) -> str:
    rows = []
    for result in results:
        gain = ratios(result.seconds["nas eager"], result.seconds["nas compiled"])
        seconds = result.compiling["nas compiled"]
        rows.append([name_of(result.candidate), f"{seconds:.0f} s", spread(gain), break_even(seconds, median(gain))])
    return table(["model", "compiling", "x eager", "pays from"], rows)


def break_even(seconds: float, speedup: float) -> str:
    """Training time without compiling from which compiling makes a run shorter."""
    paid_from = seconds / (1 - 1 / speedup) if speedup > 1 else math.inf
    return f"{paid_from:,.0f} s of training" if math.isfinite(paid_from) else "never"


def muon_against_adamw(results: Sequence[Result]) -> str:
    rows = [
        [name_of(result.candidate), spread(ratios(result.seconds["muon eager"], result.seconds["nas eager"]))]
        for result in results
    ]
    return table(["model", "step with Muon / with AdamW"], rows)


def write_up(results: Sequence[Result], modes: Sequence[str], device: str, rounds: int, steps: int) -> str:
    parts = [
        "# Training throughput",
        ABOUT.format(rounds=rounds, steps=steps).strip(),
        f"Measured on {machine(device)}; {precision(device)} products.",
        "## Against transformers",
        against_transformers(results, modes),
    ]
    if COMPILED in modes:
        parts += ["## Compiled against eager, both `nas`", compiled_against_eager(results)]
    parts += ["## What Muon costs, eager", muon_against_adamw(results)]
    return "\n\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput")
    parser.add_argument("--quick", action="store_true", help="one tiny model, not compiled: does it run?")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--out", type=Path, help="file for the tables")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    models, modes = (QUICK, [EAGER]) if options.quick else (MODELS[options.device], [EAGER, COMPILED])
    rounds, steps = (3, 1) if options.quick else (15, 2)
    with tempfile.TemporaryDirectory() as cold:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cold
        results = [measure(candidate, options.device, modes, rounds, steps) for candidate in models]
    publish(write_up(results, modes, options.device, rounds, steps), options.out)


if __name__ == "__main__":
    main()
