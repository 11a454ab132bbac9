"""A synthetic search with candidates in every state, curves, decisions and a ledger that adds up."""

import random
from dataclasses import dataclass, replace
from typing import Any

from nas.candidate import Architecture, Candidate, Recipe
from nas.cost import FLOP_CONVENTION, cost
from nas.curve import RUNGS
from nas.ledger import FINAL, SEARCH, Ledger
from nas.ports import Store
from nas.records import (
    AttemptRecord,
    CandidateRecord,
    CandidateState,
    CurvePoint,
    DecisionRecord,
    LeaseRecord,
    Origin,
    SearchRecord,
    SearchState,
    Verdict,
)

ID = "s_sample"
START = 1_790_000_000.0
CANDIDATE_FLOPS = 800_000_000_000
TOTAL_FLOPS = 24_000_000_000_000
MINIMIZE = ("val_bpb", "flops_per_byte")
REFERENCE = {"val_bpb": 3.5, "flops_per_byte": 2e6, "kv_bytes_per_byte": 4000.0, "params": 5e6}
S, C = CandidateState, Origin


@dataclass(frozen=True)
class Plot:
    """How a candidate of the sample fares."""

    origin: Origin
    state: CandidateState
    depth: int
    width: int
    vocabulary: int = 2048
    stopped_at: float = 0.0
    audited_at: float = 0.0
    luck: float = 0.0  # added to its loss


PLOTS = (
    Plot(C.DIAL, S.COMPLETED, 3, 96),
    Plot(C.LARGEST, S.COMPLETED, 6, 128, 8192),
    Plot(C.UNIFORM, S.COMPLETED, 1, 32, 512),
    Plot(C.UNIFORM, S.COMPLETED, 2, 48, 1024, luck=0.06),
    Plot(C.UNIFORM, S.REJECTED, 8, 192, 8192),
    Plot(C.UNIFORM, S.STOPPED, 6, 48, 512, stopped_at=0.125),
    Plot(C.UNIFORM, S.COMPLETED, 4, 64, luck=0.05),
    Plot(C.GIVEN, S.COMPLETED, 4, 128, luck=0.09),
    Plot(C.PROPOSED, S.STOPPED, 5, 64, 1024, stopped_at=0.25),
    Plot(C.PROPOSED, S.COMPLETED, 2, 64, luck=-0.05),
    Plot(C.PROPOSED, S.DIVERGED, 5, 128, stopped_at=0.2),
    Plot(C.PROPOSED, S.REJECTED, 6, 192, 8192),
    Plot(C.PROPOSED, S.COMPLETED, 3, 64, luck=-0.06),
    Plot(C.PROPOSED, S.STOPPED, 8, 96, 1024, stopped_at=0.125),
    Plot(C.PROPOSED, S.REJECTED, 8, 192, 8192),
    Plot(C.PROPOSED, S.COMPLETED, 2, 48, luck=0.12, audited_at=0.25),
    Plot(C.PROPOSED, S.STOPPED, 4, 48, 512, stopped_at=0.25),
    Plot(C.PROPOSED, S.COMPLETED, 4, 96, luck=-0.06),
    Plot(C.PROPOSED, S.STOPPED, 3, 128, 8192, stopped_at=0.5),
    Plot(C.PROPOSED, S.FAILED, 3, 64),
    Plot(C.PROPOSED, S.COMPLETED, 5, 96, 1024, luck=0.05, audited_at=0.125),
    Plot(C.PROPOSED, S.STOPPED, 5, 48, 1024, stopped_at=0.125),
    Plot(C.PROPOSED, S.REJECTED, 6, 192, 4096),
    Plot(C.PROPOSED, S.COMPLETED, 5, 96, 4096, luck=-0.05),
    Plot(C.PROPOSED, S.STOPPED, 6, 64, 512, stopped_at=0.25),
    Plot(C.PROPOSED, S.COMPLETED, 5, 128, 4096, luck=-0.04),
    Plot(C.PROPOSED, S.DIVERGED, 2, 192, stopped_at=0.1),
    Plot(C.PROPOSED, S.STOPPED, 3, 48, 512, stopped_at=0.25),
    Plot(C.PROPOSED, S.COMPLETED, 1, 48, 2048, luck=-0.03),
    Plot(C.PROPOSED, S.COMPLETED, 6, 128, 4096, luck=-0.05, audited_at=0.5),
    Plot(C.PROPOSED, S.CANCELLED, 4, 128, 4096),
    Plot(C.FINAL, S.COMPLETED, 6, 128, 4096, luck=-0.05),
)


IDLE = 0.25
"""Seconds that each candidate held its worker without training."""


def fill(store: Store, plots: tuple[Plot, ...] = PLOTS, *, minimize: tuple[str, ...] = MINIMIZE, **search: Any) -> str:
    """Writes the sample into ``store``; ``search`` replaces fields of its search record. Returns the search's id."""
    with store.transaction():
        _write(store, plots, replace(search_record(minimize), **search))
    return ID


def fill_at_work(store: Store) -> LeaseRecord:
    """The sample while it runs: nine candidates are over, number 9 is in training. Returns the lease of its driver."""
    fill(store, PLOTS[:9], state=SearchState.RUNNING, finished_at=None, result=None)
    record = candidate_record(9, PLOTS[0], START)
    store.add_candidate(replace(record, state=S.TRAINING, val_bpb=None, artifact=""))
    store.add_attempt(AttemptRecord(ID, 9, 0, START, "node-3, cuda:0"))
    return store.take_lease(ID, "elsewhere:1", 600)


def _write(store: Store, plots: tuple[Plot, ...], search: SearchRecord) -> None:
    store.add_search(search)
    book = Ledger(ID, TOTAL_FLOPS - int(TOTAL_FLOPS * 0.3), int(TOTAL_FLOPS * 0.3))
    lines = [book.charge(SEARCH, 90_000_000_000, 4.2, START, "measuring the device's speed")]
    at = START + 5
    for number, plot in enumerate(plots):
        record = candidate_record(number, plot, at)
        store.add_candidate(record)
        store.add_points(curve(record, plot))
        for decision in decisions(record, plot):
            store.add_decision(decision)
        if record.train_flops_planned:
            store.add_attempt(AttemptRecord(ID, number, 0, at, "", at + record.seconds + IDLE, str(record.state)))
            account = FINAL if plot.origin is Origin.FINAL else SEARCH
            spent = record.train_flops_spent + record.eval_flops
            lines.append(book.reserve(account, number, int(record.train_flops_planned * 1.05), at))
            lines.append(book.settle(number, spent, record.seconds, at + record.seconds))
        at += record.seconds + 0.5
    store.add_ledger(lines)
    store.add_event(ID, "started", "Search started on cpu.", at=START)
    lost = "Candidate 19: worker lost, attempts used up."
    store.add_event(ID, "lost", lost, at=START + 200, number=19, level="error")


def search_record(minimize: tuple[str, ...] = MINIMIZE) -> SearchRecord:
    """A finished search with its setting and result."""
    return SearchRecord(
        id=ID,
        name="austen-cpu",
        state=SearchState.COMPLETED,
        created_at=START - 2,
        started_at=START,
        finished_at=START + 420,
        spec={
            "name": "austen-cpu",
            "corpus": "austen",
            "space": "llama-tiny",
            "device": "cpu",
            "budget": {
                "total": {"compute": TOTAL_FLOPS, "time": 900.0},
                "candidate": {"compute": CANDIDATE_FLOPS},
                "final": 0.3,
            },
            "limits": {"params": 2_500_000, "export": "native"},
            "minimize": list(minimize),
            "method": {"policy": "default", "parallel": 1, "seed": 0, "choose": "best"},
        },
        setting={
            "reference": [REFERENCE[name] for name in minimize],
            "candidate_flops": CANDIDATE_FLOPS,
            "device": "cpu: 2 cores, AVX2",
            "threads": 2,
            "versions": {"nas": "0.1.0", "python": "3.11.9", "torch": "2.9.0", "optuna": "5.0.0"},
            "flop_convention": FLOP_CONVENTION,
            "corpus": {
                "name": "austen",
                "train_bytes": 3_610_000,
                "validation_bytes": 201_000,
                "test_bytes": 199_500,
                "overlap_validation": 0.0,
                "overlap_test": 0.0004,
            },
            "full_trainings": 20.9,
        },
        result={
            "sentence": "The best model that 24 TFLOP and 15 min on this CPU can buy predicts unseen Austen "
            "at 2.168 ± 0.006 bits per byte, 6.1% below what scaling rules reach without search.",
            "number": len(PLOTS) - 1,
            "test_bpb": 2.168,
            "test_error": 0.006,
            "val_bpb": 2.174,
            "train_flops": 6_500_000_000_000,
            "seconds": 131.0,
            "chosen": 29,
            "export": "nas export s_sample/31 --out model",
        },
    )


def candidate_record(number: int, plot: Plot, at: float) -> CandidateRecord:
    """One candidate at the end of its road."""
    candidate = _candidate(plot, number)
    own = cost(candidate, bytes_per_token=1.7 + 0.18 * (plot.vocabulary.bit_length() - 9))
    record = CandidateRecord(
        search_id=ID,
        number=number,
        id=candidate.id,
        origin=plot.origin,
        state=plot.state,
        created_at=at,
        candidate=candidate.to_dict(),
        costs=own.to_dict() | {"peak_memory": 40_000_000 + 26 * own.params + 900 * plot.width * plot.depth * 128},
        finished_at=at,
    )
    if plot.state is S.REJECTED:
        return replace(record, reason=f"params: {own.params:,} is above the limit of 2,500,000")
    planned = 6_500_000_000_000 if plot.origin is Origin.FINAL else CANDIDATE_FLOPS
    share = 1.0 if plot.state is S.COMPLETED else plot.stopped_at or 0.3
    spent, seconds = int(planned * share), planned * share / 5.3e10
    record = replace(
        record,
        plan={"flops": planned},
        reason=_REASONS.get(plot.state, ""),
        train_flops_planned=planned,
        train_flops_spent=spent,
        eval_flops=int(0.03 * spent),
        seconds=seconds,
        started_at=at,
        finished_at=at + seconds,
    )
    if plot.state is not S.COMPLETED:
        return record
    if plot.origin is Origin.FINAL:
        record = replace(record, test_bpb=2.168, test_error=0.006)
    loss = _loss(record, plot, 1.0)
    return replace(record, val_bpb=loss, val_error=0.005, time_bound=number == 7, artifact=f"artifacts/{number}")


_REASONS = {
    S.STOPPED: "4 peers that cost no more are lower by at least 0.02 bits per byte",
    S.DIVERGED: "loss is not finite",
    S.FAILED: "worker lost three times",
    S.CANCELLED: "cancelled by the user",
}


def curve(record: CandidateRecord, plot: Plot) -> list[CurvePoint]:
    """Its training loss at 24 steps and its validation loss at each rung that it reached."""
    if record.state is S.REJECTED:
        return []
    reached = record.train_flops_spent / record.train_flops_planned
    noise = random.Random(record.number)
    points = []
    for step in range(1, 25):
        progress = step / 24
        if progress > reached + 1e-9:
            break
        loss = _loss(record, plot, progress)
        rung = next((rung for rung in RUNGS if abs(rung - progress) < 1e-9), None)
        final = progress == 1 and record.state is S.COMPLETED
        points.append(
            CurvePoint(
                search_id=ID,
                number=record.number,
                attempt=1,
                step=step * 10,
                progress=progress,
                flops=int(progress * record.train_flops_planned),
                seconds=progress * record.train_flops_planned / 5.3e10,
                train_bpb=loss - 0.03 + noise.gauss(0, 0.012),
                val_bpb=record.val_bpb if final else loss if rung else None,
                rung=rung,
                final=final,
            )
        )
    return points


def decisions(record: CandidateRecord, plot: Plot) -> list[DecisionRecord]:
    """What the pruner said of it."""
    rung = plot.audited_at or (plot.stopped_at if plot.state is S.STOPPED else 0.0)
    if not rung:
        return []
    verdict = Verdict.AUDIT if plot.audited_at else Verdict.STOP
    inputs = {"loss": _loss(record, plot, rung), "dominators": [2, 3, 9, 12], "margin": 0.02}
    return [DecisionRecord(ID, record.number, rung, verdict, _REASONS[S.STOPPED], inputs, record.created_at + 3)]


def _candidate(plot: Plot, number: int) -> Candidate:
    heads = plot.width // 16
    return Candidate(
        Architecture(
            depth=plot.depth,
            width=plot.width,
            heads=heads,
            head_size=16,
            kv_heads=max(1, heads // 2) if heads % 2 == 0 else heads,
            mlp_width=3 * plot.width,
            vocabulary=plot.vocabulary,
            context=256,
        ),
        Recipe(batch_tokens=1024, matrix_rate=round(0.6 + number * 0.037, 3)),
    )


def _loss(record: CandidateRecord, plot: Plot, progress: float) -> float:
    """A scaling law: too small a model is short of weights, too large a one short of steps."""
    flops = record.train_flops_planned * progress
    size, steps = record.costs["params"], flops / record.costs["step_flops"]
    return float(1.55 + 30.0 * size**-0.3 + 1.2 * max(steps, 1.0) ** -0.25 + plot.luck)
