"""Transactions per thread: the outermost is the database's, those inside are savepoints."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from nas.adapters.sql.engine import WRITE
from nas.adapters.sql.errors import refusals

Fence = Callable[[Connection], None]
"""Raises where a transaction must not write."""


class _Local(threading.local):
    connection: Connection | None = None  # of this thread's open transaction
    owner: "Transactions | None" = None  # who began it


class Transactions:
    """Hands out connections of one database.

    Errors: what the database refuses is raised as `nas.errors`; errors of the caller's block pass untouched.
    """

    def __init__(self, engine: Engine, place: str) -> None:
        self._engine = engine
        self._place = place
        self._local = _Local()
        self._fence: Fence | None = None

    def fenced(self, fence: Fence) -> "Transactions":
        """The same transactions, where the fence is asked before anything is written; a thread still has one at a
        time, whichever of the two began it."""
        other = Transactions(self._engine, self._place)
        other._local, other._fence = self._local, fence
        return other

    def refusals(self, row: str = "row", parent: str = "parent") -> AbstractContextManager[None]:
        """Raise what the database refuses as our errors, naming the row."""
        return refusals(self._place, row, parent)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """This thread's transaction, or else a short one of its own."""
        if self._local.connection is not None:
            yield self._local.connection
            return
        with self.refusals():
            connection = self._engine.connect()
        try:
            yield connection
        finally:
            with self.refusals():
                connection.close()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection whose changes happen together or not at all."""
        outer = self._local.connection
        with self._outermost() if outer is None else self._inner(outer) as connection:
            yield connection

    @contextmanager
    def _outermost(self) -> Iterator[Connection]:
        with self.refusals():
            connection = self._engine.connect().execution_options(**WRITE)
        try:
            with self.refusals():
                transaction = connection.begin()
            self._local.connection, self._local.owner = connection, self
            self._ask_fence(connection)
            yield connection
            with self.refusals():
                transaction.commit()
        finally:
            self._local.connection, self._local.owner = None, None
            with self.refusals():
                connection.close()  # rolls back what is not committed

    @contextmanager
    def _inner(self, connection: Connection) -> Iterator[Connection]:
        with self.refusals():
            savepoint = connection.begin_nested()
        try:
            if self._local.owner is not self:
                self._ask_fence(connection)  # each time: its locks go with a savepoint that is rolled back
            yield connection
        except BaseException:
            try:
                savepoint.rollback()
            except SQLAlchemyError:
                # A full disk makes SQLite roll back everything: the savepoint is gone, and the outer transaction
                # with it, although it does not know. It must not go on and commit a part.
                connection.invalidate()
            raise
        with self.refusals():
            savepoint.commit()

    def _ask_fence(self, connection: Connection) -> None:
        if self._fence is not None:
            with self.refusals():
                self._fence(connection)
