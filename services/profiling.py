"""What a device does, and what a candidate needs there: predicted, listed, measured."""

from dataclasses import dataclass, replace
from typing import Any

import torch

from nas.calibration import DeviceProfile, Estimate, Trace, estimated
from nas.candidate import Candidate
from nas.candidate import describe as describe_candidate
from nas.catalogue import find_device
from nas.cost import FLOP_CONVENTION, Cost, kv_bytes_per_token, latency_ms_per_kb
from nas.errors import SpecError
from nas.measure.probe import Probe, ProbeRequest, probe
from nas.measure.tracer import Tracer
from nas.plan import Layout, fastest
from nas.ports import Store
from nas.units import format_bytes, format_count, format_flops, format_seconds
from services.device import Device, device_here, is_kind
from services.profiles import Here, Tell, count_threads, describe, find, full_profile_of, keep


def device_profile(store: Store, name: str, parallel: int, tell: Tell, *, refit: bool) -> DeviceProfile:
    """The full profile of a device of this machine; made when it is not there, or only a short one is."""
    return full_profile_of(device_here(name, parallel), Here(tell), store, tell, refit=refit)


def describe_profile(profile: DeviceProfile) -> list[str]:
    """Lines for people."""
    own, time = profile.fingerprint, profile.eager.time
    lines = [
        f"device      {own.name}{f' {own.slice}' if own.slice else ''}, {format_bytes(own.memory_bytes)}, "
        f"{count_threads(own.threads)}, {own.precision}, torch {own.torch}",
        f"profile     {own.key}: {describe(profile)}",
        f"memory      {_above(profile)}traced peak x {profile.eager.memory.factor:.3f} + "
        f"{format_bytes(profile.eager.memory.base)}; off by at most {profile.eager.memory.error:.1%}",
        f"step        {_rate(time.per_flop, 'FLOP')} in products, {_rate(time.per_attention_flop, 'FLOP')} in "
        f"attention, {_rate(time.per_byte, 'B')}, {time.per_operator * 1e6:.3g} µs an operator; "
        f"off by {time.mean_error:.0%} on average, {time.error:.0%} in nine of ten",
        f"use         {profile.decode.per_operator * 1e6:.3g} µs an operator, {_rate(profile.decode.per_byte, 'B')} of "
        f"weights and cache, a token at a time; off by at most {profile.decode.error:.0%}",
    ]
    if profile.compiles is not None:
        compiles = profile.compiles
        lines.append(f"compiling   takes {format_seconds(compiles.seconds)}, then {compiles.speedup:.2f} times as fast")
    if profile.eager.watts:
        lines.append(f"energy      {profile.eager.watts:.0f} W while it trains")
    return lines


def _above(profile: DeviceProfile) -> str:
    return f"{format_bytes(profile.context_bytes)} for the process, " if profile.context_bytes else ""


def _rate(seconds: float, unit: str) -> str:
    return f"{1 / seconds / 1e9:.3g} G{unit}/s" if seconds else f"no time for a {unit}"


# --- a candidate ---


@dataclass(frozen=True)
class CandidateProfile:
    """What a candidate needs on a device.

    Attributes:
        cost: closed forms.
        measured: by a probe; ``None`` where none was made.
    """

    candidate: Candidate
    cost: Cost
    layout: Layout
    profile: DeviceProfile
    trace: Trace
    measured: Probe | None

    @property
    def memory(self) -> Estimate:
        return self.profile.memory(self.trace)

    @property
    def seconds(self) -> Estimate:
        return self.profile.seconds_of(self.trace)

    @property
    def latency(self) -> Estimate:
        """Milliseconds for a thousand bytes of text."""
        return self.profile.token_seconds(self.candidate.architecture).times(self._per_kb)

    @property
    def measured_latency(self) -> float | None:
        token = self.measured.token_seconds if self.measured else None
        return None if token is None else token * self._per_kb

    @property
    def _per_kb(self) -> float:
        """Of a second for a token."""
        token_bytes = kv_bytes_per_token(self.candidate.architecture) / self.cost.kv_bytes_per_byte
        return latency_ms_per_kb(1.0, token_bytes)

    def to_dict(self) -> dict[str, Any]:
        """The contract of ``nas profile candidate -o json``."""
        probe, joules = self.measured, self.profile.joules(self.trace)
        return {
            "id": self.candidate.id,
            "params": self.cost.params,
            "train_flops_per_token": self.cost.step_flops / self.candidate.recipe.batch_tokens,
            "flops_per_byte": self.cost.flops_per_byte,
            "kv_bytes_per_byte": self.cost.kv_bytes_per_byte,
            "flop_convention": FLOP_CONVENTION,
            "micro_batch": self.layout.micro_batch,
            "peak_memory_bytes": _told(self.memory, probe.process_bytes if probe else None),
            "step_seconds": _told(self.seconds, probe.step_seconds if probe else None),
            "latency_ms_per_kb": _told(self.latency, self.measured_latency),
            "energy_joules": _told(joules, probe.joules if probe else None),
            "device": self.profile.fingerprint.name,
            "estimated": self.profile.estimated,
            "fingerprint": self.profile.fingerprint.key,
        }

    def text(self) -> list[str]:
        """Lines for people."""
        cost, probe = self.cost, self.measured
        passes = self.candidate.sequences // self.layout.micro_batch
        own = self.profile.fingerprint
        lines = [
            f"candidate   {describe_candidate(self.candidate)}",
            f"parameters  {format_count(cost.params)}",
            f"training    {format_flops(cost.step_flops)} a step of {passes} x {self.layout.micro_batch} sequences, "
            f"{format_flops(cost.step_flops / self.candidate.recipe.batch_tokens)} a token",
            f"use         {format_flops(cost.flops_per_byte)} and {format_bytes(cost.kv_bytes_per_byte)} of cache "
            "for a byte of text",
            f"memory      {_shown(self.memory, format_bytes, probe.process_bytes if probe else None)}",
            f"step        {_shown(self.seconds, format_seconds, probe.step_seconds if probe else None)}",
            f"latency     {_shown(self.latency, '{:.3g} ms'.format, self.measured_latency)} for a kB of text",
        ]
        if (joules := self.profile.joules(self.trace)) is not None:
            lines.append(f"energy      {_shown(joules, lambda own: f'{own:.3g} J', probe.joules if probe else None)}")
        return [*lines, f"device      {own.name} ({describe(self.profile)})"]


def profile_candidate(
    candidate: Candidate,
    cost: Cost,
    name: str,
    micro_batch: int,
    store: Store,
    tell: Tell,
    *,
    measure: bool,
) -> CandidateProfile:
    """What a candidate needs on a device of this machine, or on one of the catalogue.

    Args:
        name: of the device, as in a spec, or of the catalogue.
        micro_batch: sequences in a pass; 0 for the whole batch.
        measure: also make real steps.

    Raises:
        SpecError: a pass that is no part of the batch, or real steps on a device that is not there.
        NotFoundError: no such device.
        ProbeError: real steps that did not end well.
    """
    size = micro_batch or candidate.sequences
    if candidate.sequences % size:
        raise SpecError("--batch", f"must divide the {candidate.sequences} sequences of the batch", size)
    if is_kind(name):
        device = device_here(name, 1)
        profile = _known_or_short(device, store, tell)
    elif measure:
        raise SpecError("--measure", "must name a device that is here: auto, cpu or cuda", name)
    else:
        device, profile = None, estimated(find_device(name), str(torch.__version__))
    own = profile.fingerprint
    layout = replace(fastest(candidate, own.backend), micro_batch=size)
    trace = Tracer(own.backend, own.precision).trace(candidate, layout)
    measured = None
    if measure and device is not None:
        request = ProbeRequest(
            candidate, layout, device=device.kind, threads=own.threads, precision=own.precision, decodes=True
        )
        measured = probe(request)
    return CandidateProfile(candidate, cost, layout, profile, trace, measured)


def _known_or_short(device: Device, store: Store, tell: Tell) -> DeviceProfile:
    fingerprint = Here().fingerprint(device, device.threads)
    known = find(store, fingerprint)
    if known is None:
        tell("profile", f"{device.hardware} is not known yet: a short profile is made")
        known = Here().profile(device, fingerprint)
        keep(store, known)
    return known


def _told(estimate: Estimate | None, measured: float | None) -> dict[str, Any] | None:
    if estimate is None and measured is None:
        return None
    known: dict[str, Any] = {"predicted": None, "low": None, "high": None, "method": "measured"}
    if estimate is not None:
        known = {"predicted": estimate.value, "low": estimate.low, "high": estimate.high, "method": estimate.method}
    return {**known, "measured": measured}


def _shown(estimate: Estimate, show: Any, measured: float | None) -> str:
    interval = f"{show(estimate.low)} to {show(estimate.high)}"
    method = "estimated" if estimate.method == "listed" else "predicted"
    line = f"{show(estimate.value)} {method} ({interval})"
    return line if measured is None else f"{line}, {show(measured)} measured ({measured / estimate.value - 1:+.1%})"
