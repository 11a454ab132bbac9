"""Ends what is left of a local Ray when its command was killed, however that happened.

Ray's own processes take a minute to notice. This runs as a process of its own, from before Ray starts: it waits for
the end of its standard input, which the command holds open, then kills every process that has a file of Ray's folder
open, as all of Ray's have their logs, and removes the folder.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROUNDS = 20  # of looking for processes, which may start others meanwhile


@contextmanager
def reaped(folder: Path) -> Iterator[None]:
    """What works in the folder ends with the block, or with this process; the folder is removed then."""
    command = [sys.executable, "-I", __file__, str(folder), str(os.getpid()), str(os.getsid(0))]
    reaper = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        assert reaper.stdin is not None
        reaper.stdin.close()
        reaper.wait()


def at_work_in(folder: Path) -> list[int]:
    """Processes that have a file of the folder open."""
    inside = f"{folder.resolve()}/"
    processes = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [int(entry.name) for entry in processes if any(file.startswith(inside) for file in _open_files(entry))]


def _is_in(session: int, process: int) -> bool:
    with suppress(ProcessLookupError):
        return os.getsid(process) == session
    return False


def _open_files(process: Path) -> Iterator[str]:
    with suppress(OSError):  # it has ended
        for file in (process / "fd").iterdir():
            with suppress(OSError):  # it was closed
                yield os.readlink(file)


def main(folder: str, command: int, session: int) -> None:
    """Spares the command, which keeps its log open and may live on, and other sessions, where logs may be read."""
    sys.stdin.buffer.read()  # until the command has closed it, or ended
    quiet = 0
    for _ in range(ROUNDS):
        processes = [own for own in at_work_in(Path(folder)) if own != command and _is_in(session, own)]
        for process in processes:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        quiet = 0 if processes else quiet + 1
        if quiet == 2:  # one that was just starting another may have been missed
            break
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
