"""A table: all runs of a corpus in columns, as they lie in the repository."""

import json
import lzma
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.tabular.grid import COMPUTE, EVALUATIONS, Run
from benchmarks.tabular.training import EVALUATED, Trained
from nas.data.texts import Texts
from nas.errors import NotFoundError
from nas.plan import TextFacts
from nas.space import Space

FOLDER = Path(__file__).with_name("data")
REPORTS = 32
"""Training losses of a curve, evenly over progress."""
DIGITS = 5
"""Of losses after the point; seeds differ in the second."""
Floats = npt.NDArray[np.float64]
Facts = Mapping[tuple[int, int], TextFacts]
"""Sizes of a text by vocabulary and context."""


@dataclass(frozen=True, eq=False)
class Table:
    """Runs in columns; the shapes are (runs,) unless another one is named.

    Attributes:
        about: corpus, compute of a run in FLOPs, machine, versions; ``brief`` for runs that were scored at the end
            alone, and then on the rungs' subset.
        facts: of the text, so that a plan can be made without it.
        knobs: of each run.
        val_bpb, val_error: of the whole validation split at the end; not a number for a loss that was not finite.
        train: bits per byte at the 32nds of progress, (runs, 32); not a number where a run reported none.
        validation: bits per byte on the rungs' subset at the 16ths below 1, (runs, 15); likewise.
        peak_memory: bytes of a step, by a probe; 0 where it gave no answer.
        seconds: of one thread, evaluations included.
    """

    about: Mapping[str, Any]
    facts: Facts
    knobs: tuple[Mapping[str, Any], ...]
    ids: tuple[str, ...]
    seeds: npt.NDArray[np.int64]
    steps: npt.NDArray[np.int64]
    step_flops: npt.NDArray[np.int64]
    eval_flops: npt.NDArray[np.int64]
    peak_memory: npt.NDArray[np.int64]
    seconds: Floats
    val_bpb: Floats
    val_error: Floats
    train: Floats
    validation: Floats

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def evaluated(self) -> tuple[float, ...]:
        """Progress at which each run was scored on its way."""
        return () if self.about.get("brief") else EVALUATED


def name_of(corpus: str, compute: int, brief: bool = False) -> str:
    """Of a table's file, which bears what is not the grid's own: ``austen``, ``austen-4000G``, ``austen-44G-brief``."""
    other = "" if compute == COMPUTE else f"-{compute / 1e9:g}G"
    return corpus + other + "-brief" * brief


def facts_of(texts: Texts, space: Space) -> Facts:
    """Of all vocabularies and contexts of a space."""
    both = [(int(own), int(other)) for own in space.values("vocabulary") for other in space.values("context")]
    return {own: texts.facts(*own) for own in both}


def table_of(runs: Iterable[Trained], about: Mapping[str, Any], facts: Facts) -> Table:
    """In the order of candidates' ids and seeds, so that the same runs make the same table."""
    ordered = sorted(runs, key=lambda run: (run.id, run.seed))

    def integers(name: str) -> npt.NDArray[np.int64]:
        return np.array([getattr(run, name) or 0 for run in ordered], dtype=np.int64)

    def floats(name: str) -> Floats:
        return np.array([_number(getattr(run, name)) for run in ordered], dtype=np.float64).round(DIGITS)

    def curves(name: str, places: int, parts: int) -> Floats:
        return np.array([_curve(getattr(run, name), places, parts) for run in ordered], dtype=np.float64).round(DIGITS)

    return Table(
        about=about,
        facts=facts,
        knobs=tuple(run.knobs for run in ordered),
        ids=tuple(run.id for run in ordered),
        seeds=integers("seed"),
        steps=integers("steps"),
        step_flops=integers("step_flops"),
        eval_flops=integers("eval_flops"),
        peak_memory=integers("peak_memory"),
        seconds=floats("seconds"),
        val_bpb=floats("val_bpb"),
        val_error=floats("val_error"),
        train=curves("train", REPORTS, REPORTS),
        validation=curves("validation", EVALUATIONS - 1, EVALUATIONS),
    )


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _curve(points: Iterable[tuple[float, float]], places: int, parts: int) -> list[float]:
    """Losses at the parts of progress that a point was reported for: the first at or after each."""
    found = [float("nan")] * places
    for progress, loss in points:
        place = min(places, int(progress * parts + 1e-9)) - 1
        if place >= 0:
            found[place] = loss
    return found


# --- files ---

INTEGERS = ("seeds", "steps", "step_flops", "eval_flops", "peak_memory")
FLOATS = ("seconds", "val_bpb", "val_error", "train", "validation")


def pack(table: Table, path: Path) -> None:
    """Writes what `load` reads; the same table gives the same bytes."""
    names = sorted({name for knobs in table.knobs for name in knobs})
    raw = {
        "about": dict(table.about),
        "facts": [
            {"vocabulary": own, "context": other, **asdict(facts)}
            for (own, other), facts in sorted(table.facts.items())
        ],
        "ids": table.ids,
        "knobs": {name: [knobs[name] for knobs in table.knobs] for name in names},
        **{name: _plain(getattr(table, name)) for name in (*INTEGERS, *FLOATS)},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lzma.compress(json.dumps(raw, sort_keys=True).encode(), preset=9))


def _plain(column: npt.NDArray[Any]) -> list[Any]:
    """JSON has no number for what is none."""
    return [_plain(own) if isinstance(own, np.ndarray) else (None if own != own else own.item()) for own in column]


def load(corpus: str, folder: Path = FOLDER) -> Table:
    """Raises `NotFoundError` when there is no table of that corpus."""
    path = folder / f"{corpus}.json.xz"
    if not path.is_file():
        known = ", ".join(sorted(own.name.removesuffix(".json.xz") for own in folder.glob("*.json.xz"))) or "none"
        raise NotFoundError(f"corpus: must have a table, of which there are: {known}; found {corpus!r}")
    raw = json.loads(lzma.decompress(path.read_bytes()))
    arrays: dict[str, Any] = {name: np.array(raw[name], dtype=np.int64) for name in INTEGERS}
    arrays |= {name: np.array(raw[name], dtype=np.float64) for name in FLOATS}
    knobs = tuple(dict(zip(raw["knobs"], own, strict=True)) for own in zip(*raw["knobs"].values(), strict=True))
    facts = {(own.pop("vocabulary"), own.pop("context")): TextFacts(**own) for own in raw["facts"]}
    return Table(about=raw["about"], facts=facts, ids=tuple(raw["ids"]), knobs=knobs, **arrays)


def run_of(table: Table, index: int) -> Run:
    """Which run of the grid that row is."""
    return Run(table.knobs[index], int(table.seeds[index]))
