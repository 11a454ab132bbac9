"""python -m benchmarks.transfer [--quick] [--factor N] [--out FILE]"""

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.corpora import corpus
from benchmarks.machine import machine, publish, table
from benchmarks.runs import Job, Scored, make
from benchmarks.tabular.grid import space
from benchmarks.tabular.table import load
from benchmarks.transfer.contenders import BEST, CHOOSING_SEED, QUARTILES, Contender, contenders, dialled
from benchmarks.transfer.order import Floats, Pair, Verdict, noise, pairs, tau
from nas.appraise import Appraiser
from nas.candidate import Candidate
from nas.data.texts import Texts
from nas.spec import Limits
from nas.units import format_flops, format_seconds
from services.home import home

CORPUS = "austen"
FACTOR = 4
SEEDS = range(CHOOSING_SEED + 1, CHOOSING_SEED + 4)
QUICK = 100
"""Part of the compute that a quick run takes."""


@dataclass(frozen=True)
class Contest:
    """What was run: contenders at two budgets, and the dial as it would have been chosen for the large one."""

    contenders: Sequence[Contender]
    dial: Candidate
    compute: int
    factor: int
    scored: Mapping[Job, Scored]

    def runs(self, candidate: Candidate, factor: int) -> list[Scored]:
        return [self.scored[job] for job in jobs_of(candidate, factor * self.compute)]

    @property
    def small(self) -> Floats:
        """Test losses at the small budget, (contenders, seeds)."""
        return np.array([[run.test_bpb for run in self.runs(own.small, 1)] for own in self.contenders])

    @property
    def large(self) -> Floats:
        """The same at the large one."""
        return np.array([[run.test_bpb for run in self.runs(own.large, self.factor)] for own in self.contenders])


def jobs_of(candidate: Candidate, compute: int) -> list[Job]:
    return [Job(candidate, compute, seed) for seed in SEEDS]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfer")
    parser.add_argument("--quick", action="store_true", help="a hundredth of the compute: does it run?")
    parser.add_argument("--factor", type=int, default=FACTOR, help="the large budget over the small one")
    parser.add_argument("--work", type=Path, help="folder for texts and runs, which are made once")
    parser.add_argument("--out", type=Path, help="file for the tables")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    folder = options.work or home().cache / "transfer"
    runs = load(CORPUS)
    grown, compute = options.factor, int(runs.about["compute"])
    texts = Texts(corpus(CORPUS, folder), folder)
    appraiser = Appraiser(texts, Limits())
    own = contenders(runs, space(), appraiser, compute, grown)
    anew = dialled(space(), appraiser, grown * compute)
    compute //= QUICK if options.quick else 1
    jobs = [job for contender in own for job in jobs_of(contender.small, compute)]
    for candidate in (*(contender.large for contender in own), anew):
        jobs += jobs_of(candidate, grown * compute)
    scored = make(folder / "runs.jsonl", jobs, texts, lambda line: print(line, file=sys.stderr, flush=True))
    publish(write_up(Contest(own, anew, compute, grown, scored)), options.out)


# --- what is said of it ---


def write_up(contest: Contest) -> str:
    compared = pairs([own.name for own in contest.contenders], contest.small, contest.large)
    everybody = range(len(contest.contenders))
    leaders = [index for index in everybody if contest.contenders[index].leads]
    budgets = [format_flops(contest.compute), format_flops(contest.factor * contest.compute)]
    seconds = sum(run.seconds for run in contest.scored.values())
    noises = [
        f"{noise(losses):.4f} at {own}" for own, losses in zip(budgets, (contest.small, contest.large), strict=True)
    ]
    parts = [
        f"# Transfer: does the order at {budgets[0]} hold at {contest.factor} times as much?",
        f"**The {BEST} best and the dial**: {conclusion(contest, compared, leaders)}",
        f"**With the quartiles**: {conclusion(contest, compared, everybody)}",
        f"The {BEST} best of [the table of real runs](../../benchmarks/tabular/README.md) on {CORPUS} by validation "
        f"loss (seed {CHOOSING_SEED}); the dial, which is what scaling rules choose from the same space without a run; "
        f"and places {', '.join(map(str, QUARTILES))} of the table, for an order that is there: the best are near to "
        f"each other. Scaling rules carry each to {budgets[1]}, as `nas scale` does. What is compared is the test "
        f"loss in bits per byte of {len(SEEDS)} fresh seeds at each budget.",
        table(["", *(f"at {own}" for own in budgets), *(f"test loss at {own}" for own in budgets)], rows(contest)),
        f"The last row is the dial as it is chosen for {budgets[1]} from the space, not carried; it is in no pair.",
        table(["pair", *(f"difference at {own}" for own in budgets), "order"], map(pair_row, compared)),
        "A difference is the second one's loss less the first one's. A pair whose interval holds 0 at one of the "
        "budgets is a tie there: its order is not known, and none that could hold. Intervals (95% each, not corrected "
        "for the number of pairs) are what seeds leave open, whose standard deviation is taken for the same in all "
        f"candidates: {' and '.join(noises)}. Another text would move more than they say.",
        f"{len(contest.scored)} runs took {format_seconds(seconds)} of one thread, on cores that others may have used. "
        f"Measured on {machine()}.",
        "Command: `python -m benchmarks.transfer`",
    ]
    return "\n\n".join(parts)


def conclusion(contest: Contest, compared: Sequence[Pair], among: Sequence[int]) -> str:
    """Whether the order held among some of the contenders."""
    names = {contest.contenders[index].name for index in among}
    own = [pair for pair in compared if {pair.first, pair.second} <= names]
    counts, agreement = Counter(pair.verdict for pair in own), tau(contest.small, contest.large, among)
    return (
        f"{verdict_of(counts)} {counts[Verdict.TIE]} of {len(own)} pairs are within it at one budget or both. "
        f"Kendall's tau of the mean losses is {agreement.value:.2f} ({agreement.low:.2f} to {agreement.high:.2f})."
    )


def verdict_of(counts: Mapping[Verdict, int]) -> str:
    held, turned = counts.get(Verdict.HELD, 0), counts.get(Verdict.TURNED, 0)
    apart = "apart by more than the noise of seeds at both budgets"
    if not held + turned:
        return f"whether the order held is not known: no pair is {apart}."
    if turned:
        return f"the order did not hold: of the pairs {apart}, {turned} turned and {held} held."
    return f"the order held: so it did in all pairs {apart}, which are {held}."


def rows(contest: Contest) -> list[list[str]]:
    shown = [
        [
            own.name,
            shape(own.small),
            shape(own.large),
            loss(contest.runs(own.small, 1)),
            loss(contest.runs(own.large, contest.factor)),
        ]
        for own in contest.contenders
    ]
    anew = contest.runs(contest.dial, contest.factor)
    return [*shown, ["dial, chosen anew", "—", shape(contest.dial), "—", loss(anew)]]


def shape(candidate: Candidate) -> str:
    """What scaling changes, and what the table's candidates differ in."""
    own, recipe = candidate.architecture, candidate.recipe
    return (
        f"{own.depth} x {own.width}, {own.heads} heads, vocabulary {own.vocabulary}, context {own.context}, "
        f"{recipe.optimizer}, batch {recipe.batch_tokens}"
    )


def loss(runs: Sequence[Scored]) -> str:
    """The mean, and each run."""
    each = ", ".join(f"{run.test_bpb:.4f}" for run in runs)
    return f"{np.mean([run.test_bpb for run in runs]):.4f} ({each})"


def pair_row(pair: Pair) -> list[str]:
    differences = [f"{own.value:+.4f} ({own.low:+.4f} to {own.high:+.4f})" for own in (pair.small, pair.large)]
    return [f"{pair.first}, {pair.second}", *differences, str(pair.verdict)]
