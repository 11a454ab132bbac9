"""Runs of candidates with seeds, each made once: a file of JSON lines outlives whatever ends the making."""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.machine import chip
from benchmarks.workers import pool
from nas.candidate import Candidate, describe
from nas.cost import cost
from nas.data.corpora import Corpus
from nas.data.texts import Texts
from nas.errors import NasError
from nas.plan import Allowance, Plan, fastest, plan_run
from nas.train.run import Finish, Request, train


@dataclass(frozen=True, slots=True)
class Job:
    """A candidate, its training FLOPs, and the seed of its weights and batches."""

    candidate: Candidate
    compute: int
    seed: int

    @property
    def key(self) -> tuple[str, int, int]:
        return self.candidate.id, self.compute, self.seed


@dataclass(frozen=True, slots=True)
class Scored:
    """A run that was trained to its end.

    Attributes:
        id: of the candidate.
        epochs: over the training text.
        seconds: of wall clock.
        val_bpb, test_bpb: bits per byte of the whole splits.
        machine: where it was made; empty where nobody noted it.
    """

    id: str
    compute: int
    seed: int
    steps: int
    epochs: float
    seconds: float
    val_bpb: float
    test_bpb: float
    machine: str = ""

    @property
    def key(self) -> tuple[str, int, int]:
        return self.id, self.compute, self.seed


def make(
    path: Path, jobs: Sequence[Job], texts: Texts, tell: Callable[[str], None], workers: int = 1, device: str = "cpu"
) -> dict[Job, Scored]:
    """The runs of all jobs; those that the file does not have are made now, the last first: it takes longest."""
    known = {own.key: own for own in _read(path)}
    missing = {job.key: job for job in reversed(jobs) if job.key not in known}
    for number, (job, done) in enumerate(_made(list(missing.values()), texts, workers, device), 1):
        known[job.key] = done
        _append(path, done)
        tell(f"{number} of {len(missing)}: {_line(job, done)}")
    return {job: known[job.key] for job in jobs}


def _made(jobs: Sequence[Job], texts: Texts, workers: int, device: str) -> Iterator[tuple[Job, Scored]]:
    if workers == 1:
        yield from ((job, _train(job, texts, device)) for job in jobs)
        return
    with pool(workers) as processes:
        futures = {processes.submit(_train_there, job, texts.corpus, texts.folder, device): job for job in jobs}
        yield from ((futures[own], own.result()) for own in as_completed(futures))


def plan_of(job: Job, texts: Texts) -> Plan:
    """All of the compute goes into training; the splits are scored once, at the end."""
    own = job.candidate.architecture
    facts = texts.facts(own.vocabulary, own.context)
    layout = fastest(job.candidate)
    forms = cost(job.candidate, facts.bytes_per_token)
    allowance = Allowance(job.compute)
    return plan_run(job.candidate, forms, facts, allowance, rungs=0, score_test=True, laid_out=(layout, 0))


def _train_there(job: Job, corpus: Corpus, folder: Path, device: str) -> Scored:
    torch.set_num_threads(1)
    return _train(job, Texts(corpus, folder), device)


def _train(job: Job, texts: Texts, device: str) -> Scored:
    plan, began = plan_of(job, texts), time.monotonic()
    *_, finish = train(Request(job.candidate, plan, job.seed, device, score_test=True, rungs=()), texts)
    assert isinstance(finish, Finish)
    if finish.validation is None or finish.test is None:
        raise NasError(f"{describe(job.candidate)}, seed {job.seed}: {finish.kind}; there is nothing to compare")
    return Scored(
        id=job.candidate.id,
        compute=job.compute,
        seed=job.seed,
        steps=plan.steps,
        epochs=plan.epochs,
        seconds=time.monotonic() - began,
        val_bpb=finish.validation.bpb,
        test_bpb=finish.test.bpb,
        machine=f"{chip(device)}, torch {torch.__version__}",
    )


def _line(job: Job, done: Scored) -> str:
    return f"{describe(job.candidate)}, seed {done.seed}: {done.test_bpb:.4f} in {done.seconds:.1f} s"


def _read(path: Path) -> list[Scored]:
    if not path.is_file():
        return []
    whole = path.read_bytes().split(b"\n")[:-1]  # the last has no end: nothing, or torn
    return [Scored(**json.loads(line)) for line in whole]


def _append(path: Path, done: Scored) -> None:
    """Kept when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        kept = path.read_bytes()
        os.truncate(path, kept.rfind(b"\n") + 1)
        file.write(json.dumps(asdict(done)).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
