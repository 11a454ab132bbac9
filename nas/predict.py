"""What a step of a candidate needs on a device: its trace, taken through the device's profile."""

from dataclasses import dataclass

from nas.calibration import DeviceProfile, Estimate
from nas.candidate import Candidate
from nas.plan import Layout
from nas.ports import Tracer

LEAST_SHARE = 1 / 16
"""Of a device, for one run: each has a process with its own context, and a CPU core that feeds it."""


@dataclass(frozen=True)
class Predictor:
    """Predictions for one device.

    Attributes:
        profile: of the device as runs share it.
        alone: of the device as a run has it that is alone on the machine; the same where that makes no difference.
    """

    tracer: Tracer
    profile: DeviceProfile
    alone: DeviceProfile

    @property
    def backend(self) -> str:
        return self.profile.fingerprint.backend

    def memory(self, candidate: Candidate, layout: Layout, *, compiled: bool = False) -> Estimate:
        """Bytes of the device that a process takes which trains the candidate."""
        trace = self.tracer.trace(candidate, layout)
        return self.profile.memory(trace, compiled=compiled)

    def share(self, candidate: Candidate, layout: Layout, *, compiled: bool = False) -> float:
        """Of the device, above 0 and at most 1: of its memory, or of its time, whichever is more. Runs whose shares
        come to no more than 1 go side by side on it."""
        trace = self.tracer.trace(candidate, layout)
        memory = self.profile.memory(trace, compiled=compiled).high / self.profile.fingerprint.memory_bytes
        busy = self.profile.calibration(compiled=compiled).time.busy(trace)
        return min(1.0, max(memory, busy, LEAST_SHARE))

    def seconds(self, candidate: Candidate, layout: Layout, *, compiled: bool = False, alone: bool = False) -> Estimate:
        """Seconds of a step."""
        trace = self.tracer.trace(candidate, layout)
        return (self.alone if alone else self.profile).seconds_of(trace, compiled=compiled)

    def speedup(self, candidate: Candidate, layout: Layout, *, alone: bool = False) -> float | None:
        """That compiling brings a step; ``None`` where it was not measured."""
        profile, trace = self.alone if alone else self.profile, self.tracer.trace(candidate, layout)
        if profile.compiled is None:
            return None
        return profile.seconds_of(trace).value / profile.seconds_of(trace, compiled=True).value
