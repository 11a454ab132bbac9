"""What a view computes, by truth tables and by hand."""

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest

from dashboards.view import LOSS, SearchView, Standing, front_numbers, values, view
from nas.adapters.sql.store import SqlStore
from nas.errors import NotFoundError
from nas.outcome import in_log_costs
from nas.pareto import hypervolume
from nas.records import CandidateRecord, CandidateState, LedgerRecord, Origin, SearchState
from tests.dashboards import sample
from tests.dashboards.conftest import Build

OBJECTIVES = (LOSS, "flops_per_byte")


def record(number: int, loss: float | None, cost: float | None, **fields: Any) -> CandidateRecord:
    known: dict[str, Any] = {
        "id": f"c{number}",
        "origin": Origin.PROPOSED,
        "state": CandidateState.COMPLETED,
        "created_at": 0.0,
        "candidate": {},
        "val_bpb": loss,
        "costs": {} if cost is None else {"flops_per_byte": cost},
    }
    return CandidateRecord(search_id="s", number=number, **known | fields)


#    loss
#   3 |  0
#     |        3 (dominated by 1)
#   2 |     1
#     |           4 = 5 (equal: both stay)
#   1 |
#     +--1--2--3--4-- cost
def test_front_of_a_picture() -> None:
    points = [(3.0, 1.0), (2.0, 2.0), (2.5, 3.0), (1.5, 4.0), (1.5, 4.0)]
    records = [record(number, *point) for number, point in enumerate(points)]
    assert front_numbers(records, OBJECTIVES) == (0, 1, 3, 4)


@pytest.mark.parametrize(
    ("changes", "compared"),
    [
        ({}, True),
        ({"origin": Origin.DIAL}, True),
        ({"origin": Origin.GIVEN}, True),
        ({"origin": Origin.FINAL}, False),
        *[({"state": state}, state is CandidateState.COMPLETED) for state in CandidateState],
        ({"val_bpb": None}, False),
        ({"val_bpb": math.nan}, False),
        ({"val_bpb": math.inf}, False),
        ({"costs": {}}, False),
    ],
)
def test_only_what_was_trained_to_the_end_is_compared(changes: dict[str, Any], compared: bool) -> None:
    best = replace(record(0, 0.1, 0.1), **changes)
    other = record(1, 2.0, 2.0)
    assert (values(best, OBJECTIVES) is not None) is compared
    assert front_numbers([best, other], OBJECTIVES) == ((0,) if compared else (1,))


def test_front_of_the_sample_is_what_no_other_dominates(full: SearchView) -> None:
    points = {c.number: point for c in full.candidates if (point := values(c, full.objectives)) is not None}
    dominated = {
        n for (n, a), (_, b) in itertools.permutations(points.items(), 2) if b != a and all(map(float.__le__, b, a))
    }
    assert set(full.front) == points.keys() - dominated
    costs = [c.costs["flops_per_byte"] for c in full.members]
    assert costs == sorted(costs)


def test_standing_of_every_state(full: SearchView) -> None:
    seen = {full.standing(c) for c in full.candidates}
    assert seen == set(Standing) - {Standing.OPEN}
    for c in full.candidates:
        if c.state is not CandidateState.COMPLETED:
            assert c.number not in full.front
    assert full.final is not None
    assert full.standing(full.final) is Standing.FINAL


def test_savings_are_the_sums_over_rejected_and_stopped(full: SearchView) -> None:
    assert full.gate_saved_flops == 4 * sample.CANDIDATE_FLOPS
    shares = [1 - plot.stopped_at for plot in sample.PLOTS if plot.state is CandidateState.STOPPED]
    assert full.pruner_saved_flops == sum(int(share * sample.CANDIDATE_FLOPS) for share in shares)


def test_audits_say_whether_the_stop_would_have_been_wrong(full: SearchView) -> None:
    told = {audit.number: (audit.rung, audit.false_stop, audit.extra_flops) for audit in full.audits}
    flops = sample.CANDIDATE_FLOPS
    assert told == {
        15: (0.25, False, int(0.75 * flops)),
        20: (0.125, False, int(0.875 * flops)),
        29: (0.5, True, int(0.5 * flops)),
    }
    assert full.false_stops == (1, 3)


@pytest.mark.parametrize(
    ("state", "false_stop"),
    [
        (CandidateState.COMPLETED, True),  # alone, hence on the front
        (CandidateState.DIVERGED, False),
        (CandidateState.TRAINING, None),
        (CandidateState.FAILED, None),
        (CandidateState.CANCELLED, None),
    ],
)
def test_audit_of_a_candidate_that_ended_so(build: Build, state: CandidateState, false_stop: bool | None) -> None:
    own = build((sample.Plot(Origin.PROPOSED, state, 3, 64, audited_at=0.25),))
    assert [audit.false_stop for audit in own.audits] == [false_stop]


def test_spending_adds_up_to_the_budget(full: SearchView) -> None:
    spending = full.spending
    parts = (spending.completed, spending.stopped, spending.unfinished, spending.evaluation, spending.other)
    assert sum(parts) == full.search_account.balance.spent
    assert sum(parts) + spending.final + spending.unspent == sample.TOTAL_FLOPS
    assert spending.other == 90_000_000_000


def test_a_reserve_is_not_spent(store: SqlStore) -> None:
    sample.fill(store, ())
    before = view(store, sample.ID)
    store.add_ledger([LedgerRecord(sample.ID, 2, "reserve", "search", 0, 10**12, 0.0, "planned", 1.0)])
    after = view(store, sample.ID)
    assert after.search_account.balance.spent == before.search_account.balance.spent
    assert after.search_account.balance.reserved == 10**12


def test_budgets_are_split_by_the_final_share(full: SearchView) -> None:
    search, final = full.search_account, full.final_account
    assert final.balance.granted == int(0.3 * sample.TOTAL_FLOPS)
    assert search.balance.granted + final.balance.granted == sample.TOTAL_FLOPS
    assert [search.budget_seconds, final.budget_seconds] == pytest.approx([630.0, 270.0])


def test_hypervolume_grows_with_the_flops_of_all_that_finished(full: SearchView) -> None:
    volumes = [step.volume for step in full.volumes]
    assert volumes == sorted(volumes)
    assert [step.number for step in full.volumes] == [
        c.number for c in full.candidates if c.state is CandidateState.COMPLETED and c.origin is not Origin.FINAL
    ]
    until = [c for c in full.candidates if c.number <= 9]
    step = next(step for step in full.volumes if step.number == 9)
    assert step.flops == sum(c.train_flops_spent + c.eval_flops for c in until)


def test_hypervolume_does_not_depend_on_the_unit_of_a_cost(build: Build, full: SearchView) -> None:
    """In logarithms a factor of all costs, and of the reference's, moves everything alike."""
    points = [(own.val_bpb or 0.0, own.costs["flops_per_byte"]) for own in full.candidates if own.val_bpb]
    names, reference = full.objectives, full.search.setting["reference"]
    assert names == ("val_bpb", "flops_per_byte")

    def volume(factor: float) -> float:
        own = [in_log_costs(names, (loss, factor * cost)) for loss, cost in points]
        return hypervolume(own, in_log_costs(names, (reference[0], factor * reference[1])))

    assert volume(1000.0) == pytest.approx(volume(1.0)) and volume(1.0) > 0
    searched = [own for own in full.candidates if own.val_bpb and own.origin is not Origin.FINAL]
    points = [(own.val_bpb or 0.0, own.costs["flops_per_byte"]) for own in searched]
    assert full.volumes[-1].volume == pytest.approx(volume(1.0))


def test_counts_and_origins(full: SearchView) -> None:
    assert sum(full.by_state.values()) == len(sample.PLOTS) - 1
    assert sum(full.by_origin.values()) == len(sample.PLOTS)
    assert full.front_by_origin[Origin.DIAL] == (0,)
    assert sorted(n for members in full.front_by_origin.values() for n in members) == sorted(full.front)


@pytest.mark.parametrize("minimize", [("val_bpb",), ("flops_per_byte", "val_bpb", "kv_bytes_per_byte")])
def test_any_objectives(build: Build, minimize: tuple[str, ...]) -> None:
    own = build(minimize=minimize)
    assert own.objectives == minimize
    assert own.best is not None
    assert own.best.number == 29
    assert own.volumes


def test_a_view_of_a_search_that_has_nothing_yet(build: Build) -> None:
    own = build((), spec={}, setting={}, result=None, state=SearchState.QUEUED)
    assert (own.front, own.knee, own.best, own.final, own.volumes, own.audits) == ((), None, None, None, (), ())
    assert (own.gate_saved_flops, own.pruner_saved_flops) == (0, 0)


def test_unknown_search(store: SqlStore) -> None:
    with pytest.raises(NotFoundError):
        view(store, "none")


def test_time_that_workers_did_not_train(build: Build) -> None:
    """Of candidates with one attempt, since only their seconds are those of that attempt."""
    seen = build()
    trained = [own for own in seen.candidates if own.train_flops_planned]
    assert seen.idle_seconds == pytest.approx([sample.IDLE] * len(trained), abs=1e-6)
