"""Our own search, replayed."""

from dataclasses import replace

from benchmarks.search.problem import Problem
from benchmarks.search.trace import Completed, Stopped, Trace
from benchmarks.tabular.replay import MakeSuggester, Replayed, Watch, by_tpe, replay, unwatched
from nas.outcome import objectives
from nas.policy import POLICIES as POLICIES  # the policies that a spec may name
from nas.records import CandidateState, LedgerRecord


def search(
    problem: Problem,
    seed: int,
    policy: str,
    make_suggester: MakeSuggester = by_tpe,
    watch: Watch = unwatched,
) -> Trace:
    """A search by a policy on the problem, one run at a time."""
    spec = replace(problem.spec, method=replace(problem.spec.method, policy=policy, seed=seed))
    return trace(replay(spec, problem.table, make_suggester, problem.draw, watch))


def trace(searched: Replayed) -> Trace:
    """What the records of a search say; what it had spent, by its account."""
    records = {own.number: own for own in searched.candidates}
    completed, stopped, spent = [], [], 0
    for line in searched.ledger:
        if not _settles(line):
            continue
        spent += line.flops
        own = records[line.number or 0]
        if own.state is CandidateState.COMPLETED:
            completed.append(Completed(spent, own.id, tuple(objectives(searched.spec.minimize, own))))
        else:
            stopped.append(Stopped(spent, own.id, own.train_flops_spent / own.train_flops_planned))
    return Trace(tuple(completed), tuple(stopped))


def _settles(line: LedgerRecord) -> bool:
    return line.kind == "settle" and line.number is not None
