"""python -m benchmarks.search [--corpus NAME ...] [--seeds 20] [--policies NAME ...] [--refresh-peers] [--workers 2]

Goes on where it was ended: peers' traces lie in the repository, ours in the cache folder.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.machine import machine, publish
from benchmarks.search import factorial
from benchmarks.search.figure import figure
from benchmarks.search.methods import CELLS, METHODS, OURS, PEERS, Method
from benchmarks.search.problem import TableProblem, corpora, of_corpus
from benchmarks.search.report import write_up
from benchmarks.search.results import Result, result
from benchmarks.search.shelf import About, Shelf
from benchmarks.search.trace import Trace
from benchmarks.workers import pool
from nas.errors import MissingDependencyError
from services.home import home

ROOT = Path(__file__).parents[2]
KEPT = Path(__file__).with_name("data")
OUT, PICTURE = ROOT / "docs/results/search.md", ROOT / "docs/images/search.svg"


@dataclass(frozen=True)
class Job:
    """One search of a method, by names, so that it can be sent to another process."""

    corpus: str
    method: str
    seed: int

    def run(self) -> Trace:
        return METHODS[self.method].run(_problem(self.corpus, self.seed), self.seed)


@cache
def _problem(corpus: str, draw: int) -> TableProblem:
    return of_corpus(corpus, draw)


class Library:
    """The shelves of all methods on a corpus. ``notes`` says what is left out or made anew."""

    def __init__(
        self, corpus: str, methods: Iterable[Method[Any]], *, refresh: bool, work: Path, kept: Path = KEPT
    ) -> None:
        self.corpus, self.notes = corpus, list[str]()
        problem = _problem(corpus, 0)
        self.shelves: dict[str, Shelf] = {}
        for method in methods:
            if method.levels > len(problem.lower):
                needs = f"it needs {method.levels} tables of smaller budgets, there are {len(problem.lower)}"
                self.notes.append(f"{method.name} on {corpus} is left out: {needs}.")
                continue
            tables = (problem.digest, *(own.digest for own in problem.lower[: method.levels]))
            folder = work if method.is_ours else kept
            about = About(corpus, method.name, tables, method.versions)
            shelf = self.shelves[method.name] = Shelf(folder / corpus / f"{method.file}.json.xz", about)
            if refresh and not method.is_ours:
                shelf.clear()

    def missing(self, seeds: Iterable[int]) -> Iterator[Job]:
        for seed in seeds:
            for name, shelf in self.shelves.items():
                if seed not in shelf.traces:
                    yield Job(self.corpus, name, seed)

    def leave_out(self, method: str, why: str) -> None:
        if self.shelves.pop(method, None) is not None:
            self.notes.append(f"{method} on {self.corpus} is left out: {why}.")

    def results(self, names: Iterable[str], seeds: Sequence[int]) -> list[Result]:
        problems = {seed: _problem(self.corpus, seed) for seed in seeds}
        shelves = [(name, self.shelves[name]) for name in names if name in self.shelves]
        return [result(name, problems, {seed: shelf.traces[seed] for seed in seeds}) for name, shelf in shelves]


def fill(libraries: Mapping[str, Library], jobs: Sequence[Job], workers: int) -> None:
    """Runs what is missing and keeps each trace as soon as it is there."""
    for count, (job, result_of) in enumerate(_ended(jobs, workers), start=1):
        library = libraries[job.corpus]
        try:
            if (shelf := library.shelves.get(job.method)) is not None:
                shelf.put(job.seed, result_of())
        except MissingDependencyError as error:
            library.leave_out(job.method, str(error))
        _say(f"{count} of {len(jobs)}: {job.method}, {job.corpus}, seed {job.seed}")


def _ended(jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, Callable[[], Trace]]]:
    """Each job with what gives its trace or raises its error; one worker is this process."""
    if workers == 1:
        yield from ((job, job.run) for job in jobs)
    elif jobs:
        with pool(workers) as processes:
            futures = {processes.submit(job.run): job for job in jobs}
            yield from ((futures[own], own.result) for own in as_completed(futures))


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parser().parse_args(arguments)
    names = given.corpus or corpora()
    ours = [own for own in OURS.values() if own.name.removeprefix("ours: ") in given.policies]
    peers = [PEERS[name] for name in given.peers]
    chosen = [own for own in factorial.cells() if own.sampler in given.samplers and own.pruner in given.pruners]
    cells = [CELLS[cell.name] for cell in chosen if given.factorial]
    work = given.work or home().cache / "search"
    seeds, few = range(given.seeds), range(given.factorial)
    libraries = {
        own: Library(own, [*peers, *ours, *cells], refresh=given.refresh_peers, work=work, kept=given.kept)
        for own in names
    }
    wanted = [
        job
        for library in libraries.values()
        for job in library.missing(range(max(given.seeds, given.factorial)))
        if job.seed < (given.factorial if job.method in CELLS else given.seeds)
    ]
    fill(libraries, wanted, given.workers)
    shown = [*(own.name for own in ours), *(own.name for own in peers)]
    results = {own: library.results(shown, seeds) for own, library in libraries.items()}
    factors = {own: library.results([cell.name for cell in cells], few) for own, library in libraries.items()}
    mine = [own.name for own in ours]
    text = write_up(
        results,
        factors,
        {own: _problem(own, 0) for own in names},
        mine,
        [own.name for own in peers],
        [*_not_asked(given.peers), *(note for library in libraries.values() for note in library.notes)],
    )
    command = shlex.join(["python", "-m", "benchmarks.search", *(sys.argv[1:] if arguments is None else arguments)])
    drawn = f"![Regret over the budget, median and middle half]({os.path.relpath(given.picture, given.out.parent)})"
    publish(f"{text}\n\n{drawn}\n\nReplayed on {machine()}.\n\nCommand: `{command}`", given.out)
    given.picture.parent.mkdir(parents=True, exist_ok=True)
    given.picture.write_text(figure(results, mine), encoding="utf-8")


def _not_asked(peers: Sequence[str]) -> list[str]:
    others = [name for name in PEERS if name not in peers]
    return [f"Not asked for: {', '.join(others)}."] if others else []


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search")
    parser.add_argument("--corpus", nargs="+", choices=corpora(), help="default: all that have a table")
    parser.add_argument("--seeds", type=int, default=20, help="searches of each method")
    policies = [name.removeprefix("ours: ") for name in OURS]
    parser.add_argument("--policies", nargs="+", choices=policies, default=policies, help="of ours")
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS), help="only these")
    parser.add_argument("--refresh-peers", action="store_true", help="run them again, whatever is kept")
    parser.add_argument("--factorial", type=int, default=0, metavar="SEEDS", help="also exchange our search's parts")
    samplers = list(factorial.SAMPLERS)
    parser.add_argument("--samplers", nargs="+", choices=samplers, default=samplers, help="of the exchanged parts")
    pruners = list(factorial.PRUNERS)
    parser.add_argument("--pruners", nargs="+", choices=pruners, default=pruners, help="of the exchanged parts")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--work", type=Path, help="folder of our traces")
    parser.add_argument("--kept", type=Path, default=KEPT, help="folder of the peers' traces")
    parser.add_argument("--out", type=Path, default=OUT, help="file for the tables")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="file for the figure")
    return parser


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
