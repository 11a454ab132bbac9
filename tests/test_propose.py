from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from nas.adapters.memory_store import MemoryStore
from nas.appraise import Appraiser
from nas.candidate import Candidate
from nas.data.texts import Texts
from nas.forecast import allowance, forecast
from nas.gate import Admitted, Rejected
from nas.outcome import OUT_OF_MEMORY_EXCESS
from nas.plan import Allowance
from nas.policy import POLICIES, TPE, Policy
from nas.ports import Suggester, Suggestion
from nas.propose import RANDOM_AFTER, Proposal, Proposer, seeds
from nas.records import CandidateRecord, CandidateState, Origin, with_measured
from nas.roster import Roster
from nas.space import Knobs, Space, load_space
from nas.spec import Limits
from tests.helpers import Simulation, Worlds, spec_of, study_of

SPEC = spec_of()
SPACE = load_space(SPEC.space)
GRANT = allowance(SPEC)
TWO = {"depth": [1, 2], "width": 16, "vocabulary": 256, "head_size": 8, "context": 32, "batch_tokens": 64}


class Stubborn:
    """A suggester that proposes the same points again and again, and remembers what it is told."""

    def __init__(self, points: Sequence[Knobs]) -> None:
        self.points = points
        self.given: list[Knobs] = []
        self.told: list[tuple[str, int]] = []
        self.excess: list[Mapping[str, float] | None] = []
        self.named: dict[int, int] = {}

    def asked(self) -> int:
        return len(self.given)

    def keys(self) -> Mapping[int, int]:
        return self.named

    def ask(self, knobs: Mapping[str, Any] | None = None) -> Suggestion:
        self.given.append(dict(self.points[len(self.given) % len(self.points)] if knobs is None else knobs))
        return Suggestion(len(self.given) - 1, self.given[-1])

    def name(self, key: int, candidate_id: str, number: int, excess: Mapping[str, float]) -> None:
        self.named[number] = key

    def tell_completed(self, key: int, values: Sequence[float]) -> None:
        self.told.append(("completed", key))

    def tell_stopped(self, key: int) -> None:
        self.told.append(("stopped", key))

    def tell_infeasible(self, key: int, excess: Mapping[str, float] | None = None) -> None:
        self.told.append(("infeasible", key))
        self.excess.append(excess)

    def forget(self, key: int) -> None:
        self.told.append(("forgotten", key))


def as_port(suggester: Stubborn) -> Suggester:
    """For the type checker."""
    return suggester


@pytest.fixture
def appraiser(tiny_texts: Texts) -> Appraiser:
    return Appraiser(tiny_texts, SPEC.limits)


@pytest.fixture
def make(tiny_texts: Texts, tmp_path: Path) -> Iterator[Worlds]:
    worlds = Worlds(tiny_texts, tmp_path)
    yield worlds
    worlds.close()


def proposer_of(
    suggester: Suggester,
    appraiser: Appraiser,
    space: Space = SPACE,
    grant: Allowance = GRANT,
    policy: Policy = TPE,
    earlier: Sequence[CandidateRecord] = (),
    found: Mapping[str, Any] | None = None,
) -> Proposer:
    return Proposer(
        space,
        suggester,
        appraiser,
        grant,
        minimize=SPEC.minimize,
        seed=0,
        setting={"forecast": found or {}},
        roster=Roster(MemoryStore(), ""),
        policy=policy,
        earlier=earlier,
    )


def accepted(proposer: Proposer, count: int) -> list[Proposal]:
    made = []
    for number in range(count):
        proposal = proposer.propose()
        assert proposal is not None
        proposer.accept(proposal, number)
        made.append(proposal)
    return made


def test_seeds_are_the_baselines_and_points_that_the_gate_admits_each_once(appraiser: Appraiser) -> None:
    found = forecast(SPEC, SPACE, appraiser).to_dict()
    planned = list(seeds(SPACE, appraiser, GRANT, {"forecast": found}, TPE))
    assert [origin for origin, _ in planned] == [Origin.DIAL, Origin.LARGEST] + TPE.seeds * [Origin.UNIFORM]
    candidates = [SPACE.decode(knobs) for _, knobs in planned]
    assert len(set(candidates)) == len(planned)
    assert all(appraiser.admits(own, GRANT) for own in candidates)


@pytest.mark.parametrize(
    ("dial", "largest", "origins"),
    [
        (True, True, [Origin.DIAL]),  # the same point
        (False, True, [Origin.LARGEST]),
        (True, False, [Origin.DIAL]),
        (False, False, []),
    ],
)
def test_seeds_without_some_baselines(appraiser: Appraiser, dial: bool, largest: bool, origins: list[Origin]) -> None:
    point = next(knobs for knobs in map(SPACE.uniform, range(99)) if appraiser.admits(SPACE.decode(knobs), GRANT))
    forecast = {"dial": point if dial else None, "largest": point if largest else None}
    planned = [origin for origin, _ in seeds(SPACE, appraiser, GRANT, {"forecast": forecast}, TPE)]
    assert planned == origins + TPE.seeds * [Origin.UNIFORM]


@pytest.mark.parametrize(
    ("policy", "learns", "uniform"),
    [("default", False, True), ("default", True, False), ("tpe", False, True), ("tpe", True, True)],
)
def test_who_has_learned_from_earlier_searches_needs_no_even_points(
    appraiser: Appraiser, policy: str, learns: bool, uniform: bool
) -> None:
    knobs = SPACE.uniform(7)
    candidate = SPACE.decode(knobs)
    state, costs = CandidateState.COMPLETED, appraiser.cost(candidate).to_dict()
    known = CandidateRecord(
        "before", 0, candidate.id, Origin.PROPOSED, state, 0.0, candidate.to_dict(), knobs, costs, val_bpb=2.0
    )
    own, found = replace(POLICIES[policy], baselines=False), forecast(SPEC, SPACE, appraiser).to_dict()
    suggester = as_port(Stubborn([SPACE.uniform(9)]))
    proposer = proposer_of(suggester, appraiser, policy=own, earlier=[known] if learns else [], found=found)
    proposal = proposer.propose()
    assert proposal is not None and (proposal.origin is Origin.UNIFORM) is uniform


def test_seeds_of_a_small_space_are_all_of_it(appraiser: Appraiser) -> None:
    space = load_space({"knobs": TWO})
    planned = list(seeds(space, appraiser, GRANT, {}, TPE))
    assert sorted(knobs["depth"] for _, knobs in planned) == [1, 2]


def test_a_point_is_drawn_at_random_when_nothing_new_comes(appraiser: Appraiser) -> None:
    large = next(knobs for knobs in map(SPACE.uniform, range(99)) if not appraiser.admits(SPACE.decode(knobs), GRANT))
    suggester = Stubborn([large])
    proposer = proposer_of(suggester, appraiser)
    made = accepted(proposer, TPE.seeds)
    assert {own.origin for own in made} == {Origin.UNIFORM}
    before = suggester.asked()
    refused = proposer.propose()
    assert refused is not None and isinstance(refused.verdict, Rejected), "it is new, if not admitted"
    proposer.accept(refused, 8)
    drawn = proposer.propose()
    assert drawn is not None and isinstance(drawn.verdict, Admitted) and drawn.origin is Origin.PROPOSED
    assert suggester.asked() - before == RANDOM_AFTER + 1
    forgotten = [key for kind, key in suggester.told if kind == "forgotten"]
    assert forgotten == list(range(before + 1, before + RANDOM_AFTER))
    assert drawn.suggestion.key == before + RANDOM_AFTER


def test_a_draw_is_the_same_for_the_driver_that_comes_after(appraiser: Appraiser) -> None:
    drawn = []
    for _ in range(2):
        proposer = proposer_of(Stubborn([SPACE.uniform(0)]), appraiser)
        *_, last = accepted(proposer, TPE.seeds + 3)
        drawn.append(last.suggestion)
    assert drawn[0] == drawn[1]


def test_a_space_that_is_used_up(appraiser: Appraiser) -> None:
    space = load_space({"knobs": TWO})
    suggester = Stubborn([{"depth": 1}])
    proposer = proposer_of(suggester, appraiser, space)
    accepted(proposer, 2)
    assert proposer.propose() is None
    asked = suggester.asked()
    assert asked == 2 + RANDOM_AFTER
    assert proposer.propose() is None and suggester.asked() == asked, "nor is it asked again"


def test_a_study_that_is_lost_is_told_all_again(make: Worlds) -> None:
    world = make()
    simulation = Simulation(1, parallel=2)
    assert not simulation.run(world.enter(), 30)
    world.study = world.study.replace("study.db", "new.db")
    world.enter()
    states = {
        CandidateState.TRAINING: TrialState.RUNNING,
        CandidateState.QUEUED: TrialState.RUNNING,
        CandidateState.COMPLETED: TrialState.COMPLETE,
        CandidateState.FAILED: TrialState.FAIL,
    }
    with study_of(world.study) as study:
        trials = study.get_trials(deepcopy=False)
    candidates = world.candidates
    assert [trial.user_attrs["number"] for trial in trials] == [own.number for own in candidates]
    assert [trial.user_attrs["candidate"] for trial in trials] == [own.id for own in candidates]
    assert [trial.state for trial in trials] == [states.get(own.state, TrialState.PRUNED) for own in candidates]
    assert {trial.state for trial in trials} >= {TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED}
    for trial, own in zip(trials, candidates, strict=True):
        assert any(excess > 0 for excess in trial.constraints.values()) is (own.state is CandidateState.REJECTED)
    simulation.running.clear()
    simulation.run(world.enter(), 15)
    assert len(world.candidates) > len(candidates), "it goes on"


# --- candidates that come from elsewhere ---


def record_of(candidate: Candidate, knobs: Knobs, state: CandidateState = CandidateState.QUEUED) -> CandidateRecord:
    return CandidateRecord("s", 0, candidate.id, Origin.GIVEN, state, 0.0, candidate.to_dict(), knobs)


def test_the_point_that_is_a_candidate(appraiser: Appraiser) -> None:
    proposer = proposer_of(Stubborn([SPACE.uniform(0)]), appraiser)
    for knobs in map(SPACE.uniform, range(20)):
        candidate = SPACE.decode(knobs)
        assert SPACE.decode(proposer.knobs(candidate)) == candidate
        odd = replace(candidate, architecture=replace(candidate.architecture, mlp_width=17))
        assert proposer.knobs(odd) == {}


def test_a_candidate_that_is_adopted_is_named_and_not_proposed(appraiser: Appraiser) -> None:
    space = load_space({"knobs": TWO})
    suggester = Stubborn([{"depth": 1}])
    proposer = proposer_of(suggester, appraiser, space)
    candidate = space.decode({"depth": 1})
    proposer.adopt(record_of(candidate, proposer.knobs(candidate)))
    assert (suggester.given, suggester.named, suggester.told) == ([{"depth": 1}], {0: 0}, [])
    only = proposer.propose()
    assert only is not None and only.candidate == space.decode({"depth": 2})
    proposer.accept(only, 1)
    assert proposer.propose() is None, "the other one is known"
    assert ("forgotten", 0) not in suggester.told
    refused = replace(record_of(candidate, {"depth": 1}, CandidateState.REJECTED), number=2)
    proposer.adopt(refused)
    assert suggester.told[-1] == ("infeasible", suggester.named[2]), "what ended already is told at once"


def test_a_candidate_from_outside_is_known_and_not_told(appraiser: Appraiser) -> None:
    suggester = Stubborn([SPACE.uniform(0)])
    proposer = proposer_of(suggester, appraiser)
    outside = SPACE.decode(SPACE.uniform(0))
    outside = replace(outside, architecture=replace(outside.architecture, mlp_width=17))
    own = record_of(outside, {})
    proposer.adopt(own)
    proposer.learn(replace(own, state=CandidateState.COMPLETED, val_bpb=3.0))
    assert (suggester.given, suggester.named, suggester.told) == ([], {}, [])


# --- what is measured of a candidate that was admitted ---


@pytest.mark.parametrize(
    ("measured", "excess"),
    [
        ({}, {"peak_memory_measured": OUT_OF_MEMORY_EXCESS}),  # it ran out of memory, and by how much is not known
        ({"peak_memory": 1500}, {"peak_memory_measured": 0.5}),
        (
            {"peak_memory": 1000},
            {"peak_memory_measured": OUT_OF_MEMORY_EXCESS},
        ),  # its cap at least, and no more is known
        ({"latency_ms_per_kb": 15.0}, {"latency_ms_per_kb_measured": 0.5}),
        (
            {"latency_ms_per_kb": 15.0, "peak_memory": 800},
            {"latency_ms_per_kb_measured": 0.5, "peak_memory_measured": -0.2},
        ),
        (
            {"latency_ms_per_kb": 8.0, "peak_memory": 1500},
            {"latency_ms_per_kb_measured": -0.2, "peak_memory_measured": 0.5},
        ),
        (
            {"latency_ms_per_kb": 8.0, "peak_memory": 1000},
            {"latency_ms_per_kb_measured": -0.2, "peak_memory_measured": OUT_OF_MEMORY_EXCESS},
        ),
    ],
)
def test_the_suggester_is_told_by_how_much_a_limit_was_broken(
    appraiser: Appraiser, measured: dict[str, float], excess: dict[str, float]
) -> None:
    """Of a thousand bytes and ten milliseconds, by what was measured and not by what was predicted."""
    suggester = Stubborn([SPACE.uniform(0)])
    own = replace(appraiser, limits=Limits(latency_ms_per_kb=10.0))
    proposer = proposer_of(suggester, own, grant=replace(GRANT, memory=1000))
    candidate = SPACE.decode(SPACE.uniform(0))
    record = record_of(candidate, SPACE.uniform(0), CandidateState.REJECTED)
    costs = with_measured({"params": 1, "peak_memory": 10, "latency_ms_per_kb": 1.0}, measured)
    proposer.adopt(replace(record, costs=costs, plan={"seconds": 1.0}))
    assert [kind for kind, _ in suggester.told] == ["infeasible"]
    assert suggester.excess == [pytest.approx(excess)]


def test_the_gate_s_refusals_are_told_with_their_names_alone(appraiser: Appraiser) -> None:
    """By how much each limit is broken was said when the point was named."""
    suggester = Stubborn([SPACE.uniform(0)])
    proposer = proposer_of(suggester, appraiser)
    proposer.adopt(record_of(SPACE.decode(SPACE.uniform(0)), SPACE.uniform(0), CandidateState.REJECTED))
    assert suggester.excess == [None]
