"""Traces that are kept, so that a comparison goes on where it was ended and peers need not be run again."""

import json
import lzma
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.search.trace import Trace


@dataclass(frozen=True)
class About:
    """What traces are of. ``tables`` are digests; ``versions`` those of the packages that made them."""

    corpus: str
    method: str
    tables: tuple[str, ...]
    versions: Mapping[str, str]

    def differs(self, kept: Mapping[str, Any]) -> str:
        """Why traces that are kept are not of this; empty when they are. A package that is not here is not compared."""
        for name in ("corpus", "method"):
            if kept[name] != getattr(self, name):
                return f"{name} {kept[name]}"
        if tuple(kept["tables"]) != self.tables:
            return "another table"
        others = [f"{name} {kept['versions'].get(name)}" for name, own in self.versions.items()
                  if kept["versions"].get(name) != own]  # fmt: skip
        return ", ".join(others)


class Shelf:
    """The traces of a method on a corpus, by seed. What is of something else is refused, and replaced by the first
    trace that is put."""

    def __init__(self, path: Path, about: About) -> None:
        self._path, self._about, self.refused = path, about, ""
        self.traces: dict[int, Trace] = {}
        if path.is_file():
            raw = json.loads(lzma.decompress(path.read_bytes()))
            self.refused = about.differs(raw["about"])
            if not self.refused:
                self.traces = {int(seed): Trace.from_dict(own) for seed, own in raw["traces"].items()}

    def put(self, seed: int, trace: Trace) -> None:
        self.traces[seed] = trace
        traces = {str(own): self.traces[own].to_dict() for own in sorted(self.traces)}
        packed = json.dumps({"about": asdict(self._about), "traces": traces}, sort_keys=True).encode()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_suffix(".part")
        part.write_bytes(lzma.compress(packed))
        part.replace(self._path)

    def clear(self) -> None:
        self.traces.clear()
