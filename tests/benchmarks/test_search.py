"""The comparison of methods: what they are charged, that peers keep to the rules, and the statistics."""

import itertools
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from benchmarks.search import factorial, main, ours
from benchmarks.search.account import Account
from benchmarks.search.compare import bootstrap, holm, median, signed_rank
from benchmarks.search.figure import figure
from benchmarks.search.main import KEPT
from benchmarks.search.methods import METHODS, PEERS
from benchmarks.search.peers import asha, halving
from benchmarks.search.peers.asha import milestones
from benchmarks.search.peers.grid import Grid
from benchmarks.search.problem import SCORES, Problem, corpora, of_corpus, problem
from benchmarks.search.report import factors, significance
from benchmarks.search.results import Result, best_peer, pairs, result, to_target
from benchmarks.search.shelf import About, Shelf
from benchmarks.search.trace import Completed, History, Stopped, Trace, history
from benchmarks.tabular.replay import replay
from benchmarks.tabular.table import Table, load
from nas.curve import RUNGS
from nas.errors import MissingDependencyError
from nas.records import CandidateState

SMALL = 0.04
"""Of what the whole table costs: some ten candidates."""


@pytest.fixture(scope="module")
def austen() -> Table:
    return load("austen")


@pytest.fixture(scope="module")
def small(austen: Table) -> Problem:
    return problem(austen, share=SMALL)


@pytest.fixture(scope="module")
def lower(austen: Table) -> Problem:
    """With the tables of a ninth and a third of the compute."""
    return problem(austen, lower=[load("austen-133G-brief"), load("austen-44G-brief")], share=SMALL)


def _diverged(table: Table, own: str, part: float) -> Table:
    """The same, with a candidate's runs not finite from a part of their steps on."""
    arrays = {name: column.copy() for name, column in vars(table).items() if isinstance(column, np.ndarray)}
    for row in (place for place, name in enumerate(table.ids) if name == own):
        arrays["steps"][row] = -int(-part * table.steps[row] // 1)
        arrays["train"][row, int(part * 32) :] = arrays["val_bpb"][row] = math.nan
        arrays["validation"][row, int(part * 16) :] = math.nan
        full = table.eval_flops[row]
        arrays["eval_flops"][row] = int(part * 16) * (full // 16)
    return replace(table, **arrays)


# --- what is charged ---


@pytest.mark.parametrize("draw", [0, 2])
def test_what_a_run_costs_is_what_a_search_is_charged(austen: Table, draw: int) -> None:
    own = problem(austen, draw, share=SMALL)
    searched = replay(replace(own.spec, method=replace(own.spec.method, policy="tpe")), austen, draw=draw)
    settled = {line.number: line.flops for line in searched.ledger if line.kind == "settle"}
    reserved = {line.number: line.flops for line in searched.ledger if line.kind == "reserve"}
    states = {record.state for record in searched.candidates}
    assert states == {CandidateState.COMPLETED, CandidateState.STOPPED}
    for record in searched.candidates:
        assert own.price(record.id, RUNGS) == reserved[record.number]
        decided = [decision.rung for decision in searched.decisions if decision.number == record.number]
        if record.state is CandidateState.COMPLETED:
            assert own.spent(record.id, 1.0, RUNGS) == own.price(record.id, RUNGS) == settled[record.number]
            assert own.objectives(record.id) == (record.val_bpb, record.costs["flops_per_byte"])
        else:
            assert own.spent(record.id, decided[-1], RUNGS) == settled[record.number]
        losses = {point.rung: point.val_bpb for point in searched.points if point.number == record.number}
        assert all(own.loss_at(record.id, rung) == losses[rung] for rung in decided)


@pytest.mark.parametrize("part", [0.25, 0.3, 0.6])
def test_a_run_that_diverged_costs_what_a_search_is_charged(austen: Table, small: Problem, part: float) -> None:
    first = replay(small.spec, austen).candidates[0].id
    table = _diverged(austen, first, part)
    own = problem(table, share=SMALL)
    searched = replay(own.spec, table)
    (charged,) = (line.flops for line in searched.ledger if line.kind == "settle" and line.number == 0)
    assert searched.candidates[0].state is CandidateState.DIVERGED
    assert own.spent(first, 1.0, RUNGS) == charged and own.objectives(first) is None
    account = Account(own)
    assert account.complete(first) is None and account.trace.completed == ()
    assert [stopped.id for stopped in account.trace.stopped] == [first]


def test_the_budget_is_a_share_of_the_whole_table(austen: Table, small: Problem) -> None:
    whole = sum(small.price(own, SCORES) for own in small.entries)
    assert small.budget == int(SMALL * whole) and set(small.entries) <= set(austen.ids)


def test_a_run_that_is_continued_is_paid_once(small: Problem) -> None:
    own = next(iter(small.entries))
    account = Account(small, [0.125, 0.5])
    assert account.advance(own, 0.125) == small.loss_at(own, 0.125)
    assert account.spent == small.spent(own, 0.125, [0.125]) < small.price(own)
    assert account.price(own) == small.price(own, [0.125, 0.5]) - account.spent
    account.advance(own, 0.5)
    account.complete(own)
    assert account.spent == small.price(own, [0.125, 0.5])
    assert account.trace.completed[0].spent == account.spent


def test_nothing_is_spent_that_is_not_there(small: Problem) -> None:
    account = Account(small)
    with pytest.raises(ValueError, match="flops must be at most what is left"):
        account.pay(small.budget + 1)


def test_a_factor_of_cost_counts_the_same_everywhere(small: Problem) -> None:
    loss, cost = small.reference
    found = [small.hypervolume([(loss - 1, cost / factor)]) for factor in (2, 4, 8)]
    assert np.diff(found) == pytest.approx([math.log(2)] * 2) and found[0] == pytest.approx(math.log(2))


# --- peers ---


def _holds(own: Problem, trace: Trace) -> None:
    """Within the budget, of candidates that were measured, with their objectives, in the order of spending."""
    everything = sorted([*trace.completed, *trace.stopped], key=lambda item: item.spent)
    spent = [item.spent for item in trace.completed]
    assert spent == sorted(spent) and trace.spent <= own.budget
    assert len({item.id for item in everything}) == len(everything)
    assert {item.id for item in everything} <= set(own.entries)
    assert all(item.objectives == own.objectives(item.id) for item in trace.completed)
    assert all(0 < item.progress <= 1 for item in trace.stopped)


@pytest.mark.parametrize("name", list(PEERS))
def test_a_peer_keeps_to_the_rules(lower: Problem, name: str) -> None:
    first, again, other = (PEERS[name].run(lower, seed) for seed in (1, 1, 2))
    _holds(lower, first)
    _holds(lower, other)
    assert first == again
    assert first.completed or name == "dial"
    if name not in ("even grid", "dial"):
        assert first != other


def _kept() -> Iterator[tuple[str, str]]:
    return itertools.product(corpora(), PEERS)


_of_corpus = cache(of_corpus)


@pytest.mark.parametrize(("corpus", "name"), list(_kept()))
def test_what_is_kept_of_a_peer_keeps_to_the_rules(corpus: str, name: str) -> None:
    own = _of_corpus(corpus, 0)
    shelf = Shelf(KEPT / corpus / f"{PEERS[name].file}.json.xz", About(corpus, name, (own.digest,), {}))
    for seed, trace in shelf.traces.items():
        _holds(_of_corpus(corpus, seed), trace)


def test_syne_tune_that_is_not_there_is_named(small: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "syne_tune.backend.trial_status", None)
    with pytest.raises(MissingDependencyError, match="syne-tune: must be installed to run MO-ASHA anew: pip install"):
        asha.mo_asha(small, 0)


@pytest.mark.parametrize(("reduction", "places"), [(2, [1, 2, 4, 8]), (3, [1, 3, 9]), (4, [1, 4])])
def test_milestones_are_those_of_the_packages(reduction: int, places: list[int]) -> None:
    from ray.tune.schedulers import AsyncHyperBandScheduler

    scheduler = AsyncHyperBandScheduler("t", "m", "min", max_t=16, grace_period=1, reduction_factor=reduction)
    theirs = sorted(place for place, _ in scheduler._brackets[0]._rungs)
    assert milestones(reduction) == places == [place for place in theirs if place < 16]


def test_a_fixed_fraction_finishes_the_best(lower: Problem) -> None:
    trace = halving.fixed_fraction(lower, 0)
    kept = [lower.loss_at(own.id, 0.125) for own in trace.completed]
    lost = [lower.loss_at(own.id, 0.125) for own in trace.stopped]
    assert kept == sorted(kept) and len(kept) > 2 and max(map(float, kept)) <= min(map(float, lost))  # type: ignore[arg-type]


def test_halving_trains_the_best_third_with_the_whole_budget(lower: Problem) -> None:
    trace = halving.complete_schedules(lower, 0)
    assert len(trace.completed) >= 1 and trace.completed[0].spent > lower.budget / 4
    assert trace.spent <= lower.budget


def test_the_grid_names_every_candidate(small: Problem) -> None:
    grid = Grid(small, 0)
    assert all(grid.id(grid.parameters(own)) == own for own in small.entries)
    assert grid.draw(set(small.entries)) is None and grid.draw(set()) in small.entries


# --- ours ---


@pytest.mark.parametrize("policy", list(ours.POLICIES))
def test_ours_keeps_to_the_rules(small: Problem, policy: str) -> None:
    first, again = (ours.search(small, 3, policy) for _ in range(2))
    _holds(small, first)
    assert first == again and first.completed


@pytest.mark.parametrize("name", ["random / asha / none", "tpe / dominance / ours", "nsga-ii / none / none"])
def test_a_cell_keeps_to_the_rules(small: Problem, name: str) -> None:
    first, again = (METHODS[name].run(small, 3) for _ in range(2))
    _holds(small, first)
    assert first == again and first.completed and bool(first.stopped) is ("none /" not in name)


def test_the_cell_that_is_our_search_does_what_it_does(small: Problem) -> None:
    assert factorial.search(small, 5, factorial.Cell("tpe", "dominance", "ours")) == ours.search(small, 5, "tpe")


def test_what_is_tried_first(small: Problem) -> None:
    seeded, other = (factorial.search(small, 0, factorial.Cell("random", "none", first)) for first in ("ours", "none"))
    knobs = small.forecast.dial
    assert knobs is not None
    assert seeded.completed[0].id == small.space.decode(knobs).id != other.completed[0].id


# --- traces ---


def test_a_trace_survives_json(small: Problem) -> None:
    trace = ours.search(small, 0, "default")
    assert Trace.from_dict(json.loads(json.dumps(trace.to_dict()))) == trace and trace.stopped


def test_hypervolume_never_falls(small: Problem) -> None:
    trace = PEERS["random"].run(small, 0)
    found = history(trace, small)
    assert list(found.volumes) == sorted(found.volumes) and list(found.flops) == sorted(found.flops)
    known = [own.objectives for own in trace.completed]
    assert found.at(small.budget) == pytest.approx(small.hypervolume(known))
    assert found.at(small.budget) <= small.whole
    for count, own in enumerate(trace.completed, start=1):
        assert found.at(own.spent) == pytest.approx(small.hypervolume(known[:count]))


def test_a_history_is_a_step_function() -> None:
    steps = History((10, 20), (1.0, 3.0))
    assert [steps.at(flops) for flops in (0, 9, 10, 19, 20, 99)] == [0, 0, 1, 1, 3, 3]
    assert [steps.flops_to(volume) for volume in (0.5, 1.0, 1.5, 3.0, 3.1)] == [10, 10, 20, 20, math.inf]


ABOUT = About("austen", "random", ("table",), {"optuna": "5.0.0"})


@pytest.mark.parametrize(
    ("other", "refused"),
    [
        (ABOUT, ""),
        (replace(ABOUT, versions={}), ""),  # the package is not here: what it did is good
        (replace(ABOUT, tables=("other",)), "another table"),
        (replace(ABOUT, tables=("table", "lower")), "another table"),
        (replace(ABOUT, versions={"optuna": "5.1.0"}), "optuna 5.0.0"),
        (replace(ABOUT, method="dial"), "method random"),
        (replace(ABOUT, corpus="sotu"), "corpus austen"),
    ],
)
def test_what_is_kept_of_something_else_is_refused(tmp_path: Path, other: About, refused: str) -> None:
    path, trace = tmp_path / "random.json.xz", Trace((Completed(3, "a", (1.0, 2.0)),), (Stopped(4, "b", 0.5),))
    Shelf(path, ABOUT).put(7, trace)
    shelf = Shelf(path, other)
    assert (shelf.refused, shelf.traces) == (refused, {} if refused else {7: trace})


# --- statistics ---


@pytest.mark.parametrize(
    ("values", "adjusted"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.04], [0.02, 0.04]),
        ([0.04, 0.01], [0.04, 0.02]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # Holm's own kind of example: no p below a smaller one's
        ([0.02, 0.02, 0.02], [0.06, 0.06, 0.06]),
        ([0.5, 0.9], [1.0, 1.0]),
    ],
)
def test_holm(values: list[float], adjusted: list[float]) -> None:
    assert holm(values) == pytest.approx(adjusted)


@pytest.mark.parametrize(
    ("values", "middle"),
    [
        ([3], 3),
        ([1, 2], 1.5),
        ([3, 1, 2], 2),
        ([1, math.inf], math.inf),
        ([1, 2, math.inf], 2),
    ],
)
def test_median(values: list[float], middle: float) -> None:
    assert median(values) == middle


def test_bootstrap() -> None:
    assert bootstrap([[2.0] * 5, [2.0] * 3]) == (2.0, 2.0)
    assert bootstrap([[1.0, math.inf]]) == (1.0, math.inf)
    values = np.random.default_rng(0).normal(size=200)
    low, high = bootstrap([values], lambda own: float(own.mean()))
    assert low < values.mean() < high and high - low == pytest.approx(2 * 1.96 / math.sqrt(200), rel=0.15)
    assert bootstrap([values]) == bootstrap([values])
    apart = bootstrap([[0.0] * 20, [1.0] * 20], lambda own: float(own.mean()))
    assert apart == (0.0, 1.0)  # corpora are drawn too


def test_signed_rank() -> None:
    assert signed_rank([1, 2, 3], [1, 2, 3]) == 1.0
    assert signed_rank(range(10), range(1, 11)) < 0.01
    # six positive differences: the chance of all signs alike is 2 / 2^6
    assert signed_rank([1, 2, 3, 4, 5, 6], [0] * 6) == pytest.approx(2 / 2**6)


# --- results and how they are written ---


def _result(method: str, finals: list[float]) -> Result:
    """With a regret of 1 for the first half of the budget and ``finals`` from there on."""
    rows = np.array([[1.0] * 100 + [own] * 101 for own in finals])
    return Result(
        method=method,
        seeds=tuple(range(len(finals))),
        regrets=rows,
        histories=tuple(((0.5, 1 - own),) for own in finals),
        completed=(1,) * len(finals),
        stopped=(0,) * len(finals),
        spent=(1.0,) * len(finals),
    )


def test_the_best_peer_and_the_way_to_its_front() -> None:
    peers = [_result("a", [0.2, 0.1, 0.3]), _result("b", [0.0, 0.5, 0.6])]
    name, target = best_peer(peers)
    assert (name, target) == ("a", pytest.approx(0.8))
    assert to_target([_result("ours", [0.2, 0.1, 0.0])], [target]) == (0.5, 0.5, 0.5)
    assert to_target([_result("ours", [0.3, 0.3, 0.0])], [target])[0] == math.inf


def test_pairs_are_of_seeds_over_all_corpora() -> None:
    own, peer = ([_result(name, [base + i / 100 for i in range(8)])] * 2 for name, base in (("o", 0), ("p", 0.1)))
    early, late = (pairs(own, [peer, own], share) for share in (0.25, 1.0))
    assert [pair.p for pair in early] == [1.0, 1.0] and late[1].p == 1.0
    assert late[0].difference == pytest.approx(-0.1) and late[0].p < 0.001


def test_a_result_is_what_its_traces_are(small: Problem) -> None:
    trace = PEERS["random"].run(small, 0)
    own = result("random", {0: small}, {0: trace})
    found = history(trace, small)
    assert own.regret(1.0)[0] == pytest.approx(1 - found.at(small.budget) / small.whole)
    assert own.regret(0.5)[0] == pytest.approx(1 - found.at(small.budget / 2) / small.whole)
    assert own.share_to(found.volumes[-1] / small.whole)[0] == pytest.approx(found.flops[-1] / small.budget)


def test_tables_and_figure() -> None:
    results = {"<one>": [_result("ours: default", [0.1, 0.2]), _result("peer", [0.3, 0.4])]}
    text = significance(results, "ours: default", ["peer"])
    assert "| peer | +0.00 (p = 1.000) | -20.00 (p = 0.500) | -20.00 (p = 0.500) |" in text
    drawn = figure(results, ["ours: default"])
    assert drawn.startswith("<svg") and drawn.count("<path d=") > 10 and "&lt;one&gt;" in drawn
    row = next(line for line in factors([_result("gp / asha / ours", [0.25])]).splitlines() if "gp | asha" in line)
    assert row == "| gp | asha | - | 100.00 / 25.00 / 25.00 |"


def test_what_needs_tables_that_are_not_there_is_left_out(
    austen: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "_problem", lambda corpus, draw: problem(austen, draw))
    peers = [PEERS["random"], PEERS["halving, complete schedules"]]
    library = main.Library("austen", peers, refresh=False, work=tmp_path, kept=tmp_path)
    assert list(library.shelves) == ["random"]
    assert library.notes == [
        "halving, complete schedules on austen is left out: it needs 2 tables of smaller budgets, there are 0."
    ]


def test_the_command_goes_on_where_it_was_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--corpus", "austen", "--seeds", "2", "--peers", "random", "halving, complete schedules", "--policies"]
    command += ["none", "--workers", "1", "--kept", str(tmp_path / "kept"), "--work", str(tmp_path / "work")]
    command += ["--out", str(tmp_path / "search.md"), "--picture", str(tmp_path / "search.svg")]
    main.main(command)
    first = capsys.readouterr()
    assert "6 of 6" in first.err and (tmp_path / "search.md").read_text() == first.out
    assert "| random |" in first.out and "| ours: none |" in first.out and (tmp_path / "search.svg").is_file()
    assert "| halving, complete schedules |" in first.out
    main.main(command)
    second = capsys.readouterr()
    assert second.err == "" and second.out == first.out
