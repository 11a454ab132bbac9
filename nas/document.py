"""YAML 1.2 documents read field by field, so that every complaint names the field, the rule, the value and the line."""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scalarbool import ScalarBoolean

from nas.errors import NotFoundError, SpecError

Value = TypeVar("Value")


class Fields:
    """A mapping of which each field is read once; `done` complains about fields that nobody asked for."""

    def __init__(self, raw: Mapping[str, Any], path: str = "", source: str | None = None) -> None:
        self._raw, self._path, self._source = raw, path, source
        self._read: set[str] = set()

    def error(self, name: str, rule: str, value: object = None) -> SpecError:
        """A complaint about field ``name`` of this mapping."""
        return SpecError(self._dotted(name), rule, value, line=self.line(name), source=self._source)

    def locate(self, error: SpecError) -> SpecError:
        """A complaint about a field of this mapping by those who saw only its values: with file and line."""
        return error.at(line=self.line(*error.field.split(".")), source=self._source)

    def has(self, name: str) -> bool:
        return self._raw.get(name) is not None

    def raw(self, name: str, default: Any = None) -> Any:
        """The value as it stands, plain containers, ``default`` when absent."""
        self._read.add(name)
        return plain(self._raw[name]) if self.has(name) else default

    def read(self, name: str, parse: Callable[[Any, str], Value], default: Value) -> Value:
        """The value parsed; the parser's `SpecError` gets the field's name and line."""
        if self.has(name):
            return self.required(name, parse)
        self._read.add(name)
        return default

    def required(self, name: str, parse: Callable[[Any, str], Value]) -> Value:
        """As `read`, for a field that must be there."""
        self._read.add(name)
        if not self.has(name):
            raise self.error(name, "is required")
        try:
            return parse(self._raw[name], self._dotted(name))
        except SpecError as error:
            raise error.at(line=self.line(name), source=self._source) from None

    def fields(self, name: str) -> "Fields":
        """The mapping under ``name``; an empty one when absent."""
        self._read.add(name)
        value = self._raw.get(name)
        if value is None:
            value = {}
        if not isinstance(value, Mapping):
            raise self.error(name, "must be a mapping of fields", plain(value))
        return Fields(value, self._dotted(name), self._source)

    def to_dict(self) -> dict[str, Any]:
        """The whole mapping as it stands, plain containers; nothing counts as read."""
        return {str(name): plain(value) for name, value in self._raw.items()}

    def names(self) -> Iterator[str]:
        """Names of all fields, in the order of the document; reading them is left to the caller."""
        return iter([str(name) for name in self._raw])

    def done(self) -> None:
        """Complains about the first field that was not read."""
        for name in self._raw:
            if name not in self._read:
                known = ", ".join(sorted(self._read)) or "none"
                raise self.error(str(name), f"is not known here; known are {known}")

    def _dotted(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name

    def line(self, *path: str) -> int | None:
        """1-based line of the field to which the names lead, or of the last mapping on the way that is there."""
        raw, line = self._raw, None
        if isinstance(raw, CommentedMap):
            line = int(raw.lc.line) + 1
        for name in path:
            if not isinstance(raw, CommentedMap) or name not in raw:
                break
            line = int(raw.lc.key(name)[0]) + 1
            raw = raw[name]
        return line


def read_file(path: Path) -> Fields:
    """A YAML 1.2 file whose top level is a mapping; raises `NotFoundError` or `SpecError` with the line."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFoundError(f"no file {str(path)!r}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError("file", f"must be a readable UTF-8 text file ({error})", source=str(path)) from None
    return read_text(text, str(path))


def read_text(text: str, source: str) -> Fields:
    """As `read_file`, from text; ``source`` names it in complaints."""
    try:
        raw = YAML(typ="rt", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        problem = (error.problem or "cannot be read").replace("\n", " ")
        line = mark.line + 1 if mark is not None else None
        raise SpecError("document", f"must be YAML 1.2: {problem}", line=line, source=source) from None
    except (YAMLError, ValueError) as error:  # ValueError: a number that Python refuses
        raise SpecError("document", f"must be YAML 1.2: {error}", source=source) from None
    except RecursionError:
        raise SpecError("document", "must be nested less deeply", source=source) from None
    if not isinstance(raw, Mapping):
        raise SpecError("document", "must be a mapping of fields", plain(raw), line=1, source=source)
    return Fields(raw, source=source)


def plain(value: Any) -> Any:
    """Containers and scalars of the YAML reader as those of Python."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, CommentedSeq)):
        return [plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, ScalarBoolean):  # a boolean with an anchor, which is an int to Python
        return bool(value)
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return str(value)


def text(value: Any, field: str) -> str:
    """A parser for `Fields.read`: non-empty text."""
    if not isinstance(value, str) or not value.strip():
        raise SpecError(field, "must be text", plain(value))
    return str(value)


def whole(minimum: int) -> Callable[[Any, str], int]:
    """A parser for `Fields.read`: a whole number of at least ``minimum``."""

    def parse(value: Any, field: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise SpecError(field, f"must be a whole number of at least {minimum}", plain(value))
        return int(value)

    return parse


def positive(value: Any, field: str) -> float:
    """A parser for `Fields.read`: a finite number above 0."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf:
        raise SpecError(field, "must be a number above 0", plain(value))
    return float(value)


def one_of(*names: str) -> Callable[[Any, str], str]:
    """A parser for `Fields.read`: one of the given words."""

    def parse(value: Any, field: str) -> str:
        if value not in names:
            raise SpecError(field, f"must be one of {', '.join(names)}", plain(value))
        return str(value)

    return parse
