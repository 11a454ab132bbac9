"""The dial at growing budgets: what scaling rules make of the same money, without a search."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.acm.multiplier import Ladder
from benchmarks.runs import Job, Scored, plan_of
from benchmarks.transfer.contenders import dialled
from nas.appraise import Appraiser
from nas.candidate import Candidate
from nas.data.texts import Texts
from nas.space import Space

MOST_EPOCHS = 4.0
"""Beyond that, repeated text teaches less (arXiv 2305.16264), and FLOPs measure something else."""


@dataclass(frozen=True)
class Rung:
    """The dial of a budget: one job for each seed."""

    candidate: Candidate
    jobs: Sequence[Job]
    epochs: float
    flops: int


def rungs(budgets: Sequence[int], seeds: int, space: Space, appraiser: Appraiser, texts: Texts) -> list[Rung]:
    """All of whose epochs are few enough."""
    made = [_rung(budget, seeds, space, appraiser, texts) for budget in sorted(budgets)]
    return [own for own in made if own.epochs <= MOST_EPOCHS]


def _rung(budget: int, seeds: int, space: Space, appraiser: Appraiser, texts: Texts) -> Rung:
    candidate = dialled(space, appraiser, budget)
    jobs = [Job(candidate, budget, seed) for seed in range(seeds)]
    plan = plan_of(jobs[0], texts)
    return Rung(candidate, jobs, plan.epochs, plan.flops)


def ladder(own: Sequence[Rung], scored: Mapping[Job, Scored]) -> Ladder:
    losses = [[scored[job].test_bpb for job in rung.jobs] for rung in own]
    return Ladder(np.array([float(rung.flops) for rung in own]), np.array(losses))
