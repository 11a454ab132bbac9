"""Profiles of devices: found in the store under their fingerprint, or made."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from nas.calibration import DeviceProfile, Fingerprint
from nas.measure.calibrate import profile_device
from nas.measure.fingerprint import fingerprint_here
from nas.ports import Store
from nas.units import format_seconds
from services.device import Device, precision_for

Tell = Callable[[str, str], None]
"""Gets a topic and a line about it, for people."""


class Machine(Protocol):
    """Where a device is."""

    def fingerprint(self, device: Device, threads: int) -> Fingerprint: ...

    def profile(self, device: Device, fingerprint: Fingerprint, *, short: bool = True) -> DeviceProfile:
        """Made now."""
        ...


@dataclass(frozen=True)
class Here:
    """This machine; ``tell`` hears of probes that did not end well."""

    tell: Tell = lambda topic, line: None

    def fingerprint(self, device: Device, threads: int) -> Fingerprint:
        return fingerprint_here(device.kind, threads, precision_for(device.kind), device.hardware)

    def profile(self, device: Device, fingerprint: Fingerprint, *, short: bool = True) -> DeviceProfile:
        return profile_device(device.kind, fingerprint, short=short, tell=lambda line: self.tell("profile", line))


@dataclass(frozen=True)
class Profiles:
    """Of a device as runs share it, and as a run has it that is alone on the machine."""

    shared: DeviceProfile
    alone: DeviceProfile

    def to_dict(self) -> dict[str, Any]:
        """For the record of a search, which holds only what was measured."""
        _check_measured(self.shared)
        return {"profile": self.shared.to_dict(), "alone": self.alone.to_dict()}

    @classmethod
    def from_dict(cls, raw: Any) -> "Profiles":
        return cls(DeviceProfile.from_dict(raw["profile"]), DeviceProfile.from_dict(raw["alone"]))


def profiles_of(device: Device, machine: Machine, store: Store, tell: Tell) -> Profiles:
    """The device's profiles; those that are not there are made and kept, which is said.

    They belong to the device and not to a search: no search pays for them.
    """
    shared = _profile_of(device, device.threads, machine, store, tell)
    if device.all_threads == device.threads:
        return Profiles(shared, shared)
    return Profiles(shared, _profile_of(device, device.all_threads, machine, store, tell))


def full_profile_of(device: Device, machine: Machine, store: Store, tell: Tell, *, refit: bool) -> DeviceProfile:
    """The device's profile as runs share it; made and kept where there is none, or only a short one."""
    fingerprint = machine.fingerprint(device, device.threads)
    known = find(store, fingerprint)
    if known is not None and known.compiled is not None and not refit:
        return known
    tell("profile", f"probing {device.hardware} with {count_threads(device.threads)}; this takes some minutes")
    made = machine.profile(device, fingerprint, short=False)
    keep(store, made)
    return made


def _profile_of(device: Device, threads: int, machine: Machine, store: Store, tell: Tell) -> DeviceProfile:
    fingerprint = machine.fingerprint(device, threads)
    known = find(store, fingerprint)
    if known is not None:
        return known
    tell("profile", f"{device.hardware} with {count_threads(threads)} is not known yet: a short profile is made")
    made = machine.profile(device, fingerprint)
    keep(store, made)
    tell("profile", describe(made))
    return made


def find(store: Store, fingerprint: Fingerprint) -> DeviceProfile | None:
    """``None`` where there is none, or none that this version can read."""
    raw = store.device_profile(fingerprint.key)
    try:
        return DeviceProfile.from_dict(raw) if raw is not None else None
    except (KeyError, TypeError):
        return None


def keep(store: Store, profile: DeviceProfile) -> None:
    """In the store, which holds only what was measured."""
    _check_measured(profile)
    store.save_device_profile(profile.fingerprint.key, profile.to_dict(), at=time.time())


def _check_measured(profile: DeviceProfile) -> None:
    if profile.estimated:
        raise ValueError(f"a profile to be kept must be measured; that of {profile.fingerprint.name} is estimated")


def count_threads(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"


def describe(profile: DeviceProfile) -> str:
    """What predictions by it are worth, in a line."""
    memory, seconds = profile.eager.memory.error, profile.eager.time
    if profile.estimated:
        return f"estimated from its data sheet: memory within {memory:.0%}, time within {seconds.error:.0%}"
    return (
        f"{profile.probes} probes in {format_seconds(profile.seconds)}; predictions are off by at most {memory:.1%} "
        f"for memory, {seconds.mean_error:.0%} on average for time"
    )
