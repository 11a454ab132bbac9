"""Which runs make a table: every candidate of the space once, and some of them with further seeds."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nas.candidate import Candidate
from nas.space import Knobs, Space, load_space

SPACE = Path(__file__).with_name("space.yaml")
COMPUTE = 400_000_000_000
"""Training FLOPs of each run."""
SEEDS = 3
"""Of the candidates that show the noise."""
REPEATED = 24
EVALUATIONS = 16
"""Validation losses of a curve, evenly over progress; the last is that of the whole split."""


@dataclass(frozen=True, slots=True)
class Run:
    """One training run: a point of the grid and a seed of weights and batches."""

    knobs: Mapping[str, Any]
    seed: int = 0

    @property
    def key(self) -> tuple[tuple[tuple[str, Any], ...], int]:
        """Whatever the order of the knobs."""
        return tuple(sorted(self.knobs.items())), self.seed


@cache
def space() -> Space:
    return load_space(str(SPACE))


def points(own: Space) -> list[Knobs]:
    """Every point of a space whose knobs all have values, in the space's order."""
    return list(own.grid(*(knob.name for knob in own.knobs)))


def runs(own: Space, repeated: int = REPEATED, seeds: int = SEEDS) -> list[Run]:
    """All runs, in an order in which any beginning is an even part of the whole. Which candidates have several seeds
    follows from the grid and never from results."""
    shuffled = sorted(points(own), key=lambda knobs: _digest(own.decode(knobs)))
    first = [Run(knobs) for knobs in shuffled]
    return first + [Run(knobs, seed) for seed in range(1, seeds) for knobs in shuffled[:repeated]]


def _digest(candidate: Candidate) -> bytes:
    """A number by lot that stays a candidate's when the grid is extended, and says nothing of it."""
    return hashlib.sha256(f"table:{candidate.id}".encode()).digest()
