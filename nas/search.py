"""A search as three answers over ports: `Search.next`, `Search.report` and `Search.finish`. Engines call them.

The store is the truth: every answer is recorded before it is given, and a search built over a store that already
holds candidates goes on where it stopped.
"""

import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from nas import outcome as outcomes
from nas.appraise import Appraiser
from nas.candidate import Candidate
from nas.curve import rung_losses
from nas.errors import InfeasibleError, StateError
from nas.forecast import Forecast, allowance, forecast
from nas.gate import Rejected
from nas.ledger import FINAL, SEARCH, Ledger
from nas.pareto import front_mask, knee
from nas.plan import Allowance, Plan, scale
from nas.ports import Assignment, Done, Outcome, Store, Suggester, Suggestion, Wait
from nas.prune import POLICIES, Standing, decide
from nas.records import (
    AttemptRecord,
    CandidateRecord,
    CandidateState,
    CurvePoint,
    DecisionRecord,
    Origin,
    SearchRecord,
    SearchState,
    Verdict,
)
from nas.space import Knobs, Space
from nas.spec import LOSS, SearchSpec
from nas.units import format_flops

UNIFORM_SEEDS = 8
MAXIMUM_ATTEMPTS = 3
RANDOM_AFTER = 16  # proposals in a row that were known or refused, after which one is drawn at random
GIVE_UP_AFTER = 256  # of them, after which the space counts as exhausted


@dataclass(frozen=True, slots=True)
class Proposal:
    """A point of the space on its way to becoming a candidate."""

    suggestion: Suggestion
    candidate: Candidate
    origin: Origin
    excess: Mapping[str, float]


class Search:
    """The driver of one search (`nas.ports.Driver`).

    Not thread-safe. ``clock`` gives seconds that only run while the search runs, ``now`` the time of day.
    """

    def __init__(
        self,
        record: SearchRecord,
        spec: SearchSpec,
        space: Space,
        store: Store,
        suggester: Suggester,
        appraiser: Appraiser,
        *,
        elapsed: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.id, self.spec, self.space = record.id, spec, space
        self._store, self._suggester, self._appraiser = store, suggester, appraiser
        self._clock, self._now, self._started = clock, now, clock() - elapsed
        self._grant = allowance(spec)
        self._ledger = Ledger(
            record.id, spec.budget.search_compute, spec.budget.final_compute, store.ledger(record.id)
        )
        self._running: dict[int, CandidateRecord] = {}
        self._held: Proposal | None = None
        self._stopping = False
        self._searching = all(line.kind != "transfer" for line in store.ledger(record.id))
        known = store.candidates(record.id)
        self._next_number = len(known)
        self._known = {own.id for own in known}
        self._keys = dict(suggester.keys())
        self._unfinished = deque(own for own in known if not own.state.terminal)
        self._seeds = self._planned_seeds(record)
        self._final_number = next((own.number for own in known if own.origin is Origin.FINAL), None)
        self._slowdowns: list[float] = []
        self._draws = 0

    # --- what may be asked from outside ---

    @property
    def elapsed(self) -> float:
        """Seconds this search has been running."""
        return self._clock() - self._started

    @property
    def ledger(self) -> Ledger:
        return self._ledger

    def stop(self) -> None:
        """No further candidates of the search; those in training finish, then the final run is made."""
        self._stopping = True

    def charge(self, flops: int, seconds: float, note: str) -> None:
        """Charges the search for work that belongs to no candidate."""
        self._store.add_ledger([self._ledger.charge(SEARCH, flops, seconds, self._now(), note)])

    # --- next ---

    def next(self) -> Assignment | Wait | Done:
        """The next run: a lost one again, a new candidate, or the final run when the search is over."""
        if self._unfinished:
            return self._resume(self._unfinished.popleft())
        if self._searching:
            assignment = self._next_candidate()
            if assignment is not None:
                return assignment
            if self._running:
                return Wait()
            self._searching = False
            self._store.add_ledger([self._ledger.transfer_rest(self._now())])
        if self._running:
            return Wait()
        if self._final_number is None and self.spec.budget.final > 0:
            assignment = self._final_run()
            if assignment is not None:
                return assignment
        return Done("the budget is spent" if not self._stopping else "stopped")

    def _next_candidate(self) -> Assignment | None:
        if self._stopping or self._count_reached():
            return None
        proposal = self._held or self._propose()
        self._held = None
        if proposal is None:
            return None
        plan = self._appraiser.plan(proposal.candidate, self._grant)
        affordable = plan.flops <= self._ledger.balance(SEARCH).free
        in_time = self.elapsed + plan.seconds <= self.spec.budget.search_time
        if affordable and in_time and plan.steps > 0:
            return self._dispatch(proposal, plan)
        if self._running and in_time:
            self._held = proposal  # what a running candidate gives back may pay for it
        else:
            self._suggester.forget(proposal.suggestion.key)
        return None

    def _count_reached(self) -> bool:
        limit = self.spec.budget.total.candidates
        return limit is not None and self._trained_count() >= limit

    def _trained_count(self) -> int:
        own = self._store.candidates(self.id)
        return sum(c.state is not CandidateState.REJECTED and c.origin is not Origin.FINAL for c in own)

    def _propose(self) -> Proposal | None:
        """An admitted candidate that is not yet known; rejected ones are recorded and told on the way.

        ``None`` when the space seems exhausted.
        """
        for fruitless in range(GIVE_UP_AFTER):
            suggestion, origin = self._suggest(at_random=fruitless >= RANDOM_AFTER)
            candidate = self.space.decode(suggestion.knobs)
            if candidate.id in self._known:
                self._suggester.forget(suggestion.key)
                continue
            self._known.add(candidate.id)
            verdict = self._appraiser.admit(candidate, self._grant)
            proposal = Proposal(suggestion, candidate, origin, verdict.excess)
            if not isinstance(verdict, Rejected):
                return proposal
            self._reject(proposal, verdict)
        return None

    def _suggest(self, *, at_random: bool) -> tuple[Suggestion, Origin]:
        if self._seeds:
            origin, knobs = self._seeds.popleft()
            return self._suggester.ask(knobs), origin
        if at_random:
            return self._suggester.ask(self.space.sample(self._rng())), Origin.PROPOSED
        return self._suggester.ask(), Origin.PROPOSED

    def _rng(self) -> random.Random:
        """A generator of its own for each draw, so that a search that is resumed draws the same."""
        self._draws += 1
        return random.Random(f"{self.spec.method.seed}/{self._next_number}/{self._draws}")

    def _planned_seeds(self, record: SearchRecord) -> deque[tuple[Origin, Knobs]]:
        """The candidates that a search begins with, those already made left out."""
        setting = record.setting.get("forecast", {})
        seeds: list[tuple[Origin, Knobs]] = []
        if setting.get("dial"):
            seeds.append((Origin.DIAL, setting["dial"]))
        if setting.get("largest"):
            seeds.append((Origin.LARGEST, setting["largest"]))
        admitted = (
            knobs
            for knobs in map(self.space.uniform, range(GIVE_UP_AFTER))
            if self._appraiser.admits(self.space.decode(knobs), self._grant)
        )
        seeds += [(Origin.UNIFORM, knobs) for knobs in islice(admitted, UNIFORM_SEEDS)]
        return deque((o, knobs) for o, knobs in seeds if self.space.decode(knobs).id not in self._known)

    # --- recording ---

    def _reject(self, proposal: Proposal, verdict: Rejected) -> None:
        number = self._take_number()
        with self._store.transaction():
            self._store.add_candidate(
                self._record(number, proposal, state=CandidateState.REJECTED, reason=str(verdict))
            )
            self._event("rejected", f"candidate {number} rejected: {verdict}", number)
        self._suggester.name(proposal.suggestion.key, proposal.candidate.id, number, verdict.excess)
        self._suggester.tell_infeasible(proposal.suggestion.key)

    def _dispatch(self, proposal: Proposal, plan: Plan) -> Assignment:
        number = self._take_number()
        record = self._record(
            number,
            proposal,
            state=CandidateState.TRAINING,
            plan=plan.to_dict(),
            train_flops_planned=plan.train_flops,
            started_at=self._now(),
        )
        record.costs["memory_bytes"] = plan.memory_bytes
        with self._store.transaction():
            self._store.add_candidate(record)
            self._store.add_ledger([self._ledger.reserve(SEARCH, number, plan.flops, self._now())])
            self._start(record, 0)
            self._event("started", f"candidate {number} ({record.origin}): {describe(proposal.candidate)}", number)
        self._suggester.name(proposal.suggestion.key, proposal.candidate.id, number, proposal.excess)
        self._keys[number] = proposal.suggestion.key
        return self._assignment(record, proposal.candidate, plan, attempt=0)

    def _record(self, number: int, proposal: Proposal, **own: Any) -> CandidateRecord:
        return CandidateRecord(
            search_id=self.id,
            number=number,
            id=proposal.candidate.id,
            origin=proposal.origin,
            created_at=self._now(),
            candidate=proposal.candidate.to_dict(),
            knobs=dict(proposal.suggestion.knobs),
            costs=self._appraiser.cost(proposal.candidate).to_dict(),
            **own,
        )

    def _start(self, record: CandidateRecord, attempt: int) -> None:
        self._running[record.number] = record
        self._store.add_attempt(AttemptRecord(self.id, record.number, attempt, self._now(), worker=""))

    def _assignment(self, record: CandidateRecord, candidate: Candidate, plan: Plan, attempt: int) -> Assignment:
        final = record.origin is Origin.FINAL
        budget = self.spec.budget
        left = (budget.total.time if final else budget.search_time) - self.elapsed
        own = float("inf") if final else budget.candidate.time
        deadline = min(left, own)
        return Assignment(
            search_id=self.id,
            number=record.number,
            attempt=attempt,
            candidate=candidate,
            plan=plan,
            seed=self.spec.method.seed * 100_003 + record.number,
            deadline_seconds=max(0.0, deadline) if deadline < float("inf") else None,
            final=final,
        )

    def _resume(self, record: CandidateRecord) -> Assignment:
        """A further attempt of a candidate whose last one was lost; its reservation still stands."""
        attempt = len(self._store.attempts(self.id, record.number))
        with self._store.transaction():
            record = self._store.update_candidate(self.id, record.number, state=CandidateState.TRAINING)
            self._start(record, attempt)
            self._event("resumed", f"candidate {record.number}, attempt {attempt + 1}", record.number)
        candidate, plan = Candidate.from_dict(record.candidate), Plan.from_dict(record.plan)
        return self._assignment(record, candidate, plan, attempt)

    def _take_number(self) -> int:
        self._next_number += 1
        return self._next_number - 1

    def _event(self, kind: str, message: str, number: int | None = None, level: str = "info") -> None:
        self._store.add_event(self.id, kind, message, at=self._now(), number=number, level=level)

    # --- report ---

    def report(self, point: CurvePoint) -> Verdict:
        """Records a curve point; at a rung, the pruner's verdict."""
        record = self._running.get(point.number)
        if record is None:
            raise StateError(f"candidate {point.number} of search {self.id} is not in training")
        if point.rung is None or point.val_bpb is None or record.origin is Origin.FINAL:
            self._store.add_points([point])
            return Verdict.CONTINUE
        own = Standing(point.number, point.val_bpb, self._costs(record))
        policy = POLICIES[self.spec.method.policy]
        decision = decide(point.rung, own, self._peers(record, point.rung), policy, self.spec.method.seed)
        with self._store.transaction():
            self._store.add_points([point])
            self._store.add_decision(
                DecisionRecord(
                    self.id,
                    point.number,
                    point.rung,
                    decision.verdict,
                    decision.reason,
                    decision.inputs,
                    self._now(),
                )
            )
            if decision.verdict is not Verdict.CONTINUE:
                self._event(str(decision.verdict), f"candidate {point.number}: {decision.reason}", point.number)
        return decision.verdict

    def _costs(self, record: CandidateRecord) -> tuple[float, ...]:
        return tuple(float(record.costs[name]) for name in self.spec.cost_objectives)

    def _peers(self, own: CandidateRecord, rung: float) -> list[Standing]:
        """Candidates that were measured at the rung under the same schedule shape, budget and bound."""
        losses: dict[int, list[CurvePoint]] = {}
        for point in self._store.points(self.id):
            losses.setdefault(point.number, []).append(point)
        peers = []
        for peer in self._store.candidates(self.id):
            loss = rung_losses(losses.get(peer.number, ())).get(rung)
            if loss is not None and peer.number != own.number and _comparable(peer, own):
                peers.append(Standing(peer.number, loss, self._costs(peer)))
        return peers

    # --- finish ---

    def finish(self, outcome: Outcome) -> None:
        """Settles and records what became of an attempt, and tells the suggester."""
        record = self._running.pop(outcome.number, None)
        if record is None:
            raise StateError(f"candidate {outcome.number} of search {self.id} is not in training")
        self._store.update_attempt(
            self.id, outcome.number, outcome.attempt, finished_at=self._now(), outcome=outcome.kind
        )
        if outcome.kind == outcomes.LOST and outcome.attempt + 1 < MAXIMUM_ATTEMPTS:
            self._requeue(record, outcome)
            return
        state, reason = outcomes.state_of(outcome)
        with self._store.transaction():
            settled = self._ledger.settle(
                outcome.number, outcome.train_flops + outcome.eval_flops, outcome.seconds, self._now(), outcome.kind
            )
            self._store.add_ledger([settled])
            done = self._store.update_candidate(
                self.id, outcome.number, state=state, reason=reason or record.reason, finished_at=self._now(),
                **outcomes.measured(outcome),
            )
            self._event(str(state), outcomes.sentence(done), outcome.number)
        self._learn(done, outcome)

    def _requeue(self, record: CandidateRecord, outcome: Outcome) -> None:
        queued = self._store.update_candidate(self.id, record.number, state=CandidateState.QUEUED)
        self._unfinished.append(queued)
        self._event("lost", f"candidate {record.number} lost its worker: {outcome.detail}", record.number, "warning")

    def _learn(self, record: CandidateRecord, outcome: Outcome) -> None:
        """Tells the suggester, and corrects the predicted speed by the median of what runs really took."""
        predicted = Plan.from_dict(record.plan).seconds
        if outcome.kind == outcomes.COMPLETED and predicted > 0 and not record.time_bound:
            self._slowdowns.append(self._appraiser.slowdown * outcome.seconds / predicted)
            self._appraiser.slowdown = sorted(self._slowdowns)[len(self._slowdowns) // 2]
        key = self._keys.get(record.number)
        if key is None:
            return
        if record.state is CandidateState.COMPLETED:
            values = [record.val_bpb if name == LOSS else record.costs[name] for name in self.spec.minimize]
            self._suggester.tell_completed(key, [float(value) for value in values])
        elif outcome.kind == outcomes.OUT_OF_MEMORY:
            self._suggester.tell_infeasible(key, {"memory_measured": 0.05})
        elif record.state in (CandidateState.STOPPED, CandidateState.DIVERGED):
            self._suggester.tell_stopped(key)
        else:
            self._suggester.forget(key)

    # --- the final run ---

    def _final_run(self) -> Assignment | None:
        """The chosen candidate, scaled to the money that is left, dispatched; ``None`` when there is none."""
        chosen = choose(self.spec, self._store.candidates(self.id))
        if chosen is None:
            return None
        balance = self._ledger.balance(FINAL)
        origin = Candidate.from_dict(chosen.candidate)
        grant = Allowance(balance.free, self.spec.budget.total.time - self.elapsed, self._grant.memory)
        candidate = scale(
            origin, chosen.train_flops_planned, balance.free, lambda c: self._appraiser.admits(c, grant)
        )
        plan = self._appraiser.final_plan(candidate, grant)
        if plan.steps < 1 or plan.flops > balance.free:
            self._event("no-final", "what is left does not pay for a final run", level="warning")
            return None
        number = self._final_number = self._take_number()
        record = CandidateRecord(
            search_id=self.id,
            number=number,
            id=candidate.id,
            origin=Origin.FINAL,
            state=CandidateState.TRAINING,
            created_at=self._now(),
            candidate=candidate.to_dict(),
            costs={**self._appraiser.cost(candidate).to_dict(), "memory_bytes": plan.memory_bytes},
            plan=plan.to_dict(),
            reason=f"candidate {chosen.number} scaled to {format_flops(balance.free)}",
            train_flops_planned=plan.train_flops,
            started_at=self._now(),
        )
        with self._store.transaction():
            self._store.add_candidate(record)
            self._store.add_ledger([self._ledger.reserve(FINAL, number, plan.flops, self._now())])
            self._start(record, 0)
            self._event("final", f"final run {number}: {record.reason}: {describe(candidate)}", number)
        return self._assignment(record, candidate, plan, attempt=0)


def choose(spec: SearchSpec, candidates: Iterable[CandidateRecord]) -> CandidateRecord | None:
    """The candidate for the final run: the best validation loss, or the knee of the front."""
    completed = [own for own in candidates if own.state is CandidateState.COMPLETED and own.origin is not Origin.FINAL]
    if not completed:
        return None
    if spec.method.choose == "best":
        return min(completed, key=lambda own: (own.val_bpb, own.number))
    points = [objectives(spec.minimize, own) for own in completed]
    members = [own for own, kept in zip(completed, front_mask(points), strict=True) if kept]
    return members[knee([objectives(spec.minimize, own) for own in members])]


def objectives(minimize: Iterable[str], record: CandidateRecord) -> list[float]:
    """A completed candidate's values, in the order of the spec."""
    return [float(record.val_bpb or 0.0) if name == LOSS else float(record.costs[name]) for name in minimize]


def describe(candidate: Candidate) -> str:
    """A candidate in a line."""
    a, r = candidate.architecture, candidate.recipe
    heads = f"{a.heads}/{a.kv_heads} heads of {a.head_size}" if a.heads != a.kv_heads else f"{a.heads} heads of {a.head_size}"
    window = f", windows {a.window_pattern} of {a.window}" if a.window else ""
    return (
        f"{a.depth} layers, width {a.width}, {heads}, MLP {a.mlp_width}, vocabulary {a.vocabulary}, "
        f"context {a.context}{window}, {r.optimizer}, batch {r.batch_tokens}"
    )


def _comparable(peer: CandidateRecord, own: CandidateRecord) -> bool:
    """The same schedule shape, budget and bound; the final run and what broke are nobody's peers."""
    if peer.origin is Origin.FINAL or peer.time_bound != own.time_bound:
        return False
    if peer.state in (CandidateState.DIVERGED, CandidateState.FAILED, CandidateState.REJECTED):
        return False
    shape = ("warmup", "cooldown", "floor")
    mine, theirs = own.candidate["recipe"], peer.candidate["recipe"]
    return all(mine.get(name) == theirs.get(name) for name in shape) and own.plan["bound"] == peer.plan["bound"]


def prepare(spec: SearchSpec, space: Space, appraiser: Appraiser) -> Forecast:
    """The forecast of a search; raises `InfeasibleError` when there is nothing to search."""
    if spec.budget.search_compute < 1:
        raise InfeasibleError("the final share leaves nothing for the search")
    return forecast(spec, space, appraiser)


def with_setting(record: SearchRecord, **setting: Any) -> SearchRecord:
    """The record with facts added that are fixed before the first candidate."""
    return replace(record, state=SearchState.RUNNING, setting={**record.setting, **setting})
