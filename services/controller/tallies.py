"""What searches have spent: by the states of their candidates, and by their accounts. Kept, and brought up to date."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas.adapters.sql.course import Course, Taken
from nas.ledger import FINAL, SEARCH, Balance, Ledger
from nas.records import CandidateState
from services.controller.latest import Latest

SEARCHES = 16
"""That are kept, those asked for last."""


@dataclass(frozen=True, slots=True)
class Spent:
    """FLOPs by the candidates of a state, without the final run. ``spared`` is what had been planned on top."""

    candidates: int = 0
    train: int = 0
    evaluation: int = 0
    spared: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """Of a search. The balances are of accounts that were granted nothing: what they have is what was handed over."""

    by_state: Mapping[CandidateState, Spent]
    search: Balance
    final: Balance

    @property
    def candidates_spent(self) -> int:
        """FLOPs of training and evaluation, without the final run."""
        return sum(own.train + own.evaluation for own in self.by_state.values())

    def of(self, state: CandidateState) -> Spent:
        return self.by_state.get(state, Spent())


@dataclass(frozen=True, slots=True)
class _Kept:
    """``ledger`` has all lines until its sequence; the rest is as of ``revision``."""

    ledger: Ledger
    taken: Mapping[int, Taken]
    tally: Tally
    revision: int


class Tallies:
    """Any number of threads."""

    def __init__(self, course: Course) -> None:
        self._course, self._latest = course, Latest(self._read, SEARCHES)

    def of(self, search_id: str, revision: int) -> Tally:
        """As of that revision of the search, or a later one."""
        return self._latest.of(search_id, revision).tally

    def _read(self, search_id: str, revision: int, earlier: _Kept | None) -> _Kept:
        known = earlier or _nothing(search_id)
        changed, ledger = self._course.taken(search_id, known.revision), known.ledger
        ledger.follow(self._course.booked(search_id, ledger.sequence))
        by_state = _summed(known.tally.by_state, known.taken, changed)
        tally = Tally(by_state, ledger.balance(SEARCH), ledger.balance(FINAL))
        return _Kept(ledger, {**known.taken, **{own.number: own for own in changed}}, tally, revision)


def _nothing(search_id: str) -> _Kept:
    ledger = Ledger(search_id, 0, 0)
    return _Kept(ledger, {}, Tally({}, ledger.balance(SEARCH), ledger.balance(FINAL)), -1)


def _summed(
    sums: Mapping[CandidateState, Spent], taken: Mapping[int, Taken], changed: Sequence[Taken]
) -> Mapping[CandidateState, Spent]:
    """With what has changed in the place of what was taken until then."""
    found = dict(sums)
    former = [taken[own.number] for own in changed if own.number in taken]
    for sign, own in [*((-1, own) for own in former), *((1, own) for own in changed)]:
        sum_ = found.get(own.state, Spent())
        found[own.state] = Spent(
            sum_.candidates + sign,
            sum_.train + sign * own.train,
            sum_.evaluation + sign * own.evaluation,
            sum_.spared + sign * max(0, own.planned - own.train),
        )
    return {state: own for state, own in found.items() if own.candidates}
