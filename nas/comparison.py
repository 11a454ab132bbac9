"""Which candidates compare with each other, and which of them is chosen."""

from collections.abc import Iterable
from typing import Any

from nas.outcome import objectives
from nas.pareto import front_mask, knee
from nas.ports import Store
from nas.records import CandidateRecord, CandidateState, Origin, SearchRecord
from nas.spec import SearchSpec


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


def comparable(peer: CandidateRecord, own: CandidateRecord) -> bool:
    """The same schedule shape, budget and bound; the final run and what broke are nobody's peers."""
    if peer.origin is Origin.FINAL or peer.time_bound != own.time_bound:
        return False
    if peer.state in (CandidateState.DIVERGED, CandidateState.FAILED, CandidateState.REJECTED):
        return False
    shape = ("warmup", "cooldown", "floor")
    mine, theirs = own.candidate["recipe"], peer.candidate["recipe"]
    return all(mine.get(name) == theirs.get(name) for name in shape) and own.plan["bound"] == peer.plan["bound"]
