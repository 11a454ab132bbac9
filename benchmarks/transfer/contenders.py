"""Who is compared: the best of a table of real runs, some from further down, and what scaling rules choose."""

from dataclasses import dataclass

import numpy as np

from benchmarks.tabular.table import Table
from nas.appraise import Appraiser
from nas.candidate import Candidate
from nas.errors import InfeasibleError
from nas.plan import Allowance
from nas.scaling import dial
from nas.space import Space
from nas.transfer import transfer
from nas.units import format_flops

BEST = 3
"""The first of the table."""
QUARTILES = (64, 128, 192)
"""Places in a table of 256: the best are near to each other, and whether an order holds shows only in one that is
there."""
CHOOSING_SEED = 0
"""Of the runs that they are chosen by, one of each candidate. What is compared are runs with other seeds: the best of
many is partly lucky, and luck is not carried."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A candidate at the small budget, and as it was carried to the large one. ``leads``: it is one of the best, or
    the dial."""

    name: str
    leads: bool
    small: Candidate
    large: Candidate


def contenders(table: Table, space: Space, appraiser: Appraiser, compute: int, factor: int) -> list[Contender]:
    """The best of the table by validation loss, the dial, unless that is among them, and the quartiles."""

    def entered(name: str, candidate: Candidate, leads: bool) -> Contender:
        trained = appraiser.plan(candidate, Allowance(compute)).train_flops
        large = transfer(candidate, trained, Allowance(factor * compute), appraiser).candidate
        return Contender(name, leads, candidate, large)

    ranked = [space.decode(table.knobs[row]) for row in ranked_rows(table)]
    best, rules = ranked[:BEST], dialled(space, appraiser, compute)
    return [
        *(entered(f"no. {place}", own, True) for place, own in enumerate(best, 1)),
        *([entered("dial", rules, True)] if rules not in best else []),
        *(entered(f"no. {place}", ranked[place - 1], False) for place in QUARTILES),
    ]


def ranked_rows(table: Table) -> list[int]:
    """Of the runs to choose by, the best first."""
    rows = np.flatnonzero(table.seeds == CHOOSING_SEED)
    return [int(row) for row in rows[np.argsort(table.val_bpb[rows], kind="stable")]]


def dialled(space: Space, appraiser: Appraiser, compute: int) -> Candidate:
    """What scaling rules choose from the space for a budget."""
    grant = Allowance(compute)
    knobs = dial(space, compute, appraiser.texts.facts, lambda own: appraiser.admits(own, grant))
    if knobs is None:
        raise InfeasibleError(f"no candidate of {space.name} fits {format_flops(compute)}")
    return space.decode(knobs)
