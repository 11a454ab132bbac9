"""Column types that hold the same values on SQLite and on PostgreSQL."""

import math
import operator
from collections.abc import Mapping
from typing import Any

from sqlalchemy import JSON, Dialect, Double, Numeric, String, Text, TypeDecorator
from sqlalchemy.types import TypeEngine

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class ExactInteger(TypeDecorator[int]):
    """An integer of up to 38 digits: FLOPs pass 2**63.

    PostgreSQL keeps it as NUMERIC(38, 0). SQLite would turn a number beyond 64 bits into a float, so it is
    decimal text there: exact, but not to be summed or ordered by SQL.
    """

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else Numeric(38, 0))

    def process_bind_param(self, value: int | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        exact = operator.index(value)  # refuses floats: 1e21 is no exact count
        return str(exact) if dialect.name == "sqlite" else exact

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:
        return None if value is None else int(value)


class FiniteFloat(TypeDecorator[float]):
    """A float; NaN and infinity become NULL, which a required column refuses."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:
        return float(value) if value is not None and math.isfinite(value) else None

    def process_result_value(self, value: Any, dialect: Dialect) -> float | None:
        return None if value is None else float(value)  # SQLite's RETURNING gives 1.0 as an integer


class Words(TypeDecorator[str]):
    """Text from anywhere. What PostgreSQL cannot hold (NUL, lone surrogates) becomes U+FFFD on both databases,
    so that no error message or host name can stop a search."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        valid = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return valid.replace("\0", REPLACEMENT)


class Document(TypeDecorator[dict[str, Any]]):
    """A JSON object; NaN and infinity, which JSON does not know, become null."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: Mapping[str, Any] | None, dialect: Dialect) -> dict[str, Any] | None:
        plain: dict[str, Any] | None = _json_ready(value)
        return plain


def _json_ready(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_ready(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
