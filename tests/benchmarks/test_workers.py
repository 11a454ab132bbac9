"""Processes that end with the command that wanted them."""

import os
import signal
import subprocess
import sys
import time

from benchmarks.workers import pool

PARENT = """
import os, time
from benchmarks.workers import pool
if __name__ == "__main__":
    with pool(1) as processes:
        print(processes.submit(os.getpid).result(), flush=True)
        processes.submit(time.sleep, 600).result()
"""


def _there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_work_is_done_elsewhere_with_one_thread() -> None:
    with pool(2) as processes:
        assert os.getpid() not in set(processes.map(_process, range(4)))
        assert processes.submit(os.getenv, "OMP_NUM_THREADS").result() is not None


def _process(_: int) -> int:
    return os.getpid()


def test_a_worker_ends_with_its_killed_parent(tmp_path: object) -> None:
    script = f"{tmp_path}/parent.py"
    with open(script, "w", encoding="utf-8") as file:
        file.write(PARENT)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert _there(worker)
        parent.send_signal(signal.SIGKILL)
    until = time.monotonic() + 60
    while _there(worker) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _there(worker)
