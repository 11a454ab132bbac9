"""A database with much in it. Losses are made up, architectures are not: only the time to read them matters here."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from sqlalchemy import insert, update

from nas.adapters.sql.models import Base
from nas.adapters.sql.store import SqlStore
from nas.candidate import Candidate
from nas.cost import cost
from nas.records import (
    CandidateRecord,
    CandidateState,
    CurvePoint,
    LedgerRecord,
    Origin,
    SearchRecord,
    SearchState,
    to_dict,
)
from nas.space import load_space
from nas.spec import parse_spec

SPEC: dict[str, Any] = {
    "corpus": "austen",
    "space": "llama-tiny",
    "budget": {"total": {"compute": "1PFLOP"}, "candidate": {"compute": "400GFLOP"}},
}
VARIETY = 500
"""Architectures that are drawn; candidates share them."""
BATCH = 5_000
POINTS = 10
"""Of a candidate's curve."""
STATES = (*[CandidateState.COMPLETED] * 4, *[CandidateState.STOPPED] * 5, CandidateState.REJECTED)
BEGINS = 1_790_000_000.0


@dataclass(frozen=True)
class Size:
    """``largest``: candidates of one search, all of them completed; the others share the rest."""

    searches: int = 50
    candidates: int = 100_000
    largest: int = 5_000


def fill(store: SqlStore, size: Size) -> list[str]:
    """The searches' ids, that of the largest first."""
    rng = random.Random(0)
    models = drawn(rng)
    spec = parse_spec(SPEC).to_dict()
    others = (size.candidates - size.largest) // (size.searches - 1)
    ids = []
    for place in range(size.searches):
        count = size.largest if place == 0 else others
        own = f"search-{place:03d}"
        ids.append(own)
        record = SearchRecord(own, f"search {place}", SearchState.COMPLETED, BEGINS + place, spec, _setting())
        store.add_search(record)
        insert_rows(
            store, "candidates", (to_dict(c) | {"revision": c.number} for c in _candidates(own, count, models, rng))
        )
        insert_rows(store, "curve_points", (to_dict(point) for n in range(count) for point in points_of(own, n, rng)))
        insert_rows(store, "ledger", (to_dict(line) for line in ledger_of(own, count)))
        searches = Base.metadata.tables["searches"]
        with store.transactions.write() as connection:
            connection.execute(update(searches).where(searches.c.id == own).values(revision=count))
        store.add_event(own, "completed", "completed", at=BEGINS)
    return ids


def architectures(rng: random.Random) -> Iterator[dict[str, Any]]:
    space = load_space("llama-tiny")
    for _ in range(VARIETY):
        yield space.decode(space.sample(rng)).to_dict()


def drawn(rng: random.Random) -> list[tuple[Candidate, dict[str, Any]]]:
    """Candidates with their costs."""
    return [costed(Candidate.from_dict(own)) for own in architectures(rng)]


def costed(candidate: Candidate) -> tuple[Candidate, dict[str, Any]]:
    return candidate, {**cost(candidate, 2.5).to_dict(), "peak_memory": 10**7, "train_seconds": 30.0}


def _setting() -> dict[str, Any]:
    return {"reference": [4.0, 1e7], "elapsed": 600.0, "served": True}


def _candidates(
    search: str, count: int, models: list[tuple[Candidate, dict[str, Any]]], rng: random.Random
) -> Iterator[CandidateRecord]:
    for number in range(count):
        candidate, costs = models[rng.randrange(len(models))]
        state = CandidateState.COMPLETED if count > 4_000 else rng.choice(STATES)
        plan = {"steps": 1000, "step_flops": 400_000_000, "train_flops": 400_000_000_000, "micro_batch": 8}
        record = CandidateRecord(
            search_id=search,
            number=number,
            id=candidate.id,
            origin=Origin.PROPOSED,
            state=state,
            created_at=BEGINS + number,
            candidate=candidate.to_dict(),
            knobs={"depth": candidate.architecture.depth, "width": candidate.architecture.width},
            costs={**costs, "flops_per_byte": costs["flops_per_byte"] * rng.uniform(0.8, 1.2)},
            plan=plan,
            train_flops_planned=400_000_000_000,
            train_flops_spent=rng.randrange(400_000_000_000),
            eval_flops=10_000_000_000,
            seconds=30.0,
            started_at=BEGINS + number,
            finished_at=BEGINS + number + 30,
        )
        yield replace(record, val_bpb=rng.uniform(2.0, 3.0)) if state is CandidateState.COMPLETED else record


def points_of(search: str, number: int, rng: random.Random) -> Iterator[CurvePoint]:
    for place in range(1, POINTS + 1):
        progress = place / POINTS
        loss = 2.0 + 2.0 * (1 - progress) + rng.random() / 10
        yield CurvePoint(search, number, 0, 100 * place, progress, int(4e11 * progress), 30 * progress, loss)


def ledger_of(search: str, count: int) -> Iterator[LedgerRecord]:
    for number in range(count):
        yield LedgerRecord(search, number, "settle", "search", number, 10**11, 30.0, "completed", BEGINS + number)


def insert_rows(store: SqlStore, name: str, rows: Iterator[dict[str, Any]]) -> None:
    """Past the store's own methods, which write a row at a time."""
    while batch := list(islice(rows, BATCH)):
        with store.transactions.write() as connection:
            connection.execute(insert(Base.metadata.tables[name]), batch)
