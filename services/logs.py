"""What processes log: lines for a terminal, JSON for whatever collects them, each with the ids of what it is about.

    request_id                      the controller, while it answers a request
    search_id                       the controller, where a request is about a search, and a driver
    search_id, candidate, attempt   a worker

Ids are context variables of structlog, so they are on lines of the standard library's loggers too.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from structlog.contextvars import bound_contextvars

from nas.logbook import OURS
from nas.ports import Assignment

__all__ = ["OURS", "at_work", "configure"]

FIELDS = ("kind", "candidate", "flops", "seconds")
"""That a line may have of its own (``extra``)."""


def configure() -> None:
    """For this process, also for what logs by the standard library. Of others only warnings are shown."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.ExtraAdder(FIELDS),
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    shown: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    errors = [] if sys.stderr.isatty() else [structlog.processors.format_exc_info]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *errors, shown],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(logging.INFO)


@contextmanager
def at_work(assignment: Assignment) -> Iterator[None]:
    """In a worker's process, around an attempt."""
    configure()
    ids = {"search_id": assignment.search_id, "candidate": assignment.number, "attempt": assignment.attempt}
    with bound_contextvars(**ids):
        yield
