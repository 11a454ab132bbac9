"""Part two: what is killed comes to the same as what is not, loss by loss."""

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.chaos.databases import DATABASES, POSTGRES, Postgres
from benchmarks.chaos.kills import KINDS, conclude, suffer
from benchmarks.chaos.subject import spec, subject
from benchmarks.chaos.verify import Records, differences, fate
from benchmarks.machine import table

TWIN_GFLOP = 60
"""Of a search for each time that it is killed: it must not be over before."""
MOST_WORKERS = 2
"""Of the kills of a search: a candidate that loses three fails, and should."""
SAID = 5
"""Differences that are told."""


@dataclass(frozen=True)
class Twin:
    """A search against the one that was not disturbed."""

    database: str
    killed: Sequence[str]
    compared: int
    differences: Sequence[str]
    violations: Sequence[str]


def twins(server: Postgres, kills: int, rng: random.Random, *, both: bool) -> list[Twin]:
    """The same search again, killed so many times, on SQLite and, with ``both``, on PostgreSQL."""
    text = spec(total=f"{{compute: {TWIN_GFLOP * kills}GFLOP}}", compute="8GFLOP", method="{parallel: 1, seed: 0}")
    with subject(text) as own:
        own.run()
        wrong, whole = conclude(own)
    first = Twin(DATABASES[0], (), 0, (), [f"undisturbed: {line}" for line in wrong])
    return [first, *(_twin(database, server, text, kills, rng, whole) for database in DATABASES[: 1 + both])]


def _twin(database: str, server: Postgres, text: str, kills: int, rng: random.Random, whole: Records | None) -> Twin:
    with subject(text, server.new_schema() if database == POSTGRES else "") as own:
        killed, _, found = suffer(own, mixed(kills, rng), rng)
        wrong, records = conclude(own)
        if len(killed) < kills:
            wrong = [*wrong, f"it had ended before it was killed {kills} times"]
        found = [f"killed {len(killed)} times on {database}, search {own.id}: {line}" for line in [*found, *wrong]]
        parted = differences(whole, records) if whole is not None and records is not None else []
        if parted or found:
            print(own.said, file=sys.stderr)
    found += [f"not the same on {database} after {', '.join(killed)}: {line}" for line in parted[:SAID]]
    print(f"{database}: killed {len(killed)} times, {len(parted)} differences", file=sys.stderr, flush=True)
    return Twin(database, killed, len(fate(whole)) if whole is not None else 0, parted, found)


def mixed(kills: int, rng: random.Random) -> list[str]:
    """Kinds in turns, in an order that is drawn; no more workers than a candidate may lose."""
    others = [kind for kind in KINDS if kind != "worker"]
    workers = min(MOST_WORKERS, -(-kills // len(KINDS)))
    kinds = ["worker"] * workers + [others[at % len(others)] for at in range(kills - workers)]
    rng.shuffle(kinds)
    return kinds


def write_up(results: Sequence[Twin]) -> str:
    rows = [
        [
            own.database,
            ", ".join(own.killed),
            f"{own.compared}",
            f"{len(own.differences)}",
        ]
        for own in results
        if own.killed
    ]
    return table(["database", "killed", "candidates, decisions and points compared", "differences"], rows)
