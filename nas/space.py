"""The space that is searched: knobs with domains and conditions, from YAML.

Knobs are ratios and sizes that people think in (head size, KV ratio, MLP ratio); `Space.decode` turns them into an
architecture and a recipe and is total: every combination of knobs is a candidate that can be built. Depth-wide
values are shared by all layers; `deviations` lets single layers differ.
"""

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from importlib import resources
from pathlib import Path
from typing import Any

from nas.candidate import ACTIVATIONS, VALUE_EMBEDDINGS, Architecture, Candidate, Deviation, Recipe
from nas.document import Fields, plain, read_file, read_text, text
from nas.errors import NotFoundError, SpecError

Value = int | float | bool | str
Knobs = dict[str, Value]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several values, in an order that means something (small to large) where there is one."""

    values: tuple[Value, ...]

    def sample(self, rng: random.Random) -> Value:
        return self.values[rng.randrange(len(self.values))]

    def at(self, quantile: float) -> Value:
        """The value at a quantile in [0, 1)."""
        return self.values[min(int(quantile * len(self.values)), len(self.values) - 1)]

    def nearest(self, value: Value) -> Value:
        """The value itself, or the nearest number of the domain, or the first."""
        if value in self.values:
            return next(v for v in self.values if v == value)
        numbers = [v for v in self.values if isinstance(v, (int, float)) and not isinstance(v, bool)]
        if numbers and isinstance(value, (int, float)):
            return min(numbers, key=lambda v: abs(math.log(max(v, 1e-9) / max(float(value), 1e-9))))
        return self.values[0]


@dataclass(frozen=True, slots=True)
class Range:
    """A real number in [low, high], evenly likely in its logarithm when ``log``."""

    low: float
    high: float
    log: bool = False

    def sample(self, rng: random.Random) -> float:
        return self.at(rng.random())

    def at(self, quantile: float) -> float:
        if self.log:
            return float(self.low * (self.high / self.low) ** quantile)
        return self.low + (self.high - self.low) * quantile

    def nearest(self, value: Value) -> float:
        return min(max(float(value), self.low), self.high)


Domain = Choice | Range


@dataclass(frozen=True, slots=True)
class Knob:
    """A named domain; ``when`` lists, by another knob, the values for which this one is asked at all."""

    name: str
    domain: Domain
    when: tuple[tuple[str, tuple[Value, ...]], ...] = ()

    def active(self, knobs: Mapping[str, Value]) -> bool:
        return all(knobs.get(name) in values for name, values in self.when)


DEFAULTS: Knobs = {
    "head_size": 32,
    "kv_ratio": 1.0,
    "mlp_ratio": 3.0,
    "context": 256,
    "tied": True,
    "qk_norm": True,
    "window_pattern": "L",
    "window_ratio": 0.25,
    "activation": "swiglu",
    "value_embeddings": "none",
    "x0_shortcut": False,
    "softcap": 0.0,
    "batch_tokens": 1024,
    "optimizer": "muon",
    "matrix_rate": 1.0,
    "embedding_rate": 1.0,
    "weight_decay": 0.0,
    "dropout": 0.0,
    "warmup": 0.02,
    "cooldown": 0.7,
    "floor": 0.0,
}
"""Values of knobs that a space does not name, and of inactive ones. Depth, width and vocabulary must be named."""

NAMES = ("depth", "width", "vocabulary", *DEFAULTS)
DEVIATING = ("mlp_ratio", "kv_ratio")
MLP_MULTIPLE = 8


@dataclass(frozen=True, slots=True)
class Space:
    """A search space. ``defaults`` are the values that rules use where they do not choose themselves."""

    name: str
    about: str
    knobs: tuple[Knob, ...]
    defaults: Mapping[str, Value]
    source: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def domain(self, name: str) -> Domain:
        """The domain of a knob; a single value for knobs that the space leaves at their default."""
        for knob in self.knobs:
            if knob.name == name:
                return knob.domain
        return Choice((self.defaults[name],))

    def values(self, name: str) -> tuple[Value, ...]:
        """The values of a knob in the space's order; the ends and middle of a range."""
        domain = self.domain(name)
        if isinstance(domain, Range):
            return (domain.low, domain.at(0.5), domain.high)
        return domain.values

    def sample(self, rng: random.Random) -> Knobs:
        """Knobs drawn independently, conditions kept."""
        return self._active({knob.name: knob.domain.sample(rng) for knob in self.knobs})

    def uniform(self, index: int) -> Knobs:
        """The index-th of an endless sequence that covers the space evenly, all layers alike.

        An additive recurrence with the irrational steps of Roberts, "The unreasonable effectiveness of
        quasirandom sequences" (2018): step_k = g^-k with g^(d+1) = g + 1.
        """
        shared = [knob for knob in self.knobs if "@" not in knob.name]
        ratio = plastic(len(shared))
        even = {
            knob.name: knob.domain.at((0.5 + (index + 1) * ratio**-k) % 1.0) for k, knob in enumerate(shared, start=1)
        }
        return self._active(self._at_defaults() | even)

    def grid(self, *names: str) -> Iterator[Knobs]:
        """All combinations of the named knobs, the others at their defaults."""
        others = self._at_defaults()
        for values in itertools.product(*(self.values(name) for name in names)):
            yield self._active(others | dict(zip(names, values, strict=True)))

    def neighbour(self, knobs: Mapping[str, Value], rng: random.Random) -> Knobs:
        """The knobs with one or two of them drawn anew, and those that become active thereby."""
        drawn: Knobs = {knob.name: knob.domain.sample(rng) for knob in self.knobs}
        changed = rng.sample(sorted(drawn), min(len(drawn), rng.choice((1, 2))))
        return self._active({**drawn, **knobs, **{name: drawn[name] for name in changed}})

    @property
    def size(self) -> float:
        """Combinations of values, those that conditions make equal counted apart; infinite with a range."""
        return math.prod(len(own.domain.values) if isinstance(own.domain, Choice) else math.inf for own in self.knobs)

    def _at_defaults(self) -> Knobs:
        """Every knob at its default, layers without deviation."""
        return {knob.name: self.defaults.get(knob.name, 1.0) for knob in self.knobs}

    def _active(self, values: Mapping[str, Value]) -> Knobs:
        """The values of those knobs whose conditions hold."""
        knobs: Knobs = {}
        for knob in self.knobs:
            if knob.active(knobs):
                knobs[knob.name] = values[knob.name]
        return knobs

    def decode(self, knobs: Mapping[str, Value]) -> Candidate:
        """The candidate that the knobs mean; knobs that are not named are at their defaults.

        Heads are as many as fit the width; KV heads are the largest divisor of the heads within the ratio; the MLP
        is rounded to a multiple of 8; the batch to whole sequences.
        """
        value = {**self.defaults, **knobs}
        width, size = int(value["width"]), int(value["head_size"])
        depth, context = int(value["depth"]), int(value["context"])
        heads = max(1, width // size)
        shapes = [_shape(value, width, heads, layer) for layer in (None, *range(depth))]
        pattern = str(value["window_pattern"])
        window = max(1, int(context * float(value["window_ratio"]))) if "S" in pattern and depth > 1 else 0
        architecture = Architecture(
            depth=depth,
            width=width,
            heads=heads,
            head_size=size,
            kv_heads=shapes[0][0],
            mlp_width=shapes[0][1],
            vocabulary=int(value["vocabulary"]),
            context=context,
            tied=bool(value["tied"]),
            qk_norm=bool(value["qk_norm"]),
            window=window,
            window_pattern=pattern if window else "L",
            deviations=_deviations(*shapes),
            activation=value["activation"],  # type: ignore[arg-type]
            value_embeddings=value["value_embeddings"],  # type: ignore[arg-type]
            x0_shortcut=bool(value["x0_shortcut"]),
            softcap=float(value["softcap"]),
        )
        recipe = Recipe(
            batch_tokens=max(1, round(int(value["batch_tokens"]) / context)) * context,
            optimizer=value["optimizer"],  # type: ignore[arg-type]
            **{name: float(value[name]) for name in _RECIPE_NUMBERS},
        )
        return Candidate(architecture, recipe)

    def encode(self, candidate: Candidate) -> Knobs | None:
        """Knobs that decode to the candidate, or ``None`` if it lies outside the space."""
        a, r = candidate.architecture, candidate.recipe
        ideal: Knobs = {
            "depth": a.depth,
            "width": a.width,
            "vocabulary": a.vocabulary,
            "head_size": a.head_size,
            "kv_ratio": a.kv_heads / a.heads,
            "mlp_ratio": a.mlp_width / a.width,
            "context": a.context,
            "tied": a.tied,
            "qk_norm": a.qk_norm,
            "window_pattern": a.window_pattern,
            "window_ratio": a.window / a.context if a.window else self.defaults["window_ratio"],
            "activation": a.activation,
            "value_embeddings": a.value_embeddings,
            "x0_shortcut": a.x0_shortcut,
            "softcap": a.softcap,
            "batch_tokens": r.batch_tokens,
            "optimizer": r.optimizer,
            **{name: getattr(r, name) for name in _RECIPE_NUMBERS},
        }
        for deviation in a.deviations:
            ideal[f"mlp_ratio@{deviation.layer}"] = (deviation.mlp_width or a.mlp_width) / a.mlp_width
            ideal[f"kv_ratio@{deviation.layer}"] = (deviation.kv_heads or a.kv_heads) / a.kv_heads
        knobs = self._active({knob.name: knob.domain.nearest(ideal.get(knob.name, 1.0)) for knob in self.knobs})
        return knobs if self.decode(knobs) == candidate else None

    def to_dict(self) -> dict[str, Any]:
        """The mapping that the space was read from."""
        return dict(self.source)


_RECIPE_NUMBERS = (
    "matrix_rate",
    "embedding_rate",
    "weight_decay",
    "dropout",
    "warmup",
    "cooldown",
    "floor",
)


def _kv_heads(heads: int, ratio: float) -> int:
    most = max(1, min(heads, int(heads * ratio + 1e-9)))
    return next(k for k in range(most, 0, -1) if heads % k == 0)


def mlp_width(width: int, ratio: float) -> int:
    """The MLP width of a ratio, a multiple of 8."""
    return max(MLP_MULTIPLE, round(width * ratio / MLP_MULTIPLE) * MLP_MULTIPLE)


def _shape(value: Mapping[str, Value], width: int, heads: int, layer: int | None) -> tuple[int, int]:
    """KV heads and MLP width that all layers share, or those of one layer."""
    kv, mlp = (float(value[name]) * float(value.get(f"{name}@{layer}", 1.0)) for name in ("kv_ratio", "mlp_ratio"))
    return _kv_heads(heads, kv), mlp_width(width, mlp)


def _deviations(shared: tuple[int, int], *layers: tuple[int, int]) -> tuple[Deviation, ...]:
    """The layers whose shape differs from the shared one; a factor that rounding undoes makes no deviation."""
    return tuple(
        Deviation(layer, kv_heads=kv if kv != shared[0] else 0, mlp_width=mlp if mlp != shared[1] else 0)
        for layer, (kv, mlp) in enumerate(layers)
        if (kv, mlp) != shared
    )


def plastic(dimensions: int) -> float:
    """The real root above 1 of g^(d+1) = g + 1, by fixed-point iteration."""
    root = 2.0
    for _ in range(64):
        root = (1 + root) ** (1 / (dimensions + 1))
    return root


def load_space(reference: str | Mapping[str, Any], base: Path = Path()) -> Space:
    """A space by name (of ``search_spaces/``), by path, or from an inline mapping."""
    if isinstance(reference, Mapping):
        return _space(Fields(reference, "space"), "inline")
    if reference in space_names():
        file = resources.files("search_spaces") / f"{reference}.yaml"
        return _space(read_text(file.read_text(encoding="utf-8"), file.name), reference)
    path = base / reference
    if path.is_file():
        return _space(read_file(path), path.stem)
    known = ", ".join(space_names())
    raise NotFoundError(f"space: must be one of {known}, a path or a mapping, found {reference!r}")


def space_names() -> list[str]:
    """The spaces that come with the package."""
    files = resources.files("search_spaces").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def _space(fields: Fields, name: str) -> Space:
    about = fields.read("about", text, "")
    named = fields.read("name", text, name)
    knob_fields, deviation_fields = fields.fields("knobs"), fields.fields("deviations")
    defaults: Knobs = dict(DEFAULTS)
    knobs: list[Knob] = []
    for knob_name in knob_fields.names():
        if knob_name not in NAMES:
            raise knob_fields.error(knob_name, f"is not a knob; known are {', '.join(NAMES)}")
        knob, default = _knob(knob_fields, knob_name)
        if default is not None:
            if not _holds(knob.domain, default):
                raise knob_fields.error(knob_name, "must have its default among its values", default)
            defaults[knob_name] = default
        elif knob_name not in DEFAULTS or not _holds(knob.domain, defaults[knob_name]):
            defaults[knob_name] = knob.domain.at(0.5)
        if not (isinstance(knob.domain, Choice) and len(knob.domain.values) == 1):
            knobs.append(knob)
    for required in ("depth", "width", "vocabulary"):
        if not knob_fields.has(required):
            raise knob_fields.error(required, "is required")
    shared = Space(named, about, _conditions_first(knobs, knob_fields), defaults)
    deviating = _deviation_knobs(deviation_fields, shared)
    deviation_fields.done()
    fields.done()
    space = Space(named, about, (*shared.knobs, *deviating), defaults, fields.to_dict())
    _check_buildable(space, knob_fields)
    return space


def _holds(domain: Domain, value: Value) -> bool:
    return domain.nearest(value) == value


def _knob(fields: Fields, name: str) -> tuple[Knob, Value | None]:
    """A knob from a scalar, a list or ``{values | min, max, log, default, when}``."""
    raw = fields.raw(name)
    if not isinstance(raw, Mapping):
        values = raw if isinstance(raw, list) else [raw]
        return Knob(name, Choice(_values(values, name, fields))), None
    own = fields.fields(name)
    domain: Domain
    if own.has("values"):
        listed = own.raw("values")
        domain = Choice(_values(listed if isinstance(listed, list) else [listed], name, fields))
    else:
        domain = _range(own, name)
    default = _value(own.raw("default"), name, fields) if own.has("default") else None
    when_fields = own.fields("when")
    when = []
    for other in when_fields.names():
        accepted = when_fields.raw(other)
        when.append((other, _values(accepted if isinstance(accepted, list) else [accepted], other, when_fields)))
    own.done()
    return Knob(name, domain, tuple(when)), default


def _range(fields: Fields, name: str) -> Range:
    low, high = fields.required("min", _number), fields.required("max", _number)
    log = fields.raw("log", False)
    if not isinstance(log, bool):
        raise fields.error("log", "must be true or false", log)
    if name not in _RECIPE_NUMBERS:
        raise fields.error("min", f"is for rates; list the values of {name}")
    if not low < high or (log and low <= 0):
        raise fields.error("max", "must be above min, and min above 0 with log", [low, high])
    return Range(low, high, log)


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise SpecError(name, "must be a number", plain(value))
    return float(value)


def _values(raw: list[Any], name: str, fields: Fields) -> tuple[Value, ...]:
    values = tuple(_value(item, name, fields) for item in raw)
    if not values or len(set(map(repr, values))) != len(values):
        raise fields.error(name, "must list at least one value, each once", raw)
    return values


_WHOLE = ("depth", "width", "vocabulary", "head_size", "context", "batch_tokens")
_WORDS: Mapping[str, tuple[str, ...]] = {
    "optimizer": ("muon", "adamw"),
    "activation": tuple(ACTIVATIONS),
    "value_embeddings": tuple(VALUE_EMBEDDINGS),
}
_SWITCHES = ("tied", "qk_norm", "x0_shortcut")
_MAY_BE_ZERO = ("softcap", "weight_decay", "dropout", "warmup", "cooldown", "floor")


def _value(raw: Any, name: str, fields: Fields) -> Value:
    """A value of the type that its knob has; ratios may be written as fractions."""
    if name in _WHOLE:
        if isinstance(raw, bool) or not isinstance(raw, int) or raw < 1:
            raise fields.error(name, "must be whole numbers of at least 1", raw)
        return int(raw)
    if name in _SWITCHES:
        if not isinstance(raw, bool):
            raise fields.error(name, "must be true or false", raw)
        return raw
    if name == "window_pattern":
        if not isinstance(raw, str) or not raw or set(raw) - {"S", "L"}:
            raise fields.error(name, "must be of the letters S and L", raw)
        return str(raw)
    if name in _WORDS:
        if raw not in _WORDS[name]:
            raise fields.error(name, f"must be of {', '.join(_WORDS[name])}", raw)
        return str(raw)
    try:
        number = float(Fraction(raw)) if isinstance(raw, str) else _number(raw, name)
    except (ValueError, ArithmeticError, SpecError):
        raise fields.error(name, "must be numbers, or fractions such as 1/4", raw) from None
    if not (0 < number < math.inf or (number == 0 and name in _MAY_BE_ZERO)):
        raise fields.error(name, f"must be {'at least' if name in _MAY_BE_ZERO else 'above'} 0 and finite", raw)
    return number


def _conditions_first(knobs: list[Knob], fields: Fields) -> tuple[Knob, ...]:
    """Knobs in an order in which each comes after those that its condition names."""
    placed: dict[str, Knob] = {}
    rest = list(knobs)
    while rest:
        ready = [knob for knob in rest if all(other in placed for other, _ in knob.when)]
        if not ready:
            raise fields.error(rest[0].name, "has a condition on a knob that is missing, fixed or circular")
        for knob in ready:
            for other, accepted in knob.when:
                if not any(_holds(placed[other].domain, value) for value in accepted):
                    raise fields.error(knob.name, f"has a condition that no value of {other} meets", list(accepted))
        placed |= {knob.name: knob for knob in ready}
        rest = [knob for knob in rest if knob not in ready]
    return tuple(placed.values())


def _deviation_knobs(fields: Fields, space: Space) -> list[Knob]:
    knobs = []
    depths = [int(depth) for depth in space.values("depth")]
    for name in fields.names():
        if name not in DEVIATING:
            raise fields.error(name, f"cannot deviate by layer; can: {', '.join(DEVIATING)}")
        raw = fields.raw(name)
        factors = _values(raw if isinstance(raw, list) else [raw], name, fields)
        if 1.0 not in factors:
            raise fields.error(name, "must list factors of the shared value, 1 among them", raw)
        for layer in range(max(depths)):
            deep = tuple(depth for depth in depths if depth > layer)
            when = (("depth", deep),) if len(depths) > 1 else ()
            knobs.append(Knob(f"{name}@{layer}", Choice(factors), when))
    return knobs


_TOGETHER = (("depth", "context", "window_pattern", "window_ratio"), ("warmup", "cooldown"))


def _check_buildable(space: Space, fields: Fields) -> None:
    """Builds every value of each knob and every combination of those that constrain each other, with the knobs that
    their conditions name, so that a bad space fails when it is read and `Space.decode` is total."""
    conditions = {knob.name: tuple(other for other, _ in knob.when) for knob in space.knobs}
    for names in (*_TOGETHER, *((name,) for name in NAMES)):
        asked = list(names)
        for name in asked:  # grows while it is read
            asked += [other for other in conditions.get(name, ()) if other not in asked]
        for knobs in space.grid(*asked):
            try:
                space.decode(knobs)
            except SpecError as error:
                raise fields.error(error.field, error.rule, error.value) from None
