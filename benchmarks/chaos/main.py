"""python -m benchmarks.chaos [--quick] [--kills N] [--seed S] [--parts PARTS] [--out FILE]"""

import argparse
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.chaos import cluster, kills, sameness, service, troubles, workers
from benchmarks.chaos.databases import Postgres, postgres
from benchmarks.machine import machine, publish

ABOUT = """\
Searches run by the real command over a small corpus and a tiny space, with two workers unless said otherwise. Something
of them is killed with SIGKILL at random moments, or taken away; when they have completed, the database is checked:
every candidate has ended and is there once, nothing that had a checkpoint was trained from scratch again, each position
of a curve is there once at the FLOPs of its step, each candidate was paid for once and for what it spent, all attempts
have ended, no process and no folder of Ray is left behind.
"""


@dataclass(frozen=True)
class Options:
    """``kills`` are those of part one."""

    quick: bool
    kills: int
    rng: random.Random
    server: Postgres


@dataclass(frozen=True)
class Part:
    """What a part has to say, and what it found wrong."""

    text: str
    violations: Sequence[str]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos")
    parser.add_argument("--quick", action="store_true", help="a few kills, to see that it works")
    parser.add_argument("--kills", type=int, help="of commands, drivers and workers (default: 40; quick: 4)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments at which something is killed")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), help="only these")
    parser.add_argument("--out", type=Path, help="file for the tables")
    given = parser.parse_args(arguments)
    names = given.parts or (QUICK if given.quick else list(PARTS))
    count = given.kills if given.kills is not None else 4 if given.quick else 40
    with postgres() as server:
        options = Options(given.quick, count, random.Random(given.seed), server)
        parts = [PARTS[name](options) for name in names]
    texts = ["# What dies, and what is left", ABOUT.strip(), f"Measured on {machine()}; seed {given.seed}."]
    publish("\n\n".join([*texts, *(part.text for part in parts)]), given.out)
    found = [line for part in parts for line in part.violations]
    for line in found:
        print(f"violation: {line}", file=sys.stderr)
    sys.exit(1 if found else 0)


def _kills(options: Options) -> Part:
    results = list(kills.ordeals(options.server, options.kills, options.rng))
    return Part(f"## Killed\n\n{kills.write_up(results)}", _violations(results))


def _nodes(options: Options) -> Part:
    results = list(cluster.ordeals(options.server, max(1, options.kills // 10), options.rng))
    return Part(f"## Nodes of a cluster\n\n{kills.write_up(results)}", _violations(results))


def _sameness(options: Options) -> Part:
    count = 2 if options.quick else 5
    results = sameness.twins(options.server, count, options.rng, both=not options.quick)
    text = "## The same result\n\nA search with one worker, killed, against the same one undisturbed on SQLite.\n\n"
    return Part(text + sameness.write_up(results), _violations(results))


def _drivers(options: Options) -> Part:
    results = troubles.drivers()
    return Part(f"## Two drivers\n\n{troubles.write_up(results)}", _violations(results))


def _troubles(options: Options) -> Part:
    results = troubles.troubles(options.server)
    return Part(f"## Troubles\n\n{troubles.write_up(results)}", _violations(results))


def _workers(options: Options) -> Part:
    results = workers.shifts()
    return Part(f"## Two workers against one\n\n{workers.write_up(results)}", _violations(results))


def _service(options: Options) -> Part:
    results = list(service.storms(options.server, options.kills, options.rng))
    text = (
        "## A server\n\nSeveral searches of a server at a time; the server is started again whenever it has gone.\n\n"
    )
    return Part(text + service.write_up(results), _violations(results))


class _Judged(Protocol):
    @property
    def violations(self) -> Sequence[str]: ...


def _violations(results: Sequence[_Judged]) -> list[str]:
    return [line for own in results for line in own.violations]


PARTS: dict[str, Callable[[Options], Part]] = {
    "kills": _kills,
    "sameness": _sameness,
    "drivers": _drivers,
    "troubles": _troubles,
    "workers": _workers,
    "nodes": _nodes,
    "service": _service,
}
QUICK = ["kills", "sameness", "drivers"]
