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
    command = [sys.executable, "-I", __file__, str(folder)]
    reaper = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        assert reaper.stdin is not None
        reaper.stdin.close()
        reaper.wait()


def at_work_in(folder: Path) -> list[int]:
    """Processes that have a file of the folder open."""
    inside, found = f"{folder.resolve()}/", []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and any(os.readlink(file).startswith(inside) for file in (entry / "fd").iterdir()):
                found.append(int(entry.name))
    return found


def main(folder: str) -> None:
    sys.stdin.buffer.read()  # until the command has closed it, or ended
    for _ in range(ROUNDS):
        processes = at_work_in(Path(folder))
        for process in processes:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        if not processes:
            break
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])
