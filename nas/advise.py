"""What to train next: thousands of points are weighed in closed form, and the one that is expected to bring the front
the most for its FLOPs is proposed.

Costs are known before training, so only the loss is modelled (`nas.belief`). Everything follows from the seed and the
records, so that an advisor that is built again goes on as if it had never died.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.acquire import best_within, cost_limits, expected_gain, gains
from nas.appraise import Appraiser
from nas.belief import Beliefs, Known
from nas.candidate import Candidate
from nas.encode import Encoding
from nas.plan import Allowance
from nas.prune import Outlook
from nas.records import CandidateRecord, Estimate, Prospects
from nas.roster import Roster
from nas.scaling import expected_excess
from nas.space import Knobs, Space
from nas.spec import LOSS
from nas.surrogate import Surrogate

Floats = NDArray[np.float64]

POOL = 2048  # points that are drawn once; a space of no more points is weighed whole
NEIGHBOURS = 64  # points beside the front's members, drawn anew for each proposal
DRAWS = 256  # cases of what is believed, of which an interval is made
MOST_AHEAD = 24  # proposals that are thought ahead
LEAST_KNOWN = 3  # losses; before so many are there, the law alone says what is promising


@dataclass(frozen=True, slots=True)
class Point:
    """A point that may be proposed: costs are logarithms, FLOPs are those of its run with its evaluations."""

    knobs: Knobs
    id: str
    features: Floats
    costs: Floats
    flops: int


class Advisor:
    """Proposes points of a space by the expected gain of hypervolume for each FLOP.

    Args:
        reference: the hypervolume's, one value per objective.
        earlier: as in `nas.belief.Beliefs`.
    """

    def __init__(
        self,
        space: Space,
        appraiser: Appraiser,
        grant: Allowance,
        minimize: Sequence[str],
        reference: Sequence[float],
        seed: int,
        earlier: Iterable[CandidateRecord] = (),
    ) -> None:
        self._space, self._appraiser, self._grant, self._seed = space, appraiser, grant, seed
        corner = dict(zip(minimize, reference, strict=True))
        self._worst = corner[LOSS]
        drawn = [(knobs, space.decode(knobs)) for knobs in _drawn(space, seed)]
        self._encode = Encoding(space, self._law, [candidate for _, candidate in drawn])
        self._beliefs = Beliefs(self._encode, [name for name in minimize if name != LOSS], self._worst, earlier)
        self._pool = self._points(drawn)
        dearest = self._beliefs.log_costs(corner.__getitem__)
        cheapest = np.min([own.costs for own in self._pool], axis=0) if self._pool else dearest
        self._limits = cost_limits(cheapest, dearest)

    def propose(self, roster: Roster, taken: set[str], key: int) -> Knobs | None:
        """The most promising of the points whose candidates' ids are not ``taken``; ``None`` when there is none.
        ``key`` seeds what is drawn for this proposal."""
        known = self._beliefs.known(roster)
        points = [own for own in (*self._pool, *self._neighbours(known, key)) if own.id not in taken]
        if not points:
            return None
        features = np.array([own.features for own in points])
        belief = self._beliefs.belief(roster, known)
        if len(belief) < LEAST_KNOWN:
            return points[int(np.argmin(features[:, -1]))].knobs
        model = self._beliefs.model(belief)
        mean, deviation = model.predict(features)
        costs = np.array([own.costs for own in points])
        gain = expected_gain(self._limits, self._best(known, model), costs, mean, deviation)
        return points[int(np.argmax(gain / [own.flops for own in points]))].knobs

    def outlook(self, roster: Roster, record: CandidateRecord, rung: float, loss: float) -> Outlook | None:
        """As `nas.belief.Beliefs.outlook`."""
        return self._beliefs.outlook(roster, record.number, rung, loss)

    def prospects(self, roster: Roster, taken: set[str], flops: int, key: int) -> Prospects | None:
        """What so many more FLOPs of search are expected to bring; ``None`` while too little is known."""
        known = self._beliefs.known(roster)
        belief = self._beliefs.belief(roster, known)
        points = [own for own in self._pool if own.id not in taken]
        losses = [own.record.val_bpb for own in known if own.record.val_bpb is not None]
        if len(losses) < LEAST_KNOWN or not points:
            return None
        model, now = self._beliefs.model(belief), float(min(losses))
        best = self._best(known, model)
        chosen = self._next_few(points, model, best, round(flops / self._flops_of_a_run(known, points)))
        drawn = model.draw(np.array([own.features for own in chosen]), DRAWS, key)
        widening = gains(self._limits, best, np.array([own.costs for own in chosen]), drawn)
        falls = np.maximum(now - drawn.min(axis=1), 0.0)
        volume = float(np.mean(self._worst - best)) or 1.0
        return Prospects(flops, len(chosen), _estimate(widening / volume), _estimate(falls))

    def final_gain(self, chosen: CandidateRecord, more: Allowance, less: Allowance) -> float:
        """By how much lower the chosen candidate's final run is expected to end with ``more`` than with ``less``, in
        bits per byte, by the scaling law."""
        return self._final_excess(chosen, less) - self._final_excess(chosen, more)

    def _final_excess(self, chosen: CandidateRecord, grant: Allowance) -> float:
        origin = Candidate.from_dict(chosen.candidate)
        candidate, plan = self._appraiser.final_run(origin, chosen.train_flops_planned, grant)
        return expected_excess(candidate, max(1, plan.train_flops), self._appraiser.texts.facts)

    def _flops_of_a_run(self, known: Sequence[Known], points: Sequence[Point]) -> float:
        """A planned run's, times the share that those that ended took of their plans."""
        over = [own.record for own in known if own.record.state.terminal]
        planned = sum(own.train_flops_planned for own in over)
        share = sum(own.train_flops_spent for own in over) / planned if planned else 1.0
        return max(1.0, float(np.mean([own.flops for own in points])) * share)

    def _next_few(self, points: Sequence[Point], model: Surrogate, best: Floats, count: int) -> list[Point]:
        """The points that would be proposed one after the other if each ended where it is expected to."""
        features, costs = np.array([own.features for own in points]), np.array([own.costs for own in points])
        mean, deviation = model.predict(features)
        flops, chosen = np.array([own.flops for own in points]), list[int]()
        for _ in range(min(max(1, count), MOST_AHEAD, len(points))):
            gain = expected_gain(self._limits, best, costs, mean, deviation) / flops
            gain[chosen] = -1.0
            chosen.append(int(np.argmax(gain)))
            best = np.minimum(best, best_within(self._limits, costs[chosen[-1:]], mean[chosen[-1:]], self._worst))
        return [points[index] for index in chosen]

    def _best(self, known: Sequence[Known], model: Surrogate) -> Floats:
        """The least loss within each limit; what is in training is taken to end where it is expected to."""
        counted = [own for own in known if own.record.val_bpb is not None or not own.record.state.terminal]
        if not counted:
            return np.full(len(self._limits), self._worst)
        expected, _ = model.predict(np.array([own.features for own in counted]))
        losses = [own.record.val_bpb or end for own, end in zip(counted, expected, strict=True)]
        return best_within(self._limits, np.array([own.costs for own in counted]), np.array(losses), self._worst)

    # --- what may be proposed ---

    def _law(self, candidate: Candidate) -> float:
        return expected_excess(candidate, self._grant.flops, self._appraiser.texts.facts)

    def _points(self, drawn: Iterable[tuple[Knobs, Candidate]]) -> list[Point]:
        """Those that the closed forms admit, each candidate once."""
        rough = self._appraiser.rough()
        points: dict[str, Point] = {}
        for knobs, candidate in drawn:
            if candidate.id in points or not rough.admits(candidate, self._grant):
                continue
            plan = rough.plan(candidate, self._grant)
            costs = self._beliefs.log_costs(rough.costs(candidate, plan).__getitem__)
            points[candidate.id] = Point(knobs, candidate.id, self._encode(knobs, candidate), costs, max(1, plan.flops))
        return list(points.values())

    def _neighbours(self, known: Sequence[Known], key: int) -> list[Point]:
        """Points that differ little from members of the front; none in a space that is weighed whole."""
        done = [own for own in known if own.record.val_bpb is not None]
        if not done or self._space.size <= POOL:
            return []
        costs, losses = np.array([own.costs for own in done]), np.array([own.record.val_bpb for own in done])
        front = np.flatnonzero(losses <= best_within(costs, costs, losses, np.inf))
        rng = random.Random(f"neighbours/{self._seed}/{key}")
        drawn = (self._space.neighbour(done[rng.choice(front)].record.knobs, rng) for _ in range(NEIGHBOURS))
        return self._points((knobs, self._space.decode(knobs)) for knobs in drawn)


def _estimate(cases: Floats) -> Estimate:
    low, high = np.quantile(cases, (0.1, 0.9))
    return Estimate(float(cases.mean()), float(low), float(high))


def _drawn(space: Space, seed: int) -> Iterable[Knobs]:
    if space.size <= POOL:
        return space.grid(*(knob.name for knob in space.knobs))
    rng = random.Random(f"pool/{seed}")
    return (space.sample(rng) for _ in range(POOL))
