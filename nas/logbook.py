"""What is logged while an attempt is carried out, as lines that are kept with it."""

import logging
import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from nas.records import LogLine
from nas.units import format_flops, format_seconds

OURS = ("nas", "services")
"""Loggers of which everything is kept; of others only warnings and errors."""
LINES = 500
"""Of an attempt that are kept; then only errors are, so that how it ended is not lost."""
ERRORS = 20
"""That are kept beyond."""
LENGTH = 4096
"""Letters of a line that are kept: its first half, and its last, which in a traceback is the error."""
CUT = "\n[...]\n"
FULL = f"{LINES} lines are kept: what comes now, but for errors, is in the worker's own log alone"
# Of an address: user and password, and what a query calls a secret; a token of a server.
_SECRETS = (
    (re.compile(r"(?<=://)(?:[^\s/:@]*:(?!\d+(?:/|\s|$))[^\s@]*|[^\s/@]+)(?=@)"), "***"),
    (re.compile(r"\b(\w*(?:passw|secret|token)\w*=)(?:'[^']*'|\"[^\"]*\"|[^\s&'\"]+)", re.IGNORECASE), r"\1***"),
    (re.compile(r"\bnas_[\w-]{20,}"), "***"),
)


class Logbook(logging.Handler):
    """A handler of Python's logging that keeps lines until they are taken. Any thread may log; with ``thread`` only
    what that one logs counts."""

    def __init__(self, thread: int | None = None) -> None:
        super().__init__(logging.INFO)
        self._thread, self._count = thread, 0
        self._lines: deque[LogLine] = deque()
        self._text = logging.Formatter("%(message)s")
        self.closed = False  # nothing is kept meanwhile

    def emit(self, record: logging.LogRecord) -> None:
        if self.closed or self._thread not in (None, record.thread) or not _counts(record):
            return
        try:
            self._keep(record)
        except Exception:
            self.handleError(record)

    def _keep(self, record: logging.LogRecord) -> None:
        if self._count >= LINES:
            if self._count == LINES:
                self._lines.append(LogLine(record.created, "warning", __name__, FULL))
                self._count += 1
            if record.levelno < logging.ERROR or self._count > LINES + ERRORS:
                return
        self._count += 1
        message = _cut(without_secrets(self._text.format(record)))
        self._lines.append(LogLine(record.created, record.levelname.lower(), record.name, message))

    def taken(self) -> tuple[LogLine, ...]:
        """The lines since it was asked last."""
        found = []
        with suppress(IndexError):
            while True:
                found.append(self._lines.popleft())
        return tuple(found)


@contextmanager
def listening(book: Logbook) -> Iterator[None]:
    """Fills a book with what this process logs. Where it shows warnings alone, it goes on showing these."""
    root = logging.getLogger()
    quiet = [own for own in map(logging.getLogger, OURS) if own.getEffectiveLevel() > logging.INFO]
    levels = [own.level for own in quiet]
    shown = _Shown() if not root.handlers else None
    for own in quiet:
        own.setLevel(logging.INFO)
    for handler in (book, shown):
        if handler is not None:
            root.addHandler(handler)
    try:
        yield
    finally:
        for handler in (book, shown):
            if handler is not None:
                root.removeHandler(handler)
        for own, level in zip(quiet, levels, strict=True):
            own.setLevel(level)


class _Shown(logging.Handler):
    """What Python shows where nobody has said what is to be shown, and does not once a handler is there."""

    def emit(self, record: logging.LogRecord) -> None:
        if logging.lastResort is not None and record.levelno >= logging.lastResort.level:
            logging.lastResort.handle(record)


def log_begin(log: logging.Logger, planned: int) -> None:
    """An attempt begins; ``planned``: FLOPs."""
    log.info("the attempt begins, %s planned", format_flops(planned), extra={"flops": planned})


def log_end(log: logging.Logger, flops: int, seconds: float, said: str) -> None:
    """An attempt ends, as it says."""
    spent = f"{format_flops(flops)} in {format_seconds(seconds)}"
    log.info("the attempt ends, %s: %s", spent, said, extra={"flops": flops, "seconds": round(seconds, 3)})


def without_secrets(text: str) -> str:
    """Without passwords and tokens, as far as they look like some."""
    for pattern, shown in _SECRETS:
        text = pattern.sub(shown, text)
    return text


def _counts(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or record.name.partition(".")[0] in OURS


def _cut(message: str) -> str:
    half = (LENGTH - len(CUT)) // 2
    return message if len(message) <= LENGTH else f"{message[:half]}{CUT}{message[-half:]}"
