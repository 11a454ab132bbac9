"""An assignment carried out: trains, passes points on, obeys verdicts, says how it ended."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from nas.data.texts import Texts
from nas.outcome import DIVERGED, OUT_OF_MEMORY, STOPPED
from nas.ports import Assignment, Outcome
from nas.records import CurvePoint, Verdict
from nas.train.run import Finish, Report, Request, train


@dataclass(frozen=True)
class Workshop:
    """Where assignments are carried out: the corpus, the folder for checkpoints and artifacts, the device, and the
    CPU threads of one run among others and of a run alone on the machine (0: as they are)."""

    texts: Texts
    artifacts: Path
    device: str = "cpu"
    threads: int = 0
    all_threads: int = 0

    def folder(self, assignment: Assignment) -> Path:
        return self.artifacts / assignment.search_id / str(assignment.number)


def carry_out(
    assignment: Assignment,
    workshop: Workshop,
    report: Callable[[CurvePoint], Verdict],
    note: Callable[[str], None] = lambda message: None,
) -> Outcome:
    """Runs an assignment to its end or until a verdict stops it.

    ``report`` is called after each curve point, ``note`` with messages for people. Out of memory is an outcome,
    not an error.
    """
    folder = workshop.folder(assignment)
    checkpoint = folder / "checkpoint.pt"
    threads = workshop.all_threads if assignment.final else workshop.threads
    if threads:
        torch.set_num_threads(threads)
    request = Request(
        candidate=assignment.candidate,
        plan=assignment.plan,
        seed=assignment.seed,
        device=workshop.device,
        deadline_seconds=assignment.deadline_seconds,
        checkpoint=checkpoint,
        artifact=folder,
        score_test=assignment.final,
    )
    last: Report | None = None
    try:
        for event in train(request, workshop.texts):
            if isinstance(event, Finish):
                return _finished(assignment, event)
            last = event
            if event.message:
                note(event.message)
            if event.train_bpb is None and event.val_bpb is None:
                continue
            if report(_point(assignment, event)) is Verdict.STOP:
                checkpoint.unlink(missing_ok=True)
                return _ended(assignment, STOPPED, event)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        checkpoint.unlink(missing_ok=True)
        return _ended(assignment, OUT_OF_MEMORY, last, (str(error).splitlines() or ["out of memory"])[0])
    raise AssertionError("a run ends with a Finish")


def _is_out_of_memory(error: Exception) -> bool:
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
    )


def _finished(assignment: Assignment, finish: Finish) -> Outcome:
    return Outcome(
        number=assignment.number,
        attempt=assignment.attempt,
        kind=finish.kind,
        train_flops=finish.train_flops,
        hardware_flops=finish.hardware_flops,
        eval_flops=finish.eval_flops,
        repeated_flops=finish.repeated_flops,
        seconds=finish.seconds,
        val_bpb=finish.validation.bpb if finish.validation else None,
        val_error=finish.validation.error if finish.validation else None,
        test_bpb=finish.test.bpb if finish.test else None,
        test_error=finish.test.error if finish.test else None,
        artifact=f"{assignment.search_id}/{assignment.number}" if finish.validation else "",
        time_bound=finish.time_bound,
        detail="the loss is not finite" if finish.kind == DIVERGED else "",
    )


def _ended(assignment: Assignment, kind: str, last: Report | None, detail: str = "") -> Outcome:
    spent = last.train_flops if last else 0
    steps = last.step if last else 0
    return Outcome(
        number=assignment.number,
        attempt=assignment.attempt,
        kind=kind,
        train_flops=spent,
        hardware_flops=spent + steps * assignment.plan.recompute_step_flops,
        eval_flops=last.eval_flops if last else 0,
        seconds=last.seconds if last else 0.0,
        detail=detail,
    )
