"""A search as three answers over ports: `Search.next`, `Search.report` and `Search.finish`. Engines call them.

The store is the truth: every answer is recorded before it is given, and a search built over a store that already
holds candidates goes on where it stopped.
"""

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from nas import outcome as outcomes
from nas.appraise import Appraiser
from nas.candidate import Candidate, describe
from nas.comparison import choose, comparable, earlier_results
from nas.devices import Devices, device_of
from nas.errors import InfeasibleError, NasError, StateError
from nas.forecast import Forecast, allowance, final_allowance, forecast
from nas.gate import Admitted, Rejected, Violation
from nas.ledger import FINAL, SEARCH, Ledger
from nas.plan import Allowance, Plan
from nas.policy import POLICIES
from nas.ports import Assignment, Done, Outcome, Store, Suggester, Wait
from nas.propose import Proposal, Proposer
from nas.prune import Standing, decide
from nas.records import (
    AttemptRecord,
    CandidateRecord,
    CandidateState,
    CurvePoint,
    DecisionRecord,
    LogLine,
    Origin,
    Prospects,
    SearchRecord,
    Verdict,
    measured_cost,
    predicted_cost,
    with_measured,
)
from nas.recovery import abandon, cancel_candidate
from nas.roster import Roster
from nas.scaling import expected_excess
from nas.space import Space
from nas.spec import LATENCY, SearchSpec
from nas.units import format_flops, format_seconds

log = logging.getLogger(__name__)

MAXIMUM_LOST = 3  # attempts of a candidate that may be lost before it counts as failed
LEAST_SEARCHED = 12  # candidates that are trained or stopped before the split is thought about: before, little is known
MAXIMUM_FAILED = 3  # candidates in a row that may fail before the search does


class Search:
    """The driver of one search (`nas.ports.Driver`).

    Not thread-safe. ``appraiser`` judges what is proposed; runs are planned by that of their device in ``devices``,
    where a search trains on several. ``ended`` gets each candidate that has ended, when that is recorded. With
    ``looks_ahead`` the search's record says after each of them what the next tenth of the budget is expected to bring.
    ``clock`` gives seconds that only run while the search runs, ``now`` the time of day.
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
        devices: Mapping[str, Appraiser] | None = None,
        elapsed: float = 0.0,
        ended: Callable[[CandidateRecord], None] = lambda record: None,
        looks_ahead: bool = False,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.id, self.spec = record.id, spec
        self._store, self._appraiser = store, appraiser
        self._ended, self._looks_ahead = ended, looks_ahead
        self._clock, self._now, self._started = clock, now, clock() - elapsed
        self._grant = allowance(spec)
        abandon(store, record.id, now())
        self._policy = POLICIES[spec.method.policy]
        self._roster = known = Roster(store, record.id)
        self._proposer = Proposer(
            space,
            suggester,
            appraiser,
            self._grant,
            minimize=spec.minimize,
            seed=spec.method.seed,
            setting=record.setting,
            roster=known,
            policy=self._policy,
            earlier=earlier_results(store, record) if self._policy.sampler == "model" else (),
        )
        lines = store.ledger(record.id)
        self._ledger = Ledger(record.id, spec.budget.search_compute, spec.budget.final_compute, lines)
        self._devices = Devices(devices or {"": appraiser}, clock)
        self._devices.learn(lines, {own.number: own for own in known})
        self._running: dict[int, CandidateRecord] = {}
        self._unwritten: list[tuple[int, int, Sequence[LogLine]]] = []  # by number and attempt
        self._unfinished = deque(own for own in known if not own.state.terminal and own.plan)
        self._given = deque(own for own in known if not own.state.terminal and not own.plan)
        self._next_number = len(known)
        self._final_number = next((own.number for own in known if own.origin is Origin.FINAL), None)
        self._held: Proposal | None = None  # cannot be paid yet
        self._to_adopt: list[int] = []  # given while a proposal was held: suggestions are named in order
        self._closed = ""  # why no further candidate is proposed
        self._cancelled = False
        self._withdrawn: set[int] = set()
        self._failed_in_a_row = 0
        self._searching = all(line.kind != "transfer" for line in lines)

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
        self._closed = "stopped"

    def cancel(self) -> None:
        """Ends the search for good; what is in training is to be interrupted, and is cancelled then."""
        self._closed, self._cancelled = "cancelled", True
        waiting = [*self._unfinished, *self._given]
        self._unfinished.clear()
        self._given.clear()
        for record in waiting:
            self._cancel(record)

    def withdraw(self, number: int) -> str:
        """Trains a candidate no further, and learns nothing from it; says what becomes of it. One in training ends with
        its next report."""
        if number in self._running:
            self._withdrawn.add(number)
            return "is trained no further"
        for waiting in (self._unfinished, self._given):
            for record in [own for own in waiting if own.number == number]:
                waiting.remove(record)
                self._cancel(record)
                return "is cancelled"
        known = next((own for own in self._roster if own.number == number), None)
        return f"is {known.state} already" if known is not None else "is not there"

    def enqueue(self, candidate: Candidate) -> str:
        """Takes a given candidate, to be run before any other that is new; says what became of it."""
        known = next((own for own in self._roster if own.id == candidate.id), None)
        if known is not None:
            return f"is candidate {known.number} already, {known.state}"
        if self._held is not None and self._held.candidate.id == candidate.id:
            return "is the next candidate already"
        if self._closed or not self._searching:
            return f"comes too late: {self._closed or 'the search is over'}"
        verdict = self._appraiser.admit(candidate, self._grant)
        admitted = isinstance(verdict, Admitted)
        record = CandidateRecord(
            search_id=self.id,
            number=self._take_number(),
            id=candidate.id,
            origin=Origin.GIVEN,
            state=CandidateState.QUEUED if admitted else CandidateState.REJECTED,
            created_at=self._now(),
            candidate=candidate.to_dict(),
            knobs=self._proposer.knobs(candidate),
            costs=self._appraiser.cost(candidate).to_dict(),
            reason="" if admitted else str(verdict),
        )
        answer = f"is candidate {record.number}, {record.state}" + (f": {record.reason}" if record.reason else "")
        with self._store.transaction():
            self._roster.add(record)
            self._event("given", f"given: {describe(candidate)} {answer}", record.number)
        self._to_adopt.append(record.number)
        self._adopt()
        if admitted:
            self._given.append(record)
        return answer

    def _adopt(self) -> None:
        """Tells the proposer of what was given, unless a proposal is held."""
        while self._to_adopt and self._held is None:
            self._proposer.adopt(self._roster[self._to_adopt.pop(0)])

    def charge(self, flops: int, seconds: float, note: str) -> None:
        """Charges the search for work that belongs to no candidate."""
        self._store.add_ledger([self._ledger.charge(SEARCH, flops, seconds, self._now(), note)])

    # --- next ---

    def next(self, device: str = "") -> Assignment | Wait | Done:
        """The next run on a device: a lost one again, a new candidate, or the final run when the search is over."""
        self._devices.is_free(device)
        if self._cancelled:
            return Wait() if self._running else Done(self._closed)
        own = next((record for record in self._unfinished if self._may_run(record, device)), None)
        if own is not None:
            self._unfinished.remove(own)
            return self._resume(own, device)
        if self._searching:
            assignment = self._next_candidate(device)
            if assignment is not None:
                return assignment
        if self._running or self._unfinished:
            return Wait()
        if self._searching:
            self._end_search()
        while self._given:  # for which there was no time or money
            self._cancel(self._given.popleft())
        if self._final_number is None and self.spec.budget.final_share > 0:
            if device != self._fastest():
                return Wait()
            assignment = self._final_run(device)
            if assignment is not None:
                return assignment
        return Done(self._closed or "the search is over")

    # --- devices ---

    @property
    def _at_work(self) -> set[str]:
        return {device_of(own) for own in self._running.values()}

    def _may_run(self, record: CandidateRecord, device: str) -> bool:
        return self._devices.may_run(record, device, self._at_work)

    def _fastest(self) -> str:
        """The device for the final run: the one that is quickest with the best candidate of the search."""
        chosen = choose(self.spec, self._roster)
        best = Candidate.from_dict(chosen.candidate) if chosen is not None else None
        return self._devices.fastest(best, self._grant, self._at_work)

    def _next_candidate(self, device: str) -> Assignment | None:
        """``None`` when there is none now, or with a reason in ``_closed`` none any more."""
        if self._closed or self._count_reached():
            return None
        if self._given:
            return self._next_given(device)
        if self.spec.budget.auto and self._held is None and self._rest_is_better():
            return None
        while (proposal := self._held or self._propose()) is not None:
            self._held = proposal
            plan = self._plan(proposal.candidate, device)
            if self._affords(plan):
                self._held = None
                return self._dispatch(proposal, plan)
            over = self.elapsed >= self.spec.budget.search_time
            if not self._closed or over or proposal.origin is Origin.PROPOSED:
                return None
            self._pass_over(proposal, plan)
        self._closed = "the space is exhausted"
        return None

    def _pass_over(self, proposal: Proposal, plan: Plan) -> None:
        """One of those that a search begins with, which are proposed whatever they cost, is not what ends it."""
        free, left = self._ledger.balance(SEARCH).free, self.spec.budget.search_time - self.elapsed
        if plan.flops > free:
            needs = Violation("compute", plan.flops, free)
        else:
            said = f"needs {format_seconds(plan.seconds)}, the search has {format_seconds(left)} left"
            needs = Violation("time", plan.seconds, left, said)
        self._closed, self._held = "", None
        # whichever limit it is, a suggester is to learn that the candidate was too much
        excess = {**proposal.verdict.excess, "compute": max(needs.excess, 0.0) or 1.0}
        self._reject(replace(proposal, verdict=Rejected((needs,), excess)))

    def _rest_is_better(self) -> bool:
        """Whether the final run is expected to make more of the next tenth of the budget than the search; then no
        further candidate is proposed."""
        ahead = self._ahead() if self._trained_count() >= LEAST_SEARCHED else None
        chosen = choose(self.spec, self._roster)
        if ahead is None or chosen is None:
            return False
        left = self._ledger.balance(FINAL).free + self._ledger.balance(SEARCH).free
        seconds = self.spec.budget.total.time - self.elapsed
        more, less = (final_allowance(self.spec, flops, seconds) for flops in (left, left - ahead.flops))
        gain = self._proposer.final_gain(chosen, more, less)
        if gain <= ahead.loss.mean:
            return False
        self._closed = "the rest is worth more in the final run"
        self._event(
            "split",
            f"{self._closed}: {format_flops(ahead.flops)} are expected to lower its loss by {gain:.4f} bits per byte, "
            f"and that of the search by {ahead.loss.mean:.4f}",
        )
        return True

    def _plan(self, candidate: Candidate, device: str) -> Plan:
        return replace(self._devices.appraiser(device).plan(candidate, self._grant), device=device)

    def _costs_of(self, candidate: Candidate) -> dict[str, Any]:
        """By the device that judges, so that candidates of several devices compare."""
        return self._appraiser.costs(candidate, self._appraiser.plan(candidate, self._grant))

    def _next_given(self, device: str) -> Assignment | None:
        record = self._given[0]
        plan = self._plan(Candidate.from_dict(record.candidate), device)
        if not self._affords(plan):
            return None
        self._given.popleft()
        with self._store.transaction():
            record = self._roster.update(
                record.number,
                state=CandidateState.TRAINING,
                plan=plan.to_dict(),
                costs=self._costs_of(Candidate.from_dict(record.candidate)),
                train_flops_planned=plan.train_flops,
                started_at=self._now(),
            )
            self._reserve(record, plan)
        return self._assignment(record, attempt=0)

    def _affords(self, plan: Plan) -> bool:
        """Whether time and money are there; if they never will be, no further candidate is proposed."""
        if self.elapsed + plan.seconds > self.spec.budget.search_time or plan.steps < 1:
            self._closed = "the time is over"
            return False
        if plan.flops > self._ledger.balance(SEARCH).free:
            if not self._running:  # what a running candidate gives back may pay for it
                self._closed = "the budget is spent"
            return False
        return True

    def _count_reached(self) -> bool:
        limit = self.spec.budget.total.candidates
        return limit is not None and self._trained_count() >= limit

    def _trained_count(self) -> int:
        trained = (c for c in self._roster if c.plan and c.origin is not Origin.FINAL)
        return sum(c.state is not CandidateState.REJECTED for c in trained)

    def _propose(self) -> Proposal | None:
        """An admitted candidate that is not yet known; rejected ones are recorded and told on the way."""
        while (proposal := self._proposer.propose()) is not None:
            if isinstance(proposal.verdict, Admitted):
                return proposal
            self._reject(proposal)
        return None

    def _end_search(self) -> None:
        """Hands over what is left. Only then the proposal that was held is dropped: a driver that dies in between
        would propose another, which might be paid."""
        self._searching = False
        self._store.add_ledger([self._ledger.transfer_rest(self._now())])
        if self._held is not None:
            self._proposer.drop(self._held)
            self._held = None
            self._adopt()

    # --- recording ---

    def _reject(self, proposal: Proposal) -> None:
        number = self._take_number()
        record = self._record(
            number,
            proposal,
            state=CandidateState.REJECTED,
            costs=self._appraiser.cost(proposal.candidate).to_dict(),
            reason=str(proposal.verdict),
        )
        with self._store.transaction():
            self._roster.add(record)
            self._event("rejected", f"candidate {number} rejected: {record.reason}", number)
        self._proposer.accept(proposal, number)
        self._proposer.learn(record)

    def _dispatch(self, proposal: Proposal, plan: Plan) -> Assignment:
        number = self._take_number()
        record = self._record(
            number,
            proposal,
            state=CandidateState.TRAINING,
            costs=self._costs_of(proposal.candidate),
            plan=plan.to_dict(),
            train_flops_planned=plan.train_flops,
            started_at=self._now(),
        )
        with self._store.transaction():
            self._roster.add(record)
            self._reserve(record, plan)
        self._proposer.accept(proposal, number)
        self._adopt()
        return self._assignment(record, attempt=0)

    def _reserve(self, record: CandidateRecord, plan: Plan) -> None:
        """The first attempt of a candidate of the search, within a transaction."""
        number, candidate = record.number, Candidate.from_dict(record.candidate)
        self._store.add_ledger([self._ledger.reserve(SEARCH, number, plan.flops, self._now())])
        self._start(record, 0)
        self._event("started", f"candidate {number} ({record.origin}): {describe(candidate)}", number)
        self._devices.started(record)

    def _record(self, number: int, proposal: Proposal, **own: Any) -> CandidateRecord:
        return CandidateRecord(
            search_id=self.id,
            number=number,
            id=proposal.candidate.id,
            origin=proposal.origin,
            created_at=self._now(),
            candidate=proposal.candidate.to_dict(),
            knobs=dict(proposal.suggestion.knobs),
            **own,
        )

    def _start(self, record: CandidateRecord, attempt: int) -> None:
        self._running[record.number] = record
        self._store.add_attempt(AttemptRecord(self.id, record.number, attempt, self._now(), worker=""))

    def _assignment(self, record: CandidateRecord, attempt: int, spent: float = 0.0) -> Assignment:
        """``spent``: seconds that earlier attempts took of the candidate's time."""
        budget, final = self.spec.budget, record.origin is Origin.FINAL
        left = (budget.total.time if final else budget.search_time) - self.elapsed
        most = self.spec.limits.train_seconds if final else self._grant.seconds
        own = math.inf if most is None else most - spent
        deadline = max(0.0, min(left, own))
        appraiser, share = self._devices.appraiser(device_of(record)), record.plan.get("share", 1.0)
        return Assignment(
            search_id=self.id,
            number=record.number,
            attempt=attempt,
            candidate=Candidate.from_dict(record.candidate),
            plan=Plan.from_dict(record.plan),
            seed=self.spec.method.seed * 100_003 + record.number,
            deadline_seconds=deadline if math.isfinite(deadline) else None,
            final=final,
            memory_cap=appraiser.cap(self._grant, share),
            context_bytes=appraiser.context_bytes,
            latency_limit=self._latency_limit(record),
        )

    def _latency_limit(self, record: CandidateRecord) -> float | None:
        """``None`` where latency is not named, or measured already. The final run is measured and never refused: there
        is nothing to take its place."""
        if not self.spec.names_latency or measured_cost(record.costs, LATENCY) is not None:
            return None
        limit = self.spec.limits.latency_ms_per_kb
        return math.inf if record.origin is Origin.FINAL or limit is None else limit

    def _resume(self, record: CandidateRecord, device: str) -> Assignment:
        """A further attempt of a candidate whose last one was lost; its reservation still stands."""
        plan, moved = record.plan, ""
        if plan.get("device", "") not in ("", device):
            plan, moved = {**plan, "device": device, "compile": False}, f", on {device}: {plan['device']} is gone"
        attempt = len(self._store.attempts(self.id, record.number))
        spent = max((point.seconds for point in self._store.points(self.id, record.number)), default=0.0)
        with self._store.transaction():
            record = self._roster.update(record.number, state=CandidateState.TRAINING, plan=plan)
            self._start(record, attempt)
            self._event("resumed", f"candidate {record.number}, attempt {attempt + 1}{moved}", record.number)
        return self._assignment(record, attempt, spent)

    def _take_number(self) -> int:
        self._next_number += 1
        return self._next_number - 1

    def _event(self, kind: str, message: str, number: int | None = None, level: str = "info") -> None:
        self._store.add_event(self.id, kind, message, at=self._now(), number=number, level=level)
        log.info("%s", message, extra={"kind": kind} | ({} if number is None else {"candidate": number}))

    # --- what workers say ---

    def began(self, number: int, attempt: int, worker: str) -> None:
        """Records where an attempt is at work."""
        with self._store.transaction():
            self._write_log()
            self._store.update_attempt(self.id, number, attempt, worker=worker)

    def logged(self, number: int, attempt: int, lines: Sequence[LogLine], *, more: bool = False) -> None:
        """Records what a worker logged; with ``more`` in the transaction of what comes next."""
        self._unwritten.append((number, attempt, lines))
        if not more:
            with self._store.transaction():
                self._write_log()

    def _write_log(self) -> None:
        """Within a transaction."""
        for number, attempt, lines in self._unwritten:
            self._store.add_log(self.id, number, attempt, lines)
        self._unwritten.clear()

    # --- report ---

    def report(self, point: CurvePoint) -> Verdict:
        """Records a curve point; at a rung, the pruner's verdict. A rung that is reported again, after an attempt was
        lost, has its verdict already."""
        record = self._running.get(point.number)
        if record is None:
            raise StateError(f"candidate {point.number} of search {self.id} is not in training")
        if point.number in self._withdrawn:
            self._add_point(point)
            return Verdict.STOP
        if point.rung is None or point.val_bpb is None or record.origin is Origin.FINAL:
            self._add_point(point)
            return Verdict.CONTINUE
        earlier = [d.verdict for d in self._store.decisions(self.id, point.number) if d.rung == point.rung]
        if earlier:
            self._add_point(point)
            return earlier[-1]
        own = Standing(point.number, point.val_bpb, self._costs(record))
        peers, seed = self._peers(record, point.rung), self.spec.method.seed
        outlook = self._proposer.outlook(record, point.rung, point.val_bpb)
        decision = decide(point.rung, own, peers, self._policy, seed, outlook)
        with self._store.transaction():
            self._add_point(point)
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

    def _add_point(self, point: CurvePoint) -> None:
        # an attempt begins with what earlier ones said to nobody: points before its first step
        walked = {"first_step": point.first_step, "last_step": max(point.first_step, point.step)}
        with self._store.transaction():
            self._write_log()
            self._roster.add_point(point)
            self._store.update_attempt(self.id, point.number, point.attempt, **walked)

    def _costs(self, record: CandidateRecord) -> tuple[float, ...]:
        return tuple(predicted_cost(record.costs, name) for name in self.spec.cost_objectives)

    def _peers(self, own: CandidateRecord, rung: float) -> list[Standing]:
        """Candidates that were measured at the rung under the same schedule shape, budget and bound."""
        peers = []
        for peer in self._roster:
            loss = self._roster.losses(peer.number).get(rung)
            if loss is not None and peer.number != own.number and comparable(peer, own):
                peers.append(Standing(peer.number, loss, self._costs(peer)))
        return peers

    # --- finish ---

    def finish(self, outcome: Outcome) -> None:
        """Settles and records what became of an attempt, and tells the suggester. Raises `NasError` when candidates
        fail one after the other: then it is hardly theirs."""
        record = self._running.pop(outcome.number, None)
        if record is None:
            raise StateError(f"candidate {outcome.number} of search {self.id} is not in training")
        if self._cancelled and outcome.kind == outcomes.INTERRUPTED:
            outcome = replace(outcome, kind=outcomes.CANCELLED)
        if outcome.number in self._withdrawn and outcome.kind in outcomes.UNFINISHED:
            outcome = replace(outcome, kind=outcomes.CANCELLED, detail="withdrawn")
        with self._store.transaction():
            self._write_log()
            self._end_attempt(record, outcome)
            lost = outcome.kind == outcomes.LOST and self._lost(outcome.number) < MAXIMUM_LOST
            if lost or outcome.kind == outcomes.INTERRUPTED:
                self._requeue(record, outcome)
                return
            done = self._settle(record, outcome)
        self._devices.ended(done)
        self._proposer.learn(done)
        self._ended(done)
        if self._looks_ahead:
            self._look_ahead()
        self._failed_in_a_row = self._failed_in_a_row + 1 if done.state is CandidateState.FAILED else 0
        if self._failed_in_a_row == MAXIMUM_FAILED:
            raise NasError(f"{MAXIMUM_FAILED} candidates in a row failed, the last one: {done.reason}")

    def _look_ahead(self) -> None:
        """Says what the next tenth of the budget is expected to bring, as long as the search goes on."""
        ahead = self._ahead() if self._searching and not self._closed else None
        self._store.update_search(self.id, prospects=None if ahead is None else asdict(ahead))

    def _ahead(self) -> Prospects | None:
        """Of the next tenth of the budget. Nothing of it is kept: a driver that comes later expects the same."""
        flops = min(self.spec.budget.total.compute // 10, self._ledger.balance(SEARCH).free)
        return self._proposer.prospects(flops) if flops > 0 else None

    def _end_attempt(self, record: CandidateRecord, outcome: Outcome) -> None:
        ended: dict[str, Any] = {"finished_at": self._now(), "outcome": outcome.kind}
        if outcome.kind != outcomes.LOST:
            ended["last_step"] = outcome.train_flops // Plan.from_dict(record.plan).step_flops
            (own,) = (a for a in self._store.attempts(self.id, record.number) if a.attempt == outcome.attempt)
            if not own.last_step:  # it ended before its first point: where it began is not known, and it got no further
                ended["first_step"] = ended["last_step"]
        self._store.update_attempt(self.id, outcome.number, outcome.attempt, **ended)

    def _lost(self, number: int) -> int:
        return sum(own.outcome == outcomes.LOST for own in self._store.attempts(self.id, number))

    def _requeue(self, record: CandidateRecord, outcome: Outcome) -> None:
        costs = with_measured(record.costs, outcome.measured)  # it is not measured again
        queued = self._roster.update(record.number, state=CandidateState.QUEUED, costs=costs)
        self._unfinished.append(queued)
        number = record.number
        if outcome.kind == outcomes.LOST:
            self._event("lost", f"candidate {number} lost its worker: {outcome.detail}", number, "warning")
        else:
            done = format_flops(outcome.train_flops)
            self._event("interrupted", f"candidate {number} goes back in the queue after {done}", number)

    def _settle(self, record: CandidateRecord, outcome: Outcome) -> CandidateRecord:
        spent = outcome.train_flops + outcome.eval_flops
        line = self._ledger.settle(outcome.number, spent, outcome.seconds, self._now(), outcome.kind)
        self._store.add_ledger([line])
        state, reason = outcomes.state_of(outcome)
        attempts = self._store.attempts(self.id, outcome.number)
        done = self._roster.update(
            outcome.number,
            state=state,
            reason=reason or record.reason,
            finished_at=self._now(),
            repeated_flops=outcomes.repeated_steps(attempts) * Plan.from_dict(record.plan).step_flops,
            costs=with_measured(record.costs, outcome.measured),
            **outcomes.measured(outcome),
        )
        self._event(str(state), outcomes.sentence(done), outcome.number)
        if record.origin is Origin.FINAL:
            self._check_latency(done)
        return done

    def _check_latency(self, final: CandidateRecord) -> None:
        """Says when the result is slower than its limit, which its prediction kept."""
        limit, measured = self.spec.limits.latency_ms_per_kb, measured_cost(final.costs, LATENCY)
        if limit is not None and measured is not None and measured > limit:
            said = f"the final run's model takes {measured:.3g} ms for a kB, {limit:.3g} ms are allowed"
            self._event("over-limit", said, final.number, "warning")

    def _cancel(self, record: CandidateRecord) -> None:
        done = cancel_candidate(self._store, self._ledger, record, self._now())
        self._roster.note(done)
        if record.plan:
            self._devices.ended(done)
        self._proposer.learn(done)
        self._ended(done)

    # --- the final run ---

    def _final_run(self, device: str) -> Assignment | None:
        """The chosen candidate, scaled to the money that is left, dispatched; ``None`` when there is none."""
        free = self._ledger.balance(FINAL).free
        grant = final_allowance(self.spec, free, self.spec.budget.total.time - self.elapsed)
        scaled = partial(self._scaled, grant, device)
        chosen = choose(self.spec, self._roster, lambda own: self._expected(*scaled(own)))
        if chosen is None:
            return None
        candidate, plan = scaled(chosen)
        plan = replace(plan, device=device)
        if plan.steps < 1 or plan.flops > free:
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
            costs=self._appraiser.costs(candidate, plan),
            plan=plan.to_dict(),
            reason=f"candidate {chosen.number} scaled to {format_flops(plan.train_flops)}" + self._luckier(chosen),
            train_flops_planned=plan.train_flops,
            started_at=self._now(),
        )
        with self._store.transaction():
            self._roster.add(record)
            self._store.add_ledger([self._ledger.reserve(FINAL, number, plan.flops, self._now())])
            self._start(record, 0)
            self._event("final", f"final run {number}: {record.reason}: {describe(candidate)}", number)
        self._devices.started(record)
        return self._assignment(record, attempt=0)

    def _scaled(self, grant: Allowance, device: str, own: CandidateRecord) -> tuple[Candidate, Plan]:
        origin = Candidate.from_dict(own.candidate)
        return self._devices.appraiser(device).final_run(origin, own.train_flops_planned, grant)

    def _expected(self, candidate: Candidate, plan: Plan) -> float:
        """What a scaling law expects of a final run; the less the better."""
        if plan.steps < 1:
            return math.inf
        return expected_excess(candidate, plan.train_flops, self._appraiser.texts.facts)

    def _luckier(self, chosen: CandidateRecord) -> str:
        """Which candidate had a better loss than the chosen one, if any."""
        best = choose(self.spec, self._roster)
        if best is None or best.number == chosen.number:
            return ""
        by = (chosen.val_bpb or 0.0) - (best.val_bpb or 0.0)
        return f"; candidate {best.number} was better by {by:.4f} bits per byte, which may be luck"


def prepare(spec: SearchSpec, space: Space, appraiser: Appraiser) -> Forecast:
    """The forecast of a search; raises `InfeasibleError` when there is nothing to search."""
    if spec.budget.search_compute < 1:
        raise InfeasibleError("the final share leaves nothing for the search")
    return forecast(spec, space, appraiser)
