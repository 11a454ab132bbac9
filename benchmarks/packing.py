"""Several small candidates at a time on one device against one at a time: candidates an hour of real searches.

python -m benchmarks.packing [--quick] [--device cpu|cuda] [--out FILE]
"""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import torch

from benchmarks.chaos.kills import conclude
from benchmarks.chaos.subject import Subject, spec, subject
from benchmarks.chaos.verify import Records
from benchmarks.chaos.workers import SHAPE, SPACE, Shift, gains, measured
from benchmarks.machine import machine, publish, table
from nas.candidate import Architecture, Candidate, Recipe
from nas.forecast import allowance
from nas.measure import nvml
from nas.measure.probe import ProbeRequest, probe
from nas.plan import Layout, Plan, step_flops
from nas.records import CandidateState
from nas.spec import parse_spec
from nas.units import format_bytes
from services.cpus import cores
from services.device import GPU_THREADS, precision_for
from services.ground import survey_again
from services.home import Home
from services.profiles import Profiles
from services.worker.engine import gpu_share

CPU_CORES = 2
"""That runs on a CPU share, however many there are."""
SEARCH_SECONDS = 3600.0
"""That a search may take."""
TOGETHER = 1 + 1e-9
"""Shares that go side by side come to no more, but for rounding of their sum."""

ABOUT = {
    "cuda": """\
The same search by the real command on a local Ray, with one candidate at a time and with several. All candidates are
of one small shape. A plan says which share of the GPU its run takes (of memory, or of the time in which the GPU really
works, whichever is more), Ray starts as many runs as their shares allow, and torch's allocator caps each to its share.
Rounds take turns; in brackets, least and most of them.
""",
    "cpu": """\
The same search by the real command on a local Ray, with one candidate at a time and with several. All candidates are
of one small shape. On a CPU, threads are what is shared: two runs of one thread each against one of two threads, on two
cores. A run is capped to `budget.candidate.memory`. Rounds take turns. With `--device cuda` the same command measures
how runs share a GPU by what their plans take of it. In brackets: least and most of the rounds.
""",
}


@dataclass(frozen=True)
class Load:
    """What is searched for on a device.

    Attributes:
        space: of candidates like ``shape``, which differ in nothing that costs.
        memory, params: limits of each.
        threads: CPU threads of a run, by how many runs there are at a time.
        candidates, seconds: of a search; a candidate's training, as it goes alone.
    """

    device: str
    shape: Candidate
    space: str
    memory: str
    params: str
    threads: Mapping[int, int]
    candidates: int
    seconds: float
    rounds: int


GPU_SHAPE = Candidate(Architecture(4, 256, 4, 64, 4, 768, 256, 256), Recipe(8192))
GPU_SPACE = """\
space:
  knobs:
    depth: [4]
    width: [256]
    head_size: [64]
    vocabulary: [256]
    context: [256]
    batch_tokens: [8192]
    mlp_ratio: [3]
    matrix_rate: {min: 0.3, max: 3, log: true}
"""


def load_of(device: str, quick: bool) -> Load:
    if device == "cpu":
        threads = min(CPU_CORES, cores())
        shares = {1: threads, 2: max(1, threads // 2)}
        load = Load("cpu", SHAPE, SPACE, "1GiB", "1M", shares, candidates=6, seconds=6.0, rounds=3)
    else:
        at_a_time = (1, 4) if quick else (1, 4, 8)
        threads = max(1, min(GPU_THREADS, cores() // max(at_a_time)))  # all searches go by one profile
        shares = dict.fromkeys(at_a_time, threads)
        load = Load("cuda", GPU_SHAPE, GPU_SPACE, "8GiB", "10M", shares, candidates=16, seconds=30.0, rounds=3)
    return replace(load, candidates=max(2, max(shares) // 2), seconds=2.0, rounds=1) if quick else load


# --- a search, and what went side by side ---


@dataclass(frozen=True)
class Run:
    """A candidate in training: from when to when, its share of the device as Ray counts it, and the bytes that its
    process may take of it."""

    began: float
    ended: float
    share: float
    capped: int


@dataclass(frozen=True)
class Packed:
    """A search with so many candidates at a time.

    Attributes:
        memory: of the device.
        in_use: bytes of a GPU, before the search and at most, by whatever process; ``None`` where nobody tells.
    """

    shift: Shift
    runs: Sequence[Run]
    memory: int
    in_use: tuple[int, int] | None

    @property
    def most_runs(self) -> int:
        return int(peak([(own.began, own.ended, 1.0) for own in self.runs]))

    @property
    def most_share(self) -> float:
        return peak([(own.began, own.ended, own.share) for own in self.runs])

    @property
    def most_capped(self) -> int:
        return int(peak([(own.began, own.ended, float(own.capped)) for own in self.runs]))

    @property
    def violations(self) -> list[str]:
        head, found = f"{self.shift.parallel} at a time: ", list(self.shift.violations)
        if self.most_capped > self.memory:
            caps, has = format_bytes(self.most_capped), format_bytes(self.memory)
            found.append(f"{head}caps of runs side by side come to {caps}, the device has {has}")
        if self.in_use is not None and self.most_share > TOGETHER:
            found.append(f"{head}shares of runs side by side come to {self.most_share:.2f}")
        return found


def peak(spans: Sequence[tuple[float, float, float]]) -> float:
    """The most that weights come to at any moment, of spans (from, until but not at, weight)."""
    return max(
        (sum(weight for began, ended, weight in spans if began <= moment < ended) for moment, _, _ in spans),
        default=0.0,
    )


class Meter:
    """Looks at how much memory of a GPU is in use."""

    def __init__(self, device: str) -> None:
        self._device = device
        self.before = nvml.used_bytes(device)
        self._most = self.before or 0

    def look(self) -> bool:
        """``False``: what waits for more goes on waiting."""
        self._most = max(self._most, nvml.used_bytes(self._device) or 0)
        return False

    @property
    def in_use(self) -> tuple[int, int] | None:
        return None if self.before is None else (self.before, self._most)


def rounds(load: Load) -> Iterator[Packed]:
    """Searches in turns, each said at once."""
    request = ProbeRequest(
        load.shape,
        Layout(load.shape.sequences),
        device=load.device,
        threads=load.threads[1],
        precision=precision_for(load.device),
    )
    compute = int(load.seconds * step_flops(load.shape) / probe(request).step_seconds)
    for _ in range(load.rounds):
        for parallel in load.threads:
            found = pack(load, parallel, compute)
            hour = found.shift.candidates_an_hour
            print(f"{parallel} at a time: {hour:.0f} candidates an hour", file=sys.stderr, flush=True)
            yield found


def pack(load: Load, parallel: int, compute: int) -> Packed:
    text = spec(
        total=f"{{compute: {2 * load.candidates * compute}, candidates: {load.candidates}}}",
        final="0%",
        compute=f"{compute}",
        method=f"{{policy: none, parallel: {parallel}}}",
        space=load.space,
        device=load.device,
        memory=load.memory,
        params=load.params,
    )
    with subject(text, device=load.device, threads=load.threads.values()) as own:
        meter = Meter(load.device)
        own.run()
        own.wait_for(meter.look, SEARCH_SECONDS)
        wrong, records = conclude(own)
        shift = measured(parallel, records, [f"{parallel} at a time: {line}" for line in wrong])
        runs, memory = side_by_side(own, records) if records is not None else ([], 0)
        return Packed(shift, runs, memory, meter.in_use)


def side_by_side(own: Subject, records: Records) -> tuple[list[Run], int]:
    """The runs of a search with the caps that they were given, and the memory of the device."""
    search, home = records.search, Home(own.home, own.database)
    profiles = Profiles.from_dict(search.setting["devices"][0])
    asked = parse_spec(search.spec)
    appraiser = survey_again(asked, search.setting, home, lambda topic, line: None).appraiser(profiles)
    runs = []
    for each in records.candidates:
        if each.state is CandidateState.COMPLETED and each.finished_at is not None:
            plan = Plan.from_dict(each.plan)
            capped = (appraiser.cap(allowance(asked), plan.share) or 0) + profiles.shared.context_bytes
            runs.append(Run(each.finished_at - each.seconds, each.finished_at, gpu_share(plan), capped))
    return runs, profiles.shared.fingerprint.memory_bytes


@contextmanager
def confined(count: int) -> Iterator[None]:
    """This process, and those that it starts meanwhile, on so many cores, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


# --- writing down ---


def rates(load: Load, results: Sequence[Packed]) -> str:
    rows = []
    for parallel, threads in load.threads.items():
        those = [own for own in results if own.shift.parallel == parallel and own.shift.training]
        if not those:
            rows.append([f"{parallel}", f"{threads}", "nothing was trained", "-", "-", "-"])
            continue
        hours = [own.shift.candidates_an_hour for own in those]
        training = [seconds for own in those for seconds in own.shift.training]
        rows.append(
            [
                f"{parallel}",
                f"{threads}",
                f"{max(own.most_runs for own in those)}",
                spread(hours, ".0f"),
                f"{median(training):.1f} s",
                spread(gains([own.shift for own in results], parallel), ".2f"),
            ]
        )
    head = ["at a time, at most", "threads of each", "seen side by side", "candidates an hour", "training of one"]
    return table([*head, "x one at a time"], rows)


def spread(values: Sequence[float], form: str) -> str:
    """Median, least and most."""
    return f"{median(values):{form}} ({min(values):{form}}-{max(values):{form}})" if values else "-"


def room(load: Load, results: Sequence[Packed]) -> str:
    rows = []
    for parallel in load.threads:
        those = [own for own in results if own.shift.parallel == parallel and own.runs]
        if not those:
            continue
        shares = [run.share for own in those for run in own.runs]
        used = [own.in_use for own in those if own.in_use is not None]
        by_share = load.device != "cpu"
        rows.append(
            [
                f"{parallel}",
                f"{min(shares):.2f}-{max(shares):.2f}" if by_share else "-",
                f"{max(own.most_share for own in those):.2f}" if by_share else "-",
                format_bytes(max(own.most_capped for own in those)),
                format_bytes(those[0].memory),
                f"{format_bytes(max(most for _, most in used))} ({format_bytes(used[0][0])} before)" if used else "-",
            ]
        )
    head = ["at a time, at most", "share of a run", "shares side by side, at most", "caps side by side, at most"]
    return table([*head, "memory of the device", "in use at most, by NVML"], rows)


def write_up(load: Load, results: Sequence[Packed], where: str) -> str:
    """``where`` names the machine."""
    found = [line for own in results for line in own.violations]
    kept = "At no moment did the caps of the runs in training come to more than the device has."
    return "\n\n".join(
        [
            f"# Several candidates on one {'CPU' if load.device == 'cpu' else 'GPU'}",
            ABOUT[load.device].strip(),
            f"{load.candidates} candidates a search, {load.rounds} rounds. Measured on {where}.",
            rates(load, results),
            "## Shares and caps",
            room(load, results),
            "\n".join(f"- violation: {line}" for line in found) if found else kept,
            f"Command: `python -m benchmarks.packing --device {load.device}`",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.packing")
    parser.add_argument("--quick", action="store_true", help="two short candidates of each: does it run?")
    here = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=["cpu", "cuda"], default=here, help=f"default here: {here}")
    parser.add_argument("--out", type=Path, help="file for the tables")
    options = parser.parse_args(arguments)
    with confined(CPU_CORES if options.device == "cpu" else cores()):
        load = load_of(options.device, options.quick)
        results = list(rounds(load))
    publish(write_up(load, results, machine(options.device)), options.out)
    if any(own.violations for own in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
