"""Which candidates compare with each other, and which of them is chosen."""

from collections.abc import Callable, Iterable
from typing import Any

from nas.outcome import objectives
from nas.pareto import front_mask, knee
from nas.ports import Store
from nas.records import CandidateRecord, CandidateState, Origin, SearchRecord
from nas.spec import SearchSpec

TIED = 0.02
"""Bits per byte. Seeds alone move a loss by 0.010 or 0.013 (standard deviations, medians of two tables of real runs),
and the difference of two losses by 1.4 times as much."""
Expected = Callable[[CandidateRecord], float]


def earlier_results(store: Store, record: SearchRecord) -> list[CandidateRecord]:
    """Completed candidates of other searches that were over when this one was made, with the same text, space and
    compute of a candidate: their losses compare, but for the seed."""
    mine = _setting(record)
    alike = [
        own.id
        for own in store.searches()
        if own.finished_at is not None and own.finished_at <= record.created_at and mine and _setting(own) == mine
    ]
    return [
        own
        for search_id in alike
        for own in store.candidates(search_id)
        if own.state is CandidateState.COMPLETED and own.origin is not Origin.FINAL and not own.time_bound
    ]


def _setting(search: SearchRecord) -> tuple[Any, ...] | None:
    """What losses depend on; ``None`` where that is not known."""
    text = search.setting.get("corpus", {}).get("fingerprint")
    return (text, search.setting["space"], search.spec["budget"]["candidate"]["compute"]) if text else None


def choose(
    spec: SearchSpec, candidates: Iterable[CandidateRecord], expected: Expected | None = None
) -> CandidateRecord | None:
    """The candidate for the final run: the best validation loss, or the knee of the front.

    Args:
        expected: what rules expect of a final run with a candidate, the less the better. It decides between the best
            loss and those that are ``TIED`` with it; without it the loss alone does.
    """
    completed = [own for own in candidates if own.state is CandidateState.COMPLETED and own.origin is not Origin.FINAL]
    if not completed:
        return None
    if spec.method.choose == "best":
        best = min(completed, key=lambda own: (own.val_bpb, own.number))
        return min(tied(best, completed), key=expected) if expected is not None else best
    points = [objectives(spec.minimize, own) for own in completed]
    members = [own for own, kept in zip(completed, front_mask(points), strict=True) if kept]
    return members[knee([objectives(spec.minimize, own) for own in members])]


def tied(best: CandidateRecord, completed: Iterable[CandidateRecord]) -> list[CandidateRecord]:
    """Those whose losses nothing but luck may tell from the best one, the best first."""
    least = best.val_bpb or 0.0
    near = (own for own in completed if own.val_bpb is not None and own.val_bpb <= least + TIED)
    return sorted(near, key=lambda own: (own.val_bpb, own.number))


def comparable(peer: CandidateRecord, own: CandidateRecord) -> bool:
    """The same schedule shape, budget and bound; the final run and what broke are nobody's peers."""
    if peer.origin is Origin.FINAL or peer.time_bound != own.time_bound:
        return False
    if peer.state in (CandidateState.DIVERGED, CandidateState.FAILED, CandidateState.REJECTED):
        return False
    shape = ("warmup", "cooldown", "floor")
    mine, theirs = own.candidate["recipe"], peer.candidate["recipe"]
    return all(mine.get(name) == theirs.get(name) for name in shape) and own.plan["bound"] == peer.plan["bound"]
