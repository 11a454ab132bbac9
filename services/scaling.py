"""A candidate of a search at another budget, beside what it was; and whether a run has verified it."""

from dataclasses import dataclass, replace
from typing import Any

from dashboards.labels import architecture, format_error, recipe
from nas.candidate import Candidate
from nas.client.models import ScaledCandidate
from nas.plan import Plan
from nas.records import CandidateRecord
from nas.transfer import Transfer
from nas.units import format_bytes, format_count, format_flops, format_seconds

RUN = ("search_id", "number", "val_bpb", "val_error", "seconds")
"""What is told of a run that has verified."""
ORIGIN = (*RUN, "id", "state", "candidate", "costs", "plan")


@dataclass(frozen=True)
class Scaled:
    """A candidate as its search knows it, and as it was carried to another budget.

    Attributes:
        device: that it is planned for.
        verified: a run of what came out, with that budget and on the same text; ``None`` where none is known.
    """

    origin: CandidateRecord
    transfer: Transfer
    device: str
    verified: CandidateRecord | None

    @property
    def candidate(self) -> Candidate:
        return self.transfer.candidate

    def to_dict(self) -> dict[str, Any]:
        """The contract of ``nas scale -o json``."""
        own, run = self.transfer, self.verified
        return {
            "id": own.candidate.id,
            "candidate": own.candidate.to_dict(),
            "costs": own.costs,
            "plan": own.plan.to_dict(),
            "origin": _told(self.origin, *ORIGIN),
            "factor": own.factor,
            "binds": list(own.binds),
            "extrapolation": run is None,
            "verified": None if run is None else _told(run, *RUN),
            "device": self.device,
        }

    def sent(self) -> ScaledCandidate:
        """As it goes to a client, which knows the origin."""
        own = self.transfer
        return ScaledCandidate(
            candidate=own.candidate.to_dict(),
            costs=own.costs,
            plan=own.plan.to_dict(),
            factor=own.factor,
            binds=list(own.binds),
            device=self.device,
            verified=self.verified,
        )

    @classmethod
    def received(cls, origin: CandidateRecord, sent: ScaledCandidate) -> "Scaled":
        """What a server made of a candidate."""
        own = Transfer(
            candidate=Candidate.from_dict(sent.candidate),
            plan=Plan.from_dict(sent.plan),
            costs=sent.costs,
            factor=sent.factor,
            binds=tuple(sent.binds),
        )
        return cls(origin, own, sent.device, sent.verified)

    def text(self) -> list[str]:
        """Lines for people: what it was and what it becomes, side by side, and what that is worth."""
        before, after = _column(self.origin), _column(self._as_record())
        heads = ("", _name(self.origin), f"at {self._times()} the compute")
        rows = [heads, *((topic, before[topic], after[topic]) for topic in before)]
        wide = max(len(old) for _, old, _ in rows)
        lines = [f"{topic:<14}{old:<{wide}}  {new}" for topic, old, new in rows]
        return [*lines, *(f"{'binds':<14}{limit}" for limit in self.transfer.binds or ("no limit",)), self._worth()]

    def _as_record(self) -> CandidateRecord:
        """What came out, with what is known of its run."""
        own, run = self.transfer, self.verified
        return replace(
            self.origin,
            candidate=own.candidate.to_dict(),
            costs=own.costs,
            plan=own.plan.to_dict(),
            val_bpb=run.val_bpb if run else None,
            val_error=run.val_error if run else None,
            seconds=run.seconds if run else 0.0,
        )

    def _worth(self) -> str:
        if self.verified is not None:
            return f"{'verified':<14}by {_name(self.verified)}: the same candidate with this budget, on the same text"
        return (
            f"{'extrapolated':<14}by rules, to {self._times()} the compute: "
            "no run of this candidate with this budget has verified it"
        )

    def _times(self) -> str:
        factor = self.transfer.factor
        return f"{factor:.3g} times" if factor < 1000 else f"{factor:,.0f} times"


def _column(record: CandidateRecord) -> dict[str, str]:
    """Of a run that went to its end what was measured, else what is predicted: predictions for a search that has begun
    are not corrected by what its runs took later."""
    costs, plan, ended = record.costs, Plan.from_dict(record.plan), record.val_bpb is not None
    return {
        "architecture": architecture(record),
        "recipe": recipe(record),
        "parameters": format_count(costs["params"]),
        "use": f"{format_flops(costs['flops_per_byte'])} a byte of text",
        "training": f"{format_flops(plan.train_flops)} in {plan.steps} steps",
        "text": f"{format_count(plan.tokens)} tokens, {plan.epochs:.2g} epochs",
        "memory": f"{format_bytes(plan.memory_bytes)} predicted",
        "time": f"{format_seconds(record.seconds)} measured" if ended else f"{format_seconds(plan.seconds)} predicted",
        "loss": format_error(record.val_bpb, record.val_error) if ended else "not known",
    }


def _name(record: CandidateRecord) -> str:
    return f"{record.search_id}/{record.number}"


def _told(record: CandidateRecord, *names: str) -> dict[str, Any]:
    return {name: getattr(record, name) for name in names}
