"""One run of one candidate: a loop that yields reports and obeys a plan.

Progress p = FLOPs spent / FLOPs planned drives every schedule. A run is a pure function of (candidate, plan, seed,
texts, thread count) on the CPU: resumed from a checkpoint it equals an uninterrupted run bit for bit.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from nas.candidate import Candidate
from nas.curve import RUNGS
from nas.data.batches import Batches
from nas.data.texts import Texts
from nas.errors import StorageError
from nas.outcome import COMPLETED, DIVERGED, INTERRUPTED
from nas.plan import Plan, rates
from nas.train.artifact import save_artifact
from nas.train.checkpoint import Checkpoint
from nas.train.evaluate import Score, score
from nas.train.model import Transformer
from nas.train.optimizer import Optimizers
from nas.train.pace import Pace

REPORTS = 32  # training-loss reports of a run, evenly over p
REPLAN_TOLERANCE = 0.02  # of the remaining steps; smaller differences are left to the next report
REPLAN_TOLD = 0.1  # of the remaining steps; smaller changes are made without a message
REPLAN_SECONDS = 2.0  # between looks at the clock


@dataclass(frozen=True)
class Request:
    """What to train and where.

    Attributes:
        deadline_seconds: from the start of this attempt; the run is shortened when it would not end by then.
        checkpoint: to resume from and to write to; ``None`` for none.
        checkpoint_seconds: at most so far apart.
        artifact: folder for the trained model; ``None`` to keep nothing.
        score_test: also score the test split at the end.
        probe_flops: spent on real steps before the run, charged as evaluation.
    """

    candidate: Candidate
    plan: Plan
    seed: int
    device: str = "cpu"
    deadline_seconds: float | None = None
    checkpoint: Checkpoint | None = None
    checkpoint_seconds: float = 30.0
    artifact: Path | None = None
    score_test: bool = False
    rungs: tuple[float, ...] = RUNGS
    probe_flops: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """The state of a run after a step. Losses in bits per byte; ``message`` is for people.

    ``first_step`` is the step that this attempt went on from. ``durable``: a checkpoint holds it, so this is to be
    recorded before the next item is asked for. What was not heard then is reported again by the attempt that follows.
    """

    step: int
    progress: float
    train_flops: int
    eval_flops: int
    seconds: float
    first_step: int
    train_bpb: float | None = None
    val_bpb: float | None = None
    rung: float | None = None
    durable: bool = False
    message: str = ""


@dataclass(frozen=True, slots=True)
class Finish:
    """How a run ended: ``completed``, ``diverged`` (a loss that is not finite) or ``interrupted`` (its checkpoint is
    kept)."""

    kind: str
    step: int
    train_flops: int
    hardware_flops: int
    eval_flops: int
    seconds: float
    time_bound: bool
    validation: Score | None = None
    test: Score | None = None


@dataclass
class _State:
    """What changes while a run goes on; all of it is in a checkpoint."""

    steps: int
    step: int = 0
    eval_flops: int = 0
    seconds: float = 0.0
    time_bound: bool = False
    loss_sum: float = 0.0
    loss_steps: int = 0
    reached: list[float] = field(default_factory=list)


def train(
    request: Request,
    texts: Texts,
    clock: Callable[[], float] = time.monotonic,
    halted: Callable[[], bool] = lambda: False,
) -> Iterator[Report | Finish]:
    """Trains; yields `Report`s and, as the last item, one `Finish`. Closing the iterator ends the run where it is;
    ``halted``, asked before each step, ends it after a checkpoint.

    The checkpoint stays: whoever records how the run ended deletes it then, and not before.

    Raises `StorageError` (`DiskFullError`) when a checkpoint or the artifact cannot be written.
    """
    run = _Run(request, texts, clock)
    yield from run.messages()
    yield from run.earlier_reports()
    kind = COMPLETED
    while run.state.step < run.state.steps:
        if halted():
            run.save()
            kind = INTERRUPTED
            break
        if not math.isfinite(run.step()):
            kind = DIVERGED
            break
        if run.due():
            report = run.report()
            if not math.isfinite(report.val_bpb or 0.0):
                kind = DIVERGED
                break
            if report.durable:
                run.save()
            yield report
            run.heard(report)
    yield run.finish(kind)


class _Run:
    def __init__(self, request: Request, texts: Texts, clock: Callable[[], float]) -> None:
        self.request, self.texts, self.clock = request, texts, clock
        self.deadline = math.inf if request.deadline_seconds is None else clock() + request.deadline_seconds
        self.candidate, self.plan = request.candidate, request.plan
        architecture = self.candidate.architecture
        self.device = torch.device(request.device)
        self.shard = texts.shard("train", architecture.vocabulary)
        self.batches = Batches(self.shard.tokens, architecture.context, request.seed)
        self.model = Transformer(
            architecture,
            self.candidate.recipe.dropout,
            recompute=self.plan.recompute,
            precision=self.plan.precision,
            logits_chunk=self.plan.logits_chunk,
        )
        self.model.initialise(request.seed)
        self.model.to(self.device).train()
        self.optimizers = Optimizers(self.model, self.candidate.recipe.optimizer)
        self.state = _State(steps=self.plan.steps, eval_flops=request.probe_flops)
        self.notes: list[str] = []
        self.unheard: list[Report] = []  # since the last durable one that was heard
        self.restore()
        self.forward: Callable[..., torch.Tensor] = self.model
        if self.plan.compile:
            self.forward = torch.compile(self.model, dynamic=False)
        self.started = self.saved = clock()
        self.before = self.state.seconds
        self.first_step = self.state.step
        self.pace, self.replanned = Pace(), self.started

    def messages(self) -> Iterator[Report]:
        while self.notes:
            yield self._report(message=self.notes.pop(0))

    def earlier_reports(self) -> Iterator[Report]:
        """Those of an earlier attempt that nobody may have heard."""
        for report in tuple(self.unheard):
            yield replace(report, first_step=self.first_step, message="")
            self.heard(report)

    def heard(self, report: Report) -> None:
        """That the consumer asks for more after a durable report says that all before it were heard."""
        if report.durable:
            self.unheard.clear()

    # --- one step ---

    def step(self) -> float:
        """One optimizer step; returns the mean loss in nats per token."""
        state, plan, began = self.state, self.plan, self.clock()
        total = torch.zeros((), device=self.device)
        for micro in range(plan.accumulation):
            first = state.step * self.candidate.sequences + micro * plan.micro_batch
            inputs, targets = self.batches.batch(first, plan.micro_batch)
            if self.candidate.recipe.dropout:
                torch.manual_seed(hash_seed(self.request.seed, state.step, micro))
            loss = self._loss(torch.from_numpy(inputs).to(self.device), torch.from_numpy(targets).to(self.device))
            (loss / plan.accumulation).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        self.optimizers.step(rates(self.candidate, (state.step + 0.5) / state.steps))
        state.step += 1
        mean = float(total) / plan.accumulation
        state.loss_sum, state.loss_steps = state.loss_sum + mean, state.loss_steps + 1
        if state.step > self.first_step + 1:  # the first of an attempt compiles and warms up
            self.pace.stepped(self.clock() - began)
            if self.clock() - self.replanned > REPLAN_SECONDS:
                self.replan()
        return mean

    def _loss(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        try:
            loss: torch.Tensor = self.forward(inputs, targets)
        except Exception as error:
            if self.forward is self.model or not _is_compiler(error):
                raise
            self.forward = self.model
            self.notes.append(f"not compiled, training goes on without: {_first_line(error)}")
            loss = self.model(inputs, targets)
        return loss

    # --- reports ---

    @property
    def progress(self) -> float:
        return self.state.step / self.state.steps

    def due(self) -> bool:
        """Whether this step is one to report after: a rung, or the next 32nd of the run."""
        state = self.state
        before = (state.step - 1) / state.steps
        crossed = math.floor(before * REPORTS) != math.floor(self.progress * REPORTS)
        return crossed or self._rung() is not None or self.save_is_due()

    def _rung(self) -> float | None:
        passed = [rung for rung in self.request.rungs if rung <= self.progress and rung not in self.state.reached]
        return passed[-1] if passed and self.state.step < self.state.steps else None

    def save_is_due(self) -> bool:
        return self.request.checkpoint is not None and self.clock() - self.saved >= self.request.checkpoint_seconds

    def report(self) -> Report:
        state, rung = self.state, self._rung()
        validation = None
        if rung is not None:
            validation = self._score("validation", rung=True)
            state.reached = [own for own in self.request.rungs if own <= rung]
        train_bpb = self._bpb(state.loss_sum / state.loss_steps) if state.loss_steps else None
        state.loss_sum, state.loss_steps = 0.0, 0
        self.replan()
        message = "; ".join(self.notes)
        self.notes.clear()
        val_bpb = validation.bpb if validation else None
        durable = rung is not None or self.save_is_due()
        report = self._report(train_bpb=train_bpb, val_bpb=val_bpb, rung=rung, durable=durable, message=message)
        self.unheard.append(report)
        return report

    def _report(self, **own: Any) -> Report:
        state = self.state
        return Report(
            step=state.step,
            progress=self.progress,
            train_flops=state.step * self.plan.step_flops,
            eval_flops=state.eval_flops,
            seconds=self.seconds,
            first_step=self.first_step,
            **own,
        )

    @property
    def seconds(self) -> float:
        return self.before + self.clock() - self.started

    def _bpb(self, nats: float) -> float:
        """From nats per token, by the training text's mean token."""
        return nats / math.log(2) / self.shard.bytes_per_token

    def _score(self, split: str, *, rung: bool = False) -> Score:
        architecture = self.candidate.architecture
        evaluation = self.texts.evaluation(split, architecture.vocabulary, architecture.context, rung=rung)
        began = self.clock()
        result = score(self.model, evaluation, self.plan.micro_batch)
        self.pace.scored(result.flops, self.clock() - began)
        self.state.eval_flops += result.flops
        return result

    def replan(self) -> None:
        """Fits the steps to the deadline at the present pace, never beyond the plan; says so when that changes much."""
        state = self.state
        self.replanned = self.clock()
        if self.deadline == math.inf or not self.pace.known:
            return
        scoring = max(0, self.plan.eval_flops - state.eval_flops)
        possible = self.pace.possible_steps(self.deadline - self.clock(), self.plan.step_flops, scoring)
        steps = min(self.plan.steps, state.step + possible)  # none is left: the run ends with this step
        change = abs(steps - state.steps) / max(1, state.steps - state.step)
        if change <= REPLAN_TOLERANCE:
            return
        if change > REPLAN_TOLD:
            self.notes.append(f"replanned from {state.steps} to {steps} steps to end in time")
        state.steps, state.time_bound = steps, steps < self.plan.steps

    # --- the end ---

    def finish(self, kind: str) -> Finish:
        state, request = self.state, self.request
        validation = test = None
        if kind == COMPLETED:
            validation = self._score("validation")
            kind = kind if math.isfinite(validation.bpb) else DIVERGED
        if kind == COMPLETED and request.score_test:
            test = self._score("test")
        if kind == COMPLETED and request.artifact is not None:
            tokenizer = self.texts.tokenizer(self.candidate.architecture.vocabulary)
            save_artifact(request.artifact, self.model, tokenizer, self.candidate)
        train_flops = state.step * self.plan.step_flops
        return Finish(
            kind=kind,
            step=state.step,
            train_flops=train_flops,
            hardware_flops=train_flops + state.step * self.plan.recompute_step_flops,
            eval_flops=state.eval_flops,
            seconds=self.seconds,
            time_bound=state.time_bound,
            validation=validation if kind == COMPLETED else None,
            test=test,
        )

    # --- checkpoints ---

    @property
    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must have in common with the run that goes on from it."""
        return {"candidate": self.candidate.id, "seed": self.request.seed, "steps": self.plan.steps}

    def save(self) -> None:
        if self.request.checkpoint is None:
            return
        state = {name: getattr(self.state, name) for name in _State.__dataclass_fields__}
        state["seconds"] = self.seconds
        self.request.checkpoint.save(
            {
                "run": self._identity,
                "threads": torch.get_num_threads(),
                "state": state,
                "unheard": [asdict(report) for report in self.unheard],
                "model": self.model.state_dict(),
                "optimizers": self.optimizers.state_dict(),
            },
        )
        self.saved = self.clock()

    def restore(self) -> None:
        """Goes on from the checkpoint, if there is a sound one of this very run."""
        checkpoint = self.request.checkpoint
        if checkpoint is None:
            return
        try:
            saved = checkpoint.load()
        except StorageError as error:
            self.notes.append(f"starts again from the beginning: {error}")
            return
        if saved is None:
            return
        if saved["run"] != self._identity:
            self.notes.append(f"{checkpoint.path.name} belongs to another run and is not used")
            return
        if self.device.type == "cpu" and saved["threads"] != torch.get_num_threads():
            self.notes.append(
                f"resumed with {torch.get_num_threads()} threads after {saved['threads']}: sums round differently"
            )
        self.model.load_state_dict(saved["model"])
        self.optimizers.load_state_dict(saved["optimizers"])
        self.state = _State(**saved["state"])
        self.unheard = [Report(**own) for own in saved["unheard"]]
        self.notes.append(f"resumed at step {self.state.step}")


def hash_seed(*parts: int) -> int:
    """A 63-bit seed from several numbers (the mixing step of SplitMix64, Steele et al., OOPSLA 2014)."""
    state = 0
    for part in parts:
        state = (state ^ part) + 0x9E3779B97F4A7C15 & (2**64 - 1)
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & (2**64 - 1)
        state = (state ^ state >> 27) * 0x94D049BB133111EB & (2**64 - 1)
        state ^= state >> 31
    return state >> 1


def _is_compiler(error: Exception) -> bool:
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200]
