"""python -m benchmarks.live [--corpus NAME] [--seeds 3] [--budget FLOPS] [--peers NAME ...] [--workers 2]

Goes on where it was ended: searches that are over are kept under --work.
"""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from benchmarks import command
from benchmarks.corpora import NAMES, corpus
from benchmarks.live.problem import live_problem
from benchmarks.machine import machine, publish, table
from benchmarks.search import ours
from benchmarks.search.methods import PEERS
from benchmarks.search.problem import MINIMIZE, Problem
from benchmarks.search.trace import Completed, Trace, history
from benchmarks.tabular import grid
from benchmarks.workers import pool
from nas.data.texts import Texts
from nas.space import load_space
from nas.units import format_flops, format_seconds, parse_flops
from services.home import home

OUT = Path(__file__).parents[2] / "docs/results/live.md"
OURS = "ours"
BEST_PEERS = ("syne-tune MO-ASHA, ranks put right", "optuna TPE")
"""On the two tables (docs/results/search.md)."""
SHARES = (0.05, 0.1, 0.25, 0.5, 1.0)
TIE = 1e-6
"""Of all hypervolume, within which two are alike."""

ABOUT = """\
Real searches, nothing replayed: each method trains candidates of a closed space (that of the tables) on a text that has
no table, until the budget is spent. Ours is the command `nas run`; peers get the same candidates, gate, charges and
budget, and their runs wait at a score until the method goes on with them. Each search has one thread. A front is
measured by its hypervolume in loss and the logarithm of cost, below the reference that the forecast names, in percent
of that of the front of all methods and seeds together.

Each search trains a candidate with a seed of its own, and the best of many is partly lucky. So a candidate's loss is
taken to be the mean of all runs of it, whoever made them; below are also the losses that each search had itself."""


@dataclass(frozen=True, slots=True)
class Job:
    """One search of a method."""

    method: str
    seed: int
    corpus: str
    space: str
    budget: int
    compute: int
    folder: Path

    @property
    def file(self) -> Path:
        name = self.method.replace(", ", "-").replace(" ", "-")
        return self.folder / f"{Path(self.space).stem}-{name}-{self.budget:g}-{self.compute:g}-{self.seed}.json"

    @property
    def is_ours(self) -> bool:
        return self.method == OURS


@dataclass(frozen=True, slots=True)
class Searched:
    trace: Trace
    seconds: float


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live")
    parser.add_argument("--corpus", choices=NAMES, default="sotu")
    parser.add_argument("--space", default=str(grid.SPACE), help="whose knobs all list their values")
    parser.add_argument("--seeds", type=int, default=3, help="searches of each method")
    parser.add_argument("--budget", default="80TFLOP", help="of each search; that is 15 minutes of two cores")
    parser.add_argument("--compute", default=f"{grid.COMPUTE:g}", help="training FLOPs of a candidate")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(BEST_PEERS))
    parser.add_argument("--workers", type=int, default=2, help="searches at a time, of one thread each")
    parser.add_argument("--work", type=Path, help="folder for texts and searches")
    parser.add_argument("--out", type=Path, default=OUT, help="file for the tables")
    given = parser.parse_args(arguments)
    folder = (given.work or home().cache / "live").absolute() / given.corpus
    folder.mkdir(parents=True, exist_ok=True)
    texts = Texts(corpus(given.corpus, folder), folder / "home" / "cache")
    files = command.write_texts(texts.corpus, folder / "texts")
    budget, compute = parse_flops(given.budget, "--budget"), parse_flops(given.compute, "--compute")
    space = load_space(given.space)
    for vocabulary in {int(size) for size in space.values("vocabulary")}:
        texts.bytes_per_token(vocabulary)  # once, and not in each worker
    methods = [OURS, *given.peers]
    jobs = [
        Job(name, seed, given.corpus, given.space, budget, compute, folder)
        for seed in range(given.seeds)
        for name in methods
    ]
    found = make(jobs, texts, files, given.workers)
    asked = shlex.join(["python", "-m", "benchmarks.live", *(sys.argv[1:] if arguments is None else arguments)])
    publish(write_up(live_problem(texts, space, budget, compute, 0), found, asked), given.out)


def make(jobs: Sequence[Job], texts: Texts, files: Mapping[str, str], workers: int) -> dict[Job, Searched]:
    """All of them; each that is over is kept at once."""
    missing = [job for job in jobs if not job.file.is_file()]
    with pool(workers) as processes:
        futures = {processes.submit(_search, job, texts.corpus, texts.folder, dict(files)): job for job in missing}
        for number, future in enumerate(as_completed(futures), 1):
            job, searched = futures[future], future.result()
            kept = {"trace": searched.trace.to_dict(), "seconds": searched.seconds}
            job.file.write_text(json.dumps(kept), encoding="utf-8")
            took = format_seconds(searched.seconds)
            print(f"{number} of {len(missing)}: {job.method}, seed {job.seed}: {took}", file=sys.stderr, flush=True)
    return {job: _kept(job) for job in jobs}


def _kept(job: Job) -> Searched:
    raw = json.loads(job.file.read_text(encoding="utf-8"))
    return Searched(Trace.from_dict(raw["trace"]), raw["seconds"])


def _search(job: Job, own: Any, cache: Path, files: dict[str, str]) -> Searched:
    torch.set_num_threads(1)
    began = time.monotonic()
    trace = _ours(job, files) if job.is_ours else _peers(job, Texts(own, cache))
    return Searched(trace, time.monotonic() - began)


def _peers(job: Job, texts: Texts) -> Trace:
    return PEERS[job.method].run(
        live_problem(texts, load_space(job.space), job.budget, job.compute, job.seed), job.seed
    )


def _ours(job: Job, files: Mapping[str, str]) -> Trace:
    spec = {
        "name": "live",
        "corpus": dict(files),
        "space": job.space,
        "device": "cpu",
        "budget": {"total": {"compute": job.budget}, "final": 0, "candidate": {"compute": job.compute}},
        "minimize": list(MINIMIZE),
        "method": {"seed": job.seed},
    }
    database = command.search(spec, job.file.stem, job.folder)
    with command.opened(database) as store:
        search = command.completed(store, database)
        return ours.trace_of(MINIMIZE, store.candidates(search.id), store.ledger(search.id))


# --- what is said of it ---


def write_up(problem: Problem, found: Mapping[Job, Searched], asked: str) -> str:
    traces = {job: own.trace for job, own in found.items()}
    level, own = _volumes(problem, levelled(traces)), _volumes(problem, traces)
    job = next(iter(found))
    parts = [
        "# Real searches against the best peers",
        ABOUT,
        f"**{conclusion(level)}**",
        f"{job.corpus}; {len(problem.entries)} candidates, {format_flops(job.compute)} of training each; "
        f"{format_flops(job.budget)} for each search.",
        table(
            ["method", "seed", *_HEAD, "trained to the end", "not", "used", "time"],
            [_row(problem, job, each, level[job]) for job, each in found.items()],
        ),
        "By the losses that each search had itself:",
        table(["method", "seed", *_HEAD], [[*_name(job), *_shares(own[job])] for job in found]),
        f"Measured on {machine()}.",
        f"Command: `{asked}`",
    ]
    return "\n\n".join(parts)


def levelled(traces: Mapping[Job, Trace]) -> dict[Job, Trace]:
    """With the mean loss of all runs of a candidate, which is the first objective, in place of its own."""
    runs: dict[str, list[float]] = {}
    for trace in traces.values():
        for own in trace.completed:
            runs.setdefault(own.id, []).append(own.objectives[0])

    def as_level(own: Completed) -> Completed:
        return replace(own, objectives=(mean(runs[own.id]), *own.objectives[1:]))

    return {job: replace(trace, completed=tuple(map(as_level, trace.completed))) for job, trace in traces.items()}


def _volumes(problem: Problem, traces: Mapping[Job, Trace]) -> dict[Job, list[float]]:
    """At the shares of the budget, of that of all of them together."""
    whole = problem.hypervolume([own.objectives for trace in traces.values() for own in trace.completed])
    histories = {job: history(trace, problem) for job, trace in traces.items()}
    return {job: [own.at(share * problem.budget) / whole for share in SHARES] for job, own in histories.items()}


def conclusion(volumes: Mapping[Job, Sequence[float]]) -> str:
    """In how many pairs of one seed ours is ahead, and in how many behind."""
    pairs = [
        (volumes[mine], theirs)
        for mine in volumes
        for job, theirs in volumes.items()
        if mine.is_ours and not job.is_ours and job.seed == mine.seed
    ]
    leads = [[mine[place] - theirs[place] for mine, theirs in pairs] for place in range(len(SHARES))]
    ahead = ", ".join(
        f"{sum(lead > TIE for lead in own)} at {share:.0%}" for own, share in zip(leads, SHARES, strict=True)
    )
    behind = ", ".join(f"{sum(lead < -TIE for lead in own)}" for own in leads)
    return f"Of {len(pairs)} pairs of the same seed ours is ahead in {ahead} of the budget, and behind in {behind}."


_HEAD = [f"at {share:.0%}" for share in SHARES]


def _name(job: Job) -> list[str]:
    return [job.method, f"{job.seed}"]


def _shares(volumes: Sequence[float]) -> list[str]:
    return [f"{volume:.2%}" for volume in volumes]


def _row(problem: Problem, job: Job, own: Searched, volumes: Sequence[float]) -> list[str]:
    return [
        *_name(job),
        *_shares(volumes),
        f"{len(own.trace.completed)}",
        f"{len(own.trace.stopped)}",
        f"{own.trace.spent / problem.budget:.0%}",
        format_seconds(own.seconds),
    ]
