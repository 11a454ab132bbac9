"""The database as a user looks after it: what the commands say, and their exit codes."""

import re
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import MetaData, create_engine, insert

from nas.adapters.sql.schema import VERSION_TABLE, migrations
from nas.adapters.sql.store import open_store, sqlalchemy_url
from nas.records import to_dict
from tests.contracts.samples import SEARCH, fill
from tests.services.driving import Place, ending
from tests.services.schema import MAYBE, VERSION, conforms

CHECKED = VERSION | {
    "database": str,
    "schema": {"found": str, "wanted": str},
    "bytes": int,
    "tables": [{"name": str, "ours": bool, "rows": int, "bytes": MAYBE}],
    "problems": list,
    "warnings": list,
}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A folder without texts: these commands want none."""
    return Place(tmp_path)


@pytest.fixture
def file(place: Place) -> Path:
    return place.home / "nas.db"


def make(file: Path, version: str = "") -> None:
    """A database with a search; of an earlier schema, or of the newest with all kinds of rows."""
    file.parent.mkdir(exist_ok=True)
    if not version:
        with closing(open_store(f"sqlite:///{file}")) as store:
            fill(store)
        return
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        command.upgrade(migrations(connection), version)
        tables = MetaData()
        tables.reflect(connection)
        table, values = tables.tables["searches"], to_dict(SEARCH)
        connection.execute(insert(table).values({key: values[key] for key in values if key in table.c}))
    engine.dispose()


def version_of(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        return str(connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()[0])


def make_newer(file: Path) -> None:
    make(file)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
        connection.commit()


def make_damaged(file: Path) -> None:
    make(file)
    with closing(sqlite3.connect(file)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'events'").fetchone()
    with file.open("r+b") as opened:
        opened.seek((root - 1) * 4096)
        opened.write(b"\xa5" * 4096)


def make_noise(file: Path) -> None:
    file.parent.mkdir()
    file.write_text("the quick brown fox " * 100)


def make_incomplete(file: Path) -> None:
    make(file)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("DROP TABLE tokens")


def make_empty(file: Path) -> None:
    file.parent.mkdir()
    file.touch()


# --- check ---


def test_a_sound_database(place: Place, file: Path) -> None:
    make(file)
    done = place.run("db", "check")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"database   sqlite:///{file}, ")
    assert "\nschema     0005, the newest\ncondition  sound\ntables     answers  " in done.out
    assert re.search(r"^ {11}searches +1 rows", done.out, re.M)
    done = place.run("db", "check", "-o", "json")
    assert conforms(done.json, CHECKED) == []
    assert (done.json["schema"], done.json["problems"]) == ({"found": "0005", "wanted": "0005"}, [])


@pytest.mark.parametrize("version", ["0001", "0003"])
def test_an_older_one_is_sound_and_stays_as_it_is(version: str, place: Place, file: Path) -> None:
    make(file, version)
    done = place.run("db", "check")
    assert (done.code, done.err) == (0, "")
    assert f"schema     {version}, 0005 is the newest: nas db upgrade\ncondition  sound\n" in done.out
    assert version_of(file) == version
    assert [own.name for own in place.home.iterdir()] == ["nas.db"]


@pytest.mark.parametrize(
    ("make_it", "says"),
    [
        (lambda file: None, "there is no such file: name another with NAS_DATABASE or NAS_HOME"),
        (make_empty, "it holds no tables of nas: `nas db upgrade` makes them"),
        (make_noise, "the file is no SQLite database, or a damaged one: restore a backup or name another file"),
        (make_newer, "its schema 9999 is newer than this version of nas, .*: upgrade nas, or use another database"),
        (make_damaged, "it is damaged, .*: restore a backup"),
        (make_incomplete, "it lacks the tables tokens: restore a backup"),
    ],
)
def test_one_that_is_not(make_it: Callable[[Path], None], says: str, place: Place, file: Path) -> None:
    make_it(file)
    for output in ("table", "json"):
        done = place.run("db", "check", "-o", output)
        assert done.code == 1
        assert re.fullmatch(rf"nas: database sqlite:///{file}: {says}.*\n", done.err)
    assert file.exists() == (make_it in (make_empty, make_noise, make_newer, make_damaged, make_incomplete))


def test_problems_are_in_the_json_too(place: Place, file: Path) -> None:
    make_incomplete(file)
    found = place.run("db", "check", "-o", "json").json
    assert conforms(found, CHECKED) == []
    assert found["problems"] == ["it lacks the tables tokens: restore a backup"]
    assert "condition  not sound\n" in place.run("db", "check").out


@pytest.mark.parametrize(
    ("system", "warns"), [("ext4", False), ("nfs4", True), ("fuse.sshfs", True), ("overlay", False)]
)
def test_a_file_that_lies_on_a_network(
    system: str, warns: bool, place: Place, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(file)
    from services.doctor import findings

    monkeypatch.setattr(
        findings, "text_of", lambda path: f"/dev/root / ext4 rw 0 0\nserver {place.folder} {system} rw\n"
    )
    done = place.run("db", "check")
    assert done.code == 0
    assert (f"\nwarning    it lies on {system}, where locks of SQLite fail: move NAS_HOME" in done.out) is warns
    assert len(place.run("db", "check", "-o", "json").json["warnings"]) == warns


def test_a_server(place: Place, postgres_url: str) -> None:
    url = postgres_url.replace("postgres:@", "postgres:secret@")
    done = place.run("db", "check", NAS_DATABASE=url)
    assert (done.code, done.out) == (1, "")
    assert "holds no tables of nas: `nas db upgrade` makes them" in done.err
    done = place.run("db", "upgrade", NAS_DATABASE=url)
    assert (done.code, done.out) == (0, "")
    assert done.err.endswith(": made with schema 0005\n")
    done = place.run("db", "check", "-o", "json", NAS_DATABASE=url)
    assert (done.code, conforms(done.json, CHECKED)) == (0, [])
    assert "secret" not in done.out
    assert not place.home.exists()


# --- upgrade ---


def test_an_older_one_is_copied_and_upgraded(place: Place, file: Path) -> None:
    make(file, "0003")
    done = place.run("db", "upgrade")
    assert (done.code, done.out) == (0, "")
    said = re.fullmatch(
        rf"database (\S+): as it was: ({file}\.\d+T\d+Z\.schema-0003\.backup)\n"
        r"database \1: schema 0003 has become 0005\n",
        done.err,
    )
    assert said, done.err
    assert (version_of(Path(said[2])), version_of(file)) == ("0003", "0005")
    assert place.run("ls", "-o", "id").out == "s\n"
    done = place.run("db", "upgrade")
    assert done.code == 0
    assert done.err == f"database sqlite:///{file}: schema 0005 is the newest, nothing to do\n"


def test_without_a_backup(place: Place, file: Path) -> None:
    make(file, "0001")
    done = place.run("db", "upgrade", "--no-backup")
    assert (done.code, done.err) == (0, f"database sqlite:///{file}: schema 0001 has become 0005\n")
    assert [own.name for own in place.home.iterdir()] == ["nas.db"]


def test_any_command_makes_the_copy_and_says_so(place: Place, file: Path) -> None:
    make(file, "0003")
    done = place.finish("ls", "-o", "id")
    assert (done.code, done.out) == (0, "s\n")
    (copy,) = place.home.glob("*.backup")
    assert done.err == f"database sqlite:///{file}: brought up to date from schema 0003; as it was: {copy}\n"
    assert version_of(copy) == "0003"
    assert place.finish("ls", "-o", "id").err == ""


def test_a_newer_one_is_refused(place: Place, file: Path) -> None:
    make_newer(file)
    for arguments in (("upgrade",), ("upgrade", "--no-backup")):
        done = place.run("db", *arguments)
        assert done.code == 1
        assert "9999 is newer than this version of nas, which knows up to 0005: upgrade nas" in done.err
    assert [own.name for own in place.home.iterdir()] == ["nas.db"]


def test_a_server_is_dumped_by_its_own_tool(place: Place, postgres_url: str) -> None:
    engine = create_engine(sqlalchemy_url(postgres_url))
    with engine.begin() as connection:
        command.upgrade(migrations(connection), "0003")
    engine.dispose()
    done = place.run("db", "upgrade", NAS_DATABASE=postgres_url)
    assert done.code == 1
    assert re.search(
        r"make a backup first, e\.g\. with: pg_dump --format=custom --file=nas\.dump '?--dbname=", done.err
    )
    assert done.err.endswith("; then: nas db upgrade --no-backup\n")
    done = place.run("db", "upgrade", "--no-backup", NAS_DATABASE=postgres_url)
    assert (done.code, done.err.partition(": ")[2]) == (0, "schema 0003 has become 0005\n")


# --- backup ---


def test_a_backup_can_take_the_place_of_the_database(place: Place, file: Path) -> None:
    make(file)
    done = place.run("db", "backup", "copy.db")
    assert (done.code, done.out) == (0, "")
    assert re.fullmatch(r"wrote copy\.db: \d+ KiB, whole\n", done.err)
    file.unlink()
    (place.folder / "copy.db").rename(file)
    assert place.run("ls", "-o", "id").out == "s\n"
    assert place.run("db", "check").code == 0


def test_an_existing_file_is_kept(place: Place, file: Path) -> None:
    make(file)
    copy = place.folder / "copy.db"
    copy.write_text("precious")
    done = place.run("db", "backup", "copy.db")
    assert (done.code, done.err) == (
        1, f"nas: {copy} exists already: name another file, or replace it with --force\n"
    )  # fmt: skip
    assert copy.read_text() == "precious"
    assert place.run("db", "backup", "copy.db", "--force").code == 0
    assert version_of(copy) == "0005"
    done = place.run("db", "backup", "home/nas.db", "--force")
    assert (done.code, done.err) == (2, f"nas: FILE: must not be the database itself, found '{file}'\n")


@pytest.mark.parametrize("make_it", [lambda file: None, make_noise, make_damaged])
def test_what_cannot_be_copied(make_it: Callable[[Path], None], place: Place, file: Path) -> None:
    make_it(file)
    done = place.run("db", "backup", "copy.db")
    assert (done.code, done.err.startswith(f"nas: database sqlite:///{file}: ")) == (1, True)
    assert not (place.folder / "copy.db").exists()


def test_a_target_that_cannot_be_written(place: Place, file: Path) -> None:
    make(file)
    done = place.run("db", "backup", "home/nas.db/copy.db")
    assert (done.code, done.err) == (1, f"nas: {file}/copy.db: must be writable, found: File exists\n")


def test_a_target_with_too_little_room(place: Place, file: Path) -> None:
    make(file)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))  # of any file that it writes

    with ending(place.start("db", "backup", "copy.db", preexec_fn=limit)) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.match(rf"nas: database {place.folder}/copy\.db: the disk (is full|fails): ", said)
    assert [own.name for own in place.folder.iterdir()] == ["home"]


def test_a_file_that_is_there_is_whole_also_after_a_kill(place: Place, file: Path) -> None:
    make(file)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE bulk (bytes BLOB)")
        for _ in range(40):
            connection.execute("INSERT INTO bulk VALUES (zeroblob(4000000))")
        connection.commit()
    copy = place.folder / "copy.db"
    with ending(place.start("db", "backup", "copy.db")) as process:
        while process.poll() is None and not any(own.stat().st_size for own in place.folder.glob(".copy.db.*.tmp")):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
    if copy.exists():  # it was faster
        assert place.run("db", "check", NAS_DATABASE=f"sqlite:///{copy}").code == 0
    assert place.run("db", "check").code == 0
    assert place.run("db", "backup", "copy.db", "--force").code == 0


def test_another_process_writes_meanwhile(place: Place, file: Path) -> None:
    make(file)
    done = threading.Event()
    written = 0
    with closing(open_store(f"sqlite:///{file}")) as store:

        def write() -> None:
            nonlocal written
            while not done.is_set():
                store.add_search(replace(SEARCH, id=f"w{written}"))
                written += 1

        writer = threading.Thread(target=write)
        writer.start()
        try:
            while written == 0:
                time.sleep(0.01)
            before = written
            backed = place.finish("db", "backup", "copy.db")
            after = written
        finally:
            done.set()
            writer.join()
    assert (backed.code, backed.out) == (0, "")
    with closing(sqlite3.connect(place.folder / "copy.db")) as connection:
        ids = [row[0] for row in connection.execute("SELECT id FROM searches WHERE id <> 's'")]
    assert sorted(ids) == sorted(f"w{number}" for number in range(len(ids))), "as of one moment"
    assert before <= len(ids) <= after + 1
    assert after > before, "nobody waited for its end"


def test_help_imports_no_database() -> None:
    heavy = "{'sqlalchemy', 'alembic', 'psycopg', 'torch'}"
    program = f"import sys, services.cli.main; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
