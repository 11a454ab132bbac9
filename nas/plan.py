"""What a run will do with its money: steps, layout, schedules over progress p, learning rates.

Everything is a function of p = FLOPs spent / FLOPs planned, never of the step number or the wall clock.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

from nas.candidate import Candidate, Recipe
from nas.cost import (
    LOGITS_CHUNK,
    LOGITS_CHUNKS,
    Cost,
    evaluation_flops,
    footprint,
    forward_flops,
    memory_bound,
    optimizer_flops,
    recompute_flops,
    step_elements,
    step_operations,
)

# --- Schedules -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rates:
    """Learning rates and decay of one step, by role of the parameter."""

    matrix: float
    embedding: float
    head: float
    vector: float
    decay: float


REFERENCE_BATCH = 1024  # tokens in a step at which the priors below were measured
MUON_RATE = 0.015
ADAM_MATRIX_RATE = 0.2  # divided by the width
EMBEDDING_RATE = 0.06
HEAD_RATE = 0.5  # divided by the width
VECTOR_RATE = 0.01


def schedule(recipe: Recipe, progress: float) -> float:
    """Share of the peak rate at ``progress`` in [0, 1]: linear warm-up, plateau, linear cool-down to ``floor``."""
    if progress < recipe.warmup:
        return progress / recipe.warmup
    if progress <= 1 - recipe.cooldown:
        return 1.0
    return recipe.floor + (1 - recipe.floor) * (1 - progress) / recipe.cooldown


def rates(candidate: Candidate, progress: float) -> Rates:
    """The rates of a step whose middle lies at ``progress``.

    The prior: Muon's rate does not depend on the width (its updates have unit spectral norm), Adam's rate for
    matrices falls as 1 / width (Yang et al., arXiv 2203.03466, table 8), depth d takes d^-1/2 against 3 layers
    beyond which updates of residual branches add up, and all grow with the square root of the batch (Malladi et
    al., arXiv 2205.10287). The constants were measured on the shipped corpus at 5e11 to 4e12 FLOPs.
    """
    architecture, recipe = candidate.architecture, candidate.recipe
    share = schedule(recipe, progress) * math.sqrt(min(recipe.batch_tokens / REFERENCE_BATCH, 64))
    deep = min(1.0, math.sqrt(3 / architecture.depth))
    matrix = MUON_RATE if recipe.optimizer == "muon" else ADAM_MATRIX_RATE / architecture.width
    vectors = recipe.embedding_rate * share
    own = EMBEDDING_RATE if architecture.tied else 4 * EMBEDDING_RATE
    return Rates(
        matrix=matrix * deep * recipe.matrix_rate * share,
        embedding=own * vectors,
        head=HEAD_RATE / architecture.width * vectors,
        vector=VECTOR_RATE * vectors,
        decay=recipe.weight_decay,
    )


# --- Speed -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Speed:
    """Predicted time of a training step on a device: flops / rate + elements / rate + operations x overhead.

    Attributes:
        seconds_per_flop, seconds_per_element, seconds_per_operation: non-negative coefficients.
        error: largest relative error over the measured steps that it was fitted to.
        device, threads: where it was measured.
    """

    seconds_per_flop: float
    seconds_per_element: float
    seconds_per_operation: float
    error: float = 0.0
    device: str = "cpu"
    threads: int = 1

    def step_seconds(self, candidate: Candidate, accumulation: int = 1, *, recompute: bool = False) -> float:
        """Seconds of one optimizer step."""
        flops = step_flops(candidate) + (recompute_flops(candidate) if recompute else 0)
        return (
            self.seconds_per_flop * flops
            + self.seconds_per_element * step_elements(candidate)
            + self.seconds_per_operation * step_operations(candidate, accumulation)
        )

    def scaled(self, factor: float) -> "Speed":
        """The same device, slower by ``factor``."""
        return replace(
            self,
            seconds_per_flop=self.seconds_per_flop * factor,
            seconds_per_element=self.seconds_per_element * factor,
            seconds_per_operation=self.seconds_per_operation * factor,
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def step_flops(candidate: Candidate) -> int:
    """One optimizer step by ``model_flops_v1``."""
    return 3 * forward_flops(candidate.architecture) * candidate.sequences + optimizer_flops(candidate)


# --- Plans -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TextFacts:
    """What a plan has to know of a corpus as one vocabulary and context see it.

    Attributes:
        bytes_per_token: mean over the training text.
        train_tokens: tokens of one epoch.
        rung_windows, rung_tokens: windows and scored tokens of the rungs' subset of the validation split.
        full_windows, full_tokens: the same of all of it.
        test_windows, test_tokens: the same of the test split.
    """

    bytes_per_token: float
    train_tokens: int
    rung_windows: int
    rung_tokens: int
    full_windows: int
    full_tokens: int
    test_windows: int
    test_tokens: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will spend and how it is laid out.

    Attributes:
        steps, step_flops: optimizer steps and FLOPs of each; their product is what is planned.
        micro_batch, accumulation: sequences in one forward and backward pass, and passes in a step.
        recompute, logits_chunk, compile, precision: how the machine does it; they change no result but rounding.
        tokens, epochs: training tokens, and how often each is seen.
        eval_flops: rungs and the final score, and the steps of a probe.
        memory_bytes: peak memory: predicted, or an upper bound where no device is known.
        probe_steps: real steps that are made first, to see whether it fits and how fast its model writes.
        share: of the device; other runs may have the rest.
        seconds, train_seconds: predicted, of all and of the steps; 0 when nothing is known of the device's speed.
        bound: what limits the run, ``compute`` or ``time``.
        device: that it was made for, where a search trains on several; empty where it knows one.
    """

    steps: int
    step_flops: int
    micro_batch: int
    accumulation: int
    tokens: int
    epochs: float
    eval_flops: int
    memory_bytes: int
    seconds: float
    train_seconds: float = 0.0
    bound: str = "compute"
    recompute: bool = False
    logits_chunk: int = LOGITS_CHUNK
    compile: bool = False
    precision: str = "float32"
    recompute_step_flops: int = 0
    device: str = ""
    probe_steps: int = 0
    share: float = 1.0

    @property
    def layout(self) -> "Layout":
        return Layout(self.micro_batch, self.recompute, self.logits_chunk)

    @property
    def train_flops(self) -> int:
        return self.steps * self.step_flops

    @property
    def flops(self) -> int:
        """Everything that is charged: training and evaluation."""
        return self.train_flops + self.eval_flops

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "Plan":
        return cls(**raw)


@dataclass(frozen=True, slots=True)
class Layout:
    """How a step is laid out on a device. The recipe's batch is the same in all of them, and so is what is learned.

    Attributes:
        micro_batch: sequences in one forward and backward pass.
        recompute: whether activations are computed again in the backward pass.
        logits_chunk: logits that the loss makes at once.
    """

    micro_batch: int
    recompute: bool = False
    logits_chunk: int = LOGITS_CHUNK


def fastest(candidate: Candidate, backend: str = "cpu") -> Layout:
    """The layout of a step where memory does not matter."""
    return Layout(candidate.sequences, False, LOGITS_CHUNKS[backend][0])


def bound(candidate: Candidate, layout: Layout) -> int:
    """`nas.cost.memory_bound` of a layout."""
    return memory_bound(candidate, layout.micro_batch, recompute=layout.recompute, logits_chunk=layout.logits_chunk)


LOOSEST = 4
"""Times what a step needs that the closed form says at most, by far."""
Needs = Callable[[Layout], int]
"""Bytes of a candidate's step."""
Seconds = Callable[[Layout], float]
"""Of a candidate's step."""


def lay_out(
    candidate: Candidate,
    memory: int | None,
    needs: Needs | None = None,
    seconds: Seconds | None = None,
    backend: str = "cpu",
) -> tuple[Layout, int]:
    """The fastest layout that fits ``memory`` bytes, else the leanest, and the bytes that it needs.

    Of layouts with the same recompute and chunk the largest pass launches the fewest operators for the same work, so
    only that is looked at.

    Args:
        needs: where more is known than the closed form; not asked where that is beyond all measure.
        seconds: without, what recomputes nothing is faster, then larger passes, then larger chunks.
    """
    step, chunks = footprint(candidate), LOGITS_CHUNKS[backend]

    @cache
    def needed(layout: Layout) -> int:
        most = step.bytes(layout.micro_batch, layout.recompute, layout.logits_chunk)
        beyond = memory is not None and most >= LOOSEST * memory
        return most if needs is None or beyond else needs(layout)

    loosest, leanest = fastest(candidate, backend), Layout(1, True, chunks[-1])
    if memory is None or needed(loosest) <= memory:
        return loosest, needed(loosest)
    if needed(leanest) > memory:
        return leanest, needed(leanest)
    fitting = []
    for recompute in (False, True):
        for chunk in chunks:
            size = _largest_fitting(candidate.sequences, recompute, chunk, memory, needed)
            if size:
                fitting.append(Layout(size, recompute, chunk))
            if size == candidate.sequences:
                break  # smaller chunks only launch more
    chosen = min(fitting, key=(lambda own: (seconds(own), *_order(own))) if seconds else _order)
    return chosen, needed(chosen)


def _largest_fitting(sequences: int, recompute: bool, chunk: int, memory: int, needed: Needs) -> int:
    """Sequences of the largest pass that fits; 0 if none does. A larger pass never needs less."""
    sizes = _divisors(sequences)
    first = bisect_left(sizes, True, key=lambda size: needed(Layout(size, recompute, chunk)) <= memory)
    return sizes[first] if first < len(sizes) else 0


def _order(layout: Layout) -> tuple[bool, int, int]:
    """The fastest first, as far as that can be said without a device."""
    return layout.recompute, -layout.micro_batch, -layout.logits_chunk


@cache
def _divisors(number: int) -> tuple[int, ...]:
    """From the number itself down to 1."""
    return tuple(size for size in range(number, 0, -1) if number % size == 0)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one run may take: training FLOPs, seconds, bytes of memory."""

    flops: int
    seconds: float = math.inf
    memory: int | None = None


def plan_run(
    candidate: Candidate,
    cost: Cost,
    facts: TextFacts,
    allowance: Allowance,
    *,
    rungs: int,
    score_test: bool = False,
    speed: Speed | None = None,
    compiles: "Compiles | None" = None,
    precision: str = "float32",
    laid_out: tuple[Layout, int] | None = None,
    step_seconds: float | None = None,
    probe_steps: int = 0,
) -> Plan:
    """The plan of a run: as many whole steps as its FLOPs allow, or its time at the predicted speed.

    ``steps`` is 0 when not one step fits.

    Args:
        laid_out: the layout of the step, and the bytes that it needs; by closed forms without.
        step_seconds: predicted, not compiled; by ``speed`` without.
    """
    layout, memory_bytes = laid_out or lay_out(candidate, allowance.memory)
    accumulation = candidate.sequences // layout.micro_batch
    evaluation = evaluation_plan(candidate, facts, rungs, score_test=score_test) + probe_steps * cost.step_flops
    if step_seconds is not None:
        eval_seconds = evaluation * step_seconds / cost.step_flops
    else:
        step_seconds = speed.step_seconds(candidate, accumulation, recompute=layout.recompute) if speed else 0.0
        eval_seconds = evaluation * speed.seconds_per_flop * 1.5 if speed else 0.0
    by_compute = allowance.flops // cost.step_flops
    by_time = math.inf
    if step_seconds and math.isfinite(allowance.seconds):
        by_time = max(0, int((allowance.seconds - eval_seconds) / step_seconds))
    steps = int(min(by_compute, by_time))
    train_seconds, compile_ = steps * step_seconds, False
    if compiles is not None and compiles.pays(train_seconds):
        train_seconds, compile_ = compiles.compiled_seconds(train_seconds), True
    tokens = steps * candidate.recipe.batch_tokens
    return Plan(
        steps=steps,
        step_flops=cost.step_flops,
        micro_batch=layout.micro_batch,
        accumulation=accumulation,
        tokens=tokens,
        epochs=tokens / facts.train_tokens,
        eval_flops=evaluation,
        memory_bytes=memory_bytes,
        seconds=train_seconds + eval_seconds,
        train_seconds=train_seconds,
        bound="time" if by_time < by_compute else "compute",
        recompute=layout.recompute,
        logits_chunk=layout.logits_chunk,
        compile=compile_,
        precision=precision,
        recompute_step_flops=recompute_flops(candidate) if layout.recompute else 0,
        probe_steps=probe_steps,
    )


def evaluation_plan(candidate: Candidate, facts: TextFacts, rungs: int, *, score_test: bool = False) -> int:
    """FLOPs of all evaluations of a run: the rungs on their subset, the end on the whole validation split."""
    architecture = candidate.architecture
    total = rungs * evaluation_flops(architecture, facts.rung_windows, facts.rung_tokens)
    total += evaluation_flops(architecture, facts.full_windows, facts.full_tokens)
    if score_test:
        total += evaluation_flops(architecture, facts.test_windows, facts.test_tokens)
    return total


@dataclass(frozen=True, slots=True)
class Compiles:
    """What compiling a model costs and brings on a device."""

    seconds: float
    speedup: float

    def compiled_seconds(self, train_seconds: float) -> float:
        """Compiling and then training, for a training that takes ``train_seconds`` without."""
        return self.seconds + train_seconds / self.speedup

    def pays(self, train_seconds: float) -> bool:
        """Whether compiling and then training is faster, with a margin of a fifth for what is not known."""
        return self.compiled_seconds(train_seconds) < 0.8 * train_seconds
