"""What a step of a candidate needs on a device: its trace, taken through the device's profile."""

from dataclasses import dataclass

from nas.calibration import DeviceProfile, Estimate
from nas.candidate import Candidate
from nas.ports import Tracer


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

    def memory(
        self, candidate: Candidate, micro_batch: int, *, recompute: bool = False, compiled: bool = False
    ) -> Estimate:
        """Bytes of the device that a process takes which trains the candidate."""
        trace = self.tracer.trace(candidate, micro_batch, recompute=recompute)
        return self.profile.memory(trace, compiled=compiled)

    def seconds(
        self,
        candidate: Candidate,
        micro_batch: int,
        *,
        recompute: bool = False,
        compiled: bool = False,
        alone: bool = False,
    ) -> Estimate:
        """Seconds of a step."""
        trace = self.tracer.trace(candidate, micro_batch, recompute=recompute)
        return (self.alone if alone else self.profile).seconds_of(trace, compiled=compiled)
