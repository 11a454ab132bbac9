"""Specs as people write them: quantities with units, and as YAML."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionStartEvent, ScalarEvent

from nas.document import read_text
from nas.errors import NasError, SpecError
from nas.units import parse_bytes, parse_count, parse_flops, parse_seconds, parse_share

Scales = tuple[tuple[int | Fraction, str], ...]
_DECIMAL = (("E", 10**18), ("P", 10**15), ("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3))
FLOPS: Scales = tuple((scale, f"{prefix}FLOP") for prefix, scale in _DECIMAL)
BYTES: Scales = (
    *((1024**power, f"{prefix}iB") for power, prefix in ((4, "T"), (3, "G"), (2, "M"), (1, "K"))),
    *((scale, f"{prefix}B") for prefix, scale in _DECIMAL),
)
SECONDS: Scales = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (Fraction(1, 1000), "ms"))
COUNT: Scales = ((10**9, "B"), (10**6, "M"), (10**3, "k"))
SHARE: Scales = ((Fraction(1, 100), "%"),)

Parse = Callable[[object, str], int | float]
QUANTITIES: Mapping[str, tuple[Parse, Scales]] = {
    "budget.total.compute": (parse_flops, FLOPS),
    "budget.total.time": (parse_seconds, SECONDS),
    "budget.candidate.compute": (parse_flops, FLOPS),
    "budget.candidate.time": (parse_seconds, SECONDS),
    "budget.candidate.memory": (parse_bytes, BYTES),
    "budget.final": (parse_share, SHARE),
    "limits.params": (parse_count, COUNT),
    "limits.flops_per_byte": (parse_flops, FLOPS),
    "limits.kv_bytes_per_byte": (parse_bytes, BYTES),
    "limits.weight_bytes": (parse_bytes, BYTES),
    "limits.peak_memory": (parse_bytes, BYTES),
    "limits.train_seconds": (parse_seconds, SECONDS),
}
PARENTS = {field.rpartition(".")[0] for field in QUANTITIES} | {"budget"}
TEXT_MOST = 64 * 1024
"""Characters of a spec in YAML that somebody else wrote."""
DEPTH_MOST = 20
_DIGITS = 4


def written(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with its quantities as people write them; what they stand for is exactly the same."""
    return {name: _written(name, value) for name, value in spec.items()}


def _written(field: str, value: Any) -> Any:
    if isinstance(value, Mapping) and field in PARENTS:
        return {name: _written(f"{field}.{name}", own) for name, own in value.items()}
    return _text(field, value)


def _text(field: str, value: Any) -> Any:
    if field not in QUANTITIES or isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    parse, scales = QUANTITIES[field]
    for scale, unit in scales:
        if scale <= value < 1e30:
            text = f"{value / scale:.{_DIGITS}g}{unit}"
            if _reads_as(parse, text, value):
                return text
    return value


def _reads_as(parse: Parse, text: str, value: float) -> bool:
    try:
        return parse(text, "") == value
    except NasError:
        return False


def yaml_of(spec: Mapping[str, Any]) -> str:
    """YAML that is read back to an equal spec."""
    stream = StringIO()
    yaml = YAML(typ="rt", pure=True)
    yaml.width = 4096  # a long name stays on its line
    yaml.representer.ignore_aliases = lambda own: True
    try:
        yaml.dump(dict(spec), stream)
    except RecursionError:
        raise SpecError("spec", "must be nested less deeply") from None
    return stream.getvalue()


def read_yaml(text: str) -> dict[str, Any]:
    """The mapping that YAML of somebody else says, if it says no more than that.

    Raises `SpecError` with the line, for what is no YAML, and for aliases and tags: a few lines of them may stand for
    gigabytes.
    """
    if len(text) > TEXT_MOST:
        raise SpecError("document", f"must be at most {TEXT_MOST // 1024} KiB", f"{len(text) // 1024} KiB")
    _check_events(text)
    found = read_text(text, "YAML").to_dict()
    _check_finite(found, "")
    return found


def _check_events(text: str) -> None:
    depth = 0
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            line = event.start_mark.line + 1
            if isinstance(event, AliasEvent):
                raise SpecError("document", "must have no aliases", f"*{event.anchor}", line=line, source="YAML")
            if isinstance(event, (ScalarEvent, CollectionStartEvent)) and event.tag is not None:
                raise SpecError("document", "must have no tags", str(event.tag), line=line, source="YAML")
            depth += isinstance(event, CollectionStartEvent)
            depth -= type(event).__name__ in ("SequenceEndEvent", "MappingEndEvent")
            if depth > DEPTH_MOST:
                raise SpecError("document", "must be nested less deeply", line=line, source="YAML")
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else None
        raise SpecError(
            "document", f"must be YAML 1.2: {error.problem or 'cannot be read'}", line=line, source="YAML"
        ) from None
    except (YAMLError, ValueError) as error:
        raise SpecError("document", f"must be YAML 1.2: {error}") from None


def _check_finite(value: Any, field: str) -> None:
    """JSON, by which it goes on, has no other numbers."""
    if isinstance(value, Mapping):
        for name, own in value.items():
            _check_finite(own, f"{field}.{name}" if field else name)
    elif isinstance(value, list):
        for own in value:
            _check_finite(own, field)
    elif isinstance(value, float) and not abs(value) < float("inf"):
        raise SpecError(field, "must be a finite number", str(value))
