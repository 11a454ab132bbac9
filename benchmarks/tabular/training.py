"""One run of the table: trained to its end, its curve, costs, memory and time taken down."""

import time
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.tabular.grid import EVALUATIONS, Run
from nas.candidate import Candidate
from nas.cost import cost
from nas.data.evaluation import EvaluationSet
from nas.data.texts import Texts
from nas.errors import ProbeError
from nas.measure.probe import ProbeRequest, probe
from nas.plan import Allowance, fastest, plan_run
from nas.train.run import Finish, Report, Request, train
from services.device import backend_for, precision_for

EVALUATED = tuple(number / EVALUATIONS for number in range(1, EVALUATIONS))


@dataclass(frozen=True)
class Trained:
    """A run as it was.

    Attributes:
        steps, step_flops: made, and of each.
        train, validation: (progress, bits per byte); validation on the rungs' subset.
        val_bpb, val_error: of the whole validation split at the end; ``None`` if the loss was not finite.
        eval_flops: of the evaluations, all of which are in the seconds.
        seconds: of one thread (CPU: of its processor time).
        peak_memory: bytes by a probe of a step; ``None`` where it gave no answer.
    """

    knobs: dict[str, Any]
    seed: int
    id: str
    steps: int
    step_flops: int
    eval_flops: int
    seconds: float
    peak_memory: int | None
    val_bpb: float | None
    val_error: float | None
    train: list[tuple[float, float]] = field(default_factory=list)
    validation: list[tuple[float, float]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class BriefTexts(Texts):
    """Validation text is the rungs' subset, for runs that are made only to be ranked: a score of all of it takes more
    than they do."""

    def evaluation(self, split: str, vocabulary: int, context: int, *, rung: bool = False) -> EvaluationSet:
        return super().evaluation(split, vocabulary, context, rung=rung or split == "validation")


def train_one(run: Run, candidate: Candidate, texts: Texts, compute: int, device: str = "cpu") -> Trained:
    """Trains a point of the grid, which is that candidate, with exactly so many FLOPs, less what is left of a step.

    With `BriefTexts` it is scored at its end alone, and its memory is not probed.
    """
    brief = isinstance(texts, BriefTexts)
    evaluated = () if brief else EVALUATED
    vocabulary, context = candidate.architecture.vocabulary, candidate.architecture.context
    facts = texts.facts(vocabulary, context)
    own = cost(candidate, facts.bytes_per_token)
    plan = plan_run(
        candidate,
        own,
        facts,
        Allowance(compute),
        rungs=len(evaluated),
        precision=precision_for(device),
        laid_out=(fastest(candidate, backend_for(device)), 0),
    )
    memory = None if brief else _peak_memory(candidate, device)
    clock = time.process_time if device == "cpu" else time.monotonic
    began = clock()
    *events, finish = train(Request(candidate, plan, run.seed, device, rungs=evaluated), texts, clock)
    seconds = clock() - began
    assert isinstance(finish, Finish)
    reports = [event for event in events if isinstance(event, Report)]
    score = finish.validation
    return Trained(
        knobs=dict(run.knobs),
        seed=run.seed,
        id=candidate.id,
        steps=finish.step,
        step_flops=own.step_flops,
        eval_flops=finish.eval_flops,
        seconds=seconds,
        peak_memory=memory,
        val_bpb=score.bpb if score else None,
        val_error=score.error if score else None,
        train=[(own.progress, own.train_bpb) for own in reports if own.train_bpb is not None],
        validation=[(own.rung, own.val_bpb) for own in reports if own.rung is not None and own.val_bpb is not None],
    )


def _peak_memory(candidate: Candidate, device: str) -> int | None:
    layout = fastest(candidate, backend_for(device))
    request = ProbeRequest(candidate, layout, device=device, precision=precision_for(device), timed=1)
    try:
        return probe(request).peak_bytes
    except ProbeError:
        return None
