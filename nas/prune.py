"""Stop a candidate that can no longer reach the front. A pure function: no state, no I/O, asking twice is asking once.

A candidate is stopped at a rung when it is expected to end above one that cost no more in any objective, by some
standard deviations of that expectation; and while too few were completed to expect anything, when peers that cost no
more are better at the rung by a margin. Costs are known before training, so only the loss has to be compared. What that
keeps and saves: `benchmarks.pruning`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nas.policy import Policy
from nas.records import Verdict

COMPARED_FROM = 0.125
"""The first rung at which losses alone say enough; before, larger candidates look worse than they are."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A candidate at a rung: its loss there (bits per byte) and its costs, one per cost objective."""

    number: int
    loss: float
    costs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Outlook:
    """Where a run is expected to end, with its standard deviation, against the best end of those that cost no more, and
    that one's number."""

    mean: float
    deviation: float
    best: float
    number: int


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict with its reason and everything that it was made from."""

    verdict: Verdict
    reason: str
    inputs: dict[str, Any]


def decide(
    rung: float, own: Standing, peers: Sequence[Standing], policy: Policy, seed: int, outlook: Outlook | None = None
) -> Decision:
    """The verdict on ``own`` at ``rung``. Peers have the same schedule shape, budget and bound; ``outlook``, which
    is known once some of them were completed, takes the place of the margin."""
    inputs = {
        "rung": rung,
        "own": asdict(own),
        "peers": [{"number": peer.number, "loss": peer.loss, "costs": peer.costs} for peer in peers],
        "policy": asdict(policy),
        "seed": seed,
        "outlook": asdict(outlook) if outlook else None,
    }
    if not policy.prunes:
        return Decision(Verdict.CONTINUE, "the policy stops nothing", inputs)
    dominators = [peer for peer in peers if _dominates(peer, own, policy.margin)]
    if outlook is not None and policy.deviations is not None:
        reason = _hopeless(rung, outlook, policy.deviations)
    else:
        reason = _dominated(rung, own, dominators, policy)
    if not reason:
        return Decision(Verdict.CONTINUE, f"{len(dominators)} of {len(peers)} peers dominate", inputs)
    if is_audited(seed, own.number, policy.audit_share):
        return Decision(Verdict.AUDIT, f"audited, would stop: {reason}", inputs)
    return Decision(Verdict.STOP, reason, inputs)


def _dominated(rung: float, own: Standing, dominators: Sequence[Standing], policy: Policy) -> str:
    """Why it is to be stopped for what its peers were at the rung; empty when it is not."""
    if rung < COMPARED_FROM or len(dominators) < policy.dominators:
        return ""
    best = min(dominators, key=lambda peer: (peer.loss, peer.number))
    return (
        f"at p = {rung:g} candidate {best.number} costs no more and is better by {own.loss - best.loss:.3f} "
        f"bits per byte ({best.loss:.3f} against {own.loss:.3f})"
    )


def _hopeless(rung: float, outlook: Outlook, deviations: float) -> str:
    """Why it is to be stopped for where it is expected to end; empty when it is not."""
    if outlook.mean - deviations * outlook.deviation <= outlook.best:
        return ""
    return (
        f"at p = {rung:g} it is expected to end at {outlook.mean:.3f} ± {outlook.deviation:.3f} bits per byte, and "
        f"candidate {outlook.number}, which costs no more, ended at {outlook.best:.3f}"
    )


def is_audited(seed: int, number: int, share: float) -> bool:
    """Whether a stop of this candidate is audited: drawn by a hash, the same at each of its rungs."""
    digest = hashlib.sha256(f"audit:{seed}:{number}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def _dominates(peer: Standing, own: Standing, margin: float) -> bool:
    cheaper = all(a <= b for a, b in zip(peer.costs, own.costs, strict=True))
    return peer.number != own.number and cheaper and peer.loss <= own.loss - margin
