"""Part one: searches of which something is killed, again and again."""

import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.chaos.databases import DATABASES, POSTGRES, Postgres
from benchmarks.chaos.processes import kill, kill_session, named
from benchmarks.chaos.subject import Subject, spec, subject, tail
from benchmarks.chaos.verify import Records, read, violations
from benchmarks.machine import table
from nas.errors import NasError
from nas.records import CandidateState, SearchState
from services.worker.lease import LEASE_SECONDS

SPREAD_SECONDS = 8.0
"""Within which something is killed, after the search trains."""
EARLY_SHARE = 0.25
"""Of the kills, that do not wait until the search trains."""
LISTED_SHARE = 0.2
"""Of the deaths of a command, after which two leases pass and the search is looked at before it is resumed."""
GONE_SECONDS = 30.0
"""After which a command that was killed has nothing left."""
KILLS_A_SEARCH = 2
"""Of one kind: three workers lost make a candidate fail, as they should."""


@dataclass(frozen=True)
class Ordeal:
    """What became of a search. ``back`` are the seconds until it trained again, of those kills that it was told of."""

    database: str
    kind: str
    kills: int
    back: Sequence[float]
    violations: Sequence[str]


# --- the kinds; each says what it found wrong, and nothing when the search had ended before ---


def kill_worker(own: Subject, rng: random.Random) -> list[str] | None:
    """A process that trains."""
    return _kill_one(own, rng, "Trainable")


def kill_driver(own: Subject, rng: random.Random) -> list[str] | None:
    """The actor; the command starts another."""
    return _kill_one(own, rng, "ray::DriverActor")


def _kill_one(own: Subject, rng: random.Random, part: str) -> list[str] | None:
    if not own.wait_for(lambda: bool(named(own.session, part))):
        return None
    own.killed_at = time.time()
    victims = named(own.session, part)
    return [] if victims and kill(rng.choice(sorted(victims))) else None


def kill_tree(own: Subject, rng: random.Random) -> list[str] | None:
    """The command and all that it has started, then it is resumed."""
    if own.over:
        return None
    own.killed_at = time.time()
    kill_session(own.session)
    own.end()
    found = _listed(own) if rng.random() < LISTED_SHARE else []
    own.resume()
    return found


def kill_command(own: Subject, rng: random.Random) -> list[str] | None:
    """The command alone: what it has started must end by itself. Then it is resumed."""
    if own.over or not kill(own.session):
        return None
    own.killed_at = time.time()
    own.end()
    left = own.left(GONE_SECONDS)
    found = [f"{GONE_SECONDS:.0f} s after the command was killed: {left}"] if left else []
    kill_session(own.session)
    found += _listed(own) if rng.random() < LISTED_SHARE else []
    own.killed_at = time.time()
    own.resume()
    return found


def _listed(own: Subject) -> list[str]:
    """What a look at the searches finds, when all leases are over."""
    time.sleep(2 * LEASE_SECONDS)
    code, said = own.ask("ls")
    if code != 0:
        return [f"`nas ls` ended with {code}: {said}"]
    state = own.record.state
    found = [] if state is SearchState.PAUSED else [f"the search is {state} when its driver is dead"]
    training = [c.number for c in own.store.candidates(own.id) if c.state is CandidateState.TRAINING]
    return found + [f"candidate {number} is training when its driver is dead" for number in training]


Kill = Callable[[Subject, random.Random], list[str] | None]
KINDS: dict[str, Kill] = {"worker": kill_worker, "tree": kill_tree, "driver": kill_driver, "command": kill_command}


# --- a search that is killed ---


def suffer(own: Subject, kinds: Sequence[str], rng: random.Random) -> tuple[list[str], list[float], list[str]]:
    """Runs a search and kills something of it: the kinds that were killed, seconds until it trained again, and what
    was found wrong on the way."""
    own.run()
    killed: list[str] = []
    back: list[float] = []
    found: list[str] = []
    own.wait_for(lambda: bool(own.id))
    for kind in kinds:
        early = bool(killed) and rng.random() < EARLY_SHARE
        if not early and own.wait_for(own.training) and killed:
            back.append(time.time() - own.killed_at)
        moment = time.monotonic() + rng.uniform(0.0, SPREAD_SECONDS)
        own.wait_for(lambda moment=moment: time.monotonic() >= moment)  # type: ignore[misc]
        wrong = KINDS[kind](own, rng)
        if wrong is None:
            break
        killed.append(kind)
        found += wrong
    if killed and own.wait_for(own.training):
        back.append(time.time() - own.killed_at)
    return killed, back, found


def conclude(own: Subject) -> tuple[list[str], Records | None]:
    """Waits for the end of a search: what was found wrong, and its records."""
    code = own.end()
    if code != 0:
        how = "does not end" if code is None else f"ended with {code}"
        return [f"the command {how}; it said last:\n{tail(own.said)}"], None
    found = []
    if left := [*own.left(GONE_SECONDS), *own.temporary_folders]:
        found.append(f"left behind when all was over: {left}")
    try:
        records = read(own.store, own.id)
    except NasError as error:
        return [*found, f"the database cannot be read: {error}"], None
    return [*found, *violations(records)], records


def ordeal(database: str, address: str, kinds: Sequence[str], rng: random.Random) -> Ordeal:
    with subject(spec(), address) as own:
        killed, back, found = suffer(own, kinds, rng)
        wrong, _ = conclude(own)
        found = [f"{kinds[0]} on {database}, search {own.id}: {line}" for line in [*found, *wrong]]
        if found:
            found[-1] += f"\n--- all that was said:\n{own.said}"
    return announced(Ordeal(database, kinds[0], len(killed), back, found))


def announced(own: Ordeal) -> Ordeal:
    """Says how it went, at once: the whole may take an hour."""
    head = f"{own.database}: {own.kills} x {own.kind}, {len(own.violations)} violations"
    print(head, *own.violations, sep="\n", file=sys.stderr, flush=True)
    return own


def ordeals(server: Postgres, kills: int, rng: random.Random) -> Iterator[Ordeal]:
    """So many kills, of all kinds and on both databases in turns."""
    for kind, database, count in shares(kills):
        idle = 0
        while count > 0 and idle < 2:
            address = server.new_schema() if database == POSTGRES else ""
            done = ordeal(database, address, [kind] * min(count, KILLS_A_SEARCH), rng)
            yield done
            count, idle = count - done.kills, 0 if done.kills else idle + 1


def shares(kills: int) -> list[tuple[str, str, int]]:
    """How many kills of each kind on each database, in the order in which they are dealt."""
    turns = [(kind, DATABASES[(at + lap) % 2]) for lap in range(2) for at, kind in enumerate(KINDS)]
    dealt = [kills // len(turns) + (at < kills % len(turns)) for at in range(len(turns))]
    return [(kind, database, count) for (kind, database), count in zip(turns, dealt, strict=True) if count]


def write_up(results: Sequence[Ordeal]) -> str:
    rows = []
    for kind, database in dict.fromkeys((own.kind, own.database) for own in results):
        those = [own for own in results if (own.kind, own.database) == (kind, database)]
        back = [seconds for own in those for seconds in own.back]
        rows.append(
            [
                kind,
                database,
                f"{sum(own.kills for own in those)}",
                f"{len(those)}",
                f"{sum(len(own.violations) for own in those)}",
                f"{median(back):.0f} s" if back else "-",
            ]
        )
    return table(["killed", "database", "kills", "searches", "violations", "until it trains again (median)"], rows)
