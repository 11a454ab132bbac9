"""Commands of those who look after the database of this machine, or the one that NAS_DATABASE names."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.output import TableOrJson, emit_json, print_topic, say
from services.home import home

if TYPE_CHECKING:
    from nas.adapters.sql.upkeep import Condition

db = typer.Typer(
    name="db",
    help="The database: look at it, upgrade it, back it up.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@db.command("check")
def check(output: TableOrJson = "table") -> None:
    """Look at the database; nothing in it is changed.

    The exit code is 1 when it is damaged, incomplete, newer than this program, or not there.

    Example: nas db check
    """
    from nas.adapters.sql.upkeep import examine
    from nas.errors import StorageError

    found = examine(home().database)
    warnings = _warnings(found.file)
    if output == "json":
        emit_json(_content(found, warnings))
    else:
        _print(found, warnings)
    if found.problems:
        raise StorageError(f"database {found.place}: {'; '.join(found.problems)}")


@db.command("upgrade")
def upgrade(
    no_backup: Annotated[bool, typer.Option("--no-backup", help="Change it without a copy of it as it was.")] = False,
) -> None:
    """Bring the database to the newest schema, after a backup.

    An SQLite file is copied beside itself first. Of PostgreSQL make a dump yourself, then say --no-backup.

    Example: nas db upgrade
    """
    from nas.adapters.sql import upkeep

    done = upkeep.upgrade(home().database, backup=not no_backup)
    if done.versions.current:
        say(f"database {done.place}: schema {done.versions.wanted} is the newest, nothing to do")
        return
    if done.copy is not None:
        say(f"database {done.place}: as it was: {done.copy}")
    if done.versions.found:
        say(f"database {done.place}: schema {done.versions.found} has become {done.versions.wanted}")
    else:
        say(f"database {done.place}: made with schema {done.versions.wanted}")


@db.command("backup")
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Copy the whole database to a file; others may go on.

    Of SQLite it is a database, checked; of PostgreSQL a dump by pg_dump, for pg_restore.

    Example: nas db backup nas-2026-01-31.db
    """
    from nas.adapters.sql.upkeep import back_up
    from nas.units import format_bytes

    size = back_up(home().database, file.expanduser(), force=force)
    say(f"wrote {file}: {format_bytes(size)}, whole")


def _warnings(file: Path | None) -> list[str]:
    from services.doctor.database import NETWORK, file_system
    from services.doctor.findings import text_of

    system = "" if file is None else file_system(file, text_of(Path("/proc/mounts")))
    if system.partition(".")[0] not in NETWORK:
        return []
    return [f"it lies on {system}, where locks of SQLite fail: move NAS_HOME to a local disk, or use PostgreSQL"]


def _content(found: "Condition", warnings: list[str]) -> dict[str, Any]:
    return {
        "database": found.place,
        "schema": {"found": found.versions.found, "wanted": found.versions.wanted},
        "bytes": found.bytes,
        "tables": [{"name": own.name, "ours": own.ours, "rows": own.rows, "bytes": own.bytes} for own in found.tables],
        "problems": list(found.problems),
        "warnings": warnings,
    }


def _print(found: "Condition", warnings: list[str]) -> None:
    """Problems are left to the error that ends the command."""
    from nas.units import format_bytes

    versions = found.versions
    newest = "the newest" if versions.current else f"{versions.wanted} is the newest: nas db upgrade"
    print_topic("database", f"{found.place}, {format_bytes(found.bytes)}")
    print_topic("schema", f"{versions.found}, {newest}")
    print_topic("condition", "not sound" if found.problems else "sound")
    for line in warnings:
        print_topic("warning", line)
    for title, ours in (("tables", True), ("of others", False)):
        for own in (own for own in found.tables if own.ours is ours):
            size = "" if own.bytes is None else f"{format_bytes(own.bytes):>10}"
            print_topic(title, f"{own.name:<24}{own.rows:>10} rows{size}")
            title = ""
