"""Processes of one thread for many independent pieces of work, none of which outlives the command that wants them."""

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor


def pool(workers: int, begin: Callable[[], None] | None = None) -> ProcessPoolExecutor:
    """``begin`` is called in each process before its work."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers that share cores by threads wait for each other
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _become_worker, (begin,))


def _become_worker(begin: Callable[[], None] | None) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if begin is not None:
        begin()


def _end_with_parent() -> None:
    """However that ends: a worker that is left alone would work on for nobody."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
