"""A search over the real store, study and training, on a few kilobytes of text."""

import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from nas.appraise import Appraiser
from nas.candidate import Candidate, describe
from nas.comparison import choose, tied
from nas.data.texts import Texts
from nas.errors import InfeasibleError, NasError, StateError
from nas.gate import MINIMUM_STEPS
from nas.ledger import FINAL, SEARCH
from nas.outcome import objectives
from nas.pareto import front_mask, knee
from nas.plan import Plan, Speed
from nas.policy import POLICIES, STARTUP, Policy
from nas.ports import Assignment, Done, Driver, Outcome, Wait
from nas.propose import RANDOM_AFTER
from nas.prune import Outlook, Standing, decide
from nas.records import CandidateRecord, CandidateState, CurvePoint, LedgerRecord, LogLine, Origin, Verdict
from nas.recovery import abandon
from nas.scaling import expected_excess
from nas.search import LEAST_SEARCHED, MAXIMUM_FAILED, MAXIMUM_LOST, Search, prepare
from nas.space import Knobs, load_space
from nas.spec import SearchSpec
from tests.helpers import SMALL, SPACE, SPEED, Fated, Simulation, Watched, World, Worlds, spec_of, study_of, timeless
from tests.rosters import Meter


@pytest.fixture
def make(tiny_texts: Texts, tmp_path: Path) -> Iterator[Worlds]:
    worlds = Worlds(tiny_texts, tmp_path)
    yield worlds
    worlds.close()


@pytest.fixture(scope="module")
def whole(tiny_texts: Texts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A search that nothing disturbed."""
    worlds = Worlds(tiny_texts, tmp_path_factory.mktemp("whole"))
    yield worlds().run()
    worlds.close()


@pytest.fixture(scope="module")
def refusing(tiny_texts: Texts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A search by a sampler that has to learn what the gate refuses."""
    worlds = Worlds(tiny_texts, tmp_path_factory.mktemp("refusing"))
    yield worlds(spec_of(method={"policy": "tpe", "seed": 1})).run()
    worlds.close()


def searched(world: World) -> list[Any]:
    return [own for own in world.candidates if own.origin is not Origin.FINAL]


def same_beginning(world: World, other: World) -> bool:
    """Whether a search with less money did what the other did, as far as it went."""
    own = [timeless(record) for record in searched(world)]
    return len(own) > 2 and own == [timeless(record) for record in searched(other)[: len(own)]]


def trials(world: World) -> list[FrozenTrial]:
    with study_of(world.study) as study:
        return study.get_trials(deepcopy=False)


# --- A whole search ---------------------------------------------------------------------------------------------------


def test_it_ends_with_one_final_run_of_the_best(whole: World) -> None:
    finals = [own for own in whole.candidates if own.origin is Origin.FINAL]
    assert [own.number for own in finals] == [len(whole.candidates) - 1]
    assert all(own.state.terminal for own in whole.candidates)
    best = min((own for own in searched(whole) if own.val_bpb is not None), key=lambda own: own.val_bpb)
    assert choose(whole.spec, whole.candidates) == best
    assert finals[0].state is CandidateState.COMPLETED
    ties = {own.number for own in tied(best, searched(whole))}
    chosen = finals[0].reason.split(" scaled to ")[0]
    assert chosen in {f"candidate {number}" for number in ties}
    assert (f"; candidate {best.number} was better by 0.0" in finals[0].reason) is (
        chosen != f"candidate {best.number}"
    )
    assert finals[0].val_bpb < best.val_bpb, "more money, better model"


def test_only_the_final_run_reads_the_test_split(whole: World) -> None:
    assert [own.origin for own in whole.candidates if own.test_bpb is not None] == [Origin.FINAL]


@pytest.mark.parametrize("policy", ["default", "tpe"])
def test_seeds_come_first(make: Worlds, policy: str) -> None:
    world = make(spec_of(budget={"total": {"compute": "4.5GFLOP"}}, method={"policy": policy})).run()
    origins = [str(own.origin) for own in searched(world)]
    first = ["dial", "largest"] + POLICIES[policy].seeds * ["uniform"]
    assert origins[: len(first)] == first
    assert set(origins[len(first) :]) == {"proposed"}
    forecast = world.record.setting["forecast"]
    assert [own.knobs for own in searched(world)[:2]] == [forecast["dial"], forecast["largest"]]


def test_the_same_seed_gives_the_same_search(whole: World, make: Worlds) -> None:
    again = make().run()
    assert again.fate() == whole.fate()


def test_no_candidate_is_trained_twice(whole: World) -> None:
    ids = Counter(own.id for own in searched(whole))
    assert set(ids.values()) == {1}
    attempts = Counter(own.number for own in whole.store.attempts("s"))
    assert attempts == {own.number: 1 for own in whole.candidates if own.plan}


def test_the_model_proposes_nothing_that_closed_forms_refuse(whole: World) -> None:
    assert all(own.state is not CandidateState.REJECTED for own in searched(whole))


def test_what_the_gate_refuses_is_recorded_and_told_as_a_constraint(refusing: World) -> None:
    whole = refusing
    rejected = {own.number: own for own in searched(whole) if own.state is CandidateState.REJECTED}
    assert rejected
    told = {trial.user_attrs["number"]: trial for trial in trials(whole) if "number" in trial.user_attrs}
    for number, record in rejected.items():
        limit, rest = record.reason.split(": needs ")
        assert ", allowed " in rest
        assert told[number].state is TrialState.PRUNED
        assert told[number].constraints[limit] > 0
        assert told[number].user_attrs["candidate"] == record.id
        assert not record.plan and not whole.store.points("s", number)
    for number, trial in told.items():
        assert all(excess <= 0 for excess in trial.constraints.values()) is (number not in rejected)
    assert {trial.state for trial in trials(whole) if "number" in trial.user_attrs} == {
        TrialState.COMPLETE,
        TrialState.PRUNED,
    }


def test_decisions_follow_from_the_inputs_that_are_stored_with_them(refusing: World) -> None:
    decisions = refusing.store.decisions("s")
    assert {own.verdict for own in decisions} == set(Verdict), "all three were needed"
    for stored in decisions:
        inputs = stored.inputs
        own, *peers = (
            Standing(raw["number"], raw["loss"], tuple(raw["costs"])) for raw in (inputs["own"], *inputs["peers"])
        )
        outlook = Outlook(**inputs["outlook"]) if inputs["outlook"] else None
        again = decide(inputs["rung"], own, peers, Policy(**inputs["policy"]), inputs["seed"], outlook)
        assert (again.verdict, again.reason) == (stored.verdict, stored.reason)
        assert own.number == stored.number and inputs["rung"] == stored.rung
        point = next(p for p in refusing.store.points("s", stored.number) if p.rung == stored.rung)
        assert point.val_bpb == own.loss


def test_a_stop_is_obeyed_at_once_and_an_audited_one_not_at_all(refusing: World) -> None:
    verdicts = {(own.number, own.verdict) for own in refusing.store.decisions("s")}
    stopped = {number for number, verdict in verdicts if verdict is Verdict.STOP}
    audited = {number for number, verdict in verdicts if verdict is Verdict.AUDIT}
    assert stopped and audited
    for own in searched(refusing):
        assert (own.state is CandidateState.STOPPED) is (own.number in stopped)
        if own.number in stopped:
            last = refusing.store.points("s", own.number)[-1]
            assert last.rung is not None and last.flops == own.train_flops_spent < own.train_flops_planned
            assert own.val_bpb is None
        if own.number in audited:
            assert own.state is CandidateState.COMPLETED and own.train_flops_spent == own.train_flops_planned


def test_each_candidate_is_told_once_when_its_end_is_recorded(make: Worlds) -> None:
    world = make(spec_of(budget=SMALL))
    told: list[CandidateRecord] = []

    def ended(record: CandidateRecord) -> None:
        assert world.store.candidate("s", record.number) == record
        told.append(record)

    world.run(world.enter(ended=ended))
    trained = [own for own in world.candidates if own.plan]
    assert trained and sorted(told, key=lambda own: own.number) == trained


def test_nothing_is_pruned_by_the_policy_none_and_the_knee_may_be_chosen(make: Worlds) -> None:
    spec = spec_of(method={"policy": "none", "choose": "knee"}, budget=SMALL, minimize=["val_bpb", "params"])
    world = make(spec).run()
    assert {own.verdict for own in world.store.decisions("s")} == {Verdict.CONTINUE}
    completed = [own for own in searched(world) if own.state is CandidateState.COMPLETED]
    values = [objectives(spec.minimize, own) for own in completed]
    chosen = completed[knee(values)]
    assert front_mask(values)[knee(values)]
    assert choose(spec, world.candidates) == chosen
    assert world.candidates[-1].reason.startswith(f"candidate {chosen.number} scaled")


def test_without_a_final_share_there_is_no_final_run(make: Worlds) -> None:
    world = make(spec_of(budget={"total": {"compute": "1GFLOP"}, "final": 0})).run()
    assert all(own.origin is not Origin.FINAL for own in world.candidates)
    assert any(own.state is CandidateState.COMPLETED for own in world.candidates)


# --- Money ------------------------------------------------------------------------------------------------------------


def check_account(spec: SearchSpec, lines: list[LedgerRecord]) -> None:
    """The laws of the account, by arithmetic of its own, after every line."""
    granted = {SEARCH: spec.budget.search_compute, FINAL: spec.budget.final_compute}
    spent, opened = Counter[str](), dict[int, LedgerRecord]()
    over = False
    for sequence, line in enumerate(lines, start=1):
        assert line.sequence == sequence
        assert line.account == (FINAL if over or line.kind == "transfer" else SEARCH), "the search spends its own share"
        if line.kind == "reserve":
            assert line.number is not None and line.number not in opened
            opened[line.number] = line
        elif line.kind == "transfer":
            over = True
            assert not opened, "no candidate of the search is in training any more"
            granted[SEARCH] -= line.flops
            granted[FINAL] += line.flops
        else:
            spent[line.account] += line.flops
            if line.kind == "settle":
                assert line.number is not None and line.flops <= opened.pop(line.number).flops
        for account, most in granted.items():
            assert spent[account] + sum(own.flops for own in opened.values() if own.account == account) <= most
        assert sum(granted.values()) == spec.budget.total.compute
    assert not opened


def test_the_account_keeps_its_laws(whole: World) -> None:
    check_account(whole.spec, whole.store.ledger("s"))
    settled = {line.number: line.flops for line in whole.store.ledger("s") if line.kind == "settle"}
    trained = [own for own in whole.candidates if own.plan]
    assert settled == {own.number: own.train_flops_spent + own.eval_flops for own in trained}
    for own in trained[:-1]:
        assert own.train_flops_spent <= own.train_flops_planned <= whole.spec.budget.candidate.compute
        step = Plan.from_dict(own.plan).step_flops
        assert whole.spec.budget.candidate.compute - own.train_flops_planned < step, "the limit is used up"


def test_what_the_search_leaves_goes_to_the_final_run(whole: World) -> None:
    (line,) = [line for line in whole.store.ledger("s") if line.kind == "transfer"]
    plan = Plan.from_dict(whole.candidates[-1].plan)
    assert line.flops > 0
    assert 0 <= whole.spec.budget.final_compute + line.flops - plan.flops < plan.step_flops


def test_work_without_a_candidate_is_charged(make: Worlds) -> None:
    world = make()
    search = world.enter()
    search.charge(1_000, 2.5, "device speed")
    balance = search.ledger.balance(SEARCH)
    assert (balance.spent, balance.seconds) == (1_000, 2.5)
    with pytest.raises(StateError, match="are free"):
        search.charge(balance.granted, 0.0, "too much")
    assert len(world.store.ledger("s")) == 1


# --- Limits -----------------------------------------------------------------------------------------------------------


def test_the_number_of_candidates_is_kept(make: Worlds) -> None:
    world = make(spec_of(budget={"total": {"compute": "3GFLOP", "candidates": 3}}))
    assert Simulation(0, parallel=2).run(world.enter(), 1000)
    assert sum(own.state is not CandidateState.REJECTED for own in searched(world)) == 3
    assert world.candidates[-1].origin is Origin.FINAL


def test_an_exhausted_space_ends_the_search(make: Worlds) -> None:
    knobs = {"depth": [1, 2], "width": 16, "vocabulary": [256, 320], "head_size": 8, "context": 32, "batch_tokens": 64}
    budget, tpe = {"candidate": {"compute": "100MFLOP"}}, {"policy": "tpe"}
    world = make(spec_of(space={"knobs": knobs}, limits={}, budget=budget, method=tpe))
    search = world.enter()
    world.run(search)
    assert len(searched(world)) == len({own.id for own in searched(world)}) == 4
    assert world.candidates[-1].origin is Origin.FINAL
    assert isinstance(answer := search.next(), Done) and answer.reason == "the space is exhausted"
    forgotten = [trial for trial in trials(world) if trial.state is TrialState.FAIL]
    assert forgotten, "known points were proposed"
    assert all("number" not in trial.user_attrs for trial in forgotten)


def test_a_space_where_nothing_fits(tiny_texts: Texts) -> None:
    spec = spec_of(limits={"params": 1000})
    with pytest.raises(InfeasibleError) as caught:
        prepare(spec, load_space(spec.space), Appraiser(tiny_texts, spec.limits))
    assert "1 layers of width 16, vocabulary 256" in str(caught.value)
    assert "params: needs " in str(caught.value) and ", allowed 1k" in str(caught.value)


def test_nothing_is_left_for_the_search(tiny_texts: Texts) -> None:
    spec = spec_of(budget={"total": {"compute": "250MFLOP"}, "final": 0})
    spec = replace(spec, budget=replace(spec.budget, final=1.0))
    with pytest.raises(InfeasibleError, match="final share"):
        prepare(spec, load_space(spec.space), Appraiser(tiny_texts, spec.limits))


def test_what_workers_say_is_recorded(make: Worlds) -> None:
    """At once, or where more comes at once in one transaction with that."""
    world = make(spec_of(budget=SMALL))
    search = world.enter()
    own = search.next()
    assert isinstance(own, Assignment)

    def messages() -> list[str]:
        return [line.message for line in world.store.log("s", own.number, attempt=own.attempt)]

    def log(message: str, *, more: bool) -> None:
        search.logged(own.number, own.attempt, [LogLine(1.0, "info", "nas", message)], more=more)

    point = CurvePoint("s", own.number, own.attempt, 1, 0.01, own.plan.step_flops, 1.0, train_bpb=5.0)
    log("begins", more=True)
    assert messages() == [] and world.store.attempts("s", own.number)[0].worker == ""
    search.began(own.number, own.attempt, "node-3, cuda:0")
    assert world.store.attempts("s", own.number)[0].worker == "node-3, cuda:0"
    log("a point comes", more=True)
    assert messages() == ["begins"]
    search.report(point)
    log("nothing comes", more=False)
    log("ends", more=True)
    assert messages() == ["begins", "a point comes", "nothing comes"]
    search.finish(ended(own, "lost", 0.01))
    assert messages() == ["begins", "a point comes", "nothing comes", "ends"]
    world.enter()
    assert len(messages()) == 4, "whoever drives next"


class Timed(Watched):
    """A driver whose clock goes on by what each run is predicted to take, times ``factor``."""

    def __init__(self, world: World, search: Search, factor: float = 1.0) -> None:
        super().__init__(search)
        self.world, self.factor = world, factor
        self.handed: list[tuple[float, Assignment]] = []

    def next(self, device: str = "") -> Assignment | Wait | Done:
        answer = self.driver.next(device)
        if isinstance(answer, Assignment):
            self.handed.append((self.world.clock(), answer))
        return answer

    def finish(self, outcome: Outcome) -> None:
        plan = self.handed[-1][1].plan
        share = outcome.train_flops / plan.train_flops
        self.world.clock.seconds += self.factor * plan.seconds * share
        self.driver.finish(replace(outcome, seconds=self.factor * plan.seconds * share))


def test_nothing_is_begun_that_would_end_too_late(make: Worlds) -> None:
    spec = spec_of(budget={"total": {"compute": "3GFLOP", "time": "2s"}})
    world = make(spec, SPEED)
    timed = Timed(world, world.enter())
    world.run(timed)
    *runs, (final_start, final) = timed.handed
    assert 0 < len(runs) < 12, "time ends it, not money"
    for start, assignment in runs:
        assert start + assignment.plan.seconds <= spec.budget.search_time
        assert assignment.deadline_seconds == pytest.approx(spec.budget.search_time - start)
    assert final.final and final.plan.bound == "time"
    assert final_start + final.plan.seconds <= 2.0
    assert final.deadline_seconds == pytest.approx(2.0 - final_start)


@pytest.mark.parametrize(
    ("budget", "limit"),
    [
        ({"total": {"compute": "1.15GFLOP"}, "final": 0}, r"compute: needs [\d.]+ MFLOP, allowed [\d.]+ MFLOP"),
        (
            {"total": {"compute": "9GFLOP", "time": "1400s"}, "final": 0},
            r"time: needs .+, the search has .+ left",
        ),
    ],
)
def test_what_a_search_begins_with_does_not_end_it(make: Worlds, budget: dict[str, Any], limit: str) -> None:
    """The largest candidate costs more than all others; what is left goes on to those that it can pay."""
    rate = {"min": 0.5, "max": 2, "log": True}
    knobs = {"depth": [1, 2], "width": [16], "vocabulary": 256, "head_size": 8, "context": 32, "batch_tokens": 64}
    knobs |= {"matrix_rate": rate}
    slow = replace(SPEED, seconds_per_flop=1e-6)  # real runs are far from their deadlines, on a busy machine too
    world = make(
        spec_of(budget={**budget, "candidate": {"compute": "300MFLOP"}}, space={"knobs": knobs}, limits={}), slow
    )
    timed = Timed(world, world.enter())
    world.run(timed)
    largest = next(own for own in world.candidates if own.origin is Origin.LARGEST)
    assert largest.state is CandidateState.REJECTED and re.match(limit, largest.reason), largest.reason
    later = [own for own in world.candidates if own.number > largest.number and own.plan]
    assert later and all(own.origin is not Origin.LARGEST for own in later)


def test_a_search_that_is_out_of_time_ends_without_a_final_run(make: Worlds) -> None:
    world = make(spec_of(budget={"total": {"compute": "3GFLOP", "time": "2s"}}), SPEED)
    search = world.enter(elapsed=3.0)
    assert search.elapsed == 3.0
    assert isinstance(search.next(), Done)
    assert world.candidates == []


def test_a_candidate_has_its_own_deadline_over_all_its_attempts(make: Worlds) -> None:
    spec = spec_of(budget={"candidate": {"compute": "250MFLOP", "time": "1s"}, "total": {"compute": "3GFLOP"}})
    world = make(spec, SPEED)
    search = world.enter()
    first = search.next()
    assert isinstance(first, Assignment) and first.deadline_seconds == 1.0
    search.report(CurvePoint("s", first.number, 0, 3, 0.1, 3 * first.plan.step_flops, 0.25, train_bpb=8.0))
    again = world.enter().next()
    assert isinstance(again, Assignment) and again.attempt == 1
    assert again.deadline_seconds == 0.75


def test_a_candidate_that_is_too_slow_for_its_time_is_refused(make: Worlds) -> None:
    """And does not end the search."""
    budget = {"candidate": {"compute": "1GFLOP", "time": "1s"}, "total": {"compute": "30GFLOP", "candidates": 11}}
    knobs = {**SPACE["knobs"], "depth": [1, 4], "width": 16}
    spec = spec_of(space={"knobs": knobs}, budget=budget, method={"policy": "tpe"})
    world = make(spec, Speed(0.0, 0.0, seconds_per_operation=1e-4))
    assert Simulation(0, parallel=1).run(world.enter(), 1000)
    late = [own for own in searched(world) if "time: " in own.reason]
    assert late and all(own.state is CandidateState.REJECTED for own in late)
    assert late[0].reason.startswith(f"time: {MINIMUM_STEPS} steps need ") and late[0].reason.endswith(", allowed 1 s")
    told = {trial.user_attrs.get("number"): trial for trial in trials(world)}
    assert all(told[own.number].constraints["time"] > 0 for own in late)
    assert sum(own.state is not CandidateState.REJECTED for own in searched(world)) == 11


def test_the_predicted_speed_is_corrected_by_what_runs_take(make: Worlds) -> None:
    spec = spec_of(budget={"total": {"compute": "3GFLOP", "time": "1h"}}, method={"policy": "none"})
    world = make(spec, SPEED)

    def slowdowns(search: Search, *paces: float) -> list[float]:
        """Of the plans of runs that then take so much longer than was first predicted."""
        found = []
        for pace in paces:
            answer = search.next()
            assert isinstance(answer, Assignment)
            plan, own = answer.plan, 1e-9 * (answer.plan.train_flops + 1.5 * answer.plan.eval_flops)
            search.finish(Outcome(answer.number, 0, "completed", plan.train_flops, 0, 0, pace * own, val_bpb=4.0))
            found.append(plan.seconds / own)
        return found

    assert slowdowns(world.enter(), 3.0, 5.0, 4.0) == pytest.approx([1.0, 3.0, 5.0])
    assert slowdowns(world.enter(), 1.0) == pytest.approx([4.0]), "a driver that comes after knows the median too"


# --- What goes wrong --------------------------------------------------------------------------------------------------


def test_a_lost_attempt_is_made_again_and_then_is_as_good(whole: World, make: Worlds) -> None:
    world = make(spec_of(budget=SMALL))
    world.run(Fated(world.enter(), {0: ["lost"] * (MAXIMUM_LOST - 1), 1: ["lost"]}))
    assert same_beginning(world, whole)
    attempts = [(own.number, own.attempt, own.outcome) for own in world.store.attempts("s") if own.number < 2]
    assert attempts == [(0, 0, "lost"), (0, 1, "lost"), (0, 2, "completed"), (1, 0, "lost"), (1, 1, "stopped")]
    check_account(world.spec, world.store.ledger("s"))
    lost = [event for event in world.store.events("s") if event.kind == "lost"]
    assert [(event.number, event.level) for event in lost] == [(0, "warning"), (0, "warning"), (1, "warning")]


def test_outcomes_that_end_a_candidate(make: Worlds) -> None:
    """Lost too often, out of memory, diverged: settled, told, never on the front, never chosen."""
    world = make(spec_of(method={"policy": "none"}, budget={"total": {"compute": "2.2GFLOP"}}))
    kinds = {0: ["lost"] * MAXIMUM_LOST, 1: ["out_of_memory"], 2: ["diverged"]}
    world.run(Fated(world.enter(), kinds))
    ended, told = world.candidates, {trial.user_attrs.get("number"): trial for trial in trials(world)}
    states = [(str(own.state), own.reason, told[own.number].state) for own in ended[:3]]
    assert states == [
        ("failed", "by fate", TrialState.FAIL),
        ("rejected", "by fate", TrialState.PRUNED),
        ("diverged", "by fate", TrialState.PRUNED),
    ]
    assert len(world.store.attempts("s", 0)) == MAXIMUM_LOST
    assert told[1].constraints["peak_memory_measured"] > 0
    assert all(excess <= 0 for excess in told[2].constraints.values()), "diverged is feasible, and worse"
    assert all(world.store.points("s", number) for number in kinds), "their curves are kept"
    assert choose(world.spec, ended) not in ended[:3]
    check_account(world.spec, world.store.ledger("s"))


def test_peers_that_broke_are_nobodys_peers(make: Worlds) -> None:
    world = make()
    assert Simulation(0, parallel=1).run(Fated(world.enter(), {0: ["diverged"]}), 1000)
    peers = {peer["number"] for decision in world.store.decisions("s") for peer in decision.inputs["peers"]}
    assert 0 not in peers and 1 in peers


def test_a_point_or_an_outcome_of_no_running_candidate(whole: World) -> None:
    search = whole.enter()
    with pytest.raises(StateError, match="candidate 0 of search s is not in training"):
        search.report(CurvePoint("s", 0, 0, 1, 0.1, 1, 0.1))
    with pytest.raises(StateError, match="candidate 99 of search s is not in training"):
        search.finish(Outcome(99, 0, "completed", 0, 0, 0, 0.0))


def test_a_final_run_that_fails_is_not_made_twice(make: Worlds) -> None:
    world = make(spec_of(budget=SMALL))
    last = Fated(world.enter(), {number: ["diverged"] for number in range(3, 99)})
    assert Simulation(2, parallel=1).run(last, 1000)
    assert [own.state for own in world.candidates if own.origin is Origin.FINAL] == [CandidateState.DIVERGED]
    before = world.candidates
    assert isinstance(world.enter().next(), Done)
    assert world.candidates == before


def test_a_search_that_is_stopped_makes_its_final_run(make: Worlds) -> None:
    world = make()
    search = world.enter()

    class Stopping(Watched):
        def finish(self, outcome: Outcome) -> None:
            super().finish(outcome)
            search.stop()

    world.run(Stopping(search))
    assert [str(own.origin) for own in world.candidates] == ["dial", "final"]
    assert search.next() == Done("stopped")


# --- Candidates that are given ----------------------------------------------------------------------------------------

GIVEN: Knobs = {
    "depth": 1, "width": 16, "vocabulary": 320, "head_size": 8, "context": 64, "batch_tokens": 128, "mlp_ratio": 2,
    "matrix_rate": 0.7,
}  # fmt: skip


def given(**knobs: Any) -> Candidate:
    """A point of the space that the gate admits, unless knobs are changed."""
    return load_space(SPACE).decode({**GIVEN, **knobs})


def outside() -> Candidate:
    """As `given`, with an MLP that no point of the space has."""
    inside = given()
    return replace(inside, architecture=replace(inside.architecture, mlp_width=20))


def handed(search: Search) -> Assignment:
    answer = search.next()
    assert isinstance(answer, Assignment)
    return answer


def ended(assignment: Assignment, kind: str = "completed", share: float = 1.0) -> Outcome:
    """An outcome after a share of the steps."""
    plan = assignment.plan
    spent, loss = int(share * plan.steps) * plan.step_flops, 3.0 if kind == "completed" else None
    return Outcome(assignment.number, assignment.attempt, kind, spent, spent, 0, 1.0, val_bpb=loss, detail="by fate")


def told_of(world: World, number: int) -> FrozenTrial | None:
    return next((trial for trial in trials(world) if trial.user_attrs.get("number") == number), None)


def test_a_given_candidate_runs_before_any_that_is_new(make: Worlds) -> None:
    world = make()
    search = world.enter()
    first = handed(search)
    assert search.enqueue(given()) == "is candidate 1, queued"
    waiting = world.candidates[1]
    assert (waiting.origin, waiting.state, waiting.plan) == (Origin.GIVEN, CandidateState.QUEUED, {})
    assert waiting.knobs == load_space(SPACE).encode(given())
    assert world.store.events("s")[-1].message == f"given: {describe(given())} is candidate 1, queued"
    asked = world.suggesters[-1].asked()
    search.finish(ended(first))
    own = handed(search)
    assert (own.number, own.attempt, own.candidate) == (1, 0, given())
    assert world.suggesters[-1].asked() == asked, "nothing else was proposed"
    record = world.candidates[1]
    assert (record.state, record.train_flops_planned) == (CandidateState.TRAINING, own.plan.train_flops)
    assert search.ledger.balance(SEARCH).reserved == own.plan.flops
    search.finish(ended(own))
    trial = told_of(world, 1)
    assert trial is not None and (trial.state, trial.values) == (
        TrialState.COMPLETE,
        objectives(world.spec.minimize, world.candidates[1]),
    )
    assert handed(search).number == 2


def test_the_suggester_knows_nothing_of_what_is_not_in_its_space(make: Worlds) -> None:
    world = make()
    search = world.enter()
    asked = world.suggesters[-1].asked()
    assert search.enqueue(outside()) == "is candidate 0, queued"
    assert world.candidates[0].knobs == {}
    own = handed(search)
    assert own.candidate == outside()
    search.finish(ended(own))
    assert world.candidates[0].state is CandidateState.COMPLETED
    assert world.suggesters[-1].asked() == asked and trials(world) == []
    assert handed(world.enter()).number == 1, "nor does one that comes after stumble over it"
    assert told_of(world, 0) is None and choose(world.spec, world.candidates) == world.candidates[0]


@pytest.mark.parametrize("inside", [True, False])
def test_what_is_given_passes_the_gate_first(make: Worlds, inside: bool) -> None:
    world = make()
    search = world.enter()
    large = given(depth=2, width=32, mlp_ratio=3)
    if not inside:
        large = replace(large, architecture=replace(large.architecture, mlp_width=84))
    answer = search.enqueue(large)
    (record,) = world.candidates
    assert (record.state, record.origin, record.plan) == (CandidateState.REJECTED, Origin.GIVEN, {})
    limit, _, rest = record.reason.partition(": needs ")
    assert rest and answer == f"is candidate 0, rejected: {record.reason}"
    trial = told_of(world, 0)
    if inside:
        assert trial is not None and trial.state is TrialState.PRUNED and trial.constraints[limit] > 0
    else:
        assert trial is None
    assert handed(search).number == 1
    assert search.enqueue(large) == "is candidate 0 already, rejected"


def test_what_is_known_is_not_run_again(make: Worlds) -> None:
    world = make()
    search = world.enter()
    first = handed(search)
    search.enqueue(given())
    assert search.enqueue(first.candidate) == "is candidate 0 already, training"
    assert search.enqueue(given()) == "is candidate 1 already, queued"
    assert len(world.candidates) == 2
    search.finish(ended(first))
    assert Simulation(0, parallel=1).run(search, 1000)
    assert len({own.id for own in searched(world)}) == len(searched(world)), "nor is it proposed"


def test_it_may_come_too_late(make: Worlds) -> None:
    world = make(spec_of(budget={"total": {"compute": "1GFLOP", "candidates": 1}}))
    search = world.enter()
    assert Simulation(0, parallel=1).run(search, 1000)
    assert search.enqueue(given()).startswith("comes too late: the ")
    assert world.enter().enqueue(given()) == "comes too late: the search is over"
    stopped = make().enter()
    stopped.stop()
    assert stopped.enqueue(given()) == "comes too late: stopped"


@pytest.mark.parametrize("candidate", [given(), outside()], ids=["inside", "outside"])
def test_what_waits_survives_its_driver(make: Worlds, candidate: Candidate) -> None:
    worlds = [make(), make()]
    for world, deaths in zip(worlds, (0, 2), strict=True):
        search = world.enter()
        first = handed(search)
        search.enqueue(candidate)
        search.finish(ended(first))
        for _ in range(deaths):
            search = world.enter()
        assert Simulation(0, parallel=1).run(search, 1000)
        assert world.candidates[1].origin is Origin.GIVEN and world.candidates[1].plan
    assert worlds[0].fate() == worlds[1].fate()


def test_it_is_trained_as_any_other(make: Worlds) -> None:
    """In truth, and chosen if it is the best."""
    world = make(spec_of(budget={"total": {"compute": "1GFLOP", "candidates": 1}}))
    search = world.enter()
    search.enqueue(given())
    world.run(search)
    record, final = world.candidates
    assert (record.state, record.candidate) == (CandidateState.COMPLETED, given().to_dict())
    assert final.origin is Origin.FINAL and final.reason.startswith("candidate 0 scaled to ")
    assert record.costs["peak_memory"] > 0 and record.artifact
    check_account(world.spec, world.store.ledger("s"))


def test_it_counts(make: Worlds) -> None:
    world = make(spec_of(budget={"total": {"compute": "3GFLOP", "candidates": 3}}))
    search = world.enter()
    search.enqueue(given())
    search.enqueue(given(depth=2, width=32, mlp_ratio=3))  # rejected: counts for nothing
    while not (answer := handed(search)).final:
        search.finish(ended(answer))
    trained = [own.origin for own in searched(world) if own.state is not CandidateState.REJECTED]
    assert trained == [Origin.GIVEN, Origin.DIAL, Origin.LARGEST]


def test_what_the_search_cannot_pay_is_cancelled(make: Worlds) -> None:
    world = make(spec_of(budget={"total": {"compute": "800MFLOP"}, "final": 0}))
    search = world.enter()
    for rate in (0.5, 0.6, 0.7, 0.8):
        search.enqueue(given(matrix_rate=rate))
    while isinstance(answer := search.next(), Assignment):
        search.finish(ended(answer))
    states = [own.state for own in world.candidates]
    assert states == [*2 * [CandidateState.COMPLETED], *2 * [CandidateState.CANCELLED]]
    assert all(own.plan == {} for own in world.candidates[2:])
    assert answer == Done("the budget is spent")
    trial = told_of(world, 3)
    assert trial is not None and trial.state is TrialState.FAIL, "nothing is to be learned from it"
    assert [own.kind for own in world.store.events("s") if own.number == 3] == ["given", "cancelled"]
    check_account(world.spec, world.store.ledger("s"))


def test_it_is_cancelled_by_the_next_driver_when_one_dies_at_that(
    make: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search has handed over what it had left by then, so its next driver no longer looks for candidates."""
    world = make(spec_of(budget=TIGHT))
    search = world.enter()
    for rate in (0.5, 0.6, 0.7, 0.8):
        search.enqueue(given(matrix_rate=rate))
    for _ in range(2):
        search.finish(ended(handed(search)))

    def die(key: int) -> None:
        raise Died

    monkeypatch.setattr(world.suggesters[-1], "forget", die)
    with pytest.raises(Died):
        search.next()
    assert [own.state for own in world.candidates[2:]] == [CandidateState.CANCELLED, CandidateState.QUEUED]
    assert isinstance(world.enter().next(), Done)
    assert [own.state for own in world.candidates[2:]] == 2 * [CandidateState.CANCELLED]
    assert [trial.state for trial in trials(world)] == [*2 * [TrialState.COMPLETE], *2 * [TrialState.FAIL]]
    check_account(world.spec, world.store.ledger("s"))


def complete(search: Search, count: int) -> None:
    """The next so many candidates, with losses that tell them apart."""
    for _ in range(count):
        own = handed(search)
        search.finish(replace(ended(own), val_bpb=3.0 + own.number % 3))


def test_however_many_are_given_the_next_driver_proposes_the_same(make: Worlds) -> None:
    """To neither driver they are fruitless suggestions, after so many of which points are drawn at random."""
    worlds = [make(spec_of(budget={"total": {"compute": "30GFLOP"}}, method={"policy": "none"})) for _ in range(2)]
    for world, deaths in zip(worlds, (0, 1), strict=True):
        search = world.enter()
        complete(search, STARTUP)
        for rate in range(RANDOM_AFTER + 1):
            assert search.enqueue(given(matrix_rate=0.5 + rate / 10)).endswith("queued")
        complete(search, RANDOM_AFTER + 1)
        for _ in range(deaths):
            search = world.enter()
        complete(search, 3)
    assert worlds[0].fate() == worlds[1].fate()


TIGHT = {"total": {"compute": "800MFLOP"}, "final": 0}
"""Money for a few candidates, and none for a final run."""


def until_it_waits(search: Search) -> list[Assignment]:
    """Candidates in training whose money the next proposal waits for."""
    running = []
    while isinstance(answer := search.next(), Assignment):
        running.append(answer)
    assert running and answer == Wait()
    return running


def test_it_overtakes_a_proposal_that_waits_for_money(make: Worlds) -> None:
    """Suggestions are named in the order they were asked for: the suggester hears of the given one afterwards."""
    world = make(spec_of(budget=TIGHT))
    search = world.enter()
    first, *running = until_it_waits(search)
    number = len(world.candidates)
    assert search.enqueue(given()) == f"is candidate {number}, queued"
    search.finish(ended(first, "stopped", share=0.05))
    overtaking = handed(search)
    assert (overtaking.number, overtaking.candidate) == (number, given())
    running.append(overtaking)
    while running:
        search.finish(ended(running.pop(), "stopped", share=0.1))
        while isinstance(answer := search.next(), Assignment):
            running.append(answer)
    assert len(searched(world)) > number + 1, "what waited came after it"
    told = {trial.user_attrs["number"]: trial for trial in trials(world) if "number" in trial.user_attrs}
    assert {own: trial.user_attrs["candidate"] for own, trial in told.items()} == {
        own.number: own.id for own in searched(world)
    }
    assert told[number].state is TrialState.PRUNED
    before = trials(world)
    assert isinstance(world.enter().next(), Done)
    assert len(trials(world)) == len(before), "a driver that comes after has nothing to add"


def test_a_proposal_that_waits_for_money_is_not_taken_as_given(make: Worlds) -> None:
    """A twin of the search, in which the money is there, says which one it is."""
    world, twin = (make(spec_of(budget=TIGHT)) for _ in range(2))
    other = twin.enter()
    other.finish(ended(until_it_waits(other)[0], "stopped", share=0.05))
    waits = handed(other).candidate
    search = world.enter()
    first, *_ = until_it_waits(search)
    assert search.enqueue(waits) == "is the next candidate already"
    search.finish(ended(first, "stopped", share=0.05))
    assert handed(search).candidate == waits
    assert len({own.id for own in world.candidates}) == len(world.candidates)


# --- Searches that are cancelled --------------------------------------------------------------------------------------


def test_cancelling_settles_what_waits_and_then_what_is_interrupted(make: Worlds) -> None:
    world = make(spec_of(method={"parallel": 2}))
    search = world.enter()
    lost, training = handed(search), handed(search)
    step = lost.plan.step_flops
    search.report(CurvePoint("s", lost.number, 0, 5, 0.1, 5 * step, 2.5, train_bpb=8.0, eval_flops=11))
    search.finish(ended(lost, "lost", share=0.1))
    search.enqueue(given())
    search.enqueue(outside())
    search.cancel()
    assert search.ledger.balance(SEARCH).reserved == training.plan.flops, "it is still at work"
    states = [own.state for own in world.candidates]
    assert states == [CandidateState.CANCELLED, CandidateState.TRAINING, *2 * [CandidateState.CANCELLED]]
    waited = world.candidates[0]
    assert (waited.train_flops_spent, waited.eval_flops, waited.seconds) == (5 * step, 11, 2.5)
    search.finish(ended(training, "interrupted", share=0.5))
    assert world.candidates[1].state is CandidateState.CANCELLED
    assert world.candidates[1].train_flops_spent == training.plan.steps // 2 * training.plan.step_flops
    assert search.next() == Done("cancelled"), "nor is there a final run"
    settled = {line.number: (line.flops, line.note) for line in world.store.ledger("s") if line.kind == "settle"}
    assert settled == {0: (5 * step + 11, "cancelled"), 1: (world.candidates[1].train_flops_spent, "cancelled")}
    check_account(world.spec, world.store.ledger("s"))
    assert search.ledger.balance(SEARCH).reserved == 0
    told = {trial.user_attrs["number"]: trial.state for trial in trials(world)}
    assert told == dict.fromkeys(range(3), TrialState.FAIL)
    search.cancel()
    assert sum(event.kind == "cancelled" for event in world.store.events("s")) == 4, "twice is once"


def test_what_ends_while_a_search_is_cancelled_counts(make: Worlds) -> None:
    world = make()
    search = world.enter()
    first = handed(search)
    search.cancel()
    assert search.next() == Wait()
    search.finish(ended(first))
    assert [own.state for own in world.candidates] == [CandidateState.COMPLETED]
    assert search.next() == Done("cancelled"), "nor is there a final run of it"
    assert search.enqueue(given()) == "comes too late: cancelled"


# --- Attempts that end before their time ------------------------------------------------------------------------------


def test_an_interruption_does_not_count_against_a_candidate(make: Worlds) -> None:
    world = make()
    search = world.enter()
    kinds = [*["interrupted"] * (MAXIMUM_LOST + 1), *["lost"] * (MAXIMUM_LOST - 1), "interrupted"]
    for attempt, kind in enumerate(kinds):
        own = handed(search)
        assert (own.number, own.attempt) == (0, attempt)
        reserved = search.ledger.balance(SEARCH).reserved
        search.finish(ended(own, kind, share=0.5))
        assert world.candidates[0].state is CandidateState.QUEUED
        assert search.ledger.balance(SEARCH).reserved == reserved == own.plan.flops
    assert [own.outcome for own in world.store.attempts("s", 0)] == kinds
    search.finish(ended(handed(search), "lost"))
    assert world.candidates[0].state is CandidateState.FAILED


def test_what_was_left_in_training_goes_back_in_the_queue(make: Worlds) -> None:
    world = make(spec_of(method={"parallel": 2}))
    search = world.enter()
    done, again, fresh = handed(search), handed(search), handed(search)
    search.finish(ended(done))
    search.finish(ended(again, "lost"))
    assert handed(search).attempt == 1
    abandon(world.store, "s", 7.5)
    assert [own.state for own in world.candidates] == [CandidateState.COMPLETED, *2 * [CandidateState.QUEUED]]
    attempts = {(own.number, own.attempt): (own.outcome, own.finished_at) for own in world.store.attempts("s")}
    assert attempts == {
        (done.number, 0): ("completed", 0.0),
        (again.number, 0): ("lost", 0.0),
        (again.number, 1): ("abandoned", 7.5),
        (fresh.number, 0): ("abandoned", 7.5),
    }
    events = [(own.kind, own.number, own.level) for own in world.store.events("s")][-2:]
    assert events == [("abandoned", 1, "warning"), ("abandoned", 2, "warning")]
    before = world.store.events("s")
    abandon(world.store, "s", 8.0)
    assert world.store.events("s") == before, "once"


def test_what_was_made_again_is_written_down_and_not_charged(make: Worlds) -> None:
    """Real training: the driver dies twice behind a rung, and the checkpoint of the rung is what it goes on from."""
    world = make(spec_of(budget={"total": {"compute": "1GFLOP", "candidates": 1}}))

    class Dying(Watched):
        def report(self, point: CurvePoint) -> Verdict:
            verdict = super().report(point)
            if point.progress > 0.2:
                raise Died
            return verdict

    with pytest.raises(Died):
        world.run(Dying(world.enter()))
    reached = world.store.points("s", 0)[-1].step
    rung = next(point.step for point in world.store.points("s", 0) if point.rung == 0.125)
    with pytest.raises(Died):
        world.run(Dying(world.enter()))
    world.run()
    first, second, third = world.store.attempts("s", 0)
    assert [(own.first_step, own.outcome) for own in (first, second, third)] == [
        (0, "abandoned"),
        (rung, "abandoned"),
        (rung, "completed"),
    ]
    own, steps = world.candidates[0], Plan.from_dict(world.candidates[0].plan).steps
    assert (first.last_step, third.last_step) == (reached, steps)
    step_flops = Plan.from_dict(own.plan).step_flops
    walked = reached + (second.last_step - rung) + (steps - rung)
    assert own.repeated_flops == (walked - steps) * step_flops > 0
    assert own.train_flops_spent == steps * step_flops
    (settled,) = [line for line in world.store.ledger("s") if line.kind == "settle" and line.number == 0]
    assert settled.flops == own.train_flops_spent + own.eval_flops
    assert world.candidates[1].repeated_flops == 0


def test_an_attempt_that_ends_before_its_first_point_has_made_nothing_again(make: Worlds) -> None:
    """It went on from a checkpoint and was interrupted there: where it began is known from its outcome only."""
    world = make()
    search = world.enter()
    first = handed(search)
    steps, step_flops = first.plan.steps, first.plan.step_flops
    half = steps // 2
    search.report(CurvePoint("s", 0, 0, half, 0.5, half * step_flops, 1.0, train_bpb=8.0, first_step=0))
    search.finish(ended(first, "interrupted", share=0.5))
    search.finish(ended(handed(search), "interrupted", share=0.5))
    last = handed(search)
    search.report(CurvePoint("s", 0, 2, steps, 1.0, steps * step_flops, 1.0, train_bpb=8.0, first_step=half))
    search.finish(ended(last))
    walked = [(own.first_step, own.last_step) for own in world.store.attempts("s", 0)]
    assert walked == [(0, half), (half, half), (half, steps)]
    assert world.candidates[0].repeated_flops == 0


def test_candidates_that_fail_one_after_the_other_end_the_search(make: Worlds) -> None:
    world = make()
    search = world.enter()
    fails = ["lost"] * MAXIMUM_LOST
    plan = [*fails * (MAXIMUM_FAILED - 1), "completed", *fails * MAXIMUM_FAILED]
    for kind in plan[:-1]:
        search.finish(ended(handed(search), kind))
    last = handed(search)
    with pytest.raises(NasError, match=r"^3 candidates in a row failed, the last one: by fate$"):
        search.finish(ended(last, plan[-1]))
    failed = [own.state for own in world.candidates].count(CandidateState.FAILED)
    assert (failed, last.number) == (2 * MAXIMUM_FAILED - 1, 2 * MAXIMUM_FAILED - 1)
    assert [trial.state for trial in trials(world)].count(TrialState.FAIL) == failed, "all is told"
    check_account(world.spec, world.store.ledger("s"))
    assert Simulation(0, parallel=1).run(world.enter(), 1000), "another driver may go on"


# --- Drivers that die -------------------------------------------------------------------------------------------------


class Died(Exception):
    """The driver is no more."""


class Mortal:
    """Anything whose methods, counted together, raise `Died` at their ``last`` call, before or after it is done."""

    def __init__(self, own: Any, last: int, *, done: bool) -> None:
        self._own, self._left, self._done = own, last, done

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._own, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left == 0 and not self._done:
                raise Died
            answer = method(*args, **kwargs)
            if self._left == 0:
                raise Died
            return answer

        return call


def run_through(world: World, lives: Iterator[tuple[str, int, bool]]) -> int:
    """Runs a search whose drivers die, until one does not; how many died."""
    deaths = 0
    while True:
        who, last, done = next(lives, ("nobody", 0, False))
        world.wrap = partial(Mortal, last=last, done=done) if who == "suggester" else (lambda suggester: suggester)
        try:
            search = world.enter()
            world.run(Mortal(search, last, done=done) if who == "driver" else search)
        except Died:
            deaths += 1
            continue
        return deaths


@pytest.mark.parametrize("seed", [0, 1])
def test_drivers_that_die_at_any_moment_change_nothing(whole: World, make: Worlds, seed: int) -> None:
    rng = random.Random(seed)
    world = make()
    lives = [(who, rng.randint(1, most), rng.random() < 0.5) for who, most in 4 * [("driver", 40), ("suggester", 12)]]
    assert run_through(world, iter(lives)) > 5
    assert world.fate() == whole.fate()
    check_account(world.spec, world.store.ledger("s"))
    numbers = {own.number for own in world.store.attempts("s") if own.attempt > 0}
    assert numbers, "some died while a candidate was in training"
    seen = [(trial.params, trial.state, trial.values, trial.user_attrs, trial.constraints) for trial in trials(world)]
    assert seen == [
        (trial.params, trial.state, trial.values, trial.user_attrs, trial.constraints) for trial in trials(whole)
    ]


def test_training_goes_on_from_its_checkpoint(whole: World, make: Worlds) -> None:
    world = make(spec_of(budget=SMALL))

    class Dying(Watched):
        def report(self, point: CurvePoint) -> Verdict:
            if point.progress > 0.3:
                raise Died
            return super().report(point)

    with pytest.raises(Died):
        world.run(Dying(world.enter()))
    assert [own.state for own in world.candidates] == [CandidateState.TRAINING]
    reserved = world.store.ledger("s")
    search = world.enter()
    assert world.store.ledger("s") == reserved
    assert search.ledger.balance(SEARCH).reserved == reserved[-1].flops
    world.run(search)
    rung = next(point for point in world.store.points("s", 0) if point.rung == 0.25)
    assert world.notes[0] == (0, f"resumed at step {rung.step}")
    attempts = {own.attempt: own.outcome for own in world.store.attempts("s", 0)}
    assert attempts == {0: "abandoned", 1: "completed"}
    assert same_beginning(world, whole)


def test_death_does_not_count_against_a_candidate(make: Worlds) -> None:
    world = make()
    for attempt in range(MAXIMUM_LOST + 1):
        answer = world.enter().next()
        assert isinstance(answer, Assignment) and (answer.number, answer.attempt) == (0, attempt)
    search = world.enter()
    for attempt in range(MAXIMUM_LOST + 1, 2 * MAXIMUM_LOST):
        assert isinstance(answer := search.next(), Assignment) and answer.attempt == attempt
        search.finish(Outcome(0, attempt, "lost", 0, 0, 0, 0.0))
        assert world.candidates[0].state is CandidateState.QUEUED
    assert isinstance(search.next(), Assignment)
    search.finish(Outcome(0, 2 * MAXIMUM_LOST, "lost", 0, 0, 0, 0.0))
    assert world.candidates[0].state is CandidateState.FAILED, "lost so often while the driver lived"


# --- Several at once --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_laws_hold_for_any_fate_of_several_at_once(make: Worlds, seed: int) -> None:
    """Drivers come and go; what ran when one went is resumed by the next."""
    rng = random.Random(seed)
    world = make(spec_of(method={"parallel": 3, "seed": seed}, budget={"total": {"compute": "3GFLOP"}}))
    simulation = Simulation(seed, parallel=3)
    while not simulation.run(world.enter(), rng.randint(5, 60)):
        assert len(simulation.running) <= 3
        simulation.running.clear()
    assert simulation.most == 3
    lines = world.store.ledger("s")
    check_account(world.spec, lines)
    assert sum(line.flops for line in lines if line.kind in ("settle", "charge")) <= world.spec.budget.total.compute
    assert all(own.state.terminal for own in world.candidates)
    assert len({own.id for own in searched(world)}) == len(searched(world))
    states = {
        CandidateState.COMPLETED: TrialState.COMPLETE,
        CandidateState.STOPPED: TrialState.PRUNED,
        CandidateState.DIVERGED: TrialState.PRUNED,
        CandidateState.REJECTED: TrialState.PRUNED,
        CandidateState.FAILED: TrialState.FAIL,
    }
    told = {trial.user_attrs["number"]: trial.state for trial in trials(world) if "number" in trial.user_attrs}
    assert told == {own.number: states[own.state] for own in searched(world)}
    assert all(trial.state.is_finished() for trial in trials(world))
    numbers = [(own.number, own.attempt) for own in world.store.attempts("s")]
    assert len(numbers) == len(set(numbers))


def test_a_proposal_waits_for_what_a_running_candidate_may_give_back(make: Worlds) -> None:
    world = make(spec_of(budget={"total": {"compute": "800MFLOP"}, "final": 0}))
    search = world.enter()
    running = []
    while isinstance(answer := search.next(), Assignment):
        running.append(answer)
    assert running and answer == Wait() == search.next()
    asked = len(world.suggesters[-1].keys())
    *rest, last = running
    search.finish(Outcome(last.number, 0, "stopped", last.plan.step_flops, 0, 0, 1.0))
    following = search.next()
    assert isinstance(following, Assignment), "there is money again"
    assert len(world.suggesters[-1].keys()) == asked + 1, "nothing was proposed in between"
    running = [*rest, following]
    while running:
        own = running.pop()
        spent, scoring = own.plan.train_flops, own.plan.eval_flops
        search.finish(Outcome(own.number, 0, "completed", spent, spent, scoring, 1.0, val_bpb=3.0))
        if isinstance(answer := search.next(), Assignment):
            running.append(answer)
    assert search.next() == Done("the budget is spent")
    assert trials(world)[-1].state is TrialState.FAIL, "the proposal that could not be paid is forgotten"


def test_waiting_asks_for_nothing(make: Worlds) -> None:
    """Engines ask again and again while they wait."""
    knobs = {"depth": [1, 2], "width": 16, "vocabulary": 256, "head_size": 8, "context": 32, "batch_tokens": 64}
    world = make(spec_of(space={"knobs": knobs}, limits={}))
    search = world.enter()
    first, second = search.next(), search.next()
    assert isinstance(first, Assignment) and isinstance(second, Assignment)
    assert search.next() == Wait()
    asked = world.suggesters[-1].asked()
    assert [search.next() for _ in range(3)] == [Wait()] * 3
    assert world.suggesters[-1].asked() == asked


# --- Words ------------------------------------------------------------------------------------------------------------


def test_a_candidate_in_a_line() -> None:
    knobs: Knobs = {
        "depth": 4, "width": 64, "head_size": 16, "kv_ratio": 0.5, "vocabulary": 320, "context": 64,
        "window_pattern": "SL", "window_ratio": 0.25, "batch_tokens": 256, "optimizer": "adamw",
    }  # fmt: skip
    space = load_space({"knobs": {**knobs, "depth": [4], "width": [64], "vocabulary": [320]}})
    assert describe(space.decode(knobs)) == (
        "4 layers, width 64, 4/2 heads of 16, MLP 192, vocabulary 320, context 64, windows SL of 16, adamw, batch 256"
    )
    more: Knobs = {"activation": "relu2", "value_embeddings": "alternate", "x0_shortcut": True, "softcap": 15.0}
    assert describe(space.decode({**knobs, **more})) == (
        "4 layers, width 64, 4/2 heads of 16, MLP 192 relu2, vocabulary 320, context 64, windows SL of 16, "
        "value embeddings in alternate layers, x0 shortcut, softcap 15, adamw, batch 256"
    )


# --- Looking ahead ----------------------------------------------------------------------------------------------------


def test_a_search_that_looks_ahead_says_what_a_tenth_of_its_budget_would_bring(make: Worlds) -> None:
    world = make(spec_of(budget={"total": {"compute": "20GFLOP"}}))
    search = world.enter(looks_ahead=True)
    assert not Simulation(0, parallel=1).run(search, 60)
    told = world.store.search("s").prospects
    assert told is not None and told["flops"] == 2 * 10**9 and told["runs"] >= 1
    assert 0 <= told["loss"]["low"] <= told["loss"]["mean"] and told["widening"]["low"] >= 0
    before = make(spec_of(budget={"total": {"compute": "20GFLOP"}}))
    Simulation(0, parallel=1).run(before.enter(), 60)
    assert before.store.search("s").prospects is None


class Lawful(Simulation):
    """Losses are what a scaling law says, so that the model soon expects nothing of further search."""

    def curve(self, assignment: Assignment) -> Iterator[CurvePoint]:
        for point in super().curve(assignment):
            yield replace(point, val_bpb=self.loss(assignment) + 1 - (point.rung or 0.0))

    def advance(self, driver: Driver, number: int) -> None:
        point = next(self.running[number], None)
        if point is None:
            del self.running[number]
            own = self.assignments[number]
            spent, scores = own.plan.train_flops, own.plan.eval_flops
            driver.finish(Outcome(number, 0, "completed", spent, spent, scores, 1.0, val_bpb=self.loss(own)))
        elif driver.report(point) is Verdict.STOP:
            self.end(driver, number, "stopped", point.progress)

    @staticmethod
    def loss(own: Assignment) -> float:
        return 1 + expected_excess(own.candidate, own.plan.train_flops, Meter().facts)


def test_a_search_that_finds_its_split_ends_when_the_rest_is_worth_more(make: Worlds) -> None:
    world = make(spec_of(budget={"total": {"compute": "20GFLOP"}, "final": "auto"}))
    search = world.enter()
    assert Lawful(0, parallel=1).run(search, 5000)
    (split,) = (own for own in world.store.events("s") if own.kind == "split")
    assert split.message.startswith("the rest is worth more in the final run: ")
    assert LEAST_SEARCHED <= len([own for own in searched(world) if own.plan]) < 60
    assert search.ledger.balance(SEARCH).spent < world.spec.budget.search_compute
    assert world.candidates[-1].origin is Origin.FINAL


def test_drivers_that_die_find_the_same_split(make: Worlds) -> None:
    """One after each candidate."""
    spec = spec_of(budget={"total": {"compute": "20GFLOP"}, "final": "auto"})
    whole, broken = make(spec), make(spec)
    assert Lawful(0, parallel=1).run(whole.enter(), 5000)
    simulation, search = Lawful(0, parallel=1), broken.enter()
    while not simulation.run(search, 1):
        if not simulation.running:
            search = broken.enter()
    assert [own.id for own in broken.candidates] == [own.id for own in whole.candidates]
    assert sum(own.kind == "split" for own in broken.store.events("s")) == 1


def test_what_was_given_is_trained_before_the_split_is_thought_about(make: Worlds) -> None:
    world = make(spec_of(budget={"total": {"compute": "20GFLOP"}, "final": "auto"}))
    search, simulation = world.enter(), Lawful(0, parallel=1)
    while len([own for own in searched(world) if own.state.terminal]) < LEAST_SEARCHED - 1:
        simulation.run(search, 1)
    known = {own.id for own in world.candidates}
    given = next(own for own in map(world.space.decode, map(world.space.uniform, range(999))) if own.id not in known
                 and search._appraiser.admits(own, search._grant))  # fmt: skip
    assert "queued" in search.enqueue(given)
    assert simulation.run(search, 5000)
    (record,) = (own for own in world.candidates if own.id == given.id and own.origin is Origin.GIVEN)
    assert record.state in (CandidateState.COMPLETED, CandidateState.STOPPED)
