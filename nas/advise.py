"""What to train next: thousands of points are weighed in closed form, and the one that is expected to bring the front
the most for its FLOPs is proposed.

Costs are known before training, so only the loss is modelled: what completed runs ended at, what stopped and running
ones are expected to end at by their curves, and what a scaling law says. Everything follows from the seed and the
records, so that an advisor that is built again goes on as if it had never died.
"""

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.acquire import best_within, cost_limits, expected_gain
from nas.appraise import Appraiser
from nas.candidate import Candidate
from nas.encode import Encoding
from nas.extrapolate import Drop, fit_drop
from nas.plan import Allowance, expected_excess
from nas.records import CandidateRecord, CandidateState, Origin, predicted_cost
from nas.roster import Roster
from nas.space import Knobs, Space
from nas.spec import LOSS
from nas.surrogate import Surrogate, fit

Floats = NDArray[np.float64]

POOL = 2048  # points that are drawn once; a space of no more points is weighed whole
NEIGHBOURS = 96  # points beside the front's members, drawn anew for each proposal
LEARNED_FROM = 384  # candidates whose losses the model holds: its time grows with their cube
DIVERGED = 0.1  # doubt of the loss that a run stands for whose own was not finite
LEAST_KNOWN = 3  # losses; before so many are there, the law alone says what is promising


@dataclass(frozen=True, slots=True)
class Point:
    """A point that may be proposed: costs are logarithms, FLOPs are those of its run with its evaluations."""

    knobs: Knobs
    id: str
    features: Floats
    costs: Floats
    flops: int


@dataclass(frozen=True, slots=True)
class Belief:
    """What is known of candidates' losses at the end: features (N, D), costs (N, K), losses and their doubt (N,)."""

    features: Floats
    costs: Floats
    losses: Floats
    doubt: Floats

    @property
    def measured(self) -> NDArray[np.bool_]:
        return np.asarray(self.doubt == 0)


class Advisor:
    """Proposes points of a space by the expected gain of hypervolume for each FLOP.

    Args:
        reference: the hypervolume's, one value per objective.
    """

    def __init__(
        self,
        space: Space,
        appraiser: Appraiser,
        grant: Allowance,
        minimize: Sequence[str],
        reference: Sequence[float],
        seed: int,
    ) -> None:
        self._space, self._appraiser, self._grant, self._seed = space, appraiser, grant, seed
        self._names = [name for name in minimize if name != LOSS]
        by_name = dict(zip(minimize, reference, strict=True))
        self._worst = by_name[LOSS]
        self._dearest = np.log([by_name[name] for name in self._names])
        drawn = [(knobs, space.decode(knobs)) for knobs in _drawn(space, seed)]
        self._encode = Encoding(space, self._law, [candidate for _, candidate in drawn])
        self._pool = self._points(drawn)
        self._known: dict[int, Point | None] = {}
        cheapest = np.min([own.costs for own in self._pool], axis=0) if self._pool else self._dearest - 1
        self._limits = cost_limits(cheapest, self._dearest)

    def propose(self, roster: Roster, known: set[str], key: int) -> Knobs | None:
        """The most promising of the points that are not ``known``, by their candidates' ids; ``None`` when there is
        none. ``key`` seeds what is drawn for this proposal."""
        belief = self._belief(roster)
        points = [own for own in (*self._pool, *self._neighbours(roster, key)) if own.id not in known]
        if not points:
            return None
        features = np.array([own.features for own in points])
        if len(belief.losses) < LEAST_KNOWN:
            return points[int(np.argmin(features[:, -1]))].knobs
        mean, deviation = self._model(belief).predict(features)
        costs = np.array([own.costs for own in points])
        best = best_within(self._limits, belief.costs[belief.measured], belief.losses[belief.measured], self._worst)
        gain = expected_gain(self._limits, best, costs, mean, deviation)
        return points[int(np.argmax(gain / [own.flops for own in points]))].knobs

    # --- what is known ---

    def _belief(self, roster: Roster) -> Belief:
        known = {own.number: (own, point) for own in roster if (point := self._point_of(own)) is not None}
        ends = {number: float(own.val_bpb) for number, (own, _) in known.items() if own.val_bpb is not None}
        drops: dict[float, Drop] = {}
        rows: list[tuple[Point, float, float]] = []
        for number, (own, point) in known.items():
            losses = roster.losses(number)
            if number in ends:
                rows.append((point, ends[number], 0.0))
            elif own.state is CandidateState.DIVERGED:
                rows.append((point, self._worst, DIVERGED))
            elif losses:
                rung = max(losses)
                if rung not in drops:
                    whole = [n for n in ends if rung in roster.losses(n)]
                    at_rung = [roster.losses(n)[rung] for n in whole]
                    drops[rung] = self._drop([known[n][1] for n in whole], at_rung, [ends[n] for n in whole])
                mean, deviation = drops[rung].predict(point.features[None], np.array([losses[rung]]))
                rows.append((point, float(mean[0]), float(deviation[0])))
        return Belief(
            np.array([point.features for point, _, _ in rows]),
            np.array([point.costs for point, _, _ in rows]).reshape(len(rows), len(self._names)),
            np.array([loss for _, loss, _ in rows]),
            np.array([doubt for _, _, doubt in rows]),
        )

    @staticmethod
    def _drop(points: Sequence[Point], losses: Sequence[float], ends: Sequence[float]) -> Drop:
        features = np.array([own.features for own in points]).reshape(len(points), -1)
        return fit_drop(features, np.array(losses), np.array(ends))

    def _model(self, belief: Belief) -> Surrogate:
        """Of the losses that are nearest to the front."""
        best = best_within(belief.costs, belief.costs, belief.losses, self._worst)
        kept = np.sort(np.argsort(belief.losses - best, kind="stable")[:LEARNED_FROM])
        return fit(belief.features[kept], belief.losses[kept], belief.doubt[kept])

    def _point_of(self, record: CandidateRecord) -> Point | None:
        """``None`` for what teaches nothing: refused, broken, from outside the space, the final run."""
        learned = record.state not in (CandidateState.REJECTED, CandidateState.FAILED, CandidateState.CANCELLED)
        if not learned or not record.knobs or record.origin is Origin.FINAL:
            return None
        if record.number not in self._known:
            candidate = Candidate.from_dict(record.candidate)
            costs = np.log([predicted_cost(record.costs, name) for name in self._names])
            features = self._encode(record.knobs, candidate)
            self._known[record.number] = Point(record.knobs, record.id, features, costs, 0)
        return self._known[record.number]

    # --- what may be proposed ---

    def _law(self, candidate: Candidate) -> float:
        return expected_excess(candidate, self._grant.flops, self._appraiser.texts.bytes_per_token)

    def _points(self, drawn: Iterable[tuple[Knobs, Candidate]]) -> list[Point]:
        """Those that the closed forms admit, each candidate once."""
        rough, points = self._appraiser.rough(), {}
        for knobs, candidate in drawn:
            if candidate.id in points or not rough.admits(candidate, self._grant):
                continue
            plan = rough.plan(candidate, self._grant)
            own = rough.costs(candidate, plan)
            costs = np.log([own[name] for name in self._names])
            points[candidate.id] = Point(knobs, candidate.id, self._encode(knobs, candidate), costs, max(1, plan.flops))
        return list(points.values())

    def _neighbours(self, roster: Roster, key: int) -> list[Point]:
        """Points that differ little from members of the front; none in a space that is weighed whole."""
        done = [own for own in roster if own.state is CandidateState.COMPLETED and own.knobs]
        if not done or self._space.size <= POOL:
            return []
        costs = np.array([[math.log(own.costs[name]) for name in self._names] for own in done])
        losses = np.array([own.val_bpb for own in done], dtype=np.float64)
        front = np.flatnonzero(losses <= best_within(costs, costs, losses, np.inf))
        rng = random.Random(f"neighbours/{self._seed}/{key}")
        drawn = (self._space.neighbour(done[rng.choice(front)].knobs, rng) for _ in range(NEIGHBOURS))
        return self._points((knobs, self._space.decode(knobs)) for knobs in drawn)


def _drawn(space: Space, seed: int) -> Iterable[Knobs]:
    if space.size <= POOL:
        return space.grid(*(knob.name for knob in space.knobs))
    rng = random.Random(f"pool/{seed}")
    return (space.sample(rng) for _ in range(POOL))
