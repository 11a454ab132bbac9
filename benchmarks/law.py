"""The scaling law that rules go by, fitted to real runs: python -m benchmarks.law [--workers 2] [--out FILE]

Runs are kept as they end, so that the command goes on where it was ended. What it prints is to be written into
`nas.scaling` by hand: no search changes the rules that it begins with. On the shipped corpus alone: the others are for
tests.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from benchmarks import runs
from benchmarks.machine import publish, table
from benchmarks.runs import Job, Scored, plan_of
from benchmarks.search.problem import TableProblem, of_corpus
from benchmarks.tabular.replay import TableTexts
from nas import scaling
from nas.candidate import Candidate
from nas.data.corpora import load_corpus
from nas.data.texts import Texts
from nas.scaling import ALPHA, BETA, law_inputs
from nas.space import Space, load_space
from nas.units import format_flops
from services.home import home

Floats = NDArray[np.float64]

OUT = Path(__file__).parents[1] / "docs/results/law.md"
CORPUS, SPACE = "austen", "speedrun"
SMALL, MIDDLE, LARGE = 600 * 10**9, 2500 * 10**9, 10**13
SHAPES = ((1, 32), (1, 48), (2, 48), (2, 64), (3, 64), (3, 96), (4, 96))
"""Depth and width."""
GRID: Mapping[int, Sequence[tuple[int, int, int]]] = {
    SMALL: (
        *((depth, width, size) for depth, width in SHAPES[:6] for size in (2048, 4096, 8192)),
        *((1, 32, 512), (1, 32, 1024), (1, 48, 1024)),
    ),
    MIDDLE: (
        *((depth, width, size) for depth, width in SHAPES for size in (2048, 4096, 8192)),
        *((1, 48, 1024), (2, 48, 512), (2, 48, 1024)),
    ),
    LARGE: tuple((depth, width, size) for depth, width in SHAPES[2:] for size in (4096, 8192)),
}
"""Depths, widths and vocabularies that are trained with a budget, the other knobs at the space's defaults."""
HOFFMANN = (406.4, 0.34, 410.7, 0.28)
TOKEN = 4.0  # bytes of one of theirs

ABOUT = """\
What a run is expected to lose above the least possible: A / N^alpha + B / D^beta + C / H^gamma, in bits per byte, of N
parameters in layers, H in the head, and D bytes of new text. The runs below, on Austen's novels, and those of the table
on them (400 GFLOP, tied embeddings, which get a loss of their own) decide A, B, C and gamma; the nearer a run came to
the best of its budget the more it counts. Alpha is that of Hoffmann et al. (arXiv 2203.15556). Beta is set by hand, as
a law is to hold beyond what a CPU can train: with it a run of 1e18 FLOPs has about the 20 tokens a parameter that they
found. The dial is what has the least loss by this law in a space."""


@dataclass(frozen=True)
class Runs:
    """What is known: one row each of budget, name, law's inputs and loss (bits per byte of the validation text).

    Attributes:
        inputs: (3, N) parameters in layers and in the head, bytes of new text.
        groups: what may be compared: the budget, negative for the table.
    """

    names: Sequence[str]
    inputs: Floats
    losses: Floats
    groups: Floats

    @property
    def gaps(self) -> Floats:
        """How far each is above the best of its group."""
        best = {group: self.losses[self.groups == group].min() for group in set(self.groups)}
        return np.asarray(self.losses - np.array([best[group] for group in self.groups]), dtype=np.float64)


def job(space: Space, shape: tuple[int, int, int], compute: int) -> Job:
    depth, width, vocabulary = shape
    return Job(space.decode({"depth": depth, "width": width, "vocabulary": vocabulary}), compute, 0)


def trained(scored: Mapping[Job, Scored], texts: Texts) -> Runs:
    inputs = [law_inputs(own.candidate, plan_of(own, texts).train_flops, texts.facts) for own in scored]
    return Runs(
        [short(own.candidate) for own in scored],
        np.array(inputs).T,
        np.array([done.val_bpb for done in scored.values()]),
        np.array([float(own.compute) for own in scored]),
    )


def of_table(problem: TableProblem) -> Runs:
    """Of the law's own kind: Muon, and as long a context."""
    facts, rows = TableTexts(problem.table).facts, []
    for name, entry in problem.entries.items():
        own = entry.candidate
        if own.recipe.optimizer == "muon" and own.architecture.context == 256 and (end := problem.objectives(name)):
            rows.append((short(own), law_inputs(own, entry.plan.train_flops, facts), end[0]))
    names, inputs, losses = zip(*rows, strict=True)
    return Runs(names, np.array(inputs).T, np.array(losses), np.full(len(rows), -1.0))


def short(candidate: Candidate) -> str:
    own = candidate.architecture
    return f"{own.depth} x {own.width}, vocabulary {own.vocabulary}"


def joined(one: Runs, other: Runs) -> Runs:
    return Runs(
        [*one.names, *other.names],
        np.hstack((one.inputs, other.inputs)),
        np.concatenate((one.losses, other.losses)),
        np.concatenate((one.groups, other.groups)),
    )


@dataclass(frozen=True, slots=True)
class Law:
    """``least``: what no run can better, where embeddings are not tied; ``tied``: what those that are lose beside."""

    least: float
    tied: float
    a: float
    b: float
    c: float
    gamma: float

    def losses(self, own: Runs) -> Floats:
        layers, head, read = own.inputs
        parts = self.a * layers**-ALPHA + self.b * read**-BETA + self.c * head**-self.gamma
        return np.asarray(self.least + self.tied * (own.groups < 0) + parts, dtype=np.float64)


def fit(own: Runs) -> Law:
    """By least squares, blunted where they are large; a run that is 0.1 above its group's best counts a third."""
    weights = 1 / (0.01 + 0.2 * own.gaps)

    def as_law(values: Floats) -> Law:
        least, tied, gamma, *logs = map(float, values)
        return Law(least, tied, exp(logs[0]), exp(logs[1]), exp(logs[2]), gamma)

    def residuals(values: Floats) -> Floats:
        return (as_law(values).losses(own) - own.losses) * weights

    start = np.array([1.5, 0.1, 0.6, *np.log([scaling.A, scaling.B, scaling.C])])
    return as_law(np.asarray(least_squares(residuals, start, loss="soft_l1").x, dtype=np.float64))


def in_use(own: Law) -> Law:
    """The constants that rules go by, with the levels that were fitted."""
    return Law(own.least, own.tied, scaling.A, scaling.B, scaling.C, scaling.GAMMA)


def hoffmann(own: Runs) -> Floats:
    """What their law expects, with their constants, who count the head with the layers."""
    layers, head, read = own.inputs
    a, alpha, b, beta = HOFFMANN
    return np.asarray(a * (layers + head) ** -alpha + b * (read / TOKEN) ** -beta, dtype=np.float64)


# --- what is said of it ---


def write_up(own: Runs, tables: Runs) -> str:
    law = fit(joined(own, tables))
    used, now = in_use(law), scaling
    expected = used.losses(own)
    near = own.gaps < 0.1
    error = float(np.sqrt(np.mean((expected - own.losses)[near] ** 2)))
    budgets = sorted(set(own.groups))
    return "\n\n".join(
        [
            "# The scaling law of the rules",
            ABOUT,
            table(
                ["", "A", "alpha", "B", "beta", "C", "gamma"],
                [
                    ["fitted", *_numbers(law.a, ALPHA, law.b, BETA, law.c, law.gamma)],
                    ["in use", *_numbers(now.A, ALPHA, now.B, BETA, now.C, now.GAMMA)],
                ],
            ),
            f"Of the {int(near.sum())} runs within 0.1 of the best of their budget the law in use is off by "
            f"{error:.4f} bits per byte (root of the mean square); least possible: {law.least:.3f}.",
            "## What is chosen",
            "Of the candidates that were trained: the best, and how much more is lost by the one that a law chooses.",
            table(
                ["budget", "best", "loss", "this law chooses", "more", "Hoffmann et al. choose", "more"],
                [_choice(own, budget, expected, hoffmann(own)) for budget in budgets],
            ),
            "## Runs",
            table(
                ["budget", "candidate", "loss", "expected"],
                [
                    [
                        format_flops(int(own.groups[row])),
                        own.names[row],
                        f"{own.losses[row]:.4f}",
                        f"{expected[row]:.4f}",
                    ]
                    for row in np.lexsort((own.losses, own.groups))
                ],
            ),
        ]
    )


def _choice(own: Runs, budget: float, *expectations: Floats) -> list[str]:
    rows = np.flatnonzero(own.groups == budget)
    best = rows[np.argmin(own.losses[rows])]
    said = [format_flops(int(budget)), own.names[best], f"{own.losses[best]:.4f}"]
    for expected in expectations:
        chosen = rows[np.argmin(expected[rows])]
        said += [own.names[chosen], f"{own.gaps[chosen]:.4f}"]
    return said


def _numbers(*values: float) -> list[str]:
    return [f"{value:.3g}" for value in values]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.law")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time, of one thread each")
    parser.add_argument("--work", type=Path, help="folder for texts and runs")
    parser.add_argument("--out", type=Path, default=OUT, help="file for the tables")
    given = parser.parse_args(arguments)
    folder = (given.work or home().cache / "law").absolute()
    texts, space = Texts(load_corpus(CORPUS), folder / "cache"), load_space(SPACE)
    jobs = [job(space, shape, compute) for compute, shapes in GRID.items() for shape in shapes]

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    scored = runs.make(folder / "runs.jsonl", jobs, texts, say, given.workers)
    text = write_up(trained(scored, texts), of_table(of_corpus(CORPUS, 0)))
    machines = "; ".join(sorted({own.machine for own in scored.values()}))
    publish(f"{text}\n\nTrained on {machines}.\n\nCommand: `python -m benchmarks.law`", given.out)


if __name__ == "__main__":
    main()
