"""python -m benchmarks.tabular {make,status,pack,card} --corpus NAME"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.corpora import NAMES
from benchmarks.machine import machine
from benchmarks.tabular import card
from benchmarks.tabular.grid import COMPUTE, Run, runs, space
from benchmarks.tabular.make import Job, make, texts
from benchmarks.tabular.shelf import Shelf
from benchmarks.tabular.table import FOLDER, facts_of, name_of, pack, table_of
from nas.units import format_seconds, parse_flops
from services.home import home


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tabular")
    parser.add_argument("task", choices=["make", "status", "pack", "card"])
    parser.add_argument("--corpus", choices=NAMES, default="austen")
    parser.add_argument("--compute", default=f"{COMPUTE:g}", help="training FLOPs of a run")
    brief = "no score but the last, on the rungs' subset, and one seed: runs that are only to be ranked"
    parser.add_argument("--brief", action="store_true", help=brief)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time, of one thread each")
    parser.add_argument("--limit", type=int, help="only so many runs, the first")
    parser.add_argument("--work", type=Path, help="folder for runs that are not packed yet")
    given = parser.parse_args(arguments)
    if given.task == "card":
        card.write()
        return
    folder = given.work or home().cache / "tabular"
    compute = parse_flops(given.compute, "--compute")
    name = name_of(given.corpus, compute, given.brief)
    shelf = Shelf(folder / f"{name}.jsonl")
    chosen = runs(space(), repeated=0) if given.brief else runs(space())
    wanted = [Job(run, given.corpus, folder, compute, given.device, given.brief) for run in chosen[: given.limit]]
    if given.task == "make":
        make(shelf, wanted, given.workers, lambda line: print(line, file=sys.stderr, flush=True))
    if given.task == "pack":
        about = {
            "corpus": given.corpus,
            "compute": compute,
            "machine": machine(given.device),
            "space": space().to_dict(),
            **({"brief": True} if given.brief else {}),
        }
        facts = facts_of(texts(given.corpus, folder, given.brief), space())
        kept = {job.run.key for job in wanted}
        own = [run for run in shelf if Run(run.knobs, run.seed).key in kept]
        pack(table_of(own, about, facts), FOLDER / f"{name}.json.xz")
    print(
        f"{sum(job.run in shelf for job in wanted)} of {len(wanted)} runs are there: {shelf.path}{_left(shelf, wanted)}"
    )


def _left(shelf: Shelf, wanted: Sequence[Job]) -> str:
    """What the missing runs will take, by the mean of those that are there."""
    missing = sum(job.run not in shelf for job in wanted)
    if not missing or not len(shelf):
        return ""
    seconds = missing * sum(own.seconds for own in shelf) / len(shelf)
    return f"; {format_seconds(seconds)} of processor time left"
