"""Stop a candidate that can no longer reach the front. A pure function: no state, no I/O, asking twice is asking once.

A candidate is stopped at a rung when peers that cost no more in any objective are better there by a margin. Costs
are known before training, so only the loss has to be compared. On 180 real runs with three objectives this kept the
whole front at 22% of the compute; successive halving on loss alone kept 43% of it at 23%.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nas.policy import Policy
from nas.records import Verdict


@dataclass(frozen=True, slots=True)
class Standing:
    """A candidate at a rung: its loss there (bits per byte) and its costs, one per cost objective."""

    number: int
    loss: float
    costs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict with its reason and everything that it was made from."""

    verdict: Verdict
    reason: str
    inputs: dict[str, Any]


def decide(rung: float, own: Standing, peers: Sequence[Standing], policy: Policy, seed: int) -> Decision:
    """The verdict on ``own`` at ``rung``. Peers have the same schedule shape, budget and bound."""
    inputs = {
        "rung": rung,
        "own": asdict(own),
        "peers": [{"number": peer.number, "loss": peer.loss, "costs": peer.costs} for peer in peers],
        "policy": asdict(policy),
        "seed": seed,
    }
    dominators = [peer for peer in peers if _dominates(peer, own, policy.margin)]
    if not policy.prunes or len(dominators) < policy.dominators:
        return Decision(Verdict.CONTINUE, f"{len(dominators)} of {len(peers)} peers dominate", inputs)
    best = min(dominators, key=lambda peer: (peer.loss, peer.number))
    reason = (
        f"at p = {rung:g} candidate {best.number} costs no more and is better by {own.loss - best.loss:.3f} "
        f"bits per byte ({best.loss:.3f} against {own.loss:.3f})"
    )
    if is_audited(seed, own.number, policy.audit_share):
        return Decision(Verdict.AUDIT, f"audited, would stop: {reason}", inputs)
    return Decision(Verdict.STOP, reason, inputs)


def is_audited(seed: int, number: int, share: float) -> bool:
    """Whether a stop of this candidate is audited: drawn by a hash, the same at each of its rungs."""
    digest = hashlib.sha256(f"audit:{seed}:{number}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def _dominates(peer: Standing, own: Standing, margin: float) -> bool:
    cheaper = all(a <= b for a, b in zip(peer.costs, own.costs, strict=True))
    return peer.number != own.number and cheaper and peer.loss <= own.loss - margin
