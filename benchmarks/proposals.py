"""Seconds of a proposal, by how many candidates are known.

python -m benchmarks.proposals [--quick] [--out FILE]
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.machine import machine, publish, table
from nas.adapters.memory_store import MemoryStore
from nas.advise import Advisor
from nas.appraise import Appraiser
from nas.data.corpora import load_corpus
from nas.data.texts import Texts
from nas.forecast import allowance, forecast
from nas.records import CandidateRecord, CandidateState, CurvePoint, Origin, SearchRecord, SearchState
from nas.roster import Roster
from nas.scaling import expected_excess
from nas.space import Knobs, load_space
from nas.spec import SearchSpec, parse_spec

SPEC = {
    "corpus": "austen",
    "space": "llama-tiny",
    "budget": {"total": {"compute": "20TFLOP"}, "candidate": {"compute": "400GFLOP"}},
}
SIZES, QUICK = (10, 100, 300, 1000), (10, 40)
PROPOSALS = 7
"""That are timed one after the other, each made known before the next."""
TARGET = 0.1

ABOUT = """\
Candidates of llama-tiny drawn at random, each completed, with a loss at the first rung and at the end. Losses are
made up (a scaling law and noise): only the time matters here. A proposal weighs the whole pool and the neighbours of
the front. The first of a driver finds nothing remembered."""


@dataclass(frozen=True, slots=True)
class Timed:
    """Seconds of the first proposal, and of those after it."""

    known: int
    first: float
    later: Sequence[float]


class Records:
    """The records of a search that was never made."""

    def __init__(self, spec: SearchSpec, texts: Texts) -> None:
        self.space, self.grant = load_space(spec.space), allowance(spec)
        self.appraiser, self.rng = Appraiser(texts, spec.limits), random.Random(0)
        self.taken: set[str] = set()
        store = MemoryStore()
        store.add_search(SearchRecord("s", "s", SearchState.RUNNING, 0.0, {}, {}))
        self.roster = Roster(store, "s")

    def draw(self, count: int) -> None:
        """Until so many are known."""
        while len(self.roster) < count:
            self.add(self.space.sample(self.rng))

    def add(self, knobs: Knobs) -> None:
        candidate, number = self.space.decode(knobs), len(self.roster)
        if candidate.id in self.taken:
            return
        self.taken.add(candidate.id)
        excess = expected_excess(candidate, self.grant.flops, self.appraiser.texts.facts)
        loss = 1.5 + excess + self.rng.gauss(0.0, 0.02)
        costs = self.appraiser.costs(candidate, self.appraiser.plan(candidate, self.grant))
        state, origin = CandidateState.COMPLETED, Origin.PROPOSED
        record = CandidateRecord("s", number, candidate.id, origin, state, 0.0, candidate.to_dict(), knobs, costs, {})
        self.roster.add(record)
        self.roster.add_point(CurvePoint("s", number, 0, 1, 0.125, 1, 0.0, val_bpb=loss + 0.5, rung=0.125))
        self.roster.update(number, val_bpb=loss)


def measure(spec: SearchSpec, texts: Texts, sizes: Sequence[int], clock: Callable[[], float]) -> list[Timed]:
    records = Records(spec, texts)
    reference = forecast(spec, records.space, records.appraiser).reference
    found = []
    for known in sizes:
        records.draw(known)
        advisor = Advisor(records.space, records.appraiser, records.grant, spec.minimize, reference, 0)
        seconds = []
        for key in range(PROPOSALS):
            began = clock()
            knobs = advisor.propose(records.roster, records.taken, key)
            seconds.append(clock() - began)
            assert knobs is not None
            records.add(knobs)
        found.append(Timed(known, seconds[0], seconds[1:]))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.proposals")
    parser.add_argument("--quick", action="store_true", help="few candidates: does it run?")
    parser.add_argument("--out", type=Path, help="file for the table")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        texts = Texts(load_corpus("austen"), Path(folder))
        found = measure(parse_spec(SPEC), texts, QUICK if options.quick else SIZES, time.process_time)
    parts = [
        "# Seconds of a proposal",
        ABOUT,
        table(["known", "first of a driver", "later ones: median", "slowest"], [row(own) for own in found]),
        f"Processor time of one core. Asked: under {TARGET * 1e3:.0f} ms at 1,000. Measured on {machine()}.",
        "Command: `python -m benchmarks.proposals`",
    ]
    publish("\n\n".join(parts), options.out)


def row(own: Timed) -> list[str]:
    times = (own.first, median(own.later), max(own.later))
    return [f"{own.known:,}", *(f"{1e3 * seconds:.0f} ms" for seconds in times)]


if __name__ == "__main__":
    main()
