"""The check before anything is spent: does a candidate keep every limit?

A larger limit never rejects more (a test holds that law).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from nas.cost import Cost
from nas.spec import Limits
from nas.units import format_bytes, format_count, format_flops

MINIMUM_STEPS = 20
"""Fewer optimizer steps than this are no training; such a candidate is too large for its FLOP budget."""

_FORMATS = {
    "params": format_count,
    "flops_per_byte": format_flops,
    "kv_bytes_per_byte": format_bytes,
    "weight_bytes": format_bytes,
    "memory": format_bytes,
    "compute": format_flops,
    "latency_ms_per_kb": "{:.3g} ms".format,
}


@dataclass(frozen=True, slots=True)
class Needs:
    """What the gate looks at.

    Attributes:
        cost: the closed forms.
        memory_bytes: upper bound of peak memory under the leanest plan.
        latency_ms_per_kb: predicted; ``None`` where nothing is known of the device.
        native: why transformers cannot express the candidate; ``None`` if it can.
    """

    cost: Cost
    memory_bytes: int
    latency_ms_per_kb: float | None = None
    native: str | None = None


@dataclass(frozen=True, slots=True)
class Violation:
    """One limit that is not kept, by how much."""

    limit: str
    value: float
    allowed: float
    detail: str = ""

    @property
    def excess(self) -> float:
        """Relative: 0.5 means half as much again as is allowed."""
        return self.value / self.allowed - 1 if self.allowed else self.value

    def __str__(self) -> str:
        if self.detail:
            return f"{self.limit}: {self.detail}"
        show = _FORMATS[self.limit]
        return f"{self.limit}: needs {show(self.value)}, allowed {show(self.allowed)} ({self.excess:+.0%})"


@dataclass(frozen=True, slots=True)
class Admitted:
    """Every limit is kept. ``excess`` is at most 0 for each limit that is set."""

    excess: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Rejected:
    """At least one limit is not kept; the worst comes first."""

    violations: tuple[Violation, ...]
    excess: Mapping[str, float]

    def __str__(self) -> str:
        return "; ".join(str(violation) for violation in self.violations)


def admit(needs: Needs, limits: Limits, compute: int, memory: int | None) -> Admitted | Rejected:
    """The gate: ``compute`` FLOPs and ``memory`` bytes for the run, ``limits`` for the result."""
    checks = _checks(needs, limits, compute, memory)
    excess = {check.limit: check.excess for check in checks}
    broken = sorted((check for check in checks if check.excess > 0), key=lambda check: -check.excess)
    return Rejected(tuple(broken), excess) if broken else Admitted(excess)


def _checks(needs: Needs, limits: Limits, compute: int, memory: int | None) -> list[Violation]:
    cost = needs.cost
    checks = [Violation("compute", MINIMUM_STEPS * cost.step_flops, compute)]
    if memory is not None:
        checks.append(Violation("memory", needs.memory_bytes, memory))
    if limits.params is not None:
        checks.append(Violation("params", cost.params, limits.params))
    if limits.flops_per_byte is not None:
        checks.append(Violation("flops_per_byte", cost.flops_per_byte, limits.flops_per_byte))
    if limits.kv_bytes_per_byte is not None:
        checks.append(Violation("kv_bytes_per_byte", cost.kv_bytes_per_byte, limits.kv_bytes_per_byte))
    if limits.weight_bytes is not None:
        checks.append(Violation("weight_bytes", cost.weight_bytes, limits.weight_bytes))
    if limits.latency_ms_per_kb is not None and needs.latency_ms_per_kb is not None:
        checks.append(Violation("latency_ms_per_kb", needs.latency_ms_per_kb, limits.latency_ms_per_kb))
    if limits.export == "native":
        beyond = needs.native is not None
        checks.append(Violation("export", 2.0 if beyond else 1.0, 1.0, needs.native or ""))
    return checks
