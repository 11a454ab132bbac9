"""The making of a table: all runs of the grid that are not there yet, some at a time, in processes of one thread."""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from benchmarks.corpora import corpus
from benchmarks.tabular.grid import Run, space
from benchmarks.tabular.shelf import Shelf
from benchmarks.tabular.training import BriefTexts, Trained, train_one
from benchmarks.workers import pool
from nas.data.texts import Texts
from nas.units import format_seconds

NICENESS = 19


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be trained where; ``cache`` keeps texts and tokenizers, ``brief`` runs are scored by `BriefTexts`."""

    run: Run
    corpus: str
    cache: Path
    compute: int
    device: str
    brief: bool = False

    @property
    def texts(self) -> Texts:
        return texts(self.corpus, self.cache, self.brief)


@cache
def texts(name: str, folder: Path, brief: bool = False) -> Texts:
    kind = BriefTexts if brief else Texts
    return kind(corpus(name, folder / "packages"), folder)


def make(shelf: Shelf, wanted: Sequence[Job], workers: int, tell: Callable[[str], None]) -> None:
    """Trains what is wanted and not on the shelf. Ended at any moment, it loses no more than what is in training."""
    missing = [job for job in wanted if job.run not in shelf]
    if not missing:
        return
    for vocabulary in sorted({job.run.knobs["vocabulary"] for job in missing}):
        missing[0].texts.shard("train", vocabulary)  # once, and not in each worker
    began = time.monotonic()
    with shelf.writing(), pool(workers, _become_worker) as processes:
        for number, done in enumerate(as_completed([processes.submit(_work, job) for job in missing]), 1):
            trained = done.result()
            shelf.put(trained)
            left = (time.monotonic() - began) / number * (len(missing) - number)
            tell(f"{len(shelf)} of {len(wanted)}: {_line(trained)}; {format_seconds(max(left, 1e-3))} left")


def _become_worker() -> None:
    torch.set_num_threads(1)
    os.nice(NICENESS)


def _work(job: Job) -> Trained:
    candidate = space().decode(job.run.knobs)
    return train_one(job.run, candidate, job.texts, job.compute, job.device)


def _line(trained: Trained) -> str:
    loss = f"{trained.val_bpb:.3f}" if trained.val_bpb is not None else "diverged"
    return f"{', '.join(map(str, trained.knobs.values()))}, seed {trained.seed}: {loss} in {trained.seconds:.1f} s"
