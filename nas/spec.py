"""A search as its user asks for it: frozen, validated once, the same from YAML, JSON and Python."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nas.document import Fields, one_of, plain, positive, read_file, read_text, text, whole
from nas.errors import SpecError
from nas.policy import POLICIES
from nas.units import (
    format_flops,
    format_seconds,
    parse_bytes,
    parse_count,
    parse_flops,
    parse_seconds,
    parse_share,
)

LOSS = "val_bpb"
PEAK_MEMORY, TRAIN_SECONDS, LATENCY = "peak_memory", "train_seconds", "latency_ms_per_kb"
OBJECTIVES = (
    LOSS,
    *("params", "flops_per_byte", "kv_bytes_per_byte", "weight_bytes"),  # in closed form
    *(PEAK_MEMORY, TRAIN_SECONDS, LATENCY),  # on the device
)
CHOICES = ("best", "knee")
AUTO = "auto"
DEFAULT_FINAL: float | str = 0.3
AUTO_LEAST = 0.2
"""Share of everything that is kept for the final run at least where the search is to find the split itself."""


@dataclass(frozen=True, slots=True)
class Total:
    """What everything together may take: FLOPs, seconds of wall clock while running, candidates that train."""

    compute: int
    time: float = math.inf
    candidates: int | None = None


@dataclass(frozen=True, slots=True)
class CandidateBudget:
    """What each candidate of the search may take: training FLOPs, seconds, peak bytes of memory."""

    compute: int
    time: float = math.inf
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """``final`` is the share of ``total`` that the search never touches: it is for the final run. With ``auto`` that is
    a fifth, and the search may end before it has spent its own, when the rest is worth more in the final run."""

    total: Total
    candidate: CandidateBudget
    final: float | str = 0.3

    @property
    def search_compute(self) -> int:
        return self.total.compute - self.final_compute

    @property
    def final_compute(self) -> int:
        return int(self.total.compute * self.final_share)

    @property
    def auto(self) -> bool:
        """Whether the search finds the split itself."""
        return self.final == AUTO

    @property
    def final_share(self) -> float:
        """Of everything, what the search never touches."""
        return final_share(self.final)

    @property
    def search_time(self) -> float:
        return self.total.time * (1 - self.final_share)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on the result; ``None`` is no limit.

    Attributes:
        peak_memory: bytes of the device while it trains.
        train_seconds: of a run, which is planned to end by then.
        latency_ms_per_kb: milliseconds to write a thousand bytes of text, one sequence at a time.
        export: ``native`` admits only what transformers can express.
    """

    params: int | None = None
    flops_per_byte: int | None = None
    kv_bytes_per_byte: int | None = None
    weight_bytes: int | None = None
    peak_memory: int | None = None
    train_seconds: float | None = None
    latency_ms_per_kb: float | None = None
    export: str = "native"


@dataclass(frozen=True, slots=True)
class Method:
    """How to search. ``policy`` is of `nas.policy.POLICIES`; ``choose`` picks the candidate for the final run."""

    policy: str = "default"
    parallel: int = 1
    seed: int = 0
    choose: str = "best"


@dataclass(frozen=True, slots=True)
class SearchSpec:
    """One search: what to train on, where, what to try, at what cost, for what."""

    corpus: str | Mapping[str, Any]
    space: str | Mapping[str, Any]
    budget: Budget
    name: str = "search"
    device: str = "auto"
    limits: Limits = field(default_factory=Limits)
    minimize: tuple[str, ...] = (LOSS, "flops_per_byte")
    method: Method = field(default_factory=Method)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready mapping that `parse_spec` reads back to an equal spec."""
        raw: dict[str, Any] = plain(dataclasses.asdict(self))
        return raw | {name: _without_nothing(raw[name]) for name in ("budget", "limits", "method")}

    @property
    def cost_objectives(self) -> tuple[str, ...]:
        """The objectives known before training."""
        return tuple(name for name in self.minimize if name != LOSS)

    @property
    def names_latency(self) -> bool:
        """Whether it matters how fast a candidate writes."""
        return LATENCY in self.minimize or self.limits.latency_ms_per_kb is not None


def load_spec(path: Path) -> SearchSpec:
    """A spec from a YAML file; raises `SpecError` (field, rule, value, line) or `NotFoundError`."""
    return _spec(read_file(path))


def parse_spec(source: str | Mapping[str, Any], name: str = "spec") -> SearchSpec:
    """A spec from YAML text or a mapping."""
    return _spec(read_text(source, name) if isinstance(source, str) else Fields(source))


def _spec(fields: Fields) -> SearchSpec:
    spec = SearchSpec(
        name=fields.read("name", text, "search"),
        corpus=fields.required("corpus", _reference),
        space=fields.required("space", _reference),
        device=fields.read("device", text, "auto"),
        budget=_budget(fields),
        limits=_limits(fields.fields("limits")),
        minimize=fields.read("minimize", _objectives, (LOSS, "flops_per_byte")),
        method=_method(fields.fields("method")),
    )
    fields.done()
    return spec


def _reference(value: Any, name: str) -> str | Mapping[str, Any]:
    if isinstance(value, str) and value.strip():
        return str(value)
    if isinstance(value, Mapping) and value:
        return dict(plain(value))
    raise SpecError(name, "must be a name, a path or a mapping", plain(value))


def _budget(spec: Fields) -> Budget:
    if not spec.has("budget"):
        raise spec.error("budget", "is required")
    fields = spec.fields("budget")
    if not fields.has("total"):
        raise fields.error("total", "is required, e.g. {compute: 20TFLOP, time: 8min}")
    total_fields, own_fields = fields.fields("total"), fields.fields("candidate")
    total = Total(
        compute=total_fields.required("compute", parse_flops),
        time=total_fields.read("time", parse_seconds, math.inf),
        candidates=total_fields.read("candidates", whole(1), None),
    )
    total_fields.done()
    final = fields.read("final", _final, DEFAULT_FINAL)
    sixteenth = max(1, int(total.compute * (1 - final_share(final))) // 16)
    own = CandidateBudget(
        compute=own_fields.read("compute", parse_flops, sixteenth),
        time=own_fields.read("time", parse_seconds, math.inf),
        memory=own_fields.read("memory", parse_bytes, None),
    )
    own_fields.done()
    budget = Budget(total, own, final)
    if own.compute > budget.search_compute:
        raise own_fields.error(
            "compute",
            f"must be at most what the search may spend, {format_flops(budget.search_compute)} "
            f"(total less the final share)",
            format_flops(own.compute),
        )
    if math.isfinite(own.time) and own.time > budget.search_time:
        raise own_fields.error(
            "time",
            f"must be at most the search's share of time, {format_seconds(budget.search_time)}",
            format_seconds(own.time),
        )
    fields.done()
    return budget


def final_share(final: float | str) -> float:
    """What the search never touches, by what a spec says."""
    return AUTO_LEAST if isinstance(final, str) else final


def _final(value: Any, name: str) -> float | str:
    return AUTO if value == AUTO else parse_share(value, name)


def _limits(fields: Fields) -> Limits:
    limits = Limits(
        params=fields.read("params", parse_count, None),
        flops_per_byte=fields.read("flops_per_byte", parse_flops, None),
        kv_bytes_per_byte=fields.read("kv_bytes_per_byte", parse_bytes, None),
        weight_bytes=fields.read("weight_bytes", parse_bytes, None),
        peak_memory=fields.read(PEAK_MEMORY, parse_bytes, None),
        train_seconds=fields.read(TRAIN_SECONDS, parse_seconds, None),
        latency_ms_per_kb=fields.read(LATENCY, positive, None),
        export=fields.read("export", one_of("native", "any"), "native"),
    )
    fields.done()
    return limits


def _objectives(value: Any, name: str) -> tuple[str, ...]:
    names = plain(value)
    if not isinstance(names, list) or not names:
        raise SpecError(name, "must be a list of objectives", names)
    for item in names:
        if item not in OBJECTIVES:
            raise SpecError(name, f"must be of {', '.join(OBJECTIVES)}", item)
    if len(set(names)) != len(names):
        raise SpecError(name, "must name an objective once", names)
    if LOSS not in names:
        raise SpecError(name, f"must contain {LOSS}", names)
    return tuple(names)


def _method(fields: Fields) -> Method:
    method = Method(
        policy=fields.read("policy", one_of(*POLICIES), "default"),
        parallel=fields.read("parallel", whole(1), 1),
        seed=fields.read("seed", whole(0), 0),
        choose=fields.read("choose", one_of(*CHOICES), "best"),
    )
    fields.done()
    return method


def _without_nothing(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves out limits that are not there: ``None`` and infinity have no spelling in a spec."""
    kept = {}
    for name, value in raw.items():
        if isinstance(value, Mapping):
            kept[name] = _without_nothing(value)
        elif value is not None and value != math.inf:
            kept[name] = value
    return kept
