"""How far predictions are off, and whether that is what was claimed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Pairs = Sequence[tuple[float, float]]
"""What was predicted, and what was measured (above 0)."""


def quantile(values: Sequence[float], q: float) -> float:
    """Between the two values that lie around it, in proportion."""
    return float(np.quantile(np.array(values, dtype=np.float64), q))


@dataclass(frozen=True, slots=True)
class Errors:
    """Relative errors of predictions.

    Attributes:
        mean, p90, p95: of their amounts; the mean is the MAPE.
        worst: the largest, with its sign: above 0 too much was predicted.
    """

    mean: float
    p90: float
    p95: float
    worst: float

    @classmethod
    def of(cls, pairs: Pairs) -> "Errors":
        signed = [predicted / measured - 1 for predicted, measured in pairs]
        amounts = [abs(error) for error in signed]
        return cls(
            mean=sum(amounts) / len(amounts),
            p90=quantile(amounts, 0.9),
            p95=quantile(amounts, 0.95),
            worst=max(signed, key=abs),
        )

    @property
    def largest(self) -> float:
        """The amount of the worst."""
        return abs(self.worst)

    def cells(self) -> list[str]:
        """For a row of a table under `ERRORS`."""
        return [percent(self.mean), percent(self.p90), percent(self.p95), f"{self.worst:+.2%}"]


ERRORS = ["MAPE", "p90", "p95", "worst"]


def above(pairs: Pairs) -> int:
    """How often more was measured than predicted."""
    return sum(measured > predicted for predicted, measured in pairs)


# --- what is claimed ---

Shown = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Target:
    """A number that was measured, and what it is to be at most."""

    what: str
    measured: float
    most: float
    shown: Shown = "{:.0f}".format

    @property
    def kept(self) -> bool:
        return self.measured <= self.most

    def cells(self) -> list[str]:
        """For a row of a table under `TARGETS`."""
        return [self.what, self.shown(self.measured), self.shown(self.most), "ok" if self.kept else "missed"]


TARGETS = ["what", "measured", "target: at most", "verdict"]


def percent(value: float) -> str:
    return f"{value:.2%}"


def milliseconds(value: float) -> str:
    """Of seconds."""
    return f"{1000 * value:.3g} ms" if value < 1 else f"{value:.3g} s"
