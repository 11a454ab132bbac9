"""Traces and profiles that are written out by hand."""

from collections.abc import Callable

from nas.calibration import Calibration, DecodeFit, DeviceProfile, Fingerprint, MemoryFit, Phase, TimeFit, Trace
from nas.candidate import Candidate
from nas.plan import Layout, Speed

FINGERPRINT = Fingerprint("cpu", "a processor", "", 2**34, "", "2.13.0+cpu", "", 1, "float32")
SPEED = Speed(1e-9, 2e-9, 3e-6, error=0.25, device="cpu", threads=2)
DECODE = DecodeFit(1e-6, 1e-9, error=0.25)


def trace_of(
    peak_bytes: int = 0,
    flops: int = 0,
    moved_bytes: int = 0,
    operators: int = 0,
    *,
    attention_flops: int = 0,
    checkpoints: int = 0,
) -> Trace:
    """All of it in the forward pass."""
    forward = Phase(peak_bytes, flops, attention_flops, moved_bytes, operators)
    return Trace(0, forward, Phase(), Phase(), checkpoints)


def profile_of(memory: MemoryFit | None = None, time: TimeFit | None = None, **fields: object) -> DeviceProfile:
    eager = Calibration(memory or MemoryFit(), time or TimeFit())
    return DeviceProfile(FINGERPRINT, SPEED, eager, **{"decode": DECODE, **fields})  # type: ignore[arg-type]


class Written:
    """A tracer whose answers are written by a test; remembers what it was asked for."""

    def __init__(self, answer: Callable[[Candidate, Layout], Trace]) -> None:
        self.answer = answer
        self.asked: list[tuple[Candidate, Layout]] = []

    def trace(self, candidate: Candidate, layout: Layout) -> Trace:
        self.asked.append((candidate, layout))
        return self.answer(candidate, layout)
