"""An assignment carried out: trains, passes points on, obeys verdicts, says how it ended."""

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch

from nas.cost import latency_ms_per_kb
from nas.data.depot import Depot
from nas.data.texts import Texts
from nas.errors import CrowdedError, ProbeError
from nas.outcome import DIVERGED, INTERRUPTED, OUT_OF_MEMORY, OUT_OF_MEMORY_EXCESS, OVER_LIMIT, STOPPED, ended
from nas.ports import Assignment, Outcome
from nas.records import CurvePoint, Verdict
from nas.spec import LATENCY, PEAK_MEMORY
from nas.train.artifact import publish_artifact
from nas.train.checkpoint import CHECKPOINT, Checkpoint
from nas.train.containment import check_uncrowded, contained
from nas.train.run import Finish, Report, Request, train
from nas.units import format_bytes


@dataclass(frozen=True)
class Workshop:
    """Where assignments are carried out: the corpus, the folder for checkpoints and artifacts, the device, the
    CPU threads of one run among others and of a run alone on the machine (0: as they are), the depot that gets a copy
    of what is kept, where machines share one, and the probe, where there is one."""

    texts: Texts
    artifacts: Path
    device: str = "cpu"
    threads: int = 0
    all_threads: int = 0
    depot: Depot | None = None
    probe: "Probing | None" = None

    @property
    def place(self) -> str:
        """Where it is, for people: host and device."""
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0]
        device = f"cuda:{visible or 0}" if self.device == "cuda" else self.device
        return f"{socket.gethostname()}, {device}"

    def folder(self, assignment: Assignment) -> Path:
        return self.artifacts / name_of(assignment)

    def checkpoint(self, assignment: Assignment) -> Checkpoint:
        path, name = self.folder(assignment) / CHECKPOINT, f"{name_of(assignment)}/{CHECKPOINT}"
        return Checkpoint(path, self.depot, name)


@dataclass(frozen=True, slots=True)
class Probed:
    """Bytes of the device that the tensors of a step took, and seconds of a token in use, where they were wanted."""

    tensor_bytes: int
    token_seconds: float | None = None


Probing = Callable[[Assignment, str, int], Probed]
"""Makes real steps of an assignment on a device with some threads, within its cap, in a process of their own. Raises
`ProbeError`."""


def name_of(assignment: Assignment) -> str:
    """Of a candidate's folder, among artifacts and in a depot."""
    return f"{assignment.search_id}/{assignment.number}"


class Reporter(Protocol):
    """Takes a curve point and gives the verdict on it; with ``durable``, not before the point is recorded."""

    def __call__(self, point: CurvePoint, *, durable: bool) -> Verdict: ...


def carry_out(
    assignment: Assignment,
    workshop: Workshop,
    report: Reporter,
    note: Callable[[str], None] = lambda message: None,
    halted: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Runs an assignment to its end, until a verdict stops it, or until it is ``halted``, which keeps a checkpoint.

    ``report`` is called after each curve point, ``note`` with messages for people. Out of memory, of the device or of
    the assignment's cap, is an outcome, not an error; where others have filled the device the run is interrupted, to be
    tried again. The checkpoint stays until the outcome is recorded: whoever does that deletes it.
    """
    threads = workshop.all_threads if assignment.final else workshop.threads
    if threads:
        torch.set_num_threads(threads)
    try:
        measured = _probe(assignment, workshop, note)
    except ProbeError as error:
        return _refused(assignment, OUT_OF_MEMORY, str(error), _needed(assignment))
    if complaint := _complaint(assignment, measured):
        return _refused(assignment, *complaint, measured)
    run = _Run(assignment, workshop, report, note)
    try:
        outcome = run.carry_out(halted)
    except CrowdedError as error:
        note(str(error))
        outcome = ended(assignment, INTERRUPTED, run.last)
    return replace(outcome, measured={**measured, **outcome.measured})


@dataclass
class _Run:
    """The run itself; ``last`` is what it reported last."""

    assignment: Assignment
    workshop: Workshop
    report: Reporter
    note: Callable[[str], None]
    last: CurvePoint | None = None

    def carry_out(self, halted: Callable[[], bool]) -> Outcome:
        """Raises `CrowdedError`."""
        assignment, device = self.assignment, self.workshop.device
        try:
            with contained(device, assignment.memory_cap, compiles=assignment.plan.compile):
                return self._train(halted)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            check_uncrowded(device, assignment.memory_cap)
            outcome = ended(assignment, OUT_OF_MEMORY, self.last, _out_of_memory(assignment, error))
            return replace(outcome, measured=_needed(assignment))

    def _train(self, halted: Callable[[], bool]) -> Outcome:
        assignment, workshop = self.assignment, self.workshop
        for event in train(_request(assignment, workshop), workshop.texts, halted=halted):
            if isinstance(event, Finish):
                if event.validation is not None and workshop.depot is not None:
                    publish_artifact(workshop.folder(assignment), workshop.depot, name_of(assignment))
                return _finished(assignment, event)
            if event.message:
                self.note(event.message)
            if event.train_bpb is None and event.val_bpb is None:
                continue
            self.last = _point(assignment, event)
            if self.report(self.last, durable=event.durable) is Verdict.STOP:
                return ended(assignment, STOPPED, self.last)
        raise AssertionError("a run ends with a Finish")


def _request(assignment: Assignment, workshop: Workshop) -> Request:
    return Request(
        candidate=assignment.candidate,
        plan=assignment.plan,
        seed=assignment.seed,
        device=workshop.device,
        deadline_seconds=assignment.deadline_seconds,
        checkpoint=workshop.checkpoint(assignment),
        artifact=workshop.folder(assignment),
        score_test=assignment.final,
        probe_flops=_probe_flops(assignment),
    )


def _probe(assignment: Assignment, workshop: Workshop, note: Callable[[str], None]) -> dict[str, float]:
    """What real steps took, by the names of costs, where the plan wants some; nothing too where they came to nothing,
    which is noted: the run is contained all the same. Raises `ProbeError` when they run out of memory."""
    wanted = assignment.plan.probe_steps and (not assignment.attempt or assignment.latency_limit is not None)
    if workshop.probe is None or not wanted:  # a further attempt has its cap, and latency only if nobody heard of it
        return {}
    threads = workshop.all_threads if assignment.final else workshop.threads
    try:
        found = workshop.probe(assignment, workshop.device, threads or torch.get_num_threads())
    except ProbeError as error:
        if error.kind == OUT_OF_MEMORY:
            raise
        note(str(error))
        return {}
    measured: dict[str, float] = {PEAK_MEMORY: found.tensor_bytes + assignment.context_bytes}
    if found.token_seconds is not None:
        token_bytes = workshop.texts.bytes_per_token(assignment.candidate.architecture.vocabulary)
        measured[LATENCY] = latency_ms_per_kb(found.token_seconds, token_bytes)
    return measured


def _complaint(assignment: Assignment, measured: Mapping[str, float]) -> tuple[str, str] | None:
    """The limit that what was measured breaks, as a kind of outcome, and by what."""
    cap, limit = assignment.memory_cap, assignment.latency_limit
    if cap is not None and measured.get(PEAK_MEMORY, 0) > (allowed := cap + assignment.context_bytes):
        return OUT_OF_MEMORY, f"{format_bytes(measured[PEAK_MEMORY])} measured, {format_bytes(allowed)} allowed"
    if limit is not None and measured.get(LATENCY, 0) > limit:
        return OVER_LIMIT, f"{LATENCY}: {measured[LATENCY]:.3g} ms measured, {limit:.3g} ms allowed"
    return None


def _refused(assignment: Assignment, kind: str, detail: str, measured: Mapping[str, float]) -> Outcome:
    """Before the run."""
    outcome = ended(assignment, kind, None, detail)
    return replace(outcome, eval_flops=_probe_flops(assignment), measured=measured)


def _needed(assignment: Assignment) -> dict[str, float]:
    """What a run that was out of memory needed: more than its cap, or one like it would be tried again."""
    cap = assignment.memory_cap
    return {} if cap is None else {PEAK_MEMORY: round((cap + assignment.context_bytes) * (1 + OUT_OF_MEMORY_EXCESS))}


def _probe_flops(assignment: Assignment) -> int:
    return assignment.plan.probe_steps * assignment.plan.step_flops


def _out_of_memory(assignment: Assignment, error: Exception) -> str:
    said = (str(error).splitlines() or ["out of memory"])[0]
    cap = assignment.memory_cap
    allowed = f", {format_bytes(cap)} allowed" if cap is not None else ""
    return f"out of memory, {format_bytes(assignment.plan.memory_bytes)} predicted{allowed}: {said}"


def is_out_of_memory(error: Exception) -> bool:
    """Python, numpy and CUDA have errors for it, the CPU allocator of torch and oneDNN have only words."""
    said = ("can't allocate memory", "could not create a primitive")
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(own in str(error) for own in said)


def _point(assignment: Assignment, report: Report) -> CurvePoint:
    return CurvePoint(
        search_id=assignment.search_id,
        number=assignment.number,
        attempt=assignment.attempt,
        step=report.step,
        progress=report.progress,
        flops=report.train_flops,
        seconds=report.seconds,
        train_bpb=report.train_bpb,
        val_bpb=report.val_bpb,
        rung=report.rung,
        eval_flops=report.eval_flops,
        first_step=report.first_step,
    )


def _finished(assignment: Assignment, finish: Finish) -> Outcome:
    return Outcome(
        number=assignment.number,
        attempt=assignment.attempt,
        kind=finish.kind,
        train_flops=finish.train_flops,
        hardware_flops=finish.hardware_flops,
        eval_flops=finish.eval_flops,
        seconds=finish.seconds,
        val_bpb=finish.validation.bpb if finish.validation else None,
        val_error=finish.validation.error if finish.validation else None,
        test_bpb=finish.test.bpb if finish.test else None,
        test_error=finish.test.error if finish.test else None,
        artifact=name_of(assignment) if finish.validation else "",
        time_bound=finish.time_bound,
        detail="the loss is not finite" if finish.kind == DIVERGED else "",
    )
