"""Quantities as people write them: parsed from text with units, printed back for people.

FLOPs and bytes are exact integers inside the program; seconds and shares are floats.
A bare number is accepted where its unit is unambiguous (``2e12`` for FLOPs).
"""

import re
from collections.abc import Mapping
from fractions import Fraction

from nas.errors import UnitError

_QUANTITY = re.compile(
    r"""\s* ([0-9][0-9_]{0,39} (?:\.[0-9]{0,39})? | \.[0-9]{1,39})  # digits are bounded: a number is read exactly
    (?:[eE] ([+-]?[0-9]{1,2}))? \s* ([A-Za-z%]*) \s*""",
    re.VERBOSE,
)

_DECIMAL = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18, "Z": 10**21}
_FLOPS = {prefix + unit: scale for prefix, scale in _DECIMAL.items() for unit in ("FLOP", "FLOPs", "FLOPS")} | {"": 1}
_BYTES = (
    {prefix + "B": scale for prefix, scale in _DECIMAL.items()}
    | {prefix + "iB": 1024**power for power, prefix in enumerate(["", "K", "M", "G", "T"]) if prefix}
    | {"": 1}
)
_SECONDS = {
    "": Fraction(1),
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "sec": Fraction(1),
    "min": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
}
_COUNT = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9}
_SHARE = {"": Fraction(1), "%": Fraction(1, 100)}


def parse_flops(value: object, field: str = "compute") -> int:
    """FLOPs from ``5TFLOP``, ``1.5 PFLOP`` or ``2e12``, fractions of one dropped; raises `UnitError` below 1."""
    return _whole(value, field, _FLOPS, "FLOPs such as 5TFLOP, 1.5PFLOP or 2e12")


def parse_bytes(value: object, field: str = "memory") -> int:
    """Bytes from ``1GiB``, ``500MB`` or a bare number."""
    return _whole(value, field, _BYTES, "bytes such as 1GiB, 500MB or 4096")


def parse_seconds(value: object, field: str = "time") -> float:
    """Seconds from ``90s``, ``8min``, ``2h``, ``1d`` or a bare number of seconds."""
    rule = "must be a duration such as 90s, 8min or 2h, above 0"
    seconds = _parse(value, field, _SECONDS, rule)
    if seconds == 0:
        raise UnitError(field, rule, value)
    return float(seconds)


def parse_count(value: object, field: str = "count") -> int:
    """A count from ``20M``, ``5k`` or ``1B`` (10^9)."""
    return _whole(value, field, _COUNT, "a count such as 20M, 5k or 1B")


def parse_share(value: object, field: str = "share") -> float:
    """A share in [0, 1) from ``30%`` or ``0.3``."""
    rule = "must be a share such as 30% or 0.3, at least 0 and below 1"
    share = float(_parse(value, field, _SHARE, rule))
    if share >= 1:
        raise UnitError(field, rule, value)
    return share


def _whole(value: object, field: str, units: Mapping[str, int | Fraction], what: str) -> int:
    rule = f"must be {what}, at least 1"
    number = int(_parse(value, field, units, rule))
    if number < 1:
        raise UnitError(field, rule, value)
    return number


def _parse(value: object, field: str, units: Mapping[str, int | Fraction], rule: str) -> Fraction:
    """The number times its unit, at least 0; nothing that is not finite gets past the pattern."""
    text = repr(value) if isinstance(value, float) else str(value)
    match = _QUANTITY.fullmatch(text) if isinstance(value, (int, float, str)) else None
    if match is None or isinstance(value, bool) or match[3] not in units:
        raise UnitError(field, rule, value)
    return Fraction(match[1].replace("_", "")) * Fraction(10) ** int(match[2] or 0) * units[match[3]]


def _scaled(value: float, scales: list[tuple[float, str]]) -> str:
    for scale, name in scales:
        if abs(value) >= scale * 0.9995:  # what would be printed as 1000 of the next smaller unit
            return f"{value / scale:.3g} {name}" if value / scale < 999.5 else f"{value / scale:.0f} {name}"
    return f"{value:.3g} {scales[-1][1]}"


def format_flops(flops: float) -> str:
    """``5.2 TFLOP``."""
    return _scaled(
        flops,
        [
            (1e21, "ZFLOP"),
            (1e18, "EFLOP"),
            (1e15, "PFLOP"),
            (1e12, "TFLOP"),
            (1e9, "GFLOP"),
            (1e6, "MFLOP"),
            (1e3, "kFLOP"),
            (1, "FLOP"),
        ],
    )


def format_bytes(size: float) -> str:
    """``1.5 MiB``."""
    return _scaled(size, [(2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B")])


def format_seconds(seconds: float) -> str:
    """``45 s``, ``7 min 30 s`` or ``2 h 5 min``."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if float(f"{seconds:.3g}") < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, rest = divmod(round(seconds / 60), 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def format_count(count: float) -> str:
    """``1.2M``."""
    return _scaled(count, [(1e9, "B"), (1e6, "M"), (1e3, "k"), (1, "")]).replace(" ", "")


def format_share(share: float) -> str:
    """``30%``."""
    return f"{share * 100:.3g}%"
