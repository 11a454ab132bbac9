"""What is believed of candidates' losses at the end: measured of those that were completed, expected of those that
were stopped or are in training by what completed ones lost after the same rung, and of any other point by both and by
a scaling law.

Shape legend: N candidates, D features, K costs. Costs are logarithms.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.acquire import best_within
from nas.candidate import Candidate
from nas.encode import Encoding
from nas.extrapolate import Drop, fit_drop
from nas.prune import Outlook
from nas.records import CandidateRecord, CandidateState, Origin, predicted_cost
from nas.roster import Roster
from nas.surrogate import Surrogate, fit

Floats = NDArray[np.float64]

LEARNED_FROM = 384  # losses that the model holds, those nearest to the front: its time grows with their cube
DIVERGED = 0.1  # doubt of the loss that a run stands for whose own was not finite
LEAST_ENDS = 6  # completed runs; before, no prediction stops anything
CHEAPEST = 1e-9  # of a cost that has a logarithm
MEASURED = (CandidateState.COMPLETED, CandidateState.DIVERGED)
"""Whose ends speak for a run that may be stopped. Those of stopped runs are expected by the same drop as its own, so
that its errors would confirm each other."""


@dataclass(frozen=True, slots=True)
class Known:
    """A candidate that teaches something, as what learns sees it."""

    record: CandidateRecord
    features: Floats
    costs: Floats


@dataclass(frozen=True)
class Belief:
    """Features (N, D), costs (N, K), losses and their standard deviation (N,), which is 0 for what was measured."""

    features: Floats
    costs: Floats
    losses: Floats
    doubt: Floats

    def __len__(self) -> int:
        return len(self.losses)


class Beliefs:
    """Of one search. Everything follows from the records.

    Args:
        worst: a loss that nothing trained exceeds; what diverged stands for it.
        earlier: completed candidates of other searches, whose losses compare with this one's: the model learns from
            them, and the front is not theirs.
    """

    def __init__(
        self, encode: Encoding, names: Sequence[str], worst: float, earlier: Iterable[CandidateRecord] = ()
    ) -> None:
        self._encode, self._names, self._worst = encode, names, worst
        self._features: dict[int, Floats] = {}
        self._earlier = [
            Known(own, encode(own.knobs, Candidate.from_dict(own.candidate)), self.log_costs(own.costs.__getitem__))
            for own in earlier
            if own.knobs and own.val_bpb is not None and own.costs.keys() >= set(names)
        ]

    def log_costs(self, value: Callable[[str], Any]) -> Floats:
        """(K,) by the name of a cost."""
        return np.array([math.log(max(float(value(name)), CHEAPEST)) for name in self._names])

    def known(self, roster: Roster) -> list[Known]:
        """Those that teach something: not what was refused or broke, came from outside the space, is final, or was
        given and waits for the costs that the device decides."""
        unlearned = (CandidateState.REJECTED, CandidateState.FAILED, CandidateState.CANCELLED)
        kept = (
            own
            for own in roster
            if own.knobs
            and own.origin is not Origin.FINAL
            and own.state not in unlearned
            and all(name in own.costs for name in self._names)
        )
        return [self._as_known(own) for own in kept]

    def belief(self, roster: Roster, known: Collection[Known]) -> Belief:
        """Of candidates that have at least a loss at a rung."""
        drops = self._drops(roster, known)
        rows = [(own, float(own.record.val_bpb or 0.0), 0.0) for own in self._earlier]
        rows += [(own, *end) for own in known if (end := self._end(own, roster.losses(own.record.number), drops))]
        return Belief(
            np.array([own.features for own, _, _ in rows]),
            np.array([own.costs for own, _, _ in rows]).reshape(len(rows), len(self._names)),
            np.array([loss for _, loss, _ in rows]),
            np.array([doubt for _, _, doubt in rows]),
        )

    def model(self, belief: Belief) -> Surrogate:
        best = best_within(belief.costs, belief.costs, belief.losses, self._worst)
        kept = np.sort(np.argsort(belief.losses - best, kind="stable")[:LEARNED_FROM])
        return fit(belief.features[kept], belief.losses[kept], belief.doubt[kept])

    def outlook(self, roster: Roster, number: int, rung: float, loss: float) -> Outlook | None:
        """Where a run is expected to end that had a loss at a rung, by its curve and by its like, against the best that
        costs no more; ``None`` while too little is known."""
        known = self.known(roster)
        own = next((other for other in known if other.record.number == number), None)
        others = [other for other in known if other.record.number != number]
        ends = [other for other in others if other.record.val_bpb is not None]
        if own is None or len(ends) < LEAST_ENDS:
            return None
        within = [other for other in ends if np.all(other.costs <= own.costs)]
        if not within:
            return None
        best = min(within, key=lambda other: float(other.record.val_bpb or math.inf))
        by_curve = self._drop(roster, ends, rung).predict(own.features[None], np.array([loss]))
        model = self.model(self.belief(roster, [other for other in others if other.record.state in MEASURED]))
        like, doubt = model.predict(own.features[None])
        by_like = like, np.hypot(doubt, model.noise)  # it is a measurement that is foreseen, not the function's value
        mean, deviation = _product(*((float(one[0]), float(two[0])) for one, two in (by_curve, by_like)))
        return Outlook(mean, deviation, float(best.record.val_bpb or math.inf), best.record.number)

    def _as_known(self, record: CandidateRecord) -> Known:
        if record.number not in self._features:
            self._features[record.number] = self._encode(record.knobs, Candidate.from_dict(record.candidate))
        costs = self.log_costs(lambda name: predicted_cost(record.costs, name))
        return Known(record, self._features[record.number], costs)

    def _end(
        self, own: Known, losses: Mapping[float, float], drops: Mapping[float, Drop]
    ) -> tuple[float, float] | None:
        """(loss, its standard deviation); ``None`` while nothing is known."""
        if own.record.val_bpb is not None:
            return own.record.val_bpb, 0.0
        if own.record.state is CandidateState.DIVERGED:
            return self._worst, DIVERGED
        if not losses:
            return None
        rung = max(losses)
        mean, deviation = drops[rung].predict(own.features[None], np.array([losses[rung]]))
        return float(mean[0]), float(deviation[0])

    def _drops(self, roster: Roster, known: Collection[Known]) -> dict[float, Drop]:
        rungs = {max(losses) for own in known if (losses := roster.losses(own.record.number))}
        return {rung: self._drop(roster, known, rung) for rung in rungs}

    def _drop(self, roster: Roster, known: Collection[Known], rung: float) -> Drop:
        """By those that were completed and had a loss at the rung."""
        whole = [
            (own.features, losses[rung], own.record.val_bpb)
            for own in known
            if own.record.val_bpb is not None and rung in (losses := roster.losses(own.record.number))
        ]
        features, at_rung, ends = zip(*whole, strict=True) if whole else ((), (), ())
        return fit_drop(np.array(features), np.array(at_rung), np.array(ends))


def _product(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """(mean, deviation) of what two independent opinions say together."""
    weights = [deviation**-2 for _, deviation in (one, other)]
    mean = (one[0] * weights[0] + other[0] * weights[1]) / sum(weights)
    return mean, sum(weights) ** -0.5
