"""A search with thousands of candidates that goes on. Losses are made up; architectures and their costs are not."""

import random
from collections.abc import Iterator
from dataclasses import replace

from sqlalchemy import update

from benchmarks.service.filling import BEGINS, SPEC, drawn, insert_rows, ledger_of, points_of
from nas.adapters.sql.models import Base
from nas.adapters.sql.store import SqlStore
from nas.candidate import Candidate
from nas.records import CandidateRecord, CandidateState, Origin, SearchRecord, SearchState, to_dict
from nas.spec import parse_spec

OBJECTIVES = ["val_bpb", "flops_per_byte", "peak_memory"]
PLANNED = 400_000_000_000
ENDS = (*[CandidateState.COMPLETED] * 5, *[CandidateState.STOPPED] * 4, CandidateState.REJECTED)


def fill(store: SqlStore, candidates: int) -> str:
    """Adds the search, and returns its id. Nobody drives it, and no server begins to."""
    rng = random.Random(candidates)
    own = f"search-of-{candidates}"
    spec = parse_spec({**SPEC, "minimize": OBJECTIVES}).to_dict()
    setting = {"reference": [4.0, 1e8, 1e9], "elapsed": 3600.0, "candidate_flops": PLANNED, "device": "cpu"}
    store.add_search(
        SearchRecord(own, f"{candidates:,} candidates", SearchState.RUNNING, BEGINS, spec, {**setting, "threads": 2})
    )
    records = list(_candidates(own, candidates, rng))
    insert_rows(store, "candidates", (to_dict(one) | {"revision": one.number} for one in records))
    trained = [one.number for one in records if one.state is not CandidateState.REJECTED]
    insert_rows(store, "curve_points", (to_dict(point) for n in trained for point in points_of(own, n, rng)))
    insert_rows(store, "ledger", (to_dict(line) for line in ledger_of(own, candidates)))
    searches = Base.metadata.tables["searches"]
    with store.transactions.write() as connection:
        connection.execute(update(searches).where(searches.c.id == own).values(revision=candidates))
    return own


def _candidates(search: str, count: int, rng: random.Random) -> Iterator[CandidateRecord]:
    models = drawn(rng)
    for number in range(count):
        candidate, costs = models[rng.randrange(len(models))]
        varied = {name: costs[name] * rng.uniform(0.8, 1.25) for name in ("flops_per_byte", "peak_memory")}
        state = CandidateState.TRAINING if number == count - 1 else rng.choice(ENDS)
        yield _ended(_record(search, number, candidate, {**costs, **varied}, state), rng)


def _record(
    search: str, number: int, candidate: Candidate, costs: dict[str, float], state: CandidateState
) -> CandidateRecord:
    return CandidateRecord(
        search_id=search,
        number=number,
        id=candidate.id,
        origin=Origin.DIAL if number == 0 else Origin.PROPOSED,
        state=state,
        created_at=BEGINS + number,
        candidate=candidate.to_dict(),
        knobs={"depth": candidate.architecture.depth, "width": candidate.architecture.width},
        costs=costs,
        plan={"steps": 1000, "step_flops": PLANNED // 1000, "train_flops": PLANNED, "micro_batch": 8},
        train_flops_planned=PLANNED,
    )


def _ended(record: CandidateRecord, rng: random.Random) -> CandidateRecord:
    """As its state has it: dearer models are better, and luck has its part."""
    began, spent = record.created_at, rng.randrange(PLANNED)
    if record.state is CandidateState.REJECTED:
        return replace(record, reason="peak_memory: 1.2 GiB is over 1 GiB by 20%", train_flops_planned=0)
    if record.state is CandidateState.TRAINING:
        return replace(record, train_flops_spent=spent, started_at=began)
    over = replace(record, started_at=began, finished_at=began + 30, seconds=30.0)
    if record.state is CandidateState.STOPPED:
        return replace(over, train_flops_spent=spent)
    loss = 1.8 + 6.0 * record.costs["flops_per_byte"] ** -0.15 + abs(rng.gauss(0.0, 0.1))
    return replace(over, val_bpb=loss, val_error=0.004, train_flops_spent=PLANNED)
