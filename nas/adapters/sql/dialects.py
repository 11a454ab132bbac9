"""What SQLite and PostgreSQL say in words of their own."""

import time
from collections.abc import Callable

from sqlalchemy import Connection, Table, func, select
from sqlalchemy.dialects import postgresql, sqlite

Upsert = sqlite.Insert | postgresql.Insert

_INSERT: dict[str, Callable[[Table], Upsert]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def insert_into(connection: Connection, table: Table) -> Upsert:
    """An insert that can be told what to do about a row of the same key."""
    return _INSERT[connection.dialect.name](table)


def clock(connection: Connection) -> float:
    """The time of day that all who share the database agree on; goes on within a transaction."""
    if connection.dialect.name == "sqlite":
        return time.time()  # a file has no clock, and is shared within one machine only
    return float(connection.execute(select(func.date_part("epoch", func.clock_timestamp()))).scalar_one())
