"""Part five: what a second worker brings, and how long a worker is not training."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.chaos.kills import conclude
from benchmarks.chaos.subject import spec, subject
from benchmarks.chaos.verify import Records
from benchmarks.machine import table
from nas.candidate import Architecture, Candidate, Recipe
from nas.measure.probe import ProbeRequest, probe
from nas.plan import Layout, step_flops
from nas.records import CandidateState

CANDIDATES, SECONDS, ROUNDS = 6, 35.0, 2
"""Of a search; a candidate's training, by the speed measured beforehand."""
SPACE = """\
space:
  knobs:
    depth: [2]
    width: [64]
    head_size: [16]
    vocabulary: [256]
    context: [64]
    batch_tokens: [256]
    mlp_ratio: [3]
    matrix_rate: {min: 0.3, max: 3, log: true}
"""
SHAPE = Candidate(Architecture(2, 64, 4, 16, 4, 192, 256, 64), Recipe(256))


@dataclass(frozen=True)
class Shift:
    """A search with so many workers. ``idle`` are seconds of a worker beside a candidate's training."""

    parallel: int
    seconds: float
    training: Sequence[float]
    idle: Sequence[float]
    violations: Sequence[str]

    @property
    def candidates_an_hour(self) -> float:
        return 3600 * len(self.training) / self.seconds if self.seconds else 0.0


def shifts() -> list[Shift]:
    """One worker and two in turns."""
    step_seconds = probe(ProbeRequest(SHAPE, Layout(SHAPE.sequences))).step_seconds
    compute = int(SECONDS * step_flops(SHAPE) / step_seconds)
    return [shift(parallel, compute) for _ in range(ROUNDS) for parallel in (1, 2)]


def shift(parallel: int, compute: int) -> Shift:
    text = spec(
        total=f"{{compute: {2 * CANDIDATES * compute}, candidates: {CANDIDATES}}}",
        final="0%",
        compute=f"{compute}",
        method=f"{{policy: none, parallel: {parallel}}}",
        space=SPACE,
    )
    with subject(text) as own:
        own.run()
        wrong, records = conclude(own)
    found = measured(parallel, records, [f"{parallel} workers: {line}" for line in wrong])
    print(f"{parallel} workers: {found.candidates_an_hour:.0f} candidates an hour", file=sys.stderr, flush=True)
    return found


def measured(parallel: int, records: Records | None, found: Sequence[str]) -> Shift:
    if records is None:
        return Shift(parallel, 0.0, (), (), found)
    done = {own.number: own.seconds for own in records.candidates if own.state is CandidateState.COMPLETED}
    once = [own for own in records.attempts if sum(each.number == own.number for each in records.attempts) == 1]
    idle = [
        own.finished_at - own.started_at - done[own.number]
        for own in once
        if own.finished_at is not None and own.number in done
    ]
    search = records.search
    return Shift(parallel, (search.finished_at or 0.0) - (search.started_at or 0.0), list(done.values()), idle, found)


def write_up(results: Sequence[Shift]) -> str:
    rows = []
    for parallel in (1, 2):
        those = [own for own in results if own.parallel == parallel and own.training]
        idle, training = ([s for own in those for s in getattr(own, name)] for name in ("idle", "training"))
        if not idle:
            continue
        hours = [own.candidates_an_hour for own in those]
        rows.append(
            [
                f"{parallel}",
                f"{median(hours):.0f} ({min(hours):.0f}-{max(hours):.0f})",
                f"{median(training):.0f} s",
                f"{median(idle):.1f} s",
                f"{max(idle):.1f} s",
            ]
        )
    return table(
        ["workers", "candidates an hour", "training of one", "worker not training, per candidate", "at most"], rows
    ) + (f"\n\nTwo workers against one: {gain(results):.2f} times as many candidates." if len(rows) == 2 else "")


def gain(results: Sequence[Shift], parallel: int = 2) -> float:
    """How many times as many candidates several workers finish as one does; the median of the rounds."""
    return median(gains(results, parallel))


def gains(results: Sequence[Shift], parallel: int) -> list[float]:
    """The same of each round in which one worker finished any."""
    ones, more = ([own.candidates_an_hour for own in results if own.parallel == count] for count in (1, parallel))
    return [many / one for one, many in zip(ones, more, strict=True) if one]
