"""Whether a spec may be searched with on this server: it is data of somebody else."""

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from nas.data.builtin import BUILTIN
from nas.errors import RefusedError, SpecError
from nas.space import Space, load_space, space_names
from nas.spec import SearchSpec, parse_spec
from nas.units import format_flops
from services.controller.settings import Quotas

INSIDE = "must be a name, or a path below the server's corpora (see nas corpora)"


def admitted(raw: Mapping[str, Any], corpora: Path, quotas: Quotas) -> tuple[SearchSpec, Space]:
    """The spec with its space.

    Raises:
        SpecError: what breaks a rule of specs, or reaches for files or addresses that are not for it.
        RefusedError: what asks for more than the server gives.
    """
    spec = parse_spec(raw)
    check_corpus(spec.corpus, corpora)
    if isinstance(spec.space, str) and spec.space not in space_names():
        raise SpecError("space", f"must be a mapping, or one of {', '.join(space_names())}", spec.space)
    space = load_space(spec.space)
    if spec.budget.total.compute > quotas.compute:
        found, most = format_flops(spec.budget.total.compute), format_flops(quotas.compute)
        raise RefusedError(f"budget.total.compute: must be at most {most} on this server, found {found}")
    return spec, space


def check_corpus(reference: str | Mapping[str, Any], corpora: Path) -> None:
    """Raises `SpecError` unless it is a corpus of the package, or files of the server's folder of corpora."""
    if isinstance(reference, str):
        if reference not in BUILTIN:
            _check_path("corpus", reference, corpora)
        return
    if "huggingface" in reference:
        raise SpecError("corpus", "must be files: a server opens no addresses", dict(reference))
    for split, patterns in reference.items():
        for pattern in _texts(patterns):
            if pattern != "auto":
                _check_path(f"corpus.{split}", pattern, corpora)


def _texts(patterns: Any) -> Iterator[str]:
    yield from [patterns] if isinstance(patterns, str) else (str(own) for own in patterns)


def _check_path(field: str, pattern: str, corpora: Path) -> None:
    """Also what a pattern may match, and where links lead, is inside."""
    path = PurePosixPath(pattern)
    if path.is_absolute() or ".." in path.parts or "\\" in pattern or "\0" in pattern or "~" in pattern[:1]:
        raise SpecError(field, INSIDE, pattern)
    root = corpora.resolve()
    literal = (root / pattern).resolve()
    if not literal.is_relative_to(root):
        raise SpecError(field, INSIDE, pattern)
