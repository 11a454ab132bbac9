"""A candidate against a budget on one corpus and device: what it costs, whether it is admitted, what it would do."""

import math
import statistics
from dataclasses import dataclass, field, replace
from typing import Any

from nas.calibration import DecodeFit
from nas.candidate import Candidate
from nas.cost import Cost, cost, latency_ms_per_kb
from nas.curve import RUNGS, rung_steps
from nas.gate import MINIMUM_STEPS, Admitted, Needs, Rejected, Violation, admit
from nas.native import not_native_because
from nas.plan import Allowance, Compiles, Layout, Plan, Speed, TextFacts, lay_out, plan_run
from nas.ports import TextMeter
from nas.predict import Predictor
from nas.records import CandidateRecord, CandidateState, Origin, measured_cost
from nas.scaling import scale
from nas.spec import LATENCY, PEAK_MEMORY, TRAIN_SECONDS, Limits
from nas.units import format_seconds

PROBE_STEPS = 3
"""Real steps before a run whose prediction lies within its error of the limit, and before the final one."""


@dataclass
class Appraiser:
    """Answers for one corpus, device and set of limits.

    Attributes:
        speed: by closed forms, for the many candidates that are only weighed.
        decode: how fast models write, where that is known.
        measures_latency: whether a run begins by measuring that.
        backend: of the device.
        predictor: for those that are to be trained, and where closed forms do not fit the memory.
        slowdown: corrects the predicted speed by what finished runs really took.
        crowding: corrects the predicted memory by what probes measured; never below 1.
    """

    texts: TextMeter
    limits: Limits
    speed: Speed | None = None
    compiles: Compiles | None = None
    precision: str = "float32"
    slowdown: float = 1.0
    predictor: Predictor | None = None
    crowding: float = 1.0
    decode: DecodeFit | None = None
    measures_latency: bool = False
    backend: str = "cpu"
    _bytes_per_token: dict[int, float] = field(default_factory=dict, repr=False)

    def cost(self, candidate: Candidate) -> Cost:
        """The closed forms."""
        return cost(candidate, self._token_bytes(candidate))

    def latency(self, candidate: Candidate) -> float | None:
        """Milliseconds that the model takes to write a thousand bytes; ``None`` where nothing is known of that."""
        if self.decode is None:
            return None
        return latency_ms_per_kb(self.decode.seconds(candidate.architecture), self._token_bytes(candidate))

    def costs(self, candidate: Candidate, plan: Plan) -> dict[str, Any]:
        """All that an objective may name: the closed forms, and what is predicted of a run by the plan. Its seconds are
        the profile's, not corrected by what runs took, so that early and late candidates compare."""
        own = {
            **self.cost(candidate).to_dict(),
            PEAK_MEMORY: plan.memory_bytes,
            TRAIN_SECONDS: plan.train_seconds / self.slowdown,
        }
        latency = self.latency(candidate)
        return own if latency is None else {**own, LATENCY: latency}

    def _token_bytes(self, candidate: Candidate) -> float:
        vocabulary = candidate.architecture.vocabulary
        if vocabulary not in self._bytes_per_token:
            self._bytes_per_token[vocabulary] = self.texts.bytes_per_token(vocabulary)
        return self._bytes_per_token[vocabulary]

    def facts(self, candidate: Candidate) -> TextFacts:
        return self.texts.facts(candidate.architecture.vocabulary, candidate.architecture.context)

    def admit(self, candidate: Candidate, allowance: Allowance) -> Admitted | Rejected:
        """The gate, with the leanest memory that any layout of the step needs, and the time of its fewest steps."""
        if self.predictor is None:
            return self._admit(candidate, allowance)
        verdict = self.rough()._admit(candidate, allowance)
        if allowance.memory is None or any(excess > 0 for name, excess in verdict.excess.items() if name != "memory"):
            return verdict
        return self._admit(candidate, allowance)

    def _admit(self, candidate: Candidate, allowance: Allowance) -> Admitted | Rejected:
        needs = Needs(
            cost=self.cost(candidate),
            memory_bytes=self.layout(candidate, allowance.memory)[1],
            latency_ms_per_kb=self.latency(candidate),
            native=not_native_because(candidate.architecture),
        )
        verdict = admit(needs, self.limits, allowance.flops, allowance.memory)
        if self.speed is None or not math.isfinite(allowance.seconds):
            return verdict
        return _in_time(verdict, self._least_seconds(candidate, allowance), allowance.seconds)

    def admits(self, candidate: Candidate, allowance: Allowance) -> bool:
        return isinstance(self.admit(candidate, allowance), Admitted)

    def plan(self, candidate: Candidate, allowance: Allowance, *, final: bool = False) -> Plan:
        """The plan of a run; a ``final`` one has the machine to itself and scores the test split too."""
        own, predictor = self.cost(candidate), self.predictor
        layout, memory_bytes = self.layout(candidate, allowance.memory)
        seconds, probe_steps, compiles = None, 0, self.compiles
        if predictor is not None:
            needed = predictor.memory(candidate, layout)
            unsure = allowance.memory is not None and needed.high * self.crowding > allowance.memory
            probe_steps = PROBE_STEPS if final or unsure or self.measures_latency else 0
            memory_bytes = round(needed.value)
            seconds = predictor.seconds(candidate, layout, alone=final).value * self.slowdown
            compiles = self._compiles(candidate, layout, allowance.memory, alone=final)
        rungs = len(rung_steps(allowance.flops // own.step_flops, RUNGS))
        plan = plan_run(
            candidate,
            own,
            self.facts(candidate),
            allowance,
            rungs=rungs,
            score_test=final,
            speed=self.speed.scaled(self.slowdown) if self.speed else None,
            compiles=compiles,
            precision=self.precision,
            laid_out=(layout, memory_bytes),
            step_seconds=seconds,
            probe_steps=probe_steps,
        )
        if predictor is not None and plan.compile:
            plan = replace(plan, memory_bytes=round(predictor.memory(candidate, layout, compiled=True).value))
        if predictor is None or final or predictor.backend == "cpu":
            return plan
        share = predictor.share(candidate, layout, compiled=plan.compile)
        return replace(plan, share=min(1.0, share * self.crowding))

    def layout(self, candidate: Candidate, memory: int | None) -> tuple[Layout, int]:
        """Of a step within so many bytes, and those that it needs."""
        predictor = self.predictor
        if predictor is None:
            return lay_out(candidate, memory, backend=self.backend)
        return lay_out(
            candidate,
            memory,
            lambda layout: round(predictor.memory(candidate, layout).value * self.crowding),
            lambda layout: predictor.seconds(candidate, layout).value,
            self.backend,
        )

    def _compiles(self, candidate: Candidate, layout: Layout, memory: int | None, *, alone: bool) -> Compiles | None:
        """What compiling brings this candidate; ``None`` where it would not fit."""
        predictor, compiles = self.predictor, self.compiles
        if compiles is None or predictor is None:
            return compiles
        if memory is not None and predictor.memory(candidate, layout, compiled=True).value * self.crowding > memory:
            return None
        speedup = predictor.speedup(candidate, layout, alone=alone)
        return compiles if speedup is None else replace(compiles, speedup=speedup)

    def _least_seconds(self, candidate: Candidate, allowance: Allowance) -> float:
        """Of the shortest run that the gate lets pass."""
        flops = MINIMUM_STEPS * self.cost(candidate).step_flops
        return self.rough().plan(candidate, Allowance(flops, memory=allowance.memory)).seconds

    def cap(self, allowance: Allowance, share: float) -> int | None:
        """Bytes that tensors may take where a process may take the allowance's, and a share of the device."""
        predictor, allowed = self.predictor, [] if allowance.memory is None else [allowance.memory]
        if predictor is not None and predictor.backend != "cpu":
            allowed.append(int(share * predictor.profile.fingerprint.memory_bytes))
        return min(allowed) - self.context_bytes if allowed else None

    @property
    def context_bytes(self) -> int:
        """Of the device, that a process takes beside its tensors."""
        return self.predictor.profile.context_bytes if self.predictor is not None else 0

    def rough(self) -> "Appraiser":
        """By closed forms alone, for many candidates at a time."""
        return self if self.predictor is None else replace(self, predictor=None)

    def final_plan(self, candidate: Candidate, allowance: Allowance) -> Plan:
        """The plan that spends ``allowance.flops`` on training and evaluation together."""
        rough = self.plan(candidate, allowance, final=True)
        training = Allowance(max(0, allowance.flops - rough.eval_flops), allowance.seconds, allowance.memory)
        return self.plan(candidate, training, final=True)

    def final_run(self, chosen: Candidate, trained_flops: int, allowance: Allowance) -> tuple[Candidate, Plan]:
        """A candidate that was trained with ``trained_flops``, scaled to what the allowance pays for, and its plan."""
        affordable = self.final_plan(chosen, allowance).train_flops
        if affordable:
            rough = self.rough()
            chosen = scale(chosen, trained_flops, affordable, lambda other: rough.admits(other, allowance))
        return chosen, self.final_plan(chosen, allowance)


def _in_time(verdict: Admitted | Rejected, seconds: float, allowed: float) -> Admitted | Rejected:
    """The verdict with the limit on time added."""
    detail = f"{MINIMUM_STEPS} steps need {format_seconds(seconds)}, allowed {format_seconds(max(0.0, allowed))}"
    late = Violation("time", seconds, max(allowed, 1e-3), detail)
    excess = {**verdict.excess, late.limit: late.excess}
    if late.excess <= 0:
        return replace(verdict, excess=excess)
    others = verdict.violations if isinstance(verdict, Rejected) else ()
    return Rejected(tuple(sorted((*others, late), key=lambda violation: -violation.excess)), excess)


class Correction:
    """Sets an appraiser's ``slowdown`` to the median of what the runs that went to their end took against their
    plans' prediction, and its ``crowding`` to the most that was measured against it, by a probe or by running out of
    memory."""

    def __init__(self, appraiser: Appraiser) -> None:
        self._appraiser = appraiser
        self._planned: dict[int, float] = {}  # the slowdown that a running candidate's plan was made with
        self._seen: list[float] = []

    def started(self, number: int) -> None:
        """A run was planned with the present slowdown."""
        self._planned[number] = self._appraiser.slowdown

    def ended(self, record: CandidateRecord) -> None:
        """The run of a candidate is over."""
        if (measured := measured_cost(record.costs, PEAK_MEMORY)) is not None:
            self._appraiser.crowding = max(self._appraiser.crowding, measured / record.plan["memory_bytes"])
        planned = self._planned.pop(record.number, None)
        predicted = float(record.plan["seconds"])
        whole = record.state is CandidateState.COMPLETED and not record.time_bound and record.origin is not Origin.FINAL
        if planned is not None and whole and predicted > 0:  # else it was planned for another device
            self._seen.append(planned * record.seconds / predicted)
            self._appraiser.slowdown = statistics.median_high(self._seen)
