"""One candidate without a search: read, gated, planned, trained."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ruamel.yaml import YAML

from nas.appraise import Appraiser
from nas.candidate import Candidate, describe
from nas.cost import FLOP_CONVENTION, Cost
from nas.data.corpora import check_long_enough, load_corpus
from nas.data.storage import atomic_file
from nas.data.texts import Texts
from nas.document import read_file
from nas.errors import InfeasibleError, SpecError
from nas.gate import Rejected
from nas.measure.probe import ProbeRequest, probe
from nas.outcome import INTERRUPTED
from nas.plan import Allowance, Plan, Speed, step_flops
from nas.scaling import dial
from nas.space import Space, load_space
from nas.spec import Limits
from nas.train.checkpoint import Checkpoint
from nas.train.run import Finish, Request, train
from nas.units import format_bytes, format_count, format_flops
from services.device import backend_for, precision_for, resolve_device, threads_for
from services.home import home


def read_candidate(path: Path) -> Candidate:
    """A candidate from a YAML file with ``architecture`` and ``recipe``."""
    fields = read_file(path)
    try:
        return Candidate.from_dict(fields.to_dict())
    except SpecError as error:
        raise fields.locate(error) from None


def write_candidate(candidate: Candidate, path: Path) -> None:
    """A YAML file that `read_candidate` reads back."""
    with atomic_file(path.absolute()) as file:
        YAML().dump(candidate.to_dict(), file)


def open_texts(corpus: str, context: int) -> Texts:
    """A corpus by name or glob, checked against the context."""
    where = home()
    loaded = load_corpus(corpus, base=Path.cwd(), cache=where.cache)
    check_long_enough(loaded, context)
    return Texts(loaded, where.cache)


def train_one(
    candidate: Candidate,
    grant: Allowance,
    corpus: str,
    device: str,
    seed: int,
    *,
    test: bool,
    out: Path | None,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Gate, plan and run; the result as a JSON-ready mapping. Raises `InfeasibleError` when the gate rejects."""
    device = resolve_device(device)
    threads = threads_for(device, 1)
    torch.set_num_threads(threads)
    texts = open_texts(corpus, candidate.architecture.context)
    precision = precision_for(device)
    appraiser = Appraiser(texts, Limits(export="any"), precision=precision, backend=backend_for(device))
    verdict = appraiser.admit(candidate, grant)
    if isinstance(verdict, Rejected):
        raise InfeasibleError(f"candidate {candidate.id} is rejected: {verdict}")
    layout, _ = appraiser.layout(candidate, grant.memory)
    request = ProbeRequest(candidate, layout, device=device, threads=threads, precision=precision)
    appraiser.speed = Speed(probe(request).step_seconds / step_flops(candidate), 0.0, 0.0)
    plan = appraiser.plan(candidate, grant, final=test)
    if plan.steps < 1:
        raise InfeasibleError(f"candidate {candidate.id}: the time allows not one step")
    tell(f"{describe(candidate)}: {plan.steps} steps, {plan.epochs:.2g} epochs, {format_flops(plan.train_flops)}")
    finish = _run(candidate, plan, seed, device, grant, test, out, texts, tell)
    return _result(candidate, appraiser.cost(candidate), plan, finish)


def _run(
    candidate: Candidate,
    plan: Plan,
    seed: int,
    device: str,
    grant: Allowance,
    test: bool,
    out: Path | None,
    texts: Texts,
    tell: Callable[[str], None],
) -> Finish:
    request = Request(
        candidate=candidate,
        plan=plan,
        seed=seed,
        device=device,
        deadline_seconds=grant.seconds if grant.seconds < float("inf") else None,
        checkpoint=Checkpoint(out / "checkpoint.pt") if out else None,
        artifact=out,
        score_test=test,
    )
    for event in train(request, texts):
        if isinstance(event, Finish):
            if request.checkpoint is not None and event.kind != INTERRUPTED:
                request.checkpoint.delete()
            return event
        if event.message:
            tell(event.message)
        if event.val_bpb is not None:
            tell(f"p = {event.progress:.3f}: {event.val_bpb:.4f} bits per byte")
    raise AssertionError("a run ends with a Finish")


def _result(candidate: Candidate, cost: Cost, plan: Plan, finish: Finish) -> dict[str, Any]:
    scored: dict[str, float | None] = {}
    for name, score in (("val", finish.validation), ("test", finish.test)):
        if score is not None:
            scored |= {f"{name}_bpb": score.bpb, f"{name}_error": score.error}
    return {
        "id": candidate.id,
        "state": finish.kind,
        **scored,
        "train_flops_planned": plan.train_flops,
        "train_flops_spent": finish.train_flops,
        "eval_flops": finish.eval_flops,
        "flop_convention": FLOP_CONVENTION,
        "seconds": finish.seconds,
        "time_bound": finish.time_bound,
        "costs": {**cost.to_dict(), "peak_memory": plan.memory_bytes},
        "plan": plan.to_dict(),
        "candidate": candidate.to_dict(),
    }


@dataclass(frozen=True)
class DialPlan:
    """What the rules choose, with its costs."""

    candidate: Candidate
    cost: Cost
    plan: Plan

    def to_dict(self) -> dict[str, Any]:
        costs = {**self.cost.to_dict(), "peak_memory": self.plan.memory_bytes}
        return {"candidate": self.candidate.to_dict(), "costs": costs, "plan": self.plan.to_dict()}

    def text(self) -> str:
        """Lines for people."""
        return "\n".join(
            (
                describe(self.candidate),
                f"parameters      {format_count(self.cost.params)}",
                f"training        {format_flops(self.plan.train_flops)} in {self.plan.steps} steps of "
                f"{format_flops(self.plan.step_flops)}, {format_count(self.plan.tokens)} tokens, "
                f"{self.plan.epochs:.2g} epochs",
                f"evaluation      {format_flops(self.plan.eval_flops)}",
                f"memory, at most {format_bytes(self.plan.memory_bytes)}",
                f"use             {format_flops(self.cost.flops_per_byte)} and "
                f"{format_bytes(self.cost.kv_bytes_per_byte)} of cache a byte of text, "
                f"{format_bytes(self.cost.weight_bytes)} of weights",
            )
        )


def dial_plan(flops: int, corpus: str, space_name: str, memory: int | None) -> DialPlan:
    """The dial's choice for ``flops``; raises `InfeasibleError` when nothing fits that rules may choose."""
    space: Space = load_space(space_name, Path.cwd())
    texts = open_texts(corpus, max(int(context) for context in space.values("context")))
    appraiser = Appraiser(texts, Limits())
    grant = Allowance(flops, memory=memory)
    knobs = dial(space, flops, texts.facts, lambda candidate: appraiser.admits(candidate, grant))
    if knobs is None:
        raise InfeasibleError(_nothing_fits(space, appraiser, grant))
    candidate = space.decode(knobs)
    return DialPlan(candidate, appraiser.cost(candidate), appraiser.plan(candidate, grant))


def _nothing_fits(space: Space, appraiser: Appraiser, grant: Allowance) -> str:
    shapes = (space.decode(knobs) for knobs in space.grid("depth", "width", "vocabulary"))
    cheapest = min(shapes, key=lambda shape: appraiser.cost(shape).step_flops)
    verdict = appraiser.admit(cheapest, grant)
    if isinstance(verdict, Rejected):
        return f"no candidate of {space.name} fits; the cheapest ({describe(cheapest)}) breaks {verdict}"
    return f"no candidate of {space.name} fits that is as deep for its width as rules aim at"
