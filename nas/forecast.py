"""What a search will do, said before anything is spent."""

import itertools
import math
import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from nas.appraise import Appraiser
from nas.candidate import Candidate, describe
from nas.errors import InfeasibleError
from nas.gate import Rejected, Violation
from nas.pareto import reference_point
from nas.plan import Allowance, Plan
from nas.scaling import dial, largest
from nas.space import Choice, Knobs, Space
from nas.spec import LOSS, SearchSpec
from nas.units import format_flops, format_seconds

EPOCHS_WARNING, EPOCHS_CONSENT = 4.0, 16.0
SAMPLES = 512  # candidates sampled to know what the space and the gate are like
WORST_LOSS = 4.0  # bits per byte that nothing trained exceeds: about the entropy of single letters


@dataclass(frozen=True, slots=True)
class Forecast:
    """Before a search.

    Attributes:
        binding: ``compute`` or ``time``: which runs out first.
        full_trainings: how many candidates could be trained to the end.
        admitted_share: of candidates drawn from the space, the share that the gate admits.
        dial, largest: knobs of the two baselines, ``None`` when no such candidate fits.
        epochs, final_epochs: over the corpus, of the dial's run and of the final run.
        seconds: predicted, of everything, at most those of the budget; infinite without a measured speed.
        reference: the hypervolume's reference point, one value per objective.
    """

    binding: str
    full_trainings: float
    admitted_share: float
    dial: Knobs | None
    largest: Knobs | None
    dial_plan: Plan | None
    epochs: float
    final_epochs: float
    seconds: float
    reference: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Interval:
    """What a forecast comes to, were its device as slow or as fast as the estimate of its time allows.

    Attributes:
        device: as the catalogue names it.
        full_trainings, seconds: the least and the most.
        refused: why there would be no search on one of the two; empty where there would on both.
    """

    device: str
    full_trainings: tuple[float, float]
    seconds: tuple[float, float]
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Fitting:
    """A candidate that keeps every limit. ``train_flops``: of its plan; ``memory_bytes``: its predicted peak."""

    id: str
    words: str
    params: int
    train_flops: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Broken:
    """A limit that candidates break. ``share``: of those that were drawn; one may break several. ``nearest``: by how
    much it is broken by the one that comes nearest, in words."""

    limit: str
    share: float
    nearest: str


@dataclass(frozen=True, slots=True)
class Fits:
    """What of a space keeps the limits.

    Attributes:
        size: combinations of its values, those that differ only within ranges counted as one.
        number: of these, estimated from those that were drawn.
        cheapest: with the fewest FLOPs for a byte of text, of those that were drawn and the baselines.
        largest: the baseline; ``None`` where there is none.
        broken: the limits, the one that is broken most often first.
    """

    size: float
    number: float
    cheapest: Fitting
    largest: Fitting | None
    broken: tuple[Broken, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def allowance(spec: SearchSpec) -> Allowance:
    """What each candidate of the search may take."""
    own, limits = spec.budget.candidate, spec.limits
    seconds = own.time if limits.train_seconds is None else min(own.time, limits.train_seconds)
    memory = [size for size in (own.memory, limits.peak_memory) if size is not None]
    return Allowance(own.compute, seconds, min(memory, default=None))


def final_allowance(spec: SearchSpec, flops: int, seconds: float = math.inf) -> Allowance:
    """What the final run may take of what is left."""
    most = spec.limits.train_seconds
    return Allowance(flops, seconds if most is None else min(seconds, most), allowance(spec).memory)


def forecast(spec: SearchSpec, space: Space, appraiser: Appraiser) -> Forecast:
    """Looks ahead; raises `InfeasibleError` when no candidate fits, naming the cheapest and what it needs."""
    grant, rough = allowance(spec), appraiser.rough()
    sampled = _sampled(space)
    admitted = [candidate for candidate in sampled if rough.admits(candidate, grant)]
    if not admitted:
        raise InfeasibleError(_cheapest_message(sampled, rough, grant))
    chosen = dial(space, grant.flops, appraiser.texts.facts, lambda c: rough.admits(c, grant))
    biggest = largest(space, lambda c: rough.admits(c, grant))
    baselines = [space.decode(knobs) for knobs in (chosen, biggest) if knobs is not None]
    typical = space.decode(chosen) if chosen is not None else min(admitted, key=lambda c: appraiser.cost(c).params)
    plan = appraiser.plan(typical, grant)
    if plan.flops > spec.budget.search_compute or plan.seconds > spec.budget.search_time:
        raise InfeasibleError(_too_dear_message(spec, plan))
    final_grant = final_allowance(spec, spec.budget.final_compute or grant.flops)
    _, final = appraiser.final_run(typical, plan.train_flops, final_grant)
    by_compute = spec.budget.search_compute / max(1, plan.flops)
    by_time = math.inf
    if plan.seconds and math.isfinite(spec.budget.search_time):
        by_time = spec.budget.search_time / plan.seconds * spec.method.parallel
    trainings = min(by_compute, by_time)
    seconds = plan.seconds * trainings / spec.method.parallel + final.seconds * spec.budget.final_compute / max(
        1, final.flops
    )
    return Forecast(
        binding="time" if by_time < by_compute else "compute",
        full_trainings=trainings,
        admitted_share=len(admitted) / len(sampled),
        dial=chosen,
        largest=biggest,
        dial_plan=plan if chosen is not None else None,
        epochs=plan.epochs,
        final_epochs=final.epochs,
        seconds=min(seconds, spec.budget.total.time) if plan.seconds else math.inf,
        reference=_reference(spec, [*admitted, *baselines], rough),
    )


def fits(spec: SearchSpec, space: Space, appraiser: Appraiser, found: Forecast) -> Fits:
    """More about the candidates of a forecast: how many fit, which of them are at the ends, what the others break."""
    grant, rough = allowance(spec), appraiser.rough()
    verdicts = [(candidate, rough.admit(candidate, grant)) for candidate in _sampled(space)]
    admitted = [candidate for candidate, verdict in verdicts if not isinstance(verdict, Rejected)]
    baselines = [space.decode(knobs) for knobs in (found.dial, found.largest) if knobs is not None]

    def fitting(candidate: Candidate) -> Fitting:
        plan = appraiser.plan(candidate, grant)
        params = appraiser.cost(candidate).params
        return Fitting(candidate.id, describe(candidate), params, plan.train_flops, plan.memory_bytes)

    cheapest = min((*admitted, *baselines), key=lambda c: (appraiser.cost(c).flops_per_byte, c.id))
    size = float(math.prod(len(own.domain.values) for own in space.knobs if isinstance(own.domain, Choice)))
    return Fits(
        size=size,
        number=found.admitted_share * size,
        cheapest=fitting(cheapest),
        largest=fitting(space.decode(found.largest)) if found.largest is not None else None,
        broken=_broken([verdict for _, verdict in verdicts if isinstance(verdict, Rejected)], len(verdicts)),
    )


def _broken(rejected: Iterable[Rejected], drawn: int) -> tuple[Broken, ...]:
    by_limit: dict[str, list[Violation]] = {}
    for violation in itertools.chain.from_iterable(verdict.violations for verdict in rejected):
        by_limit.setdefault(violation.limit, []).append(violation)
    found = [
        Broken(limit, len(own) / drawn, str(min(own, key=lambda violation: violation.excess)))
        for limit, own in by_limit.items()
    ]
    return tuple(sorted(found, key=lambda own: (-own.share, own.limit)))


def _sampled(space: Space) -> list[Candidate]:
    """The space's small corner and candidates drawn from it."""
    rng = random.Random(0)
    small: Knobs = {knob.name: knob.domain.at(0.0) for knob in space.knobs if not knob.when and "@" not in knob.name}
    drawn = (space.decode(space.sample(rng)) for _ in range(SAMPLES))
    return [space.decode(small), *itertools.islice(drawn, SAMPLES)]


def _cheapest_message(sampled: list[Candidate], appraiser: Appraiser, grant: Allowance) -> str:
    verdicts = [(c, appraiser.admit(c, grant)) for c in sampled]
    rejected = [(c, v) for c, v in verdicts if isinstance(v, Rejected)]
    candidate, verdict = min(rejected, key=lambda item: (item[1].violations[0].excess, item[0].id))
    own = appraiser.cost(candidate)
    return (
        f"no candidate of {len(sampled)} drawn from the space fits; the nearest ({candidate.architecture.depth} layers "
        f"of width {candidate.architecture.width}, vocabulary {candidate.architecture.vocabulary}, "
        f"{format_flops(own.step_flops)} a step) breaks {verdict}"
    )


def _too_dear_message(spec: SearchSpec, plan: Plan) -> str:
    needs, has = [format_flops(plan.flops)], [format_flops(spec.budget.search_compute)]
    if plan.seconds and math.isfinite(spec.budget.search_time):
        needs.append(format_seconds(plan.seconds))
        has.append(format_seconds(spec.budget.search_time))
    return (
        f"not one candidate can be trained: a run with its evaluations takes {' and '.join(needs)}, the search has "
        f"{' and '.join(has)}; lower budget.candidate or raise budget.total"
    )


def _reference(spec: SearchSpec, admitted: Iterable[Candidate], appraiser: Appraiser) -> tuple[float, ...]:
    """A little beyond the worst that admitted candidates can cost, and a loss that nothing trained exceeds."""
    grant = allowance(spec)
    costs = [appraiser.costs(candidate, appraiser.plan(candidate, grant)) for candidate in admitted]
    worst = [WORST_LOSS if name == LOSS else max(own[name] for own in costs) for name in spec.minimize]
    return tuple(float(value) for value in reference_point(worst, margin=0.1))
