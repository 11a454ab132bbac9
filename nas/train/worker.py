"""An assignment carried out: trains, passes points on, obeys verdicts, says how it ended."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch

from nas.data.depot import Depot
from nas.data.texts import Texts
from nas.errors import ProbeError
from nas.outcome import DIVERGED, OUT_OF_MEMORY, STOPPED, ended
from nas.ports import Assignment, Outcome
from nas.records import CurvePoint, Verdict
from nas.train.artifact import publish_artifact
from nas.train.checkpoint import CHECKPOINT, Checkpoint
from nas.train.containment import contained
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

    def folder(self, assignment: Assignment) -> Path:
        return self.artifacts / name_of(assignment)

    def checkpoint(self, assignment: Assignment) -> Checkpoint:
        path, name = self.folder(assignment) / CHECKPOINT, f"{name_of(assignment)}/{CHECKPOINT}"
        return Checkpoint(path, self.depot, name)


Probing = Callable[[Assignment, str, int], int]
"""Makes real steps of an assignment on a device with some threads, within its cap, in a process of their own; bytes
that their tensors took. Raises `ProbeError`."""


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
    the assignment's cap, is an outcome, not an error. The checkpoint stays until the outcome is recorded: whoever does
    that deletes it.
    """
    folder = workshop.folder(assignment)
    threads = workshop.all_threads if assignment.final else workshop.threads
    if threads:
        torch.set_num_threads(threads)
    request = Request(
        candidate=assignment.candidate,
        plan=assignment.plan,
        seed=assignment.seed,
        device=workshop.device,
        deadline_seconds=assignment.deadline_seconds,
        checkpoint=workshop.checkpoint(assignment),
        artifact=folder,
        score_test=assignment.final,
        probe_flops=_probe_flops(assignment),
    )
    last: CurvePoint | None = None
    try:
        measured = _probe(assignment, workshop, note)
    except ProbeError as error:
        return replace(ended(assignment, OUT_OF_MEMORY, None, str(error)), eval_flops=_probe_flops(assignment))
    try:
        with contained(workshop.device, assignment.memory_cap, compiles=assignment.plan.compile):
            for event in train(request, workshop.texts, halted=halted):
                if isinstance(event, Finish):
                    if event.validation is not None and workshop.depot is not None:
                        publish_artifact(folder, workshop.depot, name_of(assignment))
                    return replace(_finished(assignment, event), memory_measured=measured)
                if event.message:
                    note(event.message)
                if event.train_bpb is None and event.val_bpb is None:
                    continue
                last = _point(assignment, event)
                if report(last, durable=event.durable) is Verdict.STOP:
                    return replace(ended(assignment, STOPPED, last), memory_measured=measured)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return ended(assignment, OUT_OF_MEMORY, last, _out_of_memory(assignment, error))
    raise AssertionError("a run ends with a Finish")


def _probe(assignment: Assignment, workshop: Workshop, note: Callable[[str], None]) -> int | None:
    """Bytes that real steps took, where the plan wants some; ``None`` too where they came to nothing, which is noted:
    the run is contained all the same. Raises `ProbeError` when it does not fit."""
    if workshop.probe is None or not assignment.plan.probe_steps or assignment.attempt:
        return None
    threads = workshop.all_threads if assignment.final else workshop.threads
    try:
        found = workshop.probe(assignment, workshop.device, threads or torch.get_num_threads())
    except ProbeError as error:
        if error.kind == OUT_OF_MEMORY:
            raise
        note(str(error))
        return None
    if assignment.memory_cap is not None and found > assignment.memory_cap:
        allowed = format_bytes(assignment.memory_cap)
        raise ProbeError(OUT_OF_MEMORY, f"{format_bytes(found)} measured, {allowed} allowed")
    return found


def _probe_flops(assignment: Assignment) -> int:
    return assignment.plan.probe_steps * assignment.plan.step_flops


def _out_of_memory(assignment: Assignment, error: Exception) -> str:
    said = (str(error).splitlines() or ["out of memory"])[0]
    cap = assignment.memory_cap
    allowed = f", {format_bytes(cap)} allowed" if cap is not None else ""
    return f"out of memory, {format_bytes(assignment.plan.memory_bytes)} predicted{allowed}: {said}"


def is_out_of_memory(error: Exception) -> bool:
    """Python, numpy and CUDA have errors for it, the CPU allocator of torch has only words."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


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
