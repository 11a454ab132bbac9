"""What is searched: an architecture with the recipe that trains it.

A candidate's id is a content hash that leaves out fields at their default, so that a knob added later with
the old behaviour as its default does not rename old candidates.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, TypeVar

from nas.errors import SpecError

Record = TypeVar("Record")

ACTIVATIONS: Mapping[str, int] = {"swiglu": 3, "relu2": 2}
"""Of an MLP, with the matrices of width x mlp_width that it has."""
VALUE_EMBEDDINGS: Mapping[str, int] = {"none": 0, "alternate": 2, "all": 1}
"""Which layers have one, with the layers from one to the next."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """One layer that differs from the shared values; a field left at 0 keeps the shared value."""

    layer: int
    heads: int = 0
    kv_heads: int = 0
    mlp_width: int = 0


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer with everything resolved. ``window`` is its attention span in tokens, 0 for the whole context;
    ``value_embedding`` says that it adds a table of the tokens to its values."""

    heads: int
    kv_heads: int
    mlp_width: int
    window: int
    value_embedding: bool = False


@dataclass(frozen=True, slots=True)
class Architecture:
    """A decoder-only transformer of the Llama/Qwen3 family: RMSNorm before each sublayer, rotary positions,
    grouped-query attention, gated SiLU MLP, no biases; with knobs of speedruns, which are off by default.

    Attributes:
        depth: number of layers.
        width: size of the residual stream.
        heads, head_size, kv_heads: query heads, their size, and key/value heads (a divisor of ``heads``).
        mlp_width: hidden size of the MLP.
        vocabulary: token types; 256 means raw bytes.
        context: tokens in a training sequence.
        tied: the head shares the embedding's weights.
        qk_norm: RMSNorm over each query and key head (as Qwen3).
        window: span of the short layers in tokens, a divisor of ``context`` below it; 0 when all are long.
        window_pattern: S (short) and L (long), repeated over the layers; the last layer is always long.
        deviations: layers that differ from the shared values, ascending by layer.
        activation: ``swiglu``, gated (three matrices of width x mlp_width), or ``relu2``, max(0, x)^2 (two of them).
        value_embeddings: layers that add to their values a table of vocabulary x kv_heads x head_size, scaled for each
            head: ``none``, ``all``, or ``alternate``, every other one and the last among them.
        x0_shortcut: before each layer the residual stream is mixed with the normed embedding by two learned scalars.
        softcap: logits are softcap * tanh(logits / softcap); 0 leaves them as they are.
    """

    depth: int
    width: int
    heads: int
    head_size: int
    kv_heads: int
    mlp_width: int
    vocabulary: int
    context: int
    tied: bool = True
    qk_norm: bool = True
    window: int = 0
    window_pattern: str = "L"
    deviations: tuple[Deviation, ...] = ()
    activation: Literal["swiglu", "relu2"] = "swiglu"
    value_embeddings: Literal["none", "alternate", "all"] = "none"
    x0_shortcut: bool = False
    softcap: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "softcap", float(self.softcap))  # 15 and 15.0 are one cap and must not give two ids
        for name in ("depth", "width", "heads", "head_size", "kv_heads", "mlp_width", "context"):
            _require(getattr(self, name) >= 1, name, "must be at least 1", getattr(self, name))
        _require(self.head_size % 2 == 0, "head_size", "must be even (rotary positions turn pairs)", self.head_size)
        _require(self.vocabulary >= 256, "vocabulary", "must be at least 256, the bytes", self.vocabulary)
        _require(self.heads % self.kv_heads == 0, "kv_heads", f"must divide heads ({self.heads})", self.kv_heads)
        pattern = self.window_pattern
        _require(bool(pattern) and set(pattern) <= {"S", "L"}, "window_pattern", "must be of S and L", pattern)
        if self.window:
            divides = 0 < self.window < self.context and self.context % self.window == 0
            _require(divides, "window", f"must divide context ({self.context}) and be below it", self.window)
        _require(("S" in pattern) == bool(self.window), "window", "goes with an S in window_pattern", self.window)
        numbers = [deviation.layer for deviation in self.deviations]
        ascending = numbers == sorted(set(numbers)) and all(0 <= n < self.depth for n in numbers)
        _require(ascending, "deviations", "must name layers of the model once, ascending", numbers)
        for name, words in (("activation", tuple(ACTIVATIONS)), ("value_embeddings", tuple(VALUE_EMBEDDINGS))):
            _require(getattr(self, name) in words, name, f"must be of {', '.join(words)}", getattr(self, name))
        _require(0 <= self.softcap < math.inf, "softcap", "must be at least 0 and finite", self.softcap)
        for own in self.deviations:
            sizes = (own.heads, own.kv_heads, own.mlp_width)
            _require(min(sizes) >= 0, "deviations", "must have sizes of at least 0", own)
        for layer in self.layers():
            _require(layer.heads % layer.kv_heads == 0, "deviations", "kv_heads must divide heads", layer)

    def layers(self) -> tuple[Layer, ...]:
        """The layers from input to output, deviations applied."""
        long, short = (Layer(self.heads, self.kv_heads, self.mlp_width, window) for window in (0, self.window))
        pattern, last = self.window_pattern, self.depth - 1
        resolved = [short if pattern[i % len(pattern)] == "S" and i != last else long for i in range(self.depth)]
        if stride := VALUE_EMBEDDINGS[self.value_embeddings]:
            for i in range(last, -1, -stride):
                resolved[i] = replace(resolved[i], value_embedding=True)
        for own in self.deviations:
            shared = resolved[own.layer]
            resolved[own.layer] = replace(
                shared,
                heads=own.heads or shared.heads,
                kv_heads=own.kv_heads or shared.kv_heads,
                mlp_width=own.mlp_width or shared.mlp_width,
            )
        return tuple(resolved)

    @property
    def uniform(self) -> bool:
        """All layers have the same shapes (windows may differ)."""
        return len({(layer.heads, layer.kv_heads, layer.mlp_width) for layer in self.layers()}) == 1


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a candidate is trained. Rates are multipliers of a prior by width, depth and batch (`nas.plan`), so
    that one recipe carries over scales; the schedule is a function of progress p in [0, 1].

    Attributes:
        batch_tokens: tokens in one optimizer step, a multiple of the context.
        optimizer: ``muon`` (matrices by Muon, the rest by AdamW) or ``adamw``.
        matrix_rate, embedding_rate: learning-rate multipliers; ``embedding_rate`` also drives head and norms.
        weight_decay: decoupled decay of the matrices.
        dropout: on the output of each sublayer, for data that repeats.
        warmup, cooldown: shares of p in which the rate rises linearly from 0 and falls linearly to ``floor``.
        floor: share of the peak rate that is left at p = 1.
    """

    batch_tokens: int
    optimizer: Literal["muon", "adamw"] = "muon"
    matrix_rate: float = 1.0
    embedding_rate: float = 1.0
    weight_decay: float = 0.0
    dropout: float = 0.0
    warmup: float = 0.02
    cooldown: float = 0.7
    floor: float = 0.0

    def __post_init__(self) -> None:
        for spec in dataclasses.fields(self):
            if spec.type is float:  # 2 and 2.0 are one rate and must not give two ids
                number = float(getattr(self, spec.name))
                _require(math.isfinite(number), spec.name, "must be finite", number)
                object.__setattr__(self, spec.name, number)
        _require(self.batch_tokens >= 1, "batch_tokens", "must be at least 1", self.batch_tokens)
        _require(self.optimizer in ("muon", "adamw"), "optimizer", "must be muon or adamw", self.optimizer)
        for name in ("matrix_rate", "embedding_rate"):
            _require(getattr(self, name) > 0, name, "must be above 0", getattr(self, name))
        _require(self.weight_decay >= 0, "weight_decay", "must be at least 0", self.weight_decay)
        _require(0 <= self.dropout < 1, "dropout", "must be at least 0 and below 1", self.dropout)
        for name in ("warmup", "cooldown", "floor"):
            _require(0 <= getattr(self, name) <= 1, name, "must be a share of 1", getattr(self, name))
        _require(self.warmup + self.cooldown <= 1, "cooldown", "must fit into 1 with warmup", self.cooldown)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An architecture with its recipe."""

    architecture: Architecture
    recipe: Recipe
    id: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        batch, context = self.recipe.batch_tokens, self.architecture.context
        _require(batch % context == 0, "batch_tokens", f"must be a multiple of context ({context})", batch)
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        object.__setattr__(self, "id", hashlib.sha256(canonical.encode()).hexdigest()[:12])

    @property
    def sequences(self) -> int:
        """Sequences in one optimizer step."""
        return self.recipe.batch_tokens // self.architecture.context

    def to_dict(self) -> dict[str, Any]:
        """A mapping for JSON and YAML that leaves out fields at their default."""
        return {"architecture": _sparse(self.architecture), "recipe": _sparse(self.recipe)}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; raises `SpecError` for unknown or missing fields and wrong types."""
        if not isinstance(raw, Mapping):
            raise SpecError("candidate", "must be a mapping of its fields", raw)
        _known(raw, {"architecture", "recipe"}, "candidate")
        architecture = dict(_mapping(raw, "architecture"))
        deviations = architecture.pop("deviations", ())
        _require(isinstance(deviations, (list, tuple)), "architecture.deviations", "must be a list", deviations)
        architecture["deviations"] = tuple(_build(Deviation, d, "architecture.deviations") for d in deviations)
        return cls(
            _build(Architecture, architecture, "architecture"), _build(Recipe, _mapping(raw, "recipe"), "recipe")
        )


def _require(holds: bool, field_: str, rule: str, value: object) -> None:
    if not holds:
        raise SpecError(field_, rule, value)


def _sparse(record: Any) -> dict[str, Any]:
    """Fields of a dataclass that are not at their default; nested records as mappings."""
    sparse = {}
    for spec in dataclasses.fields(record):
        value = getattr(record, spec.name)
        if spec.default is dataclasses.MISSING or value != spec.default:
            sparse[spec.name] = [_sparse(v) for v in value] if isinstance(value, tuple) else value
    return sparse


def _mapping(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = raw.get(name)
    if not isinstance(value, Mapping):
        raise SpecError(name, "must be a mapping of its fields", value)
    return value


def _known(raw: Mapping[str, Any], names: set[str], where: str) -> None:
    for name in raw:
        if name not in names:
            raise SpecError(f"{where}.{name}", f"is not known; known are {', '.join(sorted(names))}")


def _build(kind: type[Record], raw: Any, where: str) -> Record:
    """A dataclass from a mapping of plain fields, types checked (an int passes for a float, a bool for no number)."""
    if not isinstance(raw, Mapping):
        raise SpecError(where, "must be a mapping of its fields", raw)
    specs = {spec.name: spec for spec in dataclasses.fields(kind)}  # type: ignore[arg-type]
    _known(raw, set(specs), where)
    for name, spec in specs.items():
        if name in raw:
            _check_type(raw[name], spec.type, f"{where}.{name}")
        elif spec.default is dataclasses.MISSING:
            raise SpecError(f"{where}.{name}", "is required")
    try:
        return kind(**raw)
    except SpecError as error:
        raise error.at(field=f"{where}.{error.field}") from None


def _check_type(value: object, expected: object, where: str) -> None:
    if expected not in _PLAIN:  # the words of a Literal and the deviations are checked where they are built
        return
    kinds, words = _PLAIN[expected]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise SpecError(where, f"must be {words}", value)


_PLAIN: dict[object, tuple[tuple[type, ...], str]] = {
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    bool: ((bool,), "true or false"),
    str: ((str,), "text"),
}


def describe(candidate: Candidate) -> str:
    """A candidate in a line."""
    a, r = candidate.architecture, candidate.recipe
    grouped = f"/{a.kv_heads}" if a.heads != a.kv_heads else ""
    heads = f"{a.heads}{grouped} heads of {a.head_size}"
    window = f", windows {a.window_pattern} of {a.window}" if a.window else ""
    activation = f" {a.activation}" if a.activation != "swiglu" else ""
    extras = (
        (a.value_embeddings != "none", f"value embeddings in {a.value_embeddings} layers"),
        (a.x0_shortcut, "x0 shortcut"),
        (a.softcap > 0, f"softcap {a.softcap:g}"),
    )
    more = "".join(f", {words}" for there, words in extras if there)
    return (
        f"{a.depth} layers, width {a.width}, {heads}, MLP {a.mlp_width}{activation}, vocabulary {a.vocabulary}, "
        f"context {a.context}{window}{more}, {r.optimizer}, batch {r.batch_tokens}"
    )
