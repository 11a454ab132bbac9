"""What commands print: data on stdout, everything else on stderr. JSON is a contract with a version."""

import json
import math
import sys
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

import typer

SCHEMA_VERSION = 1


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    ID = "id"


Output = Annotated[Format, typer.Option("-o", "--output", help="table, json (a versioned contract) or id.")]
TableOrJson = Annotated[
    Literal["table", "json"], typer.Option("-o", "--output", help="table or json (a versioned contract).")
]


def emit_json(content: Mapping[str, Any]) -> None:
    """One JSON object on stdout; numbers that are not finite become null."""
    print(json.dumps(_finite({"schema_version": SCHEMA_VERSION, **content}), indent=2))


def emit_lines(lines: Iterable[str]) -> None:
    """Lines on stdout, none for none."""
    for line in lines:
        print(line)


def say(line: str) -> None:
    """A line for people."""
    print(line, file=sys.stderr, flush=True)


def tell(topic: str, line: str) -> None:
    """A line for people about a topic, aligned with others of its kind."""
    say(_aligned(topic, line))


def print_topic(topic: str, line: str) -> None:
    """As `tell`, where such lines are what was asked for."""
    print(_aligned(topic, line), flush=True)


def _aligned(topic: str, line: str) -> str:
    return f"{topic:<11}{line}"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
