"""Parts three and four: two drivers for one search, a damaged checkpoint, a database that goes away, a full disk."""

import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos.databases import Postgres
from benchmarks.chaos.kills import conclude
from benchmarks.chaos.subject import Subject, spec, subject, tail
from benchmarks.chaos.verify import Records
from benchmarks.disks import small_disk
from benchmarks.machine import table

PAUSED = 130
"""Exit code of a command whose search was paused."""
AWAY_SECONDS = 60.0
"""That the database is away."""
FULL_SECONDS = 10.0
"""That the disk is full, after the search has noticed."""
DISK = "16m"
PAUSES = 4
"""Attempts to pause while something is in training."""


@dataclass(frozen=True)
class Trouble:
    """What was done to a search, what is asked of it, and what was seen."""

    what: str
    asked: str
    seen: str
    violations: Sequence[str]


def report(what: str, asked: str, seen: str, own: Subject, found: Sequence[str]) -> Trouble:
    print(f"{what}: {seen}", file=sys.stderr, flush=True)
    told = [f"{what}, search {own.id}: {line}" for line in found]
    if told:
        told[-1] += f"\n--- all that was said:\n{own.said}"
    return Trouble(what, asked, seen, told)


# --- two drivers ---


def second_driver() -> Trouble:
    """`nas resume` of a search that runs."""
    what, asked = "`nas resume` while `nas run` is at work", "ends with 1 and says who drives it; the first completes"
    with subject(spec()) as own:
        own.run()
        if not own.wait_for(own.training):
            return report(what, asked, "did not train", own, ["it did not train"])
        code, said = own.ask("resume", own.id)
        found = [] if code == 1 and f"search {own.id} is driven by process" in said else [f"exit code {code}: {said}"]
        wrong, _ = conclude(own)
        return report(what, asked, f"ended with {code}: {tail(said, 1)[:90]}...", own, [*found, *wrong])


def two_at_once() -> Trouble:
    """Two `nas resume` of a search that is paused, started at the same moment."""
    what, asked = "two `nas resume` at the same moment", "one completes the search, the other ends with 1"
    with subject(spec()) as own:
        own.run()
        if not _paused(own):
            return report(what, asked, "did not pause", own, ["it did not pause"])
        own.resume()
        other = own.start("resume", own.id)
        codes = [own.end(), other.wait()]
        found = [] if sorted(map(str, codes)) == ["0", "1"] else [f"exit codes {codes}"]
        own.command = own.command if codes[0] == 0 else other
        wrong, _ = conclude(own)
        return report(what, asked, f"ended with {codes[0]} and {codes[1]}", own, [*found, *wrong])


# --- troubles ---


def damaged_checkpoint() -> Trouble:
    """Checkpoints of a paused search cut in half."""
    what, asked = "checkpoints cut in half while paused", "it says so, begins those candidates again, and completes"
    with subject(spec()) as own:
        own.run()
        checkpoints = _pause_in_training(own)
        if not checkpoints:
            return report(what, asked, "no checkpoint", own, ["there was no checkpoint while it was paused"])
        for path in checkpoints:
            with path.open("r+b") as file:
                file.truncate(path.stat().st_size // 2)
        own.resume()
        wrong, records = conclude(own)
        numbers = sorted(int(path.parent.name) for path in checkpoints)
        said = [e.number for e in records.events if "starts again from the beginning" in e.message] if records else []
        found = [f"nothing says that candidate {number} starts again" for number in numbers if number not in said]
        begins_again = tuple(f"candidate {number}: attempt" for number in numbers)  # as it must
        found += [line for line in wrong if not line.startswith(begins_again)]
        return report(what, asked, f"candidates {numbers} began again", own, found)


def database_away(server: Postgres) -> Trouble:
    """The PostgreSQL server stopped under a search."""
    what, asked = f"PostgreSQL stopped for {AWAY_SECONDS:.0f} s", "it waits, goes on by itself and completes"
    with subject(spec(), server.new_schema()) as own:
        own.run()
        trains = own.wait_for(own.training)
        server.stop()
        try:
            time.sleep(AWAY_SECONDS)
        finally:
            server.start()
        wrong, records = conclude(own)
        found, seen = _recovered(records)
        return report(what, asked, seen, own, [*([] if trains else ["it did not train"]), *found, *wrong])


def full_disk() -> Trouble:
    """No space left in the home of a search."""
    what, asked = f"disk full for {FULL_SECONDS:.0f} s", "it waits, goes on by itself and completes"
    with subject(spec()) as own, small_disk(own.home, DISK) as mounted:
        if not mounted:
            return Trouble(what, asked, "left out: a file system must not be mounted here", ())
        own.run()
        own.wait_for(own.training)
        filler = own.home / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        noticed = own.wait_for(lambda: "waiting: " in own.said)
        time.sleep(FULL_SECONDS)
        filler.unlink()
        wrong, records = conclude(own)
        found, seen = _recovered(records)
        own.close()
        return report(what, asked, seen, own, [*([] if noticed else ["it did not notice"]), *found, *wrong])


def _recovered(records: Records | None) -> tuple[list[str], str]:
    """What is wrong, and what a search says of a time that it could not go on."""
    said = [event.message for event in records.events if event.kind == "recovered"] if records else []
    return ([], said[0].partition(":")[0]) if said else (["no event says that it went on"], "did not go on")


def _paused(own: Subject) -> bool:
    """Whether the search trained and could be paused."""
    if not own.wait_for(own.training):
        return False
    own.interrupt()
    return own.end() == PAUSED


def _pause_in_training(own: Subject) -> list[Path]:
    """The checkpoints of candidates in training, of a search that is paused then."""
    for _ in range(PAUSES):
        if not _paused(own):
            return []
        if found := sorted((own.home / "artifacts" / own.id).glob("*/checkpoint.pt")):
            return found
        own.killed_at = time.time()
        own.resume()
    return []


def drivers() -> list[Trouble]:
    return [second_driver(), two_at_once()]


def troubles(server: Postgres) -> list[Trouble]:
    every: list[Callable[[], Trouble]] = [damaged_checkpoint, lambda: database_away(server), full_disk]
    return [trouble() for trouble in every]


def write_up(results: Sequence[Trouble]) -> str:
    rows = [[own.what, own.asked, own.seen, f"{len(own.violations)}"] for own in results]
    return table(["what", "asked", "seen", "violations"], rows)
