"""The account of a search from its tally: what `dashboards.view` finds by loading all of it."""

from collections.abc import Sequence
from dataclasses import replace

from dashboards.money import Money
from dashboards.view import Audit, false_stop, grants, spending
from nas.adapters.sql.course import Audited
from nas.records import CandidateState, SearchRecord, SearchState
from services.controller.service import Service

OVER = (SearchState.COMPLETED, SearchState.FAILED, SearchState.CANCELLED)


def money(service: Service, search: SearchRecord) -> Money:
    """Of a search as it is now."""
    tally = service.tallies.of(search.id, service.reader.revision(search.id))
    granted = grants(search)
    own = replace(tally.search, granted=granted[0] + tally.search.granted)
    final = replace(tally.final, granted=granted[1] + tally.final.granted)
    trained = {state: sums.train for state, sums in tally.by_state.items()}
    return Money(
        spending=spending(trained, sum(sums.evaluation for sums in tally.by_state.values()), own, final),
        search=own,
        final=final,
        gate_saved=int(search.setting.get("candidate_flops") or 0) * tally.of(CandidateState.REJECTED).candidates,
        pruner_saved=tally.of(CandidateState.STOPPED).spared,
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
