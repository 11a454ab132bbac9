"""A search on a table: the same as with real training, charged the same, on a clock of its own."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.tabular.card import README
from benchmarks.tabular.grid import EVALUATIONS, Run, points, space
from benchmarks.tabular.replay import Replayed, TableEngine, TableTexts, replay
from benchmarks.tabular.table import Table, facts_of, load, table_of
from benchmarks.tabular.training import train_one
from nas.cost import evaluation_flops
from nas.curve import RUNGS, rung_steps
from nas.data.texts import Texts
from nas.errors import SpecError
from nas.plan import Plan
from nas.ports import Assignment, Done, Outcome, Suggester, Suggestion, Wait
from nas.records import CandidateRecord, CandidateState, CurvePoint, LogLine, Verdict
from nas.space import Space, load_space
from nas.spec import SearchSpec, parse_spec
from tests.helpers import Watched, Worlds, timeless

Changes = dict[str, Any]


@pytest.fixture(scope="module")
def austen() -> Table:
    return load("austen")


def spec_of(**changes: Any) -> SearchSpec:
    """A search on the whole grid with money for a part of it; fields of ``budget`` are merged."""
    budget = {"total": {"compute": "8TFLOP"}, "candidate": {"compute": "400GFLOP"}, "final": 0}
    raw = {"corpus": "austen", "space": space().to_dict(), **changes}
    return parse_spec({**raw, "budget": {**budget, **changes.get("budget", {})}})


def narrowed(**values: Any) -> Changes:
    """The grid's space with fewer values of some knobs."""
    own = space().to_dict()
    return {**own, "knobs": {**own["knobs"], **values}}


# --- against real training ---

CLOSED = {
    "knobs": {
        "depth": [1, 2],
        "width": [16, 24],
        "vocabulary": [256, 320],
        "head_size": 8,
        "context": 32,
        "batch_tokens": [64, 128],
    }
}


class SameSeed(Watched):
    """Trains with the seed of the table, whatever the candidate's number."""

    def next(self, device: str = "") -> Assignment | Wait | Done:
        answer = super().next(device)
        return replace(answer, seed=0) if isinstance(answer, Assignment) else answer


@pytest.fixture(scope="module")
def worlds(tiny_texts: Texts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    own = Worlds(tiny_texts, tmp_path_factory.mktemp("real"))
    yield own
    own.close()


@pytest.fixture(scope="module")
def tiny(tiny_texts: Texts) -> Table:
    """Every candidate of a space of 16, trained."""
    own = load_space(CLOSED)
    runs = [train_one(Run(knobs), own.decode(knobs), tiny_texts, 500_000_000) for knobs in points(own)]
    return table_of(runs, {"corpus": "tiny", "compute": 500_000_000}, facts_of(tiny_texts, own))


def test_a_replay_is_the_search_with_real_training(worlds: Worlds, tiny: Table) -> None:
    """Twelve candidates of sixteen: proposals, verdicts, curves, results and the account are the same."""
    spec = parse_spec(
        {
            "corpus": "tiny",
            "space": CLOSED,
            "budget": {
                "total": {"compute": "20GFLOP", "candidates": 12},
                "candidate": {"compute": "500MFLOP"},
                "final": 0,
            },
        }
    )
    world = worlds(spec)
    world.run(SameSeed(world.enter()))
    replayed = replay(spec, tiny)
    assert [_fate(own) for own in replayed.candidates] == [_fate(own) for own in world.candidates]
    assert {own.state for own in replayed.candidates} == {CandidateState.COMPLETED, CandidateState.STOPPED}
    assert [_fate(own) for own in replayed.points] == [_fate(own) for own in world.store.points("s")]
    mine, theirs = (
        [(own.number, own.rung, own.verdict) for own in decisions]
        for decisions in (replayed.decisions, world.store.decisions("s"))
    )
    assert mine == theirs and {Verdict.CONTINUE, Verdict.STOP} <= {verdict for *_, verdict in mine}
    mine_, theirs_ = (
        [(own.kind, own.account, own.number, own.flops, own.note) for own in ledger]
        for ledger in (replayed.ledger, world.store.ledger("s"))
    )
    assert mine_ == theirs_


def _fate(record: CandidateRecord | CurvePoint) -> dict[str, Any]:
    """What does not depend on a clock; losses as exact as a table has them."""
    own = timeless(record)
    plain = {name: getattr(own, name) for name in own.__dataclass_fields__ if name not in ("search_id", "artifact")}
    plain.pop("reason", "")  # tells losses in words
    return {name: round(value, 5) if isinstance(value, float) else value for name, value in plain.items()}


# --- what is charged ---


def test_what_is_charged_is_what_was_spent(austen: Table) -> None:
    """To the last FLOP: a completed run all of its plan, a stopped one its steps and its scores until then."""
    searched = replay(spec_of(), austen)
    reserved = {own.number: own.flops for own in searched.ledger if own.kind == "reserve"}
    settled = {own.number: own.flops for own in searched.ledger if own.kind == "settle"}
    trained = [own for own in searched.candidates if own.plan]
    assert len(trained) > 15 and reserved.keys() == settled.keys() == {own.number for own in trained}
    assert sum(settled.values()) <= 8e12
    assert {CandidateState.COMPLETED, CandidateState.STOPPED} == {own.state for own in trained}
    for own in trained:
        plan, decided = Plan.from_dict(own.plan), [d.rung for d in searched.decisions if d.number == own.number]
        architecture = space().decode(own.knobs).architecture
        facts = austen.facts[architecture.vocabulary, architecture.context]
        scored = len(decided) * evaluation_flops(architecture, facts.rung_windows, facts.rung_tokens)
        if own.state is CandidateState.COMPLETED:
            scored += evaluation_flops(architecture, facts.full_windows, facts.full_tokens)
            assert decided == list(RUNGS) and own.train_flops_spent == plan.train_flops
            assert settled[own.number] == reserved[own.number] == plan.flops
        else:
            (stopped_at,) = (step for step, rung in rung_steps(plan.steps).items() if rung == decided[-1])
            assert own.train_flops_spent == stopped_at * plan.step_flops
        assert (own.eval_flops, settled[own.number]) == (scored, own.train_flops_spent + scored)


def test_the_sizes_of_the_text_are_those_of_the_runs(austen: Table) -> None:
    """What each run of the table was charged for its scores, by the sizes that are kept."""
    for own, spent in zip(austen.knobs, austen.eval_flops, strict=True):
        architecture = space().decode(own).architecture
        facts = TableTexts(austen).facts(architecture.vocabulary, architecture.context)
        rung = evaluation_flops(architecture, facts.rung_windows, facts.rung_tokens)
        assert spent == (EVALUATIONS - 1) * rung + evaluation_flops(architecture, facts.full_windows, facts.full_tokens)
        assert TableTexts(austen).bytes_per_token(architecture.vocabulary) == facts.bytes_per_token


# --- the clock ---


def _most_at_a_time(searched: Replayed) -> int:
    began, ended = ([getattr(own, name) for own in searched.candidates] for name in ("started_at", "finished_at"))
    return max(sum(a <= at < b for a, b in zip(began, ended, strict=True)) for at in began)


@pytest.mark.parametrize("parallel", [1, 3])
def test_runs_share_a_simulated_clock(austen: Table, parallel: int) -> None:
    searched = replay(spec_of(method={"parallel": parallel}), austen)
    worked = sum(own.seconds for own in searched.candidates)
    assert _most_at_a_time(searched) == parallel
    assert searched.seconds == max(own.finished_at or 0 for own in searched.candidates)
    assert worked / parallel <= searched.seconds * (1 + 1e-9) <= worked + 1
    assert worked == pytest.approx(sum(own.seconds for own in searched.ledger))
    for own in searched.candidates:
        assert (own.finished_at or 0) - (own.started_at or 0) == pytest.approx(own.seconds)
        own_points = [point.seconds for point in searched.points if point.number == own.number]
        assert own_points == sorted(own_points) and own_points[-1] <= own.seconds
    reported = [decision.at for decision in searched.decisions]
    assert reported == sorted(reported), "the driver hears in the order of the clock"


def test_a_replay_is_the_same_again(austen: Table) -> None:
    first, second, other = (
        replay(spec_of(method={"parallel": 2, "seed": seed, "policy": "tpe"}), austen) for seed in (1, 1, 2)
    )
    assert first.candidates == second.candidates and first.points == second.points and first.ledger == second.ledger
    assert [own.id for own in first.candidates] != [own.id for own in other.candidates]


def test_a_draw_is_of_another_seed(austen: Table) -> None:
    several = next(own for own in austen.ids if austen.ids.count(own) > 1)
    knobs = dict(austen.knobs[austen.ids.index(several)])
    del knobs["optimizer"]
    spec = spec_of(space=narrowed(**knobs), method={"policy": "none"})
    losses = []
    for draw in range(4):
        (own,) = (own for own in replay(spec, austen, draw=draw).candidates if own.id == several)
        losses.append(own.val_bpb)
    assert losses[:3] == list(austen.val_bpb[[own == several for own in austen.ids]]) and losses[3] == losses[0]


# --- runs that diverged ---


@pytest.mark.parametrize(
    ("made", "scores", "charged"),
    [
        (0.3, 4, 3),  # after three rungs, while it trained
        (0.25, 3, 2),  # at a rung, before its score
        (0.25, 4, 3),  # at a rung, by its score
        (0.1875, 3, 2),  # by a score that a search does not make
        (1.0, 15, 4),  # after the last step
    ],
)
def test_a_run_that_diverged(austen: Table, made: float, scores: int, charged: int) -> None:
    """The first candidate of a search, of which the table has ``scores`` on the rungs' subset."""
    spec = spec_of(budget={"total": {"compute": "8TFLOP", "candidates": 2}})
    own = replay(spec, austen).candidates[0]
    architecture = space().decode(own.knobs).architecture
    facts = austen.facts[architecture.vocabulary, architecture.context]
    rung = evaluation_flops(architecture, facts.rung_windows, facts.rung_tokens)
    table = _copy(austen)
    row = table.ids.index(own.id)
    steps = -int(-made * table.steps[row] // 1)
    table.train[row, int(made * 32) - 1 :] = table.val_bpb[row] = np.nan
    table.steps[row], table.eval_flops[row] = steps, scores * rung
    searched = replay(spec, table)
    diverged = searched.candidates[0]
    assert (diverged.state, diverged.reason) == (CandidateState.DIVERGED, "the loss is not finite")
    assert diverged.train_flops_spent == steps * table.step_flops[row] and diverged.val_bpb is None
    assert diverged.eval_flops == charged * rung
    assert all(point.step < steps for point in searched.points if point.number == 0)


def _copy(table: Table) -> Table:
    arrays = {name: own.copy() for name, own in vars(table).items() if isinstance(own, np.ndarray)}
    return replace(table, **arrays)


def test_the_example_in_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    exec(example, {})
    count, seconds = capsys.readouterr().out.split()
    assert int(count) > 20 and float(seconds) > 60


# --- other methods, and what cannot be answered ---


class InOrder:
    """A suggester that goes through the points of a space."""

    def __init__(self, own: Space) -> None:
        self.points, self.given, self.numbers = points(own), 0, dict[int, int]()
        self.answers: list[tuple[int, Any]] = []

    def ask(self, knobs: Changes | None = None) -> Suggestion:
        self.given += 1
        return Suggestion(self.given - 1, knobs or self.points[(self.given - 1) % len(self.points)])

    def asked(self) -> int:
        return self.given

    def keys(self) -> dict[int, int]:
        return self.numbers

    def name(self, key: int, candidate_id: str, number: int, excess: Any) -> None:
        self.numbers[number] = key

    def tell_completed(self, key: int, values: Any) -> None:
        self.answers.append((key, tuple(values)))

    def tell_stopped(self, key: int) -> None:
        self.answers.append((key, "stopped"))

    def tell_infeasible(self, key: int, excess: Any = None) -> None:
        self.answers.append((key, "infeasible"))

    def forget(self, key: int) -> None:
        pass


def test_another_method_searches_on_the_table(austen: Table) -> None:
    made: list[InOrder] = []

    def make(spec: SearchSpec, own: Space) -> Suggester:
        made.append(InOrder(own))
        return made[-1]

    searched = replay(spec_of(method={"policy": "none"}), austen, make)
    told = dict(made[0].answers)
    assert len(told) == len(searched.candidates) > 10
    for own in searched.candidates:
        row = austen.ids.index(own.id)
        assert told[made[0].numbers[own.number]] == (austen.val_bpb[row], own.costs["flops_per_byte"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": narrowed(width=[32, 128])}, "space: must have no candidate that is not in the table"),
        ({"space": narrowed(matrix_rate={"min": 0.5, "max": 2})}, "space: must list the values of every knob"),
        (
            {"budget": {"candidate": {"compute": "1TFLOP"}}},
            "budget.candidate.compute: must be that of the table, 400 G",
        ),
        ({"budget": {"final": 0.1}}, "budget.final: must be 0: the table has no final runs"),
        ({"budget": {"total": {"compute": "8TFLOP", "time": "1h"}}}, "budget.total.time: must be absent"),
        ({"limits": {"peak_memory": "1GiB"}}, "limits.peak_memory: must be absent: a replay has no device"),
        ({"limits": {"latency_ms_per_kb": 9}}, "limits.latency_ms_per_kb: must be absent"),
        ({"minimize": ["val_bpb", "train_seconds"]}, "minimize: must be the loss and costs in closed form"),
    ],
)
def test_what_a_table_cannot_answer_is_refused(austen: Table, changes: Changes, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        replay(spec_of(**changes), austen)
    assert str(refused.value).startswith(message)


def test_limits_in_closed_form_hold(austen: Table) -> None:
    searched = replay(spec_of(limits={"params": "100k"}), austen)
    params = {own.costs["params"] <= 100_000: own.state for own in searched.candidates}
    assert params[True] is not CandidateState.REJECTED
    assert all((own.state is CandidateState.REJECTED) == (own.costs["params"] > 100_000) for own in searched.candidates)


def test_a_driver_that_waits_for_nothing(austen: Table) -> None:
    class Waiting:
        def next(self, device: str = "") -> Assignment | Wait | Done:
            return Wait()

        def report(self, point: CurvePoint) -> Verdict:
            raise AssertionError("nothing runs")

        def began(self, number: int, attempt: int, worker: str) -> None:
            raise AssertionError("nothing runs")

        def logged(self, number: int, attempt: int, lines: Sequence[LogLine], *, more: bool = False) -> None:
            raise AssertionError("nothing runs")

        def finish(self, outcome: Outcome) -> None:
            raise AssertionError("nothing runs")

    with pytest.raises(RuntimeError, match="nothing in training must hand out a run or be done"):
        TableEngine(austen).run(Waiting())
