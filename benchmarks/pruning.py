"""What the pruner costs and saves: python -m benchmarks.pruning [--corpus NAME ...] [--seeds 20] [--workers 2]

Every candidate of a table arrives once, in random order and with no limit on the budget. Asked is whether those of the
true front are trained to the end, what share of the FLOPs that takes, and how often a stop is false. The true front is
that of the runs that the search would see.
"""

import argparse
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.machine import machine, publish, table
from benchmarks.profiling.report import paragraph
from benchmarks.search.problem import TableProblem, corpora, of_corpus
from benchmarks.tabular.replay import replay
from benchmarks.workers import pool
from nas.pareto import front_mask
from nas.plan import Plan
from nas.policy import DEFAULT, POLICIES, Policy
from nas.records import CandidateState, Verdict
from nas.spec import LOSS

OUT = Path(__file__).parents[1] / "docs/results/pruning.md"
OBJECTIVES = ((LOSS, "flops_per_byte"), (LOSS, "flops_per_byte", "params"))
RULES = {
    "expectation, first margin (default)": replace(DEFAULT, name="arrivals", sampler="random"),
    "margin": replace(DEFAULT, name="arrivals, margin", sampler="random", deviations=None),
    "none": replace(DEFAULT, name="arrivals, all", sampler="random", dominators=0),
}
ABOUT = """\
Every candidate of the table arrives once, in random order, one at a time; nothing limits the budget. Kept: of the
candidates on the front of all runs, the share that was trained to the end (mean, and the least of all orders). FLOPs:
training, scores at rungs and final scores, of what training everything to the end with the same scores takes; audits
are in it. False: of the stops that were audited, and of those that were carried out, the share that would have been on
the front.
"""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One order of arrival.

    Attributes:
        front, kept: candidates on the true front, and of these trained to the end.
        share: of the FLOPs.
        audits, false_audits: stops that were not carried out, and how many of them were false.
        stops, false_stops: those that were.
    """

    front: int
    kept: int
    share: float
    audits: int
    false_audits: int
    stops: int
    false_stops: int


def arrive(problem: TableProblem, policy: Policy, minimize: Sequence[str], seed: int) -> Arrival:
    """All candidates by the policy, in the seed's order."""
    POLICIES[policy.name] = policy
    everything = sum(entry.plan.flops for entry in problem.entries.values())
    budget = replace(problem.spec.budget, total=replace(problem.spec.budget.total, compute=2 * everything))
    method = replace(problem.spec.method, policy=policy.name, seed=seed)
    spec = replace(problem.spec, budget=budget, minimize=tuple(minimize), method=method)
    searched = replay(spec, problem.table, draw=problem.draw)
    records = [own for own in searched.candidates if own.state is not CandidateState.REJECTED]
    losses = [(problem.objectives(own.id) or (np.inf,))[0] for own in records]
    points = [
        [loss, *(own.costs[name] for name in minimize[1:])]
        for loss, own in zip(losses, records, strict=True)
        if np.isfinite(loss)
    ]
    ids = [own.number for loss, own in zip(losses, records, strict=True) if np.isfinite(loss)]
    front = {number for number, kept in zip(ids, front_mask(points), strict=True) if kept}
    audited = {own.number for own in searched.decisions if own.verdict is Verdict.AUDIT}
    stopped = {own.number for own in records if own.state is CandidateState.STOPPED}
    planned = sum(Plan.from_dict(own.plan).flops for own in records)
    return Arrival(
        front=len(front),
        kept=len(front - stopped),
        share=sum(own.train_flops_spent + own.eval_flops for own in records) / planned,
        audits=len(audited),
        false_audits=len(audited & front),
        stops=len(stopped),
        false_stops=len(stopped & front),
    )


def row(name: str, found: Sequence[Arrival]) -> list[str]:
    kept = [own.kept / own.front for own in found]
    audits, stops = sum(own.audits for own in found), sum(own.stops for own in found)
    return [
        name,
        f"{np.mean([own.front for own in found]):.3g}",
        f"{np.mean(kept):.1%} ({min(kept):.0%})",
        f"{np.mean([own.share for own in found]):.1%}",
        _of(sum(own.false_audits for own in found), audits),
        _of(sum(own.false_stops for own in found), stops),
    ]


def _of(part: int, whole: int) -> str:
    return f"{part / whole:.2%} of {whole}" if whole else "no stops"


def _job(job: tuple[str, str, Sequence[str], int]) -> Arrival:
    corpus, rule, minimize, seed = job
    return arrive(of_corpus(corpus, seed), RULES[rule], minimize, seed)


def measure(names: Iterable[str], seeds: int, workers: int) -> str:
    """The tables, in Markdown."""
    parts = ["# What the pruner keeps and saves", paragraph(ABOUT)]
    head = ["rule", "front", "kept (least)", "FLOPs", "false audits", "false stops"]
    with pool(workers) if workers > 1 else nullcontext() as processes:
        for corpus in names:
            for minimize in OBJECTIVES:
                jobs = [(corpus, rule, minimize, seed) for rule in RULES for seed in range(seeds)]
                found = list(processes.map(_job, jobs) if processes else map(_job, jobs))
                by_rule = {rule: found[place * seeds : (place + 1) * seeds] for place, rule in enumerate(RULES)}
                parts.append(f"## {corpus}: {', '.join(minimize)}; {seeds} orders")
                parts.append(table(head, [row(name, own) for name, own in by_rule.items()]))
    return "\n\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pruning")
    parser.add_argument("--corpus", nargs="+", choices=corpora(), help="default: all that have a table")
    parser.add_argument("--seeds", type=int, default=20, help="orders of arrival")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args(arguments)
    text = measure(given.corpus or corpora(), given.seeds, given.workers)
    command = f"python -m benchmarks.pruning --seeds {given.seeds}"
    publish(f"{text}\n\nReplayed on {machine()}. Command: `{command}`", given.out)


if __name__ == "__main__":
    main()
