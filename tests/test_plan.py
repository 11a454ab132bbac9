import json
import math
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.candidate import Architecture, Candidate, Recipe
from nas.cost import LOGITS_CHUNKS, cost, evaluation_flops, recompute_flops
from nas.plan import (
    LOOSEST,
    Allowance,
    Compiles,
    Layout,
    Plan,
    Rates,
    Speed,
    TextFacts,
    bound,
    evaluation_plan,
    fastest,
    lay_out,
    plan_run,
    rates,
    schedule,
    step_flops,
)
from nas.space import Space, load_space

ARCHITECTURE = Architecture(
    depth=3, width=64, heads=4, head_size=16, kv_heads=2, mlp_width=192, vocabulary=1024, context=128
)
CANDIDATE = Candidate(ARCHITECTURE, Recipe(1024))
FACTS = TextFacts(3.0, 100_000, 10, 1_000, 100, 10_000, 90, 9_000)
SPEED = Speed(seconds_per_flop=1e-10, seconds_per_element=1e-10, seconds_per_operation=1e-6)


@cache
def tiny() -> Space:
    return load_space("llama-tiny")


def plan_of(
    flops: int, seconds: float = math.inf, memory: int | None = None, candidate: Candidate = CANDIDATE, rungs: int = 3
) -> Plan:
    known = SPEED if math.isfinite(seconds) else None
    allowance = Allowance(flops, seconds, memory)
    return plan_run(candidate, cost(candidate, 3.0), FACTS, allowance, rungs=rungs, speed=known)


# --- schedules ---


@pytest.mark.parametrize(
    ("progress", "share"),
    [(0, 0), (0.05, 0.5), (0.1, 1), (0.3, 1), (0.5, 1), (0.75, 0.6), (1, 0.2)],  # warm-up 0.1, cool-down 0.5, floor 0.2
)
def test_a_schedule(progress: float, share: float) -> None:
    assert schedule(Recipe(1, warmup=0.1, cooldown=0.5, floor=0.2), progress) == pytest.approx(share)


@pytest.mark.parametrize(
    ("warmup", "cooldown", "at_0", "at_half", "at_1"),
    [(0.0, 0.0, 1, 1, 1), (1.0, 0.0, 0, 0.5, 1), (0.0, 1.0, 1, 0.5, 0), (0.5, 0.5, 0, 1, 0)],
)
def test_schedules_at_their_ends(warmup: float, cooldown: float, at_0: float, at_half: float, at_1: float) -> None:
    recipe = Recipe(1, warmup=warmup, cooldown=cooldown)
    assert [schedule(recipe, p) for p in (0, 0.5, 1)] == [at_0, at_half, at_1]


@given(
    st.floats(0, 1).flatmap(lambda warmup: st.tuples(st.just(warmup), st.floats(0, 1 - warmup))),
    st.floats(0, 1),
    st.lists(st.floats(0, 1), min_size=2, max_size=6).map(sorted),
)
def test_rates_rise_stay_and_fall(shape: tuple[float, float], floor: float, at: list[float]) -> None:
    warmup, cooldown = shape
    recipe = Recipe(1, warmup=warmup, cooldown=cooldown, floor=floor)
    shares = [schedule(recipe, p) for p in at]
    assert all(-1e-9 <= share <= 1 + 1e-9 for share in shares)
    for (p, a), (q, b) in zip(zip(at, shares, strict=True), list(zip(at, shares, strict=True))[1:], strict=False):
        assert b >= a - 1e-6 or q > 1 - cooldown
        assert b <= a + 1e-6 or p < warmup
    if warmup > 0:
        assert schedule(recipe, 0) == 0
    if cooldown > 1e-6:
        assert schedule(recipe, 1) == pytest.approx(floor)


def test_rates_follow_the_schedule() -> None:
    recipe = CANDIDATE.recipe
    peak = rates(CANDIDATE, 0.2)
    for progress in (0, 0.01, 0.5, 0.9, 1):
        share, found = schedule(recipe, progress), rates(CANDIDATE, progress)
        for role in ("matrix", "embedding", "head", "vector"):
            assert getattr(found, role) == pytest.approx(share * getattr(peak, role))
        assert found.decay == peak.decay
    assert rates(CANDIDATE, 1) == Rates(0, 0, 0, 0, 0)


def changed(candidate: Candidate = CANDIDATE, **fields: object) -> Rates:
    """The peak rates of the candidate with other fields."""
    recipe = {name: value for name, value in fields.items() if name in Recipe.__dataclass_fields__}
    architecture = {name: value for name, value in fields.items() if name not in recipe}
    own = Candidate(replace(candidate.architecture, **architecture), replace(candidate.recipe, **recipe))  # type: ignore[arg-type]
    return rates(own, 0.2)


def test_the_prior_by_width_depth_and_batch() -> None:
    base, adam = changed(), changed(optimizer="adamw")
    assert changed(width=128).matrix == base.matrix  # Muon's does not depend on the width
    assert changed(width=128, optimizer="adamw").matrix == pytest.approx(adam.matrix / 2)
    assert changed(width=128).head == pytest.approx(base.head / 2)
    assert changed(width=128).embedding == base.embedding
    assert changed(depth=12).matrix == pytest.approx(base.matrix / 2)
    assert changed(depth=1).matrix == base.matrix
    assert changed(depth=12).embedding == base.embedding
    for role in ("matrix", "embedding", "head", "vector"):
        assert getattr(changed(batch_tokens=4096), role) == pytest.approx(2 * getattr(base, role))
        assert getattr(changed(batch_tokens=2**20), role) == pytest.approx(8 * getattr(base, role))


def test_multipliers_and_decay() -> None:
    base = changed()
    assert changed(matrix_rate=2).matrix == pytest.approx(2 * base.matrix)
    assert changed(matrix_rate=2).embedding == base.embedding
    for role in ("embedding", "head", "vector"):
        assert getattr(changed(embedding_rate=2), role) == pytest.approx(2 * getattr(base, role))
    assert changed(embedding_rate=2).matrix == base.matrix
    assert changed(weight_decay=0.1).decay == 0.1


# --- layouts ---

SIZES = (8, 4, 2, 1)
CHUNKS = LOGITS_CHUNKS["cpu"]
LAYOUTS = [Layout(*own) for own in product(SIZES, (False, True), CHUNKS)]
LOOSE, LEAN = Layout(8, False, CHUNKS[0]), Layout(1, True, CHUNKS[-1])


@given(st.integers(0, 40), st.integers(0, 2**28))
def test_the_largest_micro_batch_that_fits(index: int, memory: int) -> None:
    candidate = tiny().decode(tiny().uniform(index))
    layout, needed = lay_out(candidate, memory)
    assert candidate.sequences % layout.micro_batch == 0
    assert needed == bound(candidate, layout)
    sizes = [size for size in range(1, candidate.sequences + 1) if candidate.sequences % size == 0]

    def fitting(**changes: Any) -> list[int]:
        layouts = [replace(layout, micro_batch=size, **changes) for size in sizes]
        return [own.micro_batch for own in layouts if bound(candidate, own) <= memory]

    assert layout.micro_batch == max(fitting(), default=1)
    if layout.recompute:  # only what does not fit otherwise is computed again
        assert not any(fitting(recompute=False, logits_chunk=chunk) for chunk in CHUNKS)
    for chunk in CHUNKS[: CHUNKS.index(layout.logits_chunk)]:  # fewer logits are made at once only for a larger pass
        assert max(fitting(logits_chunk=chunk), default=0) < layout.micro_batch


@pytest.mark.parametrize("backend", LOGITS_CHUNKS)
def test_without_a_limit_a_step_is_one_pass(backend: str) -> None:
    chunks = LOGITS_CHUNKS[backend]
    loosest, leanest = Layout(8, False, chunks[0]), Layout(1, True, chunks[-1])
    assert fastest(CANDIDATE, backend) == loosest
    assert lay_out(CANDIDATE, None, backend=backend) == (loosest, bound(CANDIDATE, loosest))
    assert lay_out(CANDIDATE, 0, backend=backend) == (leanest, bound(CANDIDATE, leanest))


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        (2000, LOOSE),
        (1001, LOOSE),
        (999, Layout(4)),
        (300, Layout(2)),
        (200, Layout(1)),  # rather one sequence at a time than everything computed again
        (199, Layout(2, True)),  # of what is computed again, more than one sequence fits
        (75, Layout(1, True)),
        (10, LEAN),  # nothing fits: the leanest
    ],
)
def test_a_layout_by_what_is_known_of_its_needs(memory: int, expected: Layout) -> None:
    """They are given in millions, so that no closed form is beyond all measure, but for the smallest memory."""
    known = {(8, False): 1000, (4, False): 600, (2, False): 300, (1, False): 200}
    known |= {(8, True): 500, (4, True): 250, (2, True): 150, (1, True): 75}

    def needs(layout: Layout) -> int:
        return 10**6 * known[layout.micro_batch, layout.recompute]

    assert lay_out(CANDIDATE, 10**6 * memory, needs) == (expected, needs(expected))


@pytest.mark.parametrize(
    ("memory", "blind", "told"),
    [
        (1000, LOOSE, LOOSE),
        (700, Layout(8, False, CHUNKS[1]), Layout(8, False, CHUNKS[1])),
        (605, Layout(8, False, CHUNKS[1]), Layout(8, False, CHUNKS[1])),
        (580, Layout(4, False, CHUNKS[1]), Layout(8, True, CHUNKS[1])),
        (365, Layout(4, False, CHUNKS[1]), Layout(8, True, CHUNKS[1])),
        (364, Layout(2, False, CHUNKS[1]), Layout(4, True, CHUNKS[1])),
        (190, Layout(1, False, CHUNKS[1]), Layout(2, True, CHUNKS[1])),
        (160, LEAN, LEAN),
        (150, LEAN, LEAN),
        (50, LEAN, LEAN),
    ],
)
def test_a_layout_by_what_is_known_of_its_time(memory: int, blind: Layout, told: Layout) -> None:
    """A sequence needs 60 of a million bytes, 30 if computed again, the logits of a chunk 500 and 125. Passes
    take long, to compute again takes a third of one, and more chunks next to nothing."""

    def needs(layout: Layout) -> int:
        logits = dict(zip(CHUNKS, (500, 125), strict=True))[layout.logits_chunk]
        return 10**6 * (layout.micro_batch * (30 if layout.recompute else 60) + logits)

    def seconds(layout: Layout) -> float:
        return 8 / layout.micro_batch + layout.recompute / 3 + CHUNKS.index(layout.logits_chunk) / 100

    assert lay_out(CANDIDATE, 10**6 * memory, needs)[0] == blind
    assert lay_out(CANDIDATE, 10**6 * memory, needs, seconds) == (told, needs(told))


COEFFICIENT = st.integers(0, 2**12)
MONOTONE = st.builds(
    lambda each, again, logit, fixed: {
        own: fixed + own.micro_batch * 2**10 * (min(each, again) if own.recompute else each) + own.logits_chunk * logit
        for own in LAYOUTS
    },
    *(COEFFICIENT, COEFFICIENT, st.integers(0, 8), COEFFICIENT),
)
"""Bytes by layout, as they are for real: larger passes and chunks never need less, and to compute again never more."""
TIMES = st.builds(
    lambda work, again, launch, chunk: {
        own: work + again * own.recompute + launch / own.micro_batch + chunk / own.logits_chunk for own in LAYOUTS
    },
    *(st.floats(0, 8) for _ in range(4)),
)
"""Seconds by layout, of which the loosest is the fastest."""
MEMORY = st.integers(0, 2**26)


def unruled(layout: Layout, memory: int) -> bool:
    """Whether the closed form lets it be asked for."""
    return bound(CANDIDATE, layout) < LOOSEST * memory


def largest_passes(needs: dict[Layout, int], memory: int) -> list[Layout]:
    """Of each way to do it, the one with the largest pass that fits; of all that there is."""
    fitting = [own for own in LAYOUTS if needs[own] <= memory and unruled(own, memory)]
    ways = {(own.recompute, own.logits_chunk): own for own in reversed(fitting)}  # the largest comes last
    return list(ways.values())


@given(MONOTONE, TIMES, MEMORY)
def test_what_fits_is_found_and_is_the_fastest_of_the_largest_passes(
    needs: dict[Layout, int], seconds: dict[Layout, float], memory: int
) -> None:
    """However little is looked at, all would have given the same."""
    layout, needed = lay_out(CANDIDATE, memory, needs.__getitem__, seconds.__getitem__)
    every = largest_passes(needs, memory)
    if not every:
        assert layout == LEAN
        assert needed == (needs[LEAN] if unruled(LEAN, memory) else bound(CANDIDATE, LEAN)) > memory
        return
    assert needed == needs[layout] <= memory and layout in every
    assert seconds[layout] == min(seconds[own] for own in every)
    same = [own for own in every if seconds[own] == seconds[layout]]
    assert layout == min(same, key=lambda own: (own.recompute, -own.micro_batch, -own.logits_chunk))


@given(MONOTONE, TIMES, MEMORY, MEMORY)
def test_more_memory_never_gives_a_slower_layout(
    needs: dict[Layout, int], seconds: dict[Layout, float], memory: int, more: int
) -> None:
    def found(memory: int) -> tuple[Layout, int]:
        return lay_out(CANDIDATE, memory, needs.__getitem__, seconds.__getitem__)

    (tight, needed), (wide, _) = found(memory), found(memory + more)
    if needed <= memory:
        assert seconds[wide] <= seconds[tight] and needs[wide] <= memory + more


@given(MEMORY, st.dictionaries(st.sampled_from(LAYOUTS), MEMORY))
def test_nobody_is_asked_what_the_closed_form_rules_out(memory: int, known: dict[Layout, int]) -> None:
    """Nor twice, nor where the loosest fits or the leanest does not; and what is found fits, whatever it is told."""
    asked: list[Layout] = []

    def needs(layout: Layout) -> int:
        asked.append(layout)
        return known.get(layout, 2**30)

    layout, needed = lay_out(CANDIDATE, memory, needs)
    assert all(unruled(own, memory) for own in asked)
    assert len(asked) == len(set(asked))
    assert needed == (known.get(layout, 2**30) if unruled(layout, memory) else bound(CANDIDATE, layout))
    fits = [unruled(own, memory) and known.get(own, 2**30) <= memory for own in (LOOSE, LEAN)]
    if fits[0]:
        assert (layout, asked) == (LOOSE, [LOOSE])
    elif not fits[1]:
        assert layout == LEAN and asked == [own for own in (LOOSE, LEAN) if unruled(own, memory)]
    else:
        assert needed <= memory


def test_nobody_is_asked_how_long_it_takes_where_memory_decides() -> None:
    def never(layout: Layout) -> float:
        raise AssertionError(layout)

    for memory, needed, layout in ((None, 1, LOOSE), (2**30, 2**30, LOOSE), (2**30, 2**30 + 1, LEAN)):
        assert lay_out(CANDIDATE, memory, lambda _, needed=needed: needed, never) == (layout, needed)


def test_the_edge_of_all_measure() -> None:
    edge = bound(CANDIDATE, LOOSE)
    for memory, asks in ((edge // LOOSEST, False), (edge // LOOSEST + 1, True)):
        asked: list[Layout] = []
        lay_out(CANDIDATE, memory, lambda layout: asked.append(layout) or 2**40)  # noqa: B023
        assert (LOOSE in asked) is asks


def test_without_a_limit_what_is_known_is_told() -> None:
    found = lay_out(CANDIDATE, None, lambda layout: 1000 * layout.micro_batch + layout.recompute)
    assert found == (Layout(8), 8000)


# --- plans ---

FLOPS = st.integers(0, 10**13)


@given(FLOPS, st.floats(0, 1e4) | st.just(math.inf), st.integers(0, 40), st.none() | st.integers(2**20, 2**28))
def test_a_plan_keeps_its_allowance(flops: int, seconds: float, index: int, memory: int | None) -> None:
    candidate = tiny().decode(tiny().uniform(index))
    plan = plan_of(flops, seconds, memory, candidate)
    assert 0 <= plan.train_flops == plan.steps * step_flops(candidate) <= flops
    assert plan.flops == plan.train_flops + plan.eval_flops
    assert plan.micro_batch * plan.accumulation == candidate.sequences
    assert plan.tokens == plan.steps * candidate.recipe.batch_tokens
    assert plan.epochs == plan.tokens / FACTS.train_tokens
    assert (plan.layout, plan.memory_bytes) == lay_out(candidate, memory)
    assert plan.recompute_step_flops == (recompute_flops(candidate) if plan.recompute else 0)
    if math.isfinite(seconds):
        assert plan.steps == 0 or plan.seconds <= seconds * (1 + 1e-9)
    step_seconds = SPEED.step_seconds(candidate, plan.accumulation, recompute=plan.recompute)
    assert plan.train_seconds == pytest.approx(plan.steps * step_seconds if math.isfinite(seconds) else 0.0)
    by_compute = (plan.steps + 1) * step_flops(candidate) > flops
    by_time = plan.seconds + step_seconds > seconds * (1 - 1e-9)
    assert by_compute if plan.bound == "compute" else by_time
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


@given(FLOPS, FLOPS, st.floats(1, 1e4), st.floats(1, 1e4))
def test_more_never_means_fewer_steps(flops: int, more: int, seconds: float, longer: float) -> None:
    assert plan_of(flops + more).steps >= plan_of(flops).steps
    assert plan_of(flops + more, seconds).steps >= plan_of(flops, seconds).steps
    assert plan_of(flops, seconds + longer).steps >= plan_of(flops, seconds).steps


def test_what_bounds_a_run() -> None:
    assert plan_of(10**12).bound == "compute"
    assert plan_of(10**12, 1e6).bound == "compute"
    short = plan_of(10**12, 60.0)
    assert short.bound == "time"
    assert 0 < short.steps < plan_of(10**12).steps
    assert plan_of(10**12, 0.0).steps == 0
    assert plan_of(0).steps == 0
    assert plan_of(10**12).seconds == 0.0  # nothing is known of the speed


def test_evaluation_is_planned_as_it_will_be_made() -> None:
    rung = evaluation_flops(ARCHITECTURE, FACTS.rung_windows, FACTS.rung_tokens)
    full = evaluation_flops(ARCHITECTURE, FACTS.full_windows, FACTS.full_tokens)
    test = evaluation_flops(ARCHITECTURE, FACTS.test_windows, FACTS.test_tokens)
    assert evaluation_plan(CANDIDATE, FACTS, 3) == 3 * rung + full
    assert evaluation_plan(CANDIDATE, FACTS, 0, score_test=True) == full + test
    assert plan_of(10**12, rungs=2).eval_flops == 2 * rung + full


def test_time_is_flops_and_memory_and_launches() -> None:
    seconds = SPEED.step_seconds(CANDIDATE)
    assert seconds > step_flops(CANDIDATE) * 1e-10
    assert SPEED.step_seconds(CANDIDATE, accumulation=4) > seconds
    extra = SPEED.step_seconds(CANDIDATE, recompute=True) - seconds
    assert extra == pytest.approx(recompute_flops(CANDIDATE) * 1e-10)
    assert SPEED.scaled(2.0).step_seconds(CANDIDATE) == pytest.approx(2 * seconds)
    assert Speed(**json.loads(json.dumps(SPEED.to_dict()))) == SPEED


@pytest.mark.parametrize(("train_seconds", "pays"), [(0, False), (40, False), (110, False), (130, True), (1000, True)])
def test_compiling_pays_for_long_runs(train_seconds: float, pays: bool) -> None:
    """33 s to compile and twice as fast: with a margin of a fifth, from 110 s on."""
    compiles = Compiles(seconds=33.0, speedup=2.0)
    assert compiles.pays(train_seconds) is pays
    speed, allowance = Speed(1e-9, 0.0, 0.0), Allowance(round(train_seconds * 1e9))
    plan = plan_run(CANDIDATE, cost(CANDIDATE, 3.0), FACTS, allowance, rungs=0, speed=speed, compiles=compiles)
    assert plan.compile is pays
    training, scoring = plan.train_flops * 1e-9, plan.eval_flops * 1.5e-9
    assert plan.train_seconds == pytest.approx(33 + training / 2 if pays else training)
    assert plan.seconds == pytest.approx(scoring + plan.train_seconds)


@pytest.mark.parametrize(
    ("seconds", "steps", "bound"), [(math.inf, 100, "compute"), (1e6, 100, "compute"), (200.0, None, "time")]
)
def test_seconds_of_a_step_that_were_predicted(seconds: float, steps: int | None, bound: str) -> None:
    """Of two seconds; evaluation takes what its FLOPs take in a step. What closed forms say is not looked at."""
    step, own = step_flops(CANDIDATE), cost(CANDIDATE, 3.0)
    allowance = Allowance(100 * step, seconds)
    plan = plan_run(CANDIDATE, own, FACTS, allowance, rungs=1, speed=SPEED, step_seconds=2.0)
    scoring = 2.0 * evaluation_plan(CANDIDATE, FACTS, 1) / step
    assert plan.steps == (int((200 - scoring) / 2) if steps is None else steps) > 0
    assert plan.bound == bound
    assert plan.seconds == pytest.approx(2 * plan.steps + scoring) and plan.seconds <= seconds
    blind = plan_run(CANDIDATE, own, FACTS, allowance, rungs=1, step_seconds=2.0)
    assert blind == plan


def test_a_predicted_run_is_compiled_where_that_pays() -> None:
    own, compiles = cost(CANDIDATE, 3.0), Compiles(seconds=33.0, speedup=2.0)
    for steps, pays in ((100, False), (120, True)):  # from 110 s on
        allowance = Allowance(steps * own.step_flops)
        plan = plan_run(CANDIDATE, own, FACTS, allowance, rungs=0, compiles=compiles, step_seconds=1.0)
        scoring = plan.eval_flops / own.step_flops
        assert plan.compile is pays
        assert plan.seconds == pytest.approx(scoring + (33 + steps / 2 if pays else steps))


@pytest.mark.parametrize("layout", [Layout(2, False, 2**16), Layout(4, True)])
def test_a_layout_that_was_found_is_kept(layout: Layout) -> None:
    """Whatever closed forms would say of it."""
    own = cost(CANDIDATE, 3.0)
    allowance = Allowance(10 * own.step_flops, memory=1)
    plan = plan_run(CANDIDATE, own, FACTS, allowance, rungs=0, speed=SPEED, laid_out=(layout, 123))
    assert (plan.layout, plan.memory_bytes) == (layout, 123)
    assert plan.accumulation == 8 // layout.micro_batch
    assert plan.recompute_step_flops == (recompute_flops(CANDIDATE) if layout.recompute else 0)
    step_seconds = SPEED.step_seconds(CANDIDATE, plan.accumulation, recompute=layout.recompute)
    assert plan.train_seconds == pytest.approx(10 * step_seconds)
    assert plan.seconds == pytest.approx(plan.train_seconds + 1.5e-10 * plan.eval_flops)
