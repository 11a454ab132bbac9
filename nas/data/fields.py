"""Checks of what a user wrote about a corpus."""

from collections.abc import Collection, Mapping
from typing import Any

from nas.errors import SpecError


def check_keys(reference: Mapping[str, Any], known: Collection[str]) -> None:
    """Raises `SpecError` naming the first key that is not known, and those that are."""
    for key in reference:
        if key not in known:
            raise SpecError(f"corpus.{key}", f"must be one of the known fields {', '.join(known)}", key)


def text(reference: Mapping[str, Any], key: str, default: str | None = None) -> str:
    """A field that must be a non-empty string; raises `SpecError`."""
    value = reference.get(key, default)
    if not isinstance(value, str) or not value:
        raise SpecError(f"corpus.{key}", "must be a non-empty string", value)
    return value


def optional_text(reference: Mapping[str, Any], key: str, default: str | None = None) -> str | None:
    """As `text`, for a field that may be left out."""
    return default if reference.get(key) is None else text(reference, key)
