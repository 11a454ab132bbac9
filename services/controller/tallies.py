"""What searches have spent: by the states of their candidates, and by their accounts. Kept, and brought up to date."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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


@dataclass(frozen=True)
class _Kept:
    """``ledger`` has all lines until its sequence; the rest is as of ``revision``."""

    ledger: Ledger
    taken: Mapping[int, Taken] = field(default_factory=dict)
    by_state: Mapping[CandidateState, Spent] = field(default_factory=dict)
    revision: int = -1


class Tallies:
    """Any number of threads."""

    def __init__(self, course: Course) -> None:
        self._course, self._latest = course, Latest(self._read, SEARCHES)

    def of(self, search_id: str, revision: int) -> Tally:
        """As of that revision of the search, or a later one."""
        own = self._latest.of(search_id, revision)
        return own[1]

    def _read(self, search_id: str, revision: int, known: "tuple[_Kept, Tally] | None") -> "tuple[_Kept, Tally]":
        earlier = _Kept(Ledger(search_id, 0, 0)) if known is None else known[0]
        changed = self._course.taken(search_id, earlier.revision)
        earlier.ledger.follow(self._course.booked(search_id, earlier.ledger.sequence))
        own = _Kept(
            earlier.ledger,
            {**earlier.taken, **{one.number: one for one in changed}},
            _summed(
                earlier.by_state, [earlier.taken[one.number] for one in changed if one.number in earlier.taken], changed
            ),
            revision,
        )
        return own, Tally(own.by_state, own.ledger.balance(SEARCH), own.ledger.balance(FINAL))


def _summed(
    sums: Mapping[CandidateState, Spent], gone: Sequence[Taken], come: Sequence[Taken]
) -> Mapping[CandidateState, Spent]:
    """Without those that are gone, and with those that have come."""
    found = dict(sums)
    for sign, own in [*((-1, own) for own in gone), *((1, own) for own in come)]:
        former = found.get(own.state, Spent())
        found[own.state] = Spent(
            former.candidates + sign,
            former.train + sign * own.train,
            former.evaluation + sign * own.evaluation,
            former.spared + sign * max(0, own.planned - own.train),
        )
    return {state: own for state, own in found.items() if own.candidates}
