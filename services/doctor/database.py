"""The database, and the clock, which is compared with the database's."""

import re
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from nas.errors import NasError
from nas.units import format_seconds
from services.doctor.findings import Finding, Level, one_line, text_of

# --- database ---

NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse", "9p", "afs", "ceph", "glusterfs", "lustre", "beegfs")


def file_system(path: Path, mounts: str) -> str:
    """The kind of file system that a path lies on, from ``/proc/mounts``; empty where that is not known."""
    kind, longest = "", -1
    for line in mounts.splitlines():
        _, point, found = line.split()[:3]
        where = Path(re.sub(r"\\([0-7]{3})", lambda own: chr(int(own[1], 8)), point))  # \040 is a blank
        if path.is_relative_to(where) and len(where.parts) >= longest:  # of two at one place the later is on top
            kind, longest = found, len(where.parts)
    return kind


def judge_sqlite(place: str, journal: str, system: str) -> Finding:
    found = f"{place}: can be written, journal {journal}{f', on {system}' if system else ''}"
    if journal == "memory":
        advice = "unset NAS_DATABASE, or name a file: nothing outlives the command"
        return Finding("database", Level.WARNING, found, advice)
    if system.partition(".")[0] in NETWORK:
        advice = "locks of SQLite fail there: move NAS_HOME to a local disk, or use PostgreSQL (NAS_DATABASE)"
        return Finding("database", Level.WARNING, found, advice)
    if journal != "wal":
        advice = "readers wait for writers, as WAL does not work there: move NAS_HOME to a local disk"
        return Finding("database", Level.WARNING, found, advice)
    return Finding("database", Level.OK, found)


def judge_postgresql(place: str, version: str, seconds: float, read_only: bool) -> Finding:
    found = f"{place}: PostgreSQL {version}, {seconds * 1000:.2g} ms for a round trip"
    if read_only:
        return Finding("database", Level.ERROR, f"{found}, read-only", "name the primary server in NAS_DATABASE")
    return Finding("database", Level.OK, found)


def check_database(url: str) -> Iterator[Finding]:
    try:
        yield _look_into(url)
    except NasError as error:
        advice = "name another database with NAS_DATABASE, or another folder with NAS_HOME"
        yield Finding("database", Level.ERROR, one_line(error), advice)


def _look_into(url: str) -> Finding:
    """Opens the database as every command does, and asks it about itself. Leaves no row."""
    from sqlalchemy import make_url

    from nas.adapters.sql.engine import create, redacted_url
    from nas.adapters.sql.errors import refusals
    from nas.adapters.sql.store import open_store

    with closing(open_store(url)) as store, store.transaction():
        pass  # a transaction that writes can begin and end
    place = redacted_url(url)
    with refusals(place):
        engine = create(url)
        try:
            with engine.connect() as connection:
                ask = connection.exec_driver_sql
                if engine.dialect.name == "sqlite":
                    file = Path(make_url(url).database or "").resolve()
                    system = file_system(file, text_of(Path("/proc/mounts")))
                    return judge_sqlite(place, str(ask("PRAGMA journal_mode").scalar_one()), system)
                version = str(ask("SHOW server_version").scalar_one())
                read_only = ask("SHOW transaction_read_only").scalar_one() == "on"
                trips = [_seconds(lambda: ask("SELECT 1").scalar_one()) for _ in range(5)]
                return judge_postgresql(place, version, statistics.median(trips), read_only)
        finally:
            engine.dispose()


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


# --- clock ---

CLOCKS_APART = 2.0


def judge_clock(advanced: float, ahead: float | None) -> Iterator[Finding]:
    """``advanced`` seconds in a short sleep; ``ahead`` of the database's clock, ``None`` where that is the same."""
    if advanced <= 0:
        found = f"the monotonic clock went {advanced:g} s in a sleep: no time can be measured"
        yield Finding("clock", Level.ERROR, found, "use another machine, or restart this one")
    elif ahead is None:
        yield Finding("clock", Level.OK, "advances")
    elif abs(ahead) > CLOCKS_APART:
        found = f"{format_seconds(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} the database's"
        yield Finding("clock", Level.WARNING, found, "set both by network time (timedatectl set-ntp true)")
    else:
        yield Finding("clock", Level.OK, f"advances, {format_seconds(abs(ahead))} from the database's")


def check_clock(url: str) -> Iterator[Finding]:
    began = time.monotonic()
    time.sleep(0.02)
    advanced = time.monotonic() - began
    try:
        ahead = _ahead(url)
    except NasError:
        ahead = None  # a database that does not answer is a finding of its own
    return judge_clock(advanced, ahead)


def _ahead(url: str) -> float | None:
    """Seconds that this clock is ahead of a PostgreSQL server's, the way there taken as long as that back."""
    from nas.adapters.sql.engine import create, redacted_url
    from nas.adapters.sql.errors import refusals

    if not url.startswith("postgresql"):
        return None
    with refusals(redacted_url(url)):
        engine = create(url)
        try:
            with engine.connect() as connection:
                before = time.time()
                there = connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one()
                return (before + time.time()) / 2 - float(there)
        finally:
            engine.dispose()
