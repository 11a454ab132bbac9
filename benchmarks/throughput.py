"""Training throughput against `transformers`: the same shape, the same batch, AdamW on both sides.

    python -m benchmarks.throughput [--quick] [--threads N] [--out FILE]

Whole optimizer steps (forward, backward, update), eager against eager and compiled against compiled, interleaved in
one process; what is printed is the median over rounds of the ratio within a round, and its quartiles. Above 1 we are
faster. Theirs is written as a user would: the family's model, `torch.optim.AdamW`; the last column gives it the fused
AdamW too.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.machine import machine
from nas.candidate import Architecture, Candidate, Recipe
from nas.export.huggingface import config
from nas.plan import rates
from nas.train.model import Transformer
from nas.train.optimizer import Optimizers

Step = Callable[[], object]


def _candidate(depth: int, width: int, heads: int, kv_heads: int, vocabulary: int, batch: int, tied: bool) -> Candidate:
    architecture = Architecture(
        depth=depth,
        width=width,
        heads=heads,
        head_size=width // heads,
        kv_heads=kv_heads,
        mlp_width=3 * width,
        vocabulary=vocabulary,
        context=256,
        tied=tied,
        qk_norm=False,
    )
    return Candidate(architecture, Recipe(batch_tokens=batch, optimizer="adamw"))


QUICK = {"1 x 32, vocabulary 512": _candidate(1, 32, 2, 2, 512, 256, True)}
SHAPES = {
    "3 x 64, vocabulary 4096": _candidate(3, 64, 4, 4, 4096, 1024, True),
    "4 x 128, vocabulary 4096, grouped": _candidate(4, 128, 4, 2, 4096, 1024, True),
    "6 x 192, vocabulary 8192, untied": _candidate(6, 192, 6, 6, 8192, 1024, False),
    "6 x 256, vocabulary 2048": _candidate(6, 256, 8, 8, 2048, 1024, True),
}


def ours(candidate: Candidate, *, compiled: bool) -> Step:
    """A step of the trainer's own module and optimizer."""
    model = Transformer(candidate.architecture)
    model.initialise(0)
    optimizers, own = Optimizers(model, "adamw"), rates(candidate, 0.3)
    forward = torch.compile(model, dynamic=False) if compiled else model
    tokens = _tokens(candidate)
    inputs, targets = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()

    def step() -> None:
        forward(inputs, targets).backward()
        optimizers.step(own)

    return step


def theirs(candidate: Candidate, *, compiled: bool, fused: bool = False) -> Step:
    """A step of the same model in transformers."""
    from transformers import AutoConfig, AutoModelForCausalLM

    fields = dict(config(candidate.architecture))
    own = AutoConfig.for_model(fields.pop("model_type"), **fields)
    model = AutoModelForCausalLM.from_config(own, attn_implementation="sdpa").train()  # type: ignore[no-untyped-call]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=fused or None)
    forward = torch.compile(model, dynamic=False) if compiled else model
    inputs = _tokens(candidate)[:, :-1].contiguous()

    def step() -> None:
        forward(input_ids=inputs, labels=inputs, use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _tokens(candidate: Candidate) -> torch.Tensor:
    architecture = candidate.architecture
    shape = (candidate.sequences, architecture.context + 1)
    return torch.randint(0, architecture.vocabulary, shape, generator=torch.Generator().manual_seed(0))


@dataclass(frozen=True)
class Race:
    """Seconds of each step by name, one entry a round; and seconds until the first step was done."""

    seconds: Mapping[str, list[float]]
    first: Mapping[str, float]

    def ratio(self, slower: str, faster: str) -> str:
        """Median and quartiles of slower / faster within a round."""
        ratios = [a / b for a, b in zip(self.seconds[slower], self.seconds[faster], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def race(steps: Mapping[str, Step], rounds: int) -> Race:
    """Times the steps in turn, so that what disturbs the machine disturbs all."""
    first, seconds = {}, {name: [] for name in steps}  # type: dict[str, float], dict[str, list[float]]
    for name, step in steps.items():
        first[name] = _timed(step)
        step()
    for _ in range(rounds):
        for name, step in steps.items():
            seconds[name].append(_timed(step))
    return Race(seconds, first)


def _timed(step: Step) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def row(name: str, candidate: Candidate, rounds: int) -> list[str]:
    """One shape: our tokens a second, the ratios, what compiling costs and brings."""
    torch.compiler.reset()
    result = race(
        {
            "ours": ours(candidate, compiled=False),
            "theirs": theirs(candidate, compiled=False),
            "theirs, fused": theirs(candidate, compiled=False, fused=True),
            "ours, compiled": ours(candidate, compiled=True),
            "theirs, compiled": theirs(candidate, compiled=True),
        },
        rounds,
    )
    rate = candidate.recipe.batch_tokens / statistics.median(result.seconds["ours"])
    compiling = f"{result.first['ours, compiled']:.0f} s / {result.first['theirs, compiled']:.0f} s"
    return [
        name,
        f"{rate:,.0f}",
        result.ratio("theirs", "ours"),
        result.ratio("theirs, fused", "ours"),
        result.ratio("theirs, compiled", "ours, compiled"),
        result.ratio("ours", "ours, compiled"),
        compiling,
    ]


HEADS = [
    "layers x width",
    "our tokens/s, eager",
    "eager",
    "eager, their AdamW fused",
    "compiled",
    "our compiled / our eager",
    "compiling, ours / theirs",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="one small shape, few rounds")
    parser.add_argument("--threads", type=int, default=0, help="0: as torch chooses")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a Markdown file to write as well")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    rounds = options.rounds or (2 if options.quick else 12)
    rows = [row(name, own, rounds) for name, own in (QUICK if options.quick else SHAPES).items()]
    lines = [f"| {' | '.join(cells)} |" for cells in (HEADS, ["---"] * len(HEADS), *rows)]
    text = "\n".join(["# Training throughput against transformers", "", f"{machine()}, {rounds} rounds", "", *lines])
    note = (
        "Ratios are their seconds over ours: median of the rounds (quartiles). Command: python -m benchmarks.throughput"
    )
    print(f"{text}\n\n{note}")
    if options.out:
        options.out.write_text(f"{text}\n\n{note}\n")


if __name__ == "__main__":
    main()
