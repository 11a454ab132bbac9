"""The account of a search from sums of the database: what `dashboards.view` finds by loading all of it."""

from collections.abc import Mapping, Sequence

from dashboards.money import Money
from dashboards.view import Audit, false_stop, grants, spending
from nas.adapters.sql.course import Audited, Booked, Spent
from nas.ledger import FINAL, SEARCH, Balance
from nas.records import CandidateState, SearchRecord, SearchState
from services.controller.service import Service

OVER = (SearchState.COMPLETED, SearchState.FAILED, SearchState.CANCELLED)


def money(service: Service, search: SearchRecord) -> Money:
    """Of a search as it is now."""
    revision = service.reader.revision(search.id)
    spent, booked = service.spent.of(search.id, revision), service.booked.of(search.id, revision)
    own, final = _balances(search, booked)
    trained = {state: int(sums.train) for state, sums in spent.items()}
    return Money(
        spending=spending(trained, int(sum(sums.evaluation for sums in spent.values())), own, final),
        search=own,
        final=final,
        gate_saved=_gate_saved(search, spent),
        pruner_saved=int(spent[CandidateState.STOPPED].spared) if CandidateState.STOPPED in spent else 0,
        audits=sum(audit.extra_flops for audit in audits_of(service.course.audits(search.id), ())),
        open=search.state not in OVER,
    )


def audits_of(found: Sequence[Audited], front: Sequence[int]) -> list[Audit]:
    """As the report has them."""
    members = set(front)
    return [
        Audit(
            number=own.number,
            rung=own.rung,
            reason=own.reason,
            false_stop=false_stop(own.state, own.number in members),
            extra_flops=max(0, own.spent - int(own.rung * own.planned)),
        )
        for own in found
    ]


def candidates_spent(service: Service, search_id: str, revision: int) -> int:
    """FLOPs of training and evaluation, without the final run."""
    return int(sum(own.train + own.evaluation for own in service.spent.of(search_id, revision).values()))


def _balances(search: SearchRecord, booked: Mapping[str, Booked]) -> tuple[Balance, Balance]:
    own, final = (booked.get(name, Booked()) for name in (SEARCH, FINAL))
    granted = grants(search)
    received = int(final.received)  # by the search, which had it left
    return _balance(granted[0] - received, own), _balance(granted[1] + received, final)


def _balance(granted: int, booked: Booked) -> Balance:
    return Balance(granted, int(booked.spent), int(booked.reserved), booked.seconds)


def _gate_saved(search: SearchRecord, spent: Mapping[CandidateState, Spent]) -> int:
    rejected = spent[CandidateState.REJECTED].candidates if CandidateState.REJECTED in spent else 0
    return int(search.setting.get("candidate_flops") or 0) * rejected
