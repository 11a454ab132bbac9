"""Our own search, replayed."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from benchmarks.search.problem import TableProblem
from benchmarks.search.trace import Completed, Stopped, Trace
from benchmarks.tabular.replay import MakeSuggester, Replayed, Watch, by_tpe, replay, unwatched
from nas.outcome import objectives
from nas.policy import POLICIES as POLICIES  # the policies that a spec may name
from nas.records import CandidateRecord, CandidateState, LedgerRecord


def search(
    problem: TableProblem,
    seed: int,
    policy: str,
    make_suggester: MakeSuggester = by_tpe,
    watch: Watch = unwatched,
) -> Trace:
    """A search by a policy on the problem, one run at a time."""
    spec = replace(problem.spec, method=replace(problem.spec.method, policy=policy, seed=seed))
    return trace(replay(spec, problem.table, make_suggester, problem.draw, watch))


def trace(searched: Replayed) -> Trace:
    """What the records of a search say."""
    return trace_of(searched.spec.minimize, searched.candidates, searched.ledger)


def trace_of(minimize: Sequence[str], candidates: Iterable[CandidateRecord], ledger: Iterable[LedgerRecord]) -> Trace:
    """What it had spent is by its account."""
    records = {own.number: own for own in candidates}
    completed, stopped, spent = [], [], 0
    for line in ledger:
        if not _settles(line):
            continue
        spent += line.flops
        own = records[line.number or 0]
        if own.state is CandidateState.COMPLETED:
            completed.append(Completed(spent, own.id, tuple(objectives(minimize, own))))
        else:
            stopped.append(Stopped(spent, own.id, own.train_flops_spent / own.train_flops_planned))
    return Trace(tuple(completed), tuple(stopped))


def _settles(line: LedgerRecord) -> bool:
    return line.kind == "settle" and line.number is not None
