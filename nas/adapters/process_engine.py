"""The engine on one machine without a cluster: a few worker processes, each training one candidate at a time.

A worker is a fresh interpreter that lives as long as the engine and serves one candidate after another. It watches
the engine's process and ends with it, so that nothing survives the engine, however that ends.
"""

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from nas.errors import NasError
from nas.outcome import LOST
from nas.ports import Assignment, Done, Driver, Outcome, Wait
from nas.records import CurvePoint, Verdict
from nas.train.worker import Workshop, carry_out

LISTEN_SECONDS = 0.25  # between looks at what else there is to hand out
END_SECONDS = 5.0  # that workers have to end before they are killed


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    assignment: Assignment | None = None
    last: CurvePoint | None = None


class ProcessEngine:
    """`nas.ports.Engine` with ``parallel`` worker processes of ``threads`` threads each."""

    def __init__(
        self,
        workshop: Callable[[], Workshop],
        parallel: int,
        threads: int,
        note: Callable[[int, str], None] = lambda number, message: None,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        """``workshop`` must be picklable; each worker calls it once. ``tick`` is called a few times a second."""
        self._workshop, self._parallel, self._threads = workshop, parallel, threads
        self._note, self._tick = note, tick
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []

    def run(self, driver: Driver) -> None:
        try:
            while not self._serve(driver):
                pass
        finally:
            self._end()

    def _serve(self, driver: Driver) -> bool:
        """Hands out what there is and listens for a moment; true when all is done."""
        idle = [worker for worker in self._workers if worker.assignment is None]
        busy = [worker for worker in self._workers if worker.assignment is not None]
        while len(busy) < self._parallel:
            answer = driver.next()
            if not isinstance(answer, Assignment):
                if isinstance(answer, Done) and not busy:
                    return True
                if isinstance(answer, Wait) and not busy:
                    raise RuntimeError("a driver with nothing in training must hand out a run or be done")
                break
            worker = idle.pop() if idle else self._spawn()
            worker.assignment, worker.last = answer, None
            busy.append(worker)
            self._send(worker, answer)
        self._tick()
        for pipe in wait([worker.pipe for worker in busy], timeout=LISTEN_SECONDS):
            self._hear(driver, next(worker for worker in busy if worker.pipe is pipe))
        return False

    def _hear(self, driver: Driver, worker: _Worker) -> None:
        try:
            kind, content = worker.pipe.recv()
        except (EOFError, OSError):  # nothing more, or a message broken off
            self._bury(driver, worker)
            return
        assert worker.assignment is not None
        if kind == "point":
            worker.last = content
            self._send(worker, driver.report(content))
        elif kind == "note":
            self._note(worker.assignment.number, content)
        elif kind == "outcome":
            worker.assignment = None
            driver.finish(content)
        elif kind == "error":
            raise content

    def _send(self, worker: _Worker, message: Any) -> None:
        with suppress(OSError):  # the end of a worker is heard when it is listened to
            worker.pipe.send(message)

    def _bury(self, driver: Driver, worker: _Worker) -> None:
        """A worker died: its attempt is lost."""
        worker.pipe.close()
        worker.process.join()
        self._workers.remove(worker)
        assignment, last = worker.assignment, worker.last
        assert assignment is not None
        driver.finish(
            Outcome(
                number=assignment.number,
                attempt=assignment.attempt,
                kind=LOST,
                train_flops=last.flops if last else 0,
                hardware_flops=last.flops if last else 0,
                eval_flops=0,
                seconds=last.seconds if last else 0.0,
                detail=_death(worker.process.exitcode),
            )
        )

    def _spawn(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, self._workshop, self._threads), daemon=True)
        process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _end(self) -> None:
        for worker in self._workers:
            worker.pipe.close()
            worker.process.terminate()
        limit = time.monotonic() + END_SECONDS
        for worker in self._workers:
            worker.process.join(max(0.0, limit - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers.clear()


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with code {code}"


def _work(pipe: Connection, workshop: Callable[[], Workshop], threads: int) -> None:
    """The worker's loop: assignments in, points and outcomes out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the engine's to handle
    threading.Thread(target=_end_with_engine, daemon=True).start()
    torch.set_num_threads(threads)
    try:
        shop = workshop()
        while True:
            assignment = pipe.recv()
            pipe.send(("outcome", carry_out(assignment, shop, _reporter(pipe), lambda text: pipe.send(("note", text)))))
    except (EOFError, ConnectionError):
        return  # the engine has closed its side
    except NasError as error:
        pipe.send(("error", error))
    except Exception as error:
        detail = "".join(traceback.format_exception(error))
        pipe.send(("error", NasError(f"a worker failed: {error}\n{detail}")))


def _end_with_engine() -> None:
    """Ends this process, in training or not, when the engine's has ended: its candidates may be given out again."""
    engine = multiprocessing.parent_process()
    assert engine is not None
    wait([engine.sentinel])
    os._exit(1)


def _reporter(pipe: Connection) -> Callable[[CurvePoint], Verdict]:
    def report(point: CurvePoint) -> Verdict:
        pipe.send(("point", point))
        verdict: Verdict = pipe.recv()
        return verdict

    return report
