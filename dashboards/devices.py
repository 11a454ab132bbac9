"""A device's profile in words: what it does in a second, and how far off its predictions were on runs left out."""

from dataclasses import dataclass

from nas.calibration import Calibration, DeviceProfile
from nas.units import format_bytes, format_seconds


@dataclass(frozen=True, slots=True)
class ProfileLine:
    """What a profile predicts, from what, and its error on probes that were left out of the fit in turns."""

    name: str
    words: str
    error: str
    share: float
    """The error as a number, for a bar."""


def is_full(profile: DeviceProfile) -> bool:
    """A short one has no compiled runs."""
    return profile.compiled is not None


def describe(profile: DeviceProfile) -> str:
    """``AMD EPYC, 23.5 GiB, 1 thread, float32``."""
    own = profile.fingerprint
    threads = "" if own.backend != "cpu" else f", {own.threads} thread{'s' if own.threads != 1 else ''}"
    return (
        f"{own.name}{f' {own.slice}' if own.slice else ''}, {format_bytes(own.memory_bytes)}{threads}, {own.precision}"
    )


def profile_lines(profile: DeviceProfile) -> list[ProfileLine]:
    """All predictions of a profile."""
    lines = [_memory("memory", profile, profile.eager), _time("time of a step", profile.eager)]
    if profile.compiled is not None:
        lines += [
            _memory("memory, compiled", profile, profile.compiled),
            _time("time of a step, compiled", profile.compiled),
        ]
    decode = profile.decode
    use = f"{_short(decode.per_operator)} an operator, {_rate(decode.per_byte, 'B')} of weights and cache"
    lines.append(ProfileLine("time of a token in use", use, f"at most {decode.error:.1%}", decode.error))
    return lines


def extras(profile: DeviceProfile) -> list[tuple[str, str]]:
    """(name, value) of what else is known."""
    found = []
    if profile.compiles is not None:
        seconds = format_seconds(profile.compiles.seconds)
        found.append(("compiling", f"takes {seconds}, then {profile.compiles.speedup:.2f} times as fast"))
    if profile.eager.watts:
        found.append(("energy", f"{profile.eager.watts:.0f} W while it trains"))
    found.append(("software", ", ".join(part for part in _software(profile) if part)))
    return found


def _software(profile: DeviceProfile) -> tuple[str, ...]:
    own = profile.fingerprint
    return (f"torch {own.torch}", f"driver {own.driver}" if own.driver else "", own.allocator)


def _memory(name: str, profile: DeviceProfile, own: Calibration) -> ProfileLine:
    process = f"{format_bytes(profile.context_bytes)} for the process, " if profile.context_bytes else ""
    words = f"{process}{own.memory.factor:.3f} times the traced peak, and {format_bytes(own.memory.base)}"
    return ProfileLine(name, words, f"at most {own.memory.error:.1%}", own.memory.error)


def _time(name: str, own: Calibration) -> ProfileLine:
    time = own.time
    words = (
        f"{_rate(time.per_flop, 'FLOP')} in products, {_rate(time.per_attention_flop, 'FLOP')} in attention, "
        f"{_rate(time.per_byte, 'B')} moved, {_short(time.per_operator)} an operator"
    )
    return ProfileLine(name, words, f"{time.mean_error:.0%} on average, {time.error:.0%} in nine of ten", time.error)


def _rate(seconds: float, unit: str) -> str:
    return f"{1 / seconds / 1e9:.3g} G{unit}/s" if seconds else f"no time for a {unit}"


def _short(seconds: float) -> str:
    return f"{seconds * 1e6:.3g} µs" if seconds < 1e-3 else f"{seconds * 1e3:.3g} ms"
