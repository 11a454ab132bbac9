"""What a training step needs, as a trace finds it, and what that means on a device that was measured.

Three tiers answer what a candidate needs: closed forms (`nas.cost`, microseconds, an upper bound), a trace of the step
on tensors without storage (`nas.measure.trace`, a tenth of a second) taken through the device's profile, and a probe
(`nas.measure.probe`, seconds): three real steps. All three say so in their estimates.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from hashlib import sha256
from typing import Any

from nas.candidate import Architecture
from nas.catalogue import Listed
from nas.cost import decode_bytes, decode_operators
from nas.plan import Compiles, Speed

# --- What a step needs -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a step: the most live bytes in it, and what it does. ``attention_flops`` are among the ``flops``."""

    peak_bytes: int = 0
    flops: int = 0
    attention_flops: int = 0
    moved_bytes: int = 0
    operators: int = 0


@dataclass(frozen=True, slots=True)
class Trace:
    """One optimizer step, all passes of its accumulation.

    Attributes:
        resident_bytes: weights and optimizer state, alive throughout.
        forward, backward, optimizer: peaks include what is resident; those of the passes are of the last one.
        checkpoints: blocks whose activations are computed again.
    """

    resident_bytes: int
    forward: Phase
    backward: Phase
    optimizer: Phase
    checkpoints: int = 0

    @property
    def phases(self) -> tuple[Phase, Phase, Phase]:
        return self.forward, self.backward, self.optimizer

    @property
    def peak_bytes(self) -> int:
        return max(phase.peak_bytes for phase in self.phases)

    @property
    def flops(self) -> int:
        """Of the machine: with what is computed again for activation checkpointing."""
        return sum(phase.flops for phase in self.phases)

    @property
    def attention_flops(self) -> int:
        """Of the fused kernels of attention, which do fewer in a second than products do."""
        return sum(phase.attention_flops for phase in self.phases)

    @property
    def moved_bytes(self) -> int:
        """Read and written by operators, were nothing kept in caches."""
        return sum(phase.moved_bytes for phase in self.phases)

    @property
    def operators(self) -> int:
        return sum(phase.operators for phase in self.phases)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval and where it comes from: ``bound``, ``traced``, ``measured`` or ``listed``."""

    value: float
    low: float
    high: float
    method: str

    @classmethod
    def within(cls, value: float, error: float, method: str) -> "Estimate":
        """An interval of a relative error."""
        return cls(value, value * (1 - min(error, 1.0)), value * (1 + error), method)

    def times(self, factor: float) -> "Estimate":
        """In another unit."""
        return replace(self, value=self.value * factor, low=self.low * factor, high=self.high * factor)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


# --- A device --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """All that a device's profile depends on; another value of any means another profile.

    Attributes:
        backend: ``cpu`` or ``cuda``.
        name: model of the processor or GPU.
        slice: of a GPU that is shared out (MIG profile and SM count); empty for a whole one.
        memory_bytes: of the device.
        driver: version; empty on the CPU.
        torch: version, with what it was built for.
        allocator: settings of torch's allocator.
        threads: CPU threads of a run.
        precision: of matrix products.
    """

    backend: str
    name: str
    slice: str
    memory_bytes: int
    driver: str
    torch: str
    allocator: str
    threads: int
    precision: str

    @property
    def key(self) -> str:
        """16 hexadecimal digits."""
        content = "\n".join(f"{spec.name}={getattr(self, spec.name)}" for spec in fields(self))
        return sha256(content.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class MemoryFit:
    """Bytes of a device that a step takes: ``base + factor x traced peak``.

    ``error`` is the largest relative error over probes that were left out of the fit in turns.
    """

    base: float = 0.0
    factor: float = 1.0
    error: float = 0.0

    def bytes(self, peak_bytes: int) -> float:
        return self.base + self.factor * peak_bytes


@dataclass(frozen=True, slots=True)
class TimeFit:
    """Seconds of a step: a non-negative combination of what its trace counts.

    FLOPs alone miss by a third on small models, which move activations and launch operators; attention and
    checkpointing by themselves took the error from 14% to under 10% on a CPU (docs/results/profiling.md).

    Attributes:
        per_flop: of products.
        mean_error, error: mean and 90th percentile of the relative error over probes left out of the fit in turns.
    """

    per_flop: float = 0.0
    per_attention_flop: float = 0.0
    per_byte: float = 0.0
    per_operator: float = 0.0
    per_checkpoint: float = 0.0
    mean_error: float = 0.0
    error: float = 0.0

    @staticmethod
    def features(trace: Trace) -> tuple[int, ...]:
        """What the coefficients multiply, in their order."""
        products = trace.flops - trace.attention_flops
        return products, trace.attention_flops, trace.moved_bytes, trace.operators, trace.checkpoints

    @property
    def coefficients(self) -> tuple[float, ...]:
        return self.per_flop, self.per_attention_flop, self.per_byte, self.per_operator, self.per_checkpoint

    def seconds(self, trace: Trace) -> float:
        return sum(own * count for own, count in zip(self.coefficients, self.features(trace), strict=True))

    def busy(self, trace: Trace) -> float:
        """Share of a step in which the device computes or moves bytes, and does not wait for work."""
        works = TimeFit(self.per_flop, self.per_attention_flop, self.per_byte).seconds(trace)
        seconds = self.seconds(trace)
        return works / seconds if seconds else 1.0

    def scaled(self, factor: float) -> "TimeFit":
        """Slower by a factor, as sure."""
        slower = TimeFit(*(factor * own for own in self.coefficients))
        return replace(slower, mean_error=self.mean_error, error=self.error)


@dataclass(frozen=True, slots=True)
class DecodeFit:
    """Seconds of a token in use: operators are launched, weights and cache are read.

    ``error`` is the largest relative error over probes that were left out of the fit in turns.
    """

    per_operator: float
    per_byte: float
    error: float = 0.0

    @staticmethod
    def features(architecture: Architecture) -> tuple[int, int]:
        """What the coefficients multiply, in their order."""
        return decode_operators(architecture), decode_bytes(architecture)

    def seconds(self, architecture: Architecture) -> float:
        operators, size = self.features(architecture)
        return self.per_operator * operators + self.per_byte * size


@dataclass(frozen=True, slots=True)
class Calibration:
    """What traces of one kind of run (eager, compiled) mean on a device. ``joules`` are of a step for each second of
    it; 0 where there is no counter of energy."""

    memory: MemoryFit
    time: TimeFit
    watts: float = 0.0


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """A device's calibration.

    Attributes:
        key: of the fingerprint.
        context_bytes: of the device that a process takes before it has a tensor there (CUDA).
        speed: by closed forms alone, for the many candidates that are not traced.
        decode: of models in use, one sequence at a time.
        compiled: ``None`` where it was not measured.
        compiles: what compiling costs and brings; ``None`` where it was not measured.
        probes, seconds, flops: how many were made, and what they took.
        made_at: time of day.
        estimated: from a catalogue, not measured.
    """

    fingerprint: Fingerprint
    speed: Speed
    eager: Calibration
    decode: DecodeFit
    compiled: Calibration | None = None
    compiles: Compiles | None = None
    context_bytes: int = 0
    probes: int = 0
    seconds: float = 0.0
    flops: int = 0
    made_at: float = 0.0
    estimated: bool = False

    @property
    def method(self) -> str:
        return "listed" if self.estimated else "traced"

    def calibration(self, *, compiled: bool) -> Calibration:
        return self.compiled if compiled and self.compiled is not None else self.eager

    def memory(self, trace: Trace, *, compiled: bool = False) -> Estimate:
        """Bytes that a process takes of the device while it trains, its context included."""
        fit = self.calibration(compiled=compiled).memory
        own = Estimate.within(fit.bytes(trace.peak_bytes), fit.error, self.method)
        context = self.context_bytes
        return replace(own, value=own.value + context, low=own.low + context, high=own.high + context)

    def seconds_of(self, trace: Trace, *, compiled: bool = False) -> Estimate:
        """Seconds of a step."""
        fit = self.calibration(compiled=compiled).time
        return Estimate.within(fit.seconds(trace), fit.error, self.method)

    def token_seconds(self, architecture: Architecture) -> Estimate:
        """Seconds of a token in use."""
        return Estimate.within(self.decode.seconds(architecture), self.decode.error, self.method)

    def joules(self, trace: Trace, *, compiled: bool = False) -> Estimate | None:
        """Energy of a step; ``None`` where there is no counter of it."""
        watts = self.calibration(compiled=compiled).watts
        return self.seconds_of(trace, compiled=compiled).times(watts) if watts else None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "DeviceProfile":
        rest = dict(raw)
        compiled, compiles = rest.pop("compiled"), rest.pop("compiles")
        return cls(
            fingerprint=Fingerprint(**rest.pop("fingerprint")),
            speed=Speed(**rest.pop("speed")),
            eager=_calibration(rest.pop("eager")),
            decode=DecodeFit(**rest.pop("decode")),
            compiled=_calibration(compiled) if compiled else None,
            compiles=Compiles(**compiles) if compiles else None,
            **rest,
        )


def _calibration(raw: Mapping[str, Any]) -> Calibration:
    return Calibration(MemoryFit(**raw["memory"]), TimeFit(**raw["time"]), raw["watts"])


# --- A device that is not there --------------------------------------------------------------------------------------

REACHED = 0.4
"""Of a GPU's peak, by the products of a training step. Whole steps of large models reached 21% to 46% (Chowdhery et
al., arXiv 2204.02311, table 3) and 38% to 43% (Llama 3, arXiv 2407.21783, table 4)."""
STREAMED = 0.7
"""Of a GPU's bandwidth, by operators that only move bytes."""
LAUNCH_SECONDS = 8e-6
"""For an operator to be launched."""
CONTEXT_BYTES = 500 * 2**20
"""Of a CUDA context with its libraries."""
FRAGMENTED = 1.08
"""Times the traced peak that torch's allocator reserves."""
LISTED_MEMORY_ERROR, LISTED_TIME_ERROR = 0.15, 0.6


def estimated(listed: Listed, torch_version: str = "") -> DeviceProfile:
    """What can be said of a GPU from its data sheet: good for choosing one, never mixed up with what is measured."""
    per_flop = 1 / (REACHED * listed.peak_flops["bfloat16"])
    per_byte = 1 / (STREAMED * listed.bandwidth)
    seconds = TimeFit(
        per_flop, per_flop, per_byte, LAUNCH_SECONDS, mean_error=LISTED_TIME_ERROR / 2, error=LISTED_TIME_ERROR
    )
    return DeviceProfile(
        fingerprint=Fingerprint(
            backend="cuda",
            name=listed.name,
            slice="",
            memory_bytes=listed.memory_bytes,
            driver="",
            torch=torch_version,
            allocator="",
            threads=0,
            precision="bfloat16",
        ),
        speed=Speed(per_flop, 2 * per_byte, LAUNCH_SECONDS, error=LISTED_TIME_ERROR, device="cuda", threads=0),
        eager=Calibration(MemoryFit(0.0, FRAGMENTED, LISTED_MEMORY_ERROR), seconds),
        decode=DecodeFit(LAUNCH_SECONDS, per_byte, LISTED_TIME_ERROR),
        context_bytes=CONTEXT_BYTES,
        estimated=True,
    )
