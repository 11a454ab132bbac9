"""What is put in order from outside a driver: candidates that a dead one left behind, and those of a search that is
cancelled."""

from typing import Any

from nas import outcome as outcomes
from nas.ledger import Ledger
from nas.ports import Store
from nas.records import CandidateRecord, CandidateState


def abandon(store: Store, search_id: str, at: float) -> None:
    """Puts back in the queue what a driver that died has left in training. For the holder of the search's lease."""
    for record in store.candidates(search_id):
        if record.state is not CandidateState.TRAINING:
            continue
        with store.transaction():
            store.update_candidate(search_id, record.number, state=CandidateState.QUEUED)
            for own in store.attempts(search_id, record.number):
                if own.finished_at is None:
                    ended = {"finished_at": at, "outcome": outcomes.ABANDONED}
                    store.update_attempt(search_id, record.number, own.attempt, **ended)
            message = f"candidate {record.number} goes back in the queue: nobody heard how its last attempt ended"
            store.add_event(search_id, "abandoned", message, at=at, number=record.number, level="warning")


def cancel_candidate(store: Store, ledger: Ledger, record: CandidateRecord, at: float) -> CandidateRecord:
    """Settles a candidate that waits in the queue for ever; what it has spent is that of its last point."""
    points = store.points(record.search_id, record.number)
    last = points[-1] if points else None
    changes: dict[str, Any] = {"state": CandidateState.CANCELLED, "finished_at": at}
    if last is not None:
        changes |= {"train_flops_spent": last.flops, "eval_flops": last.eval_flops, "seconds": last.seconds}
    with store.transaction():
        done = store.update_candidate(record.search_id, record.number, **changes)
        if record.plan:
            spent = done.train_flops_spent + done.eval_flops
            store.add_ledger([ledger.settle(record.number, spent, done.seconds, at, outcomes.CANCELLED)])
        store.add_event(record.search_id, str(done.state), outcomes.sentence(done), at=at, number=done.number)
    return done
