"""A device's profile from real steps: some shapes are probed, and what they took is fitted to their traces."""

import math
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from nas.calibration import Calibration, DecodeFit, DeviceProfile, Fingerprint, MemoryFit, TimeFit, Trace
from nas.candidate import Candidate, Recipe
from nas.cost import LOGITS_CHUNKS, memory_bound, step_elements, step_operations
from nas.errors import ProbeError, ProfileError
from nas.measure.fingerprint import memory_here
from nas.measure.fit import held_out, matrix, non_negative
from nas.measure.probe import Probe, ProbeRequest, probe
from nas.measure.tracer import Tracer
from nas.plan import Compiles, Layout, Speed, step_flops
from nas.space import load_space
from nas.units import format_bytes

FULL, SHORT = 20, 16
"""Probes of a profile; a search that finds none makes a short one."""
COMPILES = {"cpu": Compiles(seconds=25.0, speedup=1.07), "cuda": Compiles(seconds=60.0, speedup=1.4)}
"""What compiling was seen to cost and bring (docs/results/throughput.md), where a profile does not say."""
COMPILED = {"cpu": 2, "cuda": 6}
"""Of those of a full profile that are made again compiled: compiling takes half a minute on a CPU."""
SPACES = {"cpu": "llama-tiny", "cuda": "llama-small"}
STEP_FLOPS = {"cpu": (2e7, 4e9), "cuda": (1e11, 4e13)}
"""Of the steps that are probed, from launching operators to nothing but products."""
MEMORY_SHARE = 0.4
"""Of a device's memory that a probe may take."""
LEAST_ERROR = 0.01
"""Relative; no prediction is called better than that."""
FEWEST = 8
"""Probes that a fit of five coefficients needs at least."""
DRAWN = 2000
"""Candidates, of which those are taken that fit."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A probe and the trace of the same step."""

    request: ProbeRequest
    trace: Trace
    probe: Probe

    @property
    def passes(self) -> int:
        """Of a step."""
        return self.request.candidate.sequences // self.request.layout.micro_batch


Told = Callable[[str], None]


def profile_device(
    device: str,
    fingerprint: Fingerprint,
    *,
    short: bool = False,
    tell: Told = lambda line: None,
    now: Callable[[], float] = time.time,
) -> DeviceProfile:
    """Probes a device of this machine.

    Args:
        device: torch's name.
        fingerprint: of the device with the threads and the precision to be probed with.
        short: fewer probes, none of them compiled.

    Raises:
        ProfileError: too few of the probes ended well.
    """
    began = time.monotonic()
    tracer = Tracer(fingerprint.backend, fingerprint.precision)
    requests = list(shapes(device, fingerprint, SHORT if short else FULL))
    eager = list(_measured(requests, tracer, tell))
    if len(eager) < FEWEST:
        raise ProfileError(f"{fingerprint.name} cannot be profiled: of {len(requests)} probes {len(eager)} ended well")
    again = [] if short else [own.request for own in _spread(eager, COMPILED[fingerprint.backend])]
    compiled = list(_measured([replace(own, compile=True, decodes=False) for own in again], tracer, tell))
    made = eager + compiled
    calibration = Calibration(fit_memory(eager), fit_time(eager), fit_watts(eager))
    return DeviceProfile(
        fingerprint=fingerprint,
        speed=fit_speed(eager),
        eager=calibration,
        decode=fit_decode(eager),
        compiled=_as_compiled(calibration, eager, compiled) if compiled else None,
        compiles=_compiles(eager, compiled) if compiled else None,
        context_bytes=max(own.probe.context_bytes for own in made),
        probes=len(made),
        seconds=time.monotonic() - began,
        flops=sum(own.probe.flops for own in made),
        made_at=now(),
    )


def shapes(device: str, fingerprint: Fingerprint, count: int, seed: int = 0) -> Iterator[ProbeRequest]:
    """Steps to probe, the smallest first: candidates of a shipped space as they are drawn, with passes of some
    sequences, every fourth recomputing its activations, every third making fewer logits at once. What is probed should
    be like what is predicted.

    Raises `ProfileError` when none fits the device.
    """
    space, rng = load_space(SPACES[fingerprint.backend]), random.Random(seed)
    drawn = (_drawn(space.decode(space.sample(rng)), rng) for _ in range(DRAWN))
    fitting = list(islice((own for own in drawn if _fits(*own, fingerprint)), count))
    if not fitting:
        raise ProfileError(f"{fingerprint.name} has {format_bytes(fingerprint.memory_bytes)}: too little for any probe")
    for index, (candidate, micro_batch) in enumerate(sorted(fitting, key=lambda own: step_flops(own[0]))):
        yield ProbeRequest(
            candidate,
            Layout(micro_batch, index % 4 == 3, LOGITS_CHUNKS[fingerprint.backend][index % 3 == 2]),
            device=device,
            threads=fingerprint.threads,
            precision=fingerprint.precision,
            decodes=True,
        )


def _fits(candidate: Candidate, micro_batch: int, fingerprint: Fingerprint) -> bool:
    least, most = STEP_FLOPS[fingerprint.backend]
    memory = MEMORY_SHARE * (fingerprint.memory_bytes or memory_here())
    return least <= step_flops(candidate) <= most and memory_bound(candidate, micro_batch) <= memory


def _drawn(candidate: Candidate, rng: random.Random) -> tuple[Candidate, int]:
    """The candidate with a batch of at most two passes of some sequences, and those."""
    recipe = candidate.recipe
    micro_batch = rng.choice([1, 2, 4, 8, 16])
    tokens = micro_batch * rng.choice([1, 1, 1, 2]) * candidate.architecture.context
    return Candidate(candidate.architecture, Recipe(tokens, recipe.optimizer, dropout=recipe.dropout)), micro_batch


def _measured(requests: Sequence[ProbeRequest], tracer: Tracer, tell: Told) -> Iterator[Measured]:
    """What ended well; what did not is told, and is no one's fault."""
    for number, request in enumerate(requests, 1):
        trace = tracer.trace(request.candidate, request.layout)
        try:
            yield Measured(request, trace, probe(request))
        except ProbeError as error:
            tell(f"probe {number} of {len(requests)}: {error}")


def _spread(measured: Sequence[Measured], count: int) -> list[Measured]:
    """So many of different sizes, the smallest left out: compiling is for long steps."""
    ordered = sorted(measured, key=lambda own: own.trace.flops)[len(measured) // 3 :]
    return ordered[:: max(1, len(ordered) // count)][:count]


# --- fits ---


def fit_memory(measured: Sequence[Measured]) -> MemoryFit:
    """Bytes that are reserved, above the context."""
    rows = matrix([[1.0, own.trace.peak_bytes] for own in measured])
    values = matrix([[own.probe.reserved_bytes] for own in measured])[:, 0]
    base, factor = non_negative(rows, values)
    error = max(LEAST_ERROR, float(np.abs(held_out(rows, values)).max()))
    return MemoryFit(float(base), float(factor), error)


def fit_time(measured: Sequence[Measured]) -> TimeFit:
    """Seconds of a step."""
    rows = matrix([TimeFit.features(own.trace) for own in measured])
    values = matrix([[own.probe.step_seconds] for own in measured])[:, 0]
    errors = np.abs(held_out(rows, values))
    mean, most = float(errors.mean()), max(LEAST_ERROR, float(np.quantile(errors, 0.9)))
    return replace(TimeFit(*map(float, non_negative(rows, values))), mean_error=mean, error=most)


def fit_speed(measured: Sequence[Measured]) -> Speed:
    """Seconds of a step by closed forms."""
    rows = matrix(
        [
            [own.trace.flops, step_elements(own.request.candidate), step_operations(own.request.candidate, own.passes)]
            for own in measured
        ]
    )
    values = matrix([[own.probe.step_seconds] for own in measured])[:, 0]
    flop, element, operation = (float(own) for own in non_negative(rows, values))
    error = float(np.abs(held_out(rows, values)).max())
    first = measured[0].request
    return Speed(flop, element, operation, error=error, device=first.device, threads=first.threads)


def fit_decode(measured: Sequence[Measured]) -> DecodeFit:
    """Seconds of a token in use, of the probes that timed one."""
    timed = [own for own in measured if own.probe.token_seconds is not None]
    rows = matrix([DecodeFit.features(own.request.candidate.architecture) for own in timed])
    values = matrix([[own.probe.token_seconds or math.inf] for own in timed])[:, 0]
    error = max(LEAST_ERROR, float(np.abs(held_out(rows, values)).max()))
    per_operator, per_byte = map(float, non_negative(rows, values))
    return DecodeFit(per_operator, per_byte, error)


def fit_watts(measured: Sequence[Measured]) -> float:
    """Energy for each second of a step, the median; 0 where it was not counted."""
    watts = [own.probe.joules / own.probe.step_seconds for own in measured if own.probe.joules is not None]
    return statistics.median(watts) if watts else 0.0


def _as_compiled(eager: Calibration, plain: Sequence[Measured], compiled: Sequence[Measured]) -> Calibration:
    """The eager one, scaled by what the same steps took compiled: too few to fit every coefficient anew."""
    pairs = _pairs(plain, compiled)
    slower = statistics.median(own.probe.step_seconds / eager.time.seconds(own.trace) for _, own in pairs)
    larger = max(own.probe.reserved_bytes / eager.memory.bytes(own.trace.peak_bytes) for _, own in pairs)
    least = min(own.probe.reserved_bytes / eager.memory.bytes(own.trace.peak_bytes) for _, own in pairs)
    off = max(abs(slower * eager.time.seconds(own.trace) / own.probe.step_seconds - 1) for _, own in pairs)
    memory, seconds = eager.memory, eager.time
    return Calibration(
        MemoryFit(memory.base * larger, memory.factor * larger, max(memory.error, larger / least - 1)),
        replace(seconds.scaled(slower), error=max(seconds.error, off)),
        fit_watts(compiled),
    )


def _compiles(plain: Sequence[Measured], compiled: Sequence[Measured]) -> Compiles:
    pairs = _pairs(plain, compiled)
    return Compiles(
        seconds=statistics.median(own.probe.compile_seconds for own in compiled),
        speedup=statistics.median(before.probe.step_seconds / own.probe.step_seconds for before, own in pairs),
    )


def _pairs(plain: Sequence[Measured], compiled: Sequence[Measured]) -> list[tuple[Measured, Measured]]:
    before = {own.request: own for own in plain}
    return [(before[replace(own.request, compile=False, decodes=True)], own) for own in compiled]
