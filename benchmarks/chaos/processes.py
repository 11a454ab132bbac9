"""Processes of a session, as /proc shows them. Ray's belong to the session of the command that started it."""

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

POLL_SECONDS = 0.1


def alive(session: int) -> dict[int, str]:
    """Processes of a session that have not ended: their command lines by id."""
    return {process: command for process, own, command in _processes() if own == session}


def named(session: int, part: str) -> list[int]:
    """Those with ``part`` in their command line."""
    return [process for process, command in alive(session).items() if part in command]


def left_over(sessions: Iterable[int], folder: str, seconds: float) -> list[str]:
    """What is still alive of some sessions, or names a folder in its command line, after so many seconds; returns as
    soon as nothing is."""
    of, limit = set(sessions), time.monotonic() + seconds
    while True:
        found = sorted(command for _, own, command in _processes() if own in of or folder in command)
        if not found or time.monotonic() > limit:
            return found
        time.sleep(POLL_SECONDS)


def _processes() -> Iterator[tuple[int, int, str]]:
    """Id, session and command line of each."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                if state not in "ZX":
                    command = (entry / "cmdline").read_text().replace("\0", " ").strip()
                    yield int(entry.name), int(session), command


def kill(process: int) -> bool:
    """Whether it was there to be killed."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
        return True
    return False


def kill_session(session: int) -> bool:
    """Every process of it, and those that were started meanwhile; whether there was one."""
    some = False
    while processes := alive(session):
        some = True
        for process in processes:
            kill(process)
        time.sleep(POLL_SECONDS)
    return some


@contextmanager
def nothing_survives(sessions: list[int]) -> Iterator[None]:
    """Kills, at the end, what is left of the sessions that the list holds by then."""
    try:
        yield
    finally:
        for session in sessions:
            kill_session(session)
