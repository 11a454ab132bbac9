"""What a search tries next: points of its space that are not yet known, each with the gate's verdict.

First the seeds, then by the policy what the model advises or the suggester proposes, and where that has brought nothing
new for long, points drawn at random. All of it follows from the seed and the records: a proposer that is built again
goes on as if it had never died.
"""

import math
import random
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nas.appraise import Appraiser
from nas.candidate import Candidate
from nas.gate import Admitted, Rejected
from nas.outcome import OUT_OF_MEMORY_EXCESS, objectives
from nas.plan import Allowance
from nas.policy import Policy
from nas.ports import Suggester, Suggestion
from nas.prune import Outlook
from nas.records import CandidateRecord, CandidateState, Origin, Prospects, measured_cost
from nas.roster import Roster
from nas.space import Knobs, Space
from nas.spec import LATENCY, PEAK_MEMORY

if TYPE_CHECKING:
    from nas.advise import Advisor

UNIFORM_TRIED = 256  # points of the even sequence, of which the first that are admitted are seeds
RANDOM_AFTER = 8  # suggestions in a row that were known or refused, after which a point is drawn at random
DRAWS = 4096  # of which none was new and admitted: the space counts as exhausted
MEASURED = "_measured"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A point of the space on its way to becoming a candidate."""

    suggestion: Suggestion
    candidate: Candidate
    origin: Origin
    verdict: Admitted | Rejected


class Proposer:
    """A search's dialogue with its suggester.

    Every proposal is answered by `accept` (it became a candidate) or `drop`, every candidate that ends by `learn`.
    What a driver that died had recorded and not yet told, in ``known``, is told first.
    """

    def __init__(
        self,
        space: Space,
        suggester: Suggester,
        appraiser: Appraiser,
        grant: Allowance,
        *,
        minimize: Sequence[str],
        seed: int,
        setting: Mapping[str, Any],
        roster: Roster,
        policy: Policy,
        earlier: Sequence[CandidateRecord] = (),
    ) -> None:
        """``setting`` is the search's, whose forecast names the baselines and the hypervolume's reference; ``earlier``
        is as in `nas.belief.Beliefs`."""
        self._space, self._suggester, self._appraiser, self._grant = space, suggester, appraiser, grant
        self._minimize, self._seed = minimize, seed
        self._roster, self._policy, self._earlier = roster, policy, earlier
        self._reference = setting.get("forecast", {}).get("reference")
        self._known = {own.id for own in roster}
        self._keys = dict(suggester.keys())
        for own in roster:
            self._reconcile(own)
        self._last_trained = max((self._keys[own.number] for own in roster if _is_admitted(own)), default=-1)
        if earlier and policy.sampler == "model":  # which knows more from them than points spread evenly would tell it
            policy = replace(policy, seeds=0)
        planned = seeds(space, appraiser, grant, setting, policy)
        self._seeds = deque(own for own in planned if space.decode(own[1]).id not in self._known)

    def propose(self) -> Proposal | None:
        """A point that is not yet known, perhaps a rejected one; ``None`` when the space seems exhausted."""
        while (asked := self._ask()) is not None:
            origin, suggestion = asked
            candidate = self._space.decode(suggestion.knobs)
            if candidate.id not in self._known:
                self._known.add(candidate.id)
                return Proposal(suggestion, candidate, origin, self._appraiser.admit(candidate, self._grant))
            self._suggester.forget(suggestion.key)
        return None

    def outlook(self, record: CandidateRecord, rung: float, loss: float) -> Outlook | None:
        """Where a run is expected to end, by the policy; ``None`` where it does not ask or too little is known."""
        if self._policy.deviations is None or not self._policy.prunes or not math.isfinite(loss):
            return None
        return self._advisor.outlook(self._roster, record, rung, loss)

    def prospects(self, flops: int) -> Prospects | None:
        """What so many more FLOPs of search are expected to bring; ``None`` where the policy has no model or too little
        is known."""
        if self._policy.sampler != "model":
            return None
        return self._advisor.prospects(self._roster, self._known, flops, self._suggester.asked())

    def final_gain(self, chosen: CandidateRecord, more: Allowance, less: Allowance) -> float:
        """As `nas.advise.Advisor.final_gain`."""
        return self._advisor.final_gain(chosen, more, less)

    def accept(self, proposal: Proposal, number: int) -> None:
        """The proposal has become the candidate of that number."""
        key = self._keys[number] = proposal.suggestion.key
        self._suggester.name(key, proposal.candidate.id, number, proposal.verdict.excess)
        if isinstance(proposal.verdict, Admitted):
            self._last_trained = key

    def adopt(self, record: CandidateRecord) -> None:
        """A candidate has come from elsewhere."""
        self._known.add(record.id)
        self._reconcile(record)
        if _is_admitted(record):
            self._last_trained = max(self._last_trained, self._keys[record.number])

    def knobs(self, candidate: Candidate) -> Knobs:
        """The point of the space that is the candidate; empty when there is none."""
        return self._space.encode(candidate) or {}

    def drop(self, proposal: Proposal) -> None:
        """Nothing comes of the proposal."""
        self._suggester.forget(proposal.suggestion.key)

    def learn(self, record: CandidateRecord) -> None:
        """Tells the suggester what became of a candidate; nothing of one that goes on, nor of a final run."""
        if not _from_space(record) or not record.state.terminal or record.number not in self._keys:
            return  # what is not yet adopted is told then
        key = self._keys[record.number]
        if record.state is CandidateState.COMPLETED:
            self._suggester.tell_completed(key, objectives(self._minimize, record))
        elif record.state in (CandidateState.STOPPED, CandidateState.DIVERGED):
            self._suggester.tell_stopped(key)
        elif record.state is CandidateState.REJECTED:
            self._suggester.tell_infeasible(key, self._found(record) if record.plan else None)
        else:
            self._suggester.forget(key)

    def _found(self, record: CandidateRecord) -> dict[str, float]:
        """By how much a candidate that was admitted breaks a limit, by what was measured of it."""
        limits = {PEAK_MEMORY: self._grant.memory, LATENCY: self._appraiser.limits.latency_ms_per_kb}
        excess = {
            name + MEASURED: measured / limit - 1
            for name, limit in limits.items()
            if limit is not None and (measured := measured_cost(record.costs, name)) is not None
        }
        if not any(value > 0 for value in excess.values()):  # out of memory, and by how much is not known
            excess[PEAK_MEMORY + MEASURED] = OUT_OF_MEMORY_EXCESS
        return excess

    def _reconcile(self, record: CandidateRecord) -> None:
        """Tells the suggester what it has missed of a candidate."""
        if _from_space(record) and record.number not in self._keys:
            key = self._keys[record.number] = self._suggester.ask(record.knobs).key
            excess = self._appraiser.admit(Candidate.from_dict(record.candidate), self._grant).excess
            self._suggester.name(key, record.id, record.number, excess)
        self.learn(record)

    def _ask(self) -> tuple[Origin, Suggestion] | None:
        if self._seeds:
            origin, knobs = self._seeds.popleft()
            return origin, self._suggester.ask(knobs)
        fruitless = self._suggester.asked() - 1 - self._last_trained
        if fruitless < RANDOM_AFTER and self._policy.sampler == "suggester":
            return Origin.PROPOSED, self._suggester.ask()
        drawn = self._advised() if fruitless < RANDOM_AFTER and self._policy.sampler == "model" else None
        drawn = drawn or self._draw()
        return (Origin.PROPOSED, self._suggester.ask(drawn)) if drawn is not None else None

    def _advised(self) -> Knobs | None:
        return self._advisor.propose(self._roster, self._known, self._suggester.asked())

    @cached_property
    def _advisor(self) -> "Advisor":
        from nas.advise import Advisor  # brings SciPy, which help and queries can do without

        return Advisor(
            self._space,
            self._appraiser,
            self._grant,
            self._minimize,
            self._reference,
            self._seed,
            self._earlier,
        )

    def _draw(self) -> Knobs | None:
        """A point at random that is new and admitted; drawn by (seed, key), as a suggestion is."""
        rng = random.Random(f"{self._seed}/{self._suggester.asked()}")
        for knobs in (self._space.sample(rng) for _ in range(DRAWS)):
            candidate = self._space.decode(knobs)
            if candidate.id not in self._known and self._appraiser.admits(candidate, self._grant):
                return knobs
        return None


def seeds(
    space: Space, appraiser: Appraiser, grant: Allowance, setting: Mapping[str, Any], policy: Policy
) -> Iterable[tuple[Origin, Knobs]]:
    """What a search begins with, each candidate once: the dial and the largest of the setting's forecast, and points
    spread evenly over what the gate admits."""
    forecast = setting.get("forecast", {})
    planned: dict[str, tuple[Origin, Knobs]] = {}
    for origin in (Origin.DIAL, Origin.LARGEST) if policy.baselines else ():
        if knobs := forecast.get(origin):
            planned.setdefault(space.decode(knobs).id, (origin, knobs))
    most = len(planned) + policy.seeds
    for knobs in map(space.uniform, range(UNIFORM_TRIED)):
        if len(planned) == most:
            break
        candidate = space.decode(knobs)
        if candidate.id not in planned and appraiser.rough().admits(candidate, grant):
            planned[candidate.id] = (Origin.UNIFORM, knobs)
    return planned.values()


def _is_admitted(record: CandidateRecord) -> bool:
    """Whether the suggester proposed or was given something that could be trained."""
    return _from_space(record) and (bool(record.plan) or record.state is not CandidateState.REJECTED)


def _from_space(record: CandidateRecord) -> bool:
    """Whether the suggester knows of the candidate: not a final run, nor one given from outside its space."""
    return bool(record.knobs)
