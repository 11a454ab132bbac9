"""A candidate against a budget on one corpus and device: what it costs, whether it is admitted, what it would do."""

from dataclasses import dataclass, field

from nas.candidate import Candidate
from nas.cost import Cost, cost
from nas.curve import RUNGS, rung_steps
from nas.gate import Admitted, Needs, Rejected, admit
from nas.native import not_native_because
from nas.plan import Allowance, Compiles, Plan, Speed, TextFacts, lay_out, plan_run
from nas.ports import TextMeter
from nas.spec import Limits


@dataclass
class Appraiser:
    """Answers for one corpus, device and set of limits. ``slowdown`` corrects the predicted speed by what finished
    runs really took; ``alone`` is how many times faster a run goes that has the machine to itself."""

    texts: TextMeter
    limits: Limits
    speed: Speed | None = None
    compiles: Compiles | None = None
    precision: str = "float32"
    slowdown: float = 1.0
    alone: float = 1.0
    _bytes_per_token: dict[int, float] = field(default_factory=dict, repr=False)

    def cost(self, candidate: Candidate) -> Cost:
        """The closed forms."""
        vocabulary = candidate.architecture.vocabulary
        if vocabulary not in self._bytes_per_token:
            self._bytes_per_token[vocabulary] = self.texts.bytes_per_token(vocabulary)
        return cost(candidate, self._bytes_per_token[vocabulary])

    def facts(self, candidate: Candidate) -> TextFacts:
        return self.texts.facts(candidate.architecture.vocabulary, candidate.architecture.context)

    def admit(self, candidate: Candidate, allowance: Allowance) -> Admitted | Rejected:
        """The gate, with the leanest memory that any layout of the step needs."""
        needs = Needs(
            cost=self.cost(candidate),
            memory_bytes=lay_out(candidate, allowance.memory).memory_bytes,
            native=not_native_because(candidate.architecture),
        )
        return admit(needs, self.limits, allowance.flops, allowance.memory)

    def admits(self, candidate: Candidate, allowance: Allowance) -> bool:
        return isinstance(self.admit(candidate, allowance), Admitted)

    def plan(self, candidate: Candidate, allowance: Allowance, *, final: bool = False) -> Plan:
        """The plan of a run; a ``final`` one has the machine to itself and scores the test split too."""
        own = self.cost(candidate)
        pace = self.slowdown / self.alone if final else self.slowdown
        rungs = len(rung_steps(allowance.flops // own.step_flops, RUNGS))
        return plan_run(
            candidate,
            own,
            self.facts(candidate),
            allowance,
            rungs=rungs,
            score_test=final,
            speed=self.speed.scaled(pace) if self.speed else None,
            compiles=self.compiles,
            precision=self.precision,
        )

    def final_plan(self, candidate: Candidate, allowance: Allowance) -> Plan:
        """The plan that spends ``allowance.flops`` on training and evaluation together."""
        rough = self.plan(candidate, allowance, final=True)
        training = Allowance(max(0, allowance.flops - rough.eval_flops), allowance.seconds, allowance.memory)
        return self.plan(candidate, training, final=True)
