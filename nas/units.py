"""Quantities as people write them: parsed from text with units, printed back for people.

FLOPs and bytes are exact integers inside the program; seconds and shares are floats.
A bare number is accepted where its unit is unambiguous (``2e12`` for FLOPs).
"""

import math
import re
from collections.abc import Mapping
from fractions import Fraction

from nas.errors import UnitError

_QUANTITY = re.compile(r"^\s*([0-9][0-9_]*(?:\.[0-9]*)?|\.[0-9]+)(?:[eE]([+-]?[0-9]+))?\s*([A-Za-z%µ]*)\s*$")

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


def parse_flops(value: object, field: str = "compute") -> int:
    """FLOPs from ``5TFLOP``, ``1.5 PFLOP`` or ``2e12``; raises `UnitError` unless positive."""
    return int(_parse(value, field, _FLOPS, "FLOPs such as 5TFLOP, 1.5PFLOP or 2e12"))


def parse_bytes(value: object, field: str = "memory") -> int:
    """Bytes from ``1GiB``, ``500MB`` or a bare number."""
    return int(_parse(value, field, _BYTES, "bytes such as 1GiB, 500MB or 4096"))


def parse_seconds(value: object, field: str = "time") -> float:
    """Seconds from ``90s``, ``8min``, ``2h``, ``1d`` or a bare number of seconds."""
    return float(_parse(value, field, _SECONDS, "a duration such as 90s, 8min or 2h"))


def parse_count(value: object, field: str = "count") -> int:
    """A count from ``20M``, ``5k`` or ``1B`` (10^9)."""
    return int(_parse(value, field, _COUNT, "a count such as 20M, 5k or 1B"))


def parse_share(value: object, field: str = "share") -> float:
    """A share in [0, 1) from ``30%`` or ``0.3``."""
    rule = "must be a share such as 30% or 0.3, at least 0 and below 1"
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise UnitError(field, rule, value)
    match = _QUANTITY.match(str(value))
    if match is None or match[3] not in ("", "%"):
        raise UnitError(field, rule, value)
    share = float(_number(match)) / (100 if match[3] == "%" else 1)
    if not 0 <= share < 1:
        raise UnitError(field, rule, value)
    return share


def _parse(value: object, field: str, units: Mapping[str, int | Fraction], rule: str) -> Fraction:
    rule = f"must be {rule}, above 0"
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise UnitError(field, rule, value)
    if isinstance(value, float) and not math.isfinite(value):
        raise UnitError(field, rule, value)
    match = _QUANTITY.match(repr(value) if isinstance(value, float) else str(value))
    if match is None or match[3] not in units:
        raise UnitError(field, rule, value)
    number = _number(match) * units[match[3]]
    if number <= 0:
        raise UnitError(field, rule, value)
    return number


def _number(match: re.Match[str]) -> Fraction:
    exponent = int(match[2] or 0)
    if abs(exponent) > 40:
        raise UnitError("quantity", "must have an exponent of at most 40", match[0])
    return Fraction(match[1].replace("_", "")) * Fraction(10) ** exponent


def _scaled(value: float, scales: list[tuple[float, str]]) -> str:
    for scale, name in scales:
        if abs(value) >= scale:
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
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    if seconds < 3600:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, rest = divmod(round(seconds / 60), 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def format_count(count: float) -> str:
    """``1.2M``."""
    return _scaled(count, [(1e9, "B"), (1e6, "M"), (1e3, "k"), (1, "")]).replace(" ", "")


def format_share(share: float) -> str:
    """``30%``."""
    return f"{share * 100:.3g}%"
