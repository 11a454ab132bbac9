"""The comparison in words and tables."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.machine import table
from benchmarks.profiling.report import paragraph
from benchmarks.search.factorial import FIRST, PRUNERS, SAMPLERS, Cell
from benchmarks.search.problem import TableProblem
from benchmarks.search.results import SHARES, Pair, Result, best_peer, pairs, to_target
from nas.units import format_flops

ABOUT = """\
For the same FLOPs, how good a front does each method find? All search on the same tables of real runs, with the same
candidates, gate, objectives (validation loss and forward FLOPs per byte of text) and budget: a quarter of what it would
take to train every candidate to the end. Training, scores at rungs and final scores are charged to the FLOP; a method
pays for the scores that it asks for. A front is measured by its hypervolume in loss and the logarithm of cost, below
the reference that the forecast names. Regret is what is missing of the hypervolume of all candidates, in percent of it.
Each seed of a search has its own draw of the runs that were made with several seeds, the same for all methods.
"""
TARGET = """\
The share of the budget after which a search has the median final hypervolume of the best peer, median over the seeds,
with the 95% interval of a bootstrap over seeds (and, for all corpora together, over corpora). ∞: at least half of the
searches never have it.
"""
TESTS = """\
The median over the seeds of our regret less the peer's, in percent of the whole hypervolume: below 0 ours is better.
In brackets p of Wilcoxon's signed rank test, two-sided, corrected by Holm for all peers; pairs of all corpora together.
"""
FACTORS = """\
Our search with its parts exchanged: who proposes, who stops runs (ASHA is Ray Tune's, on the loss, at the search's
rungs), what is tried first (ours: dial, largest, eight spread evenly). Median regret, in percent, at a quarter, a half
and all of the budget.
"""


def regrets(results: Iterable[Result], problem: TableProblem) -> str:
    """A row for each method, the best at last first."""
    rows = []
    for own in sorted(results, key=lambda result: (statistics.median(result.regret(1.0)), result.method)):
        low, _, high = statistics.quantiles(own.regret(1.0), n=4) if len(own.seeds) > 1 else [own.regret(1.0)[0]] * 3
        rows.append(
            [
                own.method,
                *(_percent(statistics.median(own.regret(share))) for share in SHARES),
                f"{_percent(low)}-{_percent(high)}",
                f"{statistics.median(own.completed):g}",
                f"{statistics.median(own.stopped):g}",
                f"{statistics.median(own.spent):.0%}",
            ]
        )
    head = ["method", *(f"regret at {share:.0%}" for share in SHARES), "middle half at 100%"]
    return table([*head, "trained to the end", "not", "budget used"], rows)


def targets(corpora: Mapping[str, Sequence[Result]], peers: Sequence[str]) -> str:
    """A row for each method, a column for each corpus, and one for all."""
    best = {corpus: best_peer([own for own in results if own.method in peers]) for corpus, results in corpora.items()}
    rows = []
    for name in _in_all(corpora):
        by_corpus = {corpus: _of(results, name) for corpus, results in corpora.items()}
        cells = [_interval(to_target([own], [best[corpus][1]])) for corpus, own in by_corpus.items()]
        if len(corpora) > 1:
            cells.append(_interval(to_target(list(by_corpus.values()), [best[own][1] for own in by_corpus])))
        rows.append([name, *cells])
    head = [f"{corpus} (best peer: {best[corpus][0]})" for corpus in corpora]
    return table(["method", *head, *(["all"] if len(corpora) > 1 else [])], rows)


def significance(corpora: Mapping[str, Sequence[Result]], ours: str, peers: Sequence[str]) -> str:
    """A row for each peer, a column for each share of the budget."""
    there = [name for name in _in_all(corpora) if name in peers]
    own = [_of(results, ours) for results in corpora.values()]
    others = [[_of(results, name) for results in corpora.values()] for name in there]
    columns = [pairs(own, others, share) for share in SHARES]
    rows = [[row[0].peer, *map(_pair, row)] for row in zip(*columns, strict=True)]
    return table([f"{ours} against", *(f"at {share:.0%}" for share in SHARES)], rows)


def factors(results: Sequence[Result]) -> str:
    """A row for each sampler and pruner, a column for each kind of first candidates."""
    by_name = {own.method: own for own in results}
    rows = []
    for sampler in SAMPLERS:
        for pruner in PRUNERS:
            found = [by_name.get(Cell(sampler, pruner, first).name) for first in FIRST]
            rows.append([sampler, pruner, *(_shares(own) for own in found)])
    return table(["sampler", "pruner", *(f"first: {first}" for first in FIRST)], rows)


def budget(problem: TableProblem, seeds: int) -> str:
    return (
        f"{len(problem.entries)} candidates, {format_flops(int(problem.table.about['compute']))} of training each; "
        f"budget {format_flops(problem.budget)}; {seeds} seeds; table `{problem.digest}`."
    )


def write_up(
    corpora: Mapping[str, Sequence[Result]],
    cells: Mapping[str, Sequence[Result]],
    problems: Mapping[str, TableProblem],
    ours: Sequence[str],
    peers: Sequence[str],
    notes: Sequence[str],
) -> str:
    """``cells``: the factorial's, by corpus; ``notes``: what was left out, and why."""
    parts = ["# Methods of search, compared", paragraph(ABOUT), "\n".join(f"- {line}" for line in notes)]
    for corpus, results in corpora.items():
        seeds = max(len(own.seeds) for own in results)
        parts += [f"## {corpus}", budget(problems[corpus], seeds), regrets(results, problems[corpus])]
    parts += ["## FLOPs to the best peer's front", paragraph(TARGET), targets(corpora, peers)]
    parts += ["## Tests", paragraph(TESTS), *(significance(corpora, name, peers) for name in ours)]
    if any(cells.values()):
        parts += ["## Which part gains what", paragraph(FACTORS)]
        for corpus, results in cells.items():
            parts += [f"{corpus}, {max((len(own.seeds) for own in results), default=0)} seeds:", factors(results)]
    return "\n\n".join(part for part in parts if part)


def _in_all(corpora: Mapping[str, Sequence[Result]]) -> list[str]:
    """Methods that ran on every corpus."""
    names = [[own.method for own in results] for results in corpora.values()]
    return [name for name in names[0] if all(name in own for own in names)]


def _of(results: Iterable[Result], name: str) -> Result:
    return next(own for own in results if own.method == name)


def _percent(share: float) -> str:
    return f"{100 * max(share, 0.0):.2f}"


def _shares(own: Result | None) -> str:
    return " / ".join(_percent(statistics.median(own.regret(share))) for share in SHARES) if own else "-"


def _interval(found: tuple[float, float, float]) -> str:
    value, low, high = (f"{own:.0%}" if own < float("inf") else "∞" for own in found)
    return f"{value} ({low}-{high})"


def _pair(own: Pair) -> str:
    return f"{100 * own.difference:+.2f} ({_p(own.p)})"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
