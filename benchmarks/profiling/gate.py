"""Candidates that a memory limit lets pass or not, against what they really take."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from benchmarks.machine import table
from benchmarks.profiling.errors import Target, percent
from benchmarks.profiling.held_out import Setting, drawn, probed, requested
from benchmarks.profiling.report import Part, ended_well
from nas.candidate import Candidate
from nas.cost import memory_bound
from nas.measure.calibrate import MEMORY_SHARE, STEP_FLOPS
from nas.plan import fastest, step_flops
from nas.units import format_bytes

COUNT = 200
MOST_BYTES, MOST_FLOPS = 200_000_000, 2e9
"""Of the closed form's bound and of a step, on the CPU."""
CLEARLY = 0.05
"""Below the limit, relative: so far below it nothing should be rejected."""
MOST_WRONG = 1
MOST_LOST = 0.03

ABOUT = """\
{count} candidates of {space}, all sequences in one pass and no activation checkpointing, so that there is one layout,
against a limit at the median of what is predicted for them, {cap}. A candidate is accepted if the upper end of its
prediction is within the limit."""


@dataclass(frozen=True)
class Judged:
    """How many were accepted, how many of those take more than the limit, and how many were rejected that take less
    by far."""

    accepted: int
    wrong: int
    rejected: int
    lost: int

    @classmethod
    def of(cls, pairs: Iterable[tuple[float, float]], cap: float) -> "Judged":
        """``pairs`` of the prediction's upper end and the real bytes."""
        accepted: list[float] = []
        rejected: list[float] = []
        for high, real in pairs:
            (accepted if high <= cap else rejected).append(real)
        wrong = sum(real > cap for real in accepted)
        lost = sum(real < (1 - CLEARLY) * cap for real in rejected)
        return cls(len(accepted), wrong, len(rejected), lost)

    @property
    def lost_share(self) -> float:
        """Of all candidates."""
        return self.lost / (self.accepted + self.rejected)


def measure(setting: Setting) -> Part:
    every = (candidate for candidate, _ in drawn(setting, "gate") if fits(setting, candidate))
    candidates = list(itertools.islice(every, setting.count(COUNT)))
    told = {own.id: setting.predictor.memory(own, fastest(own, setting.backend)) for own in candidates}
    cap = median(own.value for own in told.values())
    requests = [requested(setting, (own, fastest(own, setting.backend)), timed=False) for own in candidates]
    measured = probed(setting, "gate", requests)
    judged = Judged.of(((told[own.request.candidate.id].high, own.probe.process_bytes) for own in measured), cap)
    about = ABOUT.format(count=len(requests), space=setting.space, cap=format_bytes(cap))
    head = ["verdict", "candidates", "wrong", "wrong means"]
    found = [
        ["accepted", f"{judged.accepted}", f"{judged.wrong}", "takes more than the limit"],
        ["rejected", f"{judged.rejected}", f"{judged.lost}", f"takes less than the limit by more than {CLEARLY:.0%}"],
    ]
    return Part(
        title="The gate",
        about=about + ended_well(len(measured), len(requests)),
        found=table(head, found),
        targets=[
            Target("gate: accepted, takes more than the limit", judged.wrong, MOST_WRONG),
            Target("gate: rejected, takes far less (share of all)", judged.lost_share, MOST_LOST, percent),
        ],
    )


def fits(setting: Setting, candidate: Candidate) -> bool:
    bound, flops = memory_bound(candidate, candidate.sequences), step_flops(candidate)
    if setting.backend == "cpu":
        return bound < MOST_BYTES and flops < MOST_FLOPS
    return bound <= MEMORY_SHARE * setting.fingerprint.memory_bytes and flops <= STEP_FLOPS[setting.backend][1]
