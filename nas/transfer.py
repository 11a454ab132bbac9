"""A candidate of a search carried to another budget by `nas.scaling.scale`: what becomes of it, and what binds.

It is an extrapolation: nothing here has trained what comes out.
"""

from dataclasses import dataclass
from typing import Any

from nas.appraise import Appraiser
from nas.candidate import Architecture, Candidate, describe
from nas.errors import InfeasibleError
from nas.gate import MINIMUM_STEPS, Rejected
from nas.plan import Allowance, Plan
from nas.scaling import DEEPEST, WIDEST, scale
from nas.units import format_flops


@dataclass(frozen=True, slots=True)
class Transfer:
    """A candidate at another budget.

    Attributes:
        candidate: the nearest to what the rules ask for that keeps the limits.
        costs: as `nas.appraise.Appraiser.costs`.
        factor: the training FLOPs of the plan over those that the candidate was planned with before.
        binds: what keeps it from the size that the rules ask for, or from spending all of the FLOPs; empty for nothing.
    """

    candidate: Candidate
    plan: Plan
    costs: dict[str, Any]
    factor: float
    binds: tuple[str, ...]


def transfer(candidate: Candidate, trained_flops: int, allowance: Allowance, appraiser: Appraiser) -> Transfer:
    """A candidate that was planned with ``trained_flops`` of training, carried to what it can train with by an
    allowance; itself where that is the same.

    Raises `InfeasibleError` when neither the candidate nor anything nearer to what the rules ask for keeps the limits.
    """
    rough = appraiser.rough()
    affordable = appraiser.plan(candidate, allowance).train_flops or allowance.flops
    wanted = scale(candidate, trained_flops, affordable, lambda other: True)
    chosen = scale(candidate, trained_flops, affordable, lambda other: rough.admits(other, allowance))
    if not appraiser.admits(chosen, allowance):
        raise InfeasibleError(
            f"compute: must allow {MINIMUM_STEPS} steps of a candidate within the limits, found "
            f"{format_flops(allowance.flops)}; the nearest to the rules ({describe(wanted)}) breaks "
            f"{rough.admit(wanted, allowance)}"
        )
    plan = appraiser.plan(chosen, allowance)
    return Transfer(
        candidate=chosen,
        plan=plan,
        costs=appraiser.costs(chosen, plan),
        factor=plan.train_flops / trained_flops,
        binds=(
            *_keeps_its_shape(candidate.architecture, wanted.architecture),
            *_keeps_small(wanted, rough, allowance),
            *_keeps_short(plan, allowance),
        ),
    )


def _keeps_its_shape(was: Architecture, wanted: Architecture) -> tuple[str, ...]:
    """Why the rules themselves ask for no other size."""
    if was.deviations:
        return ("deviations: layers that differ have no counterpart at another depth; it stays as it is",)
    if (wanted.heads, wanted.depth) == (WIDEST * was.heads, DEEPEST * was.depth):
        return (f"shape: is looked for up to {WIDEST} times the width and {DEEPEST} times the depth",)
    return ()


def _keeps_small(wanted: Candidate, appraiser: Appraiser, allowance: Allowance) -> tuple[str, ...]:
    """Which limits refuse what the rules ask for."""
    verdict = appraiser.admit(wanted, allowance)
    return tuple(map(str, verdict.violations)) if isinstance(verdict, Rejected) else ()


def _keeps_short(plan: Plan, allowance: Allowance) -> tuple[str, ...]:
    if plan.bound != "time":
        return ()
    return (f"time: allows {format_flops(plan.train_flops)} of {format_flops(allowance.flops)}",)
