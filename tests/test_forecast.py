import math
from typing import Any

import pytest

from nas.appraise import Appraiser
from nas.data.texts import Texts
from nas.errors import InfeasibleError
from nas.forecast import SAMPLES, Forecast, allowance, final_allowance, fits, forecast
from nas.plan import Allowance, Speed
from nas.space import Space, load_space
from nas.spec import SearchSpec
from tests.helpers import SPACE, SPEED, spec_of
from tests.profiles import DECODE


def foresee(texts: Texts, spec: SearchSpec, speed: Speed | None = None) -> tuple[Forecast, Space, Appraiser]:
    space = load_space(spec.space)
    appraiser = Appraiser(texts, spec.limits, speed)
    return forecast(spec, space, appraiser), space, appraiser


def budget_of(compute: str = "3GFLOP", own: str = "250MFLOP", final: float = 0.25, **time: str) -> dict[str, Any]:
    return {"total": {"compute": compute, **time}, "candidate": {"compute": own}, "final": final}


@pytest.mark.parametrize(
    ("budget", "speed", "parallel", "binding"),
    [
        (budget_of(), None, 1, "compute"),
        (budget_of(), SPEED, 1, "compute"),
        (budget_of(time="1h"), SPEED, 1, "compute"),
        (budget_of(time="1h"), None, 1, "compute"),
        (budget_of(time="2s"), SPEED, 1, "time"),
        (budget_of(time="2s"), None, 1, "compute"),
        (budget_of(time="4s"), SPEED, 4, "compute"),
        (budget_of(compute="300GFLOP", time="4s"), SPEED, 4, "time"),
    ],
)
def test_what_runs_out_first(
    tiny_texts: Texts, budget: dict[str, Any], speed: Speed | None, parallel: int, binding: str
) -> None:
    spec = spec_of(budget=budget, method={"parallel": parallel})
    found, space, appraiser = foresee(tiny_texts, spec, speed)
    plan = found.dial_plan
    assert plan is not None and found.dial is not None
    assert plan == appraiser.plan(space.decode(found.dial), allowance(spec))
    by_compute = spec.budget.search_compute / plan.flops
    by_time = spec.budget.search_time / plan.seconds * parallel if plan.seconds else math.inf
    assert found.binding == binding == ("time" if by_time < by_compute else "compute")
    assert found.full_trainings == pytest.approx(min(by_compute, by_time))
    assert math.isfinite(found.seconds) is (speed is not None)


def test_seconds_are_those_of_the_search_and_of_the_final_run(tiny_texts: Texts) -> None:
    """At a FLOP a nanosecond, evaluation at two thirds of that."""
    found, _, _ = foresee(tiny_texts, spec_of(budget=budget_of("10GFLOP")), SPEED)
    assert 10.0 < found.seconds < 15.0
    without, _, _ = foresee(tiny_texts, spec_of(budget=budget_of("10GFLOP", final=0.0)), SPEED)
    assert 10.0 < without.seconds < 15.0
    hurried, _, _ = foresee(tiny_texts, spec_of(budget=budget_of("10GFLOP", time="6s")), SPEED)
    assert (hurried.binding, hurried.seconds) == ("time", 6.0), "the budget ends it, whatever it would take"
    half, _, _ = foresee(tiny_texts, spec_of(budget=budget_of("10GFLOP", final=0.0), method={"parallel": 2}), SPEED)
    assert half.seconds == pytest.approx(without.seconds / 2)


def test_epochs_are_said_before_training(tiny_texts: Texts) -> None:
    spec = spec_of(budget=budget_of("30GFLOP"))
    found, space, appraiser = foresee(tiny_texts, spec)
    assert found.dial is not None and found.dial_plan is not None
    dial = space.decode(found.dial)
    facts = appraiser.facts(dial)
    assert found.epochs == pytest.approx(found.dial_plan.steps * dial.recipe.batch_tokens / facts.train_tokens)
    final, plan = appraiser.final_run(dial, found.dial_plan.train_flops, Allowance(spec.budget.final_compute))
    assert final.architecture.width > dial.architecture.width, "the final run is of a larger model"
    assert found.final_epochs == plan.epochs > found.epochs


def test_the_share_that_the_gate_admits(tiny_texts: Texts) -> None:
    few, _, _ = foresee(tiny_texts, spec_of())
    all_, _, _ = foresee(tiny_texts, spec_of(limits={}, budget=budget_of("300GFLOP", "30GFLOP")))
    assert 0 < few.admitted_share < 0.5
    assert all_.admitted_share == 1.0
    assert few.admitted_share * (SAMPLES + 1) == pytest.approx(round(few.admitted_share * (SAMPLES + 1)))


@pytest.mark.parametrize(
    "minimize", [["val_bpb"], ["val_bpb", "params"], ["flops_per_byte", "weight_bytes", "val_bpb"]]
)
def test_the_reference_lies_beyond_all_that_is_admitted(tiny_texts: Texts, minimize: list[str]) -> None:
    spec = spec_of(minimize=minimize)
    found, space, appraiser = foresee(tiny_texts, spec)
    grant = allowance(spec)
    everything = [space.decode(knobs) for knobs in space.grid(*(set(SPACE["knobs"]) - {"matrix_rate"}))]
    costs = [appraiser.cost(own) for own in everything if appraiser.admits(own, grant)]
    assert len(costs) > 5 and len(found.reference) == len(minimize)
    for name, corner in zip(minimize, found.reference, strict=True):
        assert corner > (4.0 if name == "val_bpb" else max(getattr(own, name) for own in costs))


def test_the_reference_lies_beyond_what_is_predicted_of_a_device(tiny_texts: Texts) -> None:
    spec = spec_of(minimize=["val_bpb", "peak_memory", "train_seconds", "latency_ms_per_kb"])
    space = load_space(spec.space)
    appraiser = Appraiser(tiny_texts, spec.limits, SPEED, decode=DECODE)
    found = forecast(spec, space, appraiser)
    grant = allowance(spec)
    everything = [space.decode(knobs) for knobs in space.grid(*(set(SPACE["knobs"]) - {"matrix_rate"}))]
    admitted = [own for own in everything if appraiser.admits(own, grant)]
    costs = [appraiser.costs(own, appraiser.plan(own, grant)) for own in admitted]
    assert len(costs) > 5
    for name, corner in zip(spec.cost_objectives, found.reference[1:], strict=True):
        assert corner > max(own[name] for own in costs) > min(own[name] for own in costs) > 0


@pytest.mark.parametrize(
    ("candidate", "limits", "seconds", "memory"),
    [
        ({}, {}, math.inf, None),
        ({"time": "8s", "memory": "8MiB"}, {}, 8.0, 2**23),
        ({"time": "8s", "memory": "8MiB"}, {"train_seconds": "9s", "peak_memory": "9MiB"}, 8.0, 2**23),
        ({"time": "8s", "memory": "8MiB"}, {"train_seconds": "2s", "peak_memory": "4MiB"}, 2.0, 2**22),
        ({}, {"train_seconds": "2s"}, 2.0, None),
        ({}, {"peak_memory": "4MiB"}, math.inf, 2**22),
        ({}, {"latency_ms_per_kb": 1}, math.inf, None),
    ],
)
def test_limits_of_a_run_join_what_a_candidate_may_take(
    candidate: dict[str, Any], limits: dict[str, Any], seconds: float, memory: int | None
) -> None:
    """The tighter counts; the final run has the search's limits, and not a candidate's time."""
    own = {"total": {"compute": "3GFLOP", "time": "1h"}, "candidate": {"compute": "250MFLOP", **candidate}}
    spec = spec_of(budget=own, limits=limits)
    assert allowance(spec) == Allowance(250 * 10**6, seconds, memory)
    most = spec.limits.train_seconds or math.inf
    assert final_allowance(spec, 7) == Allowance(7, most, memory)
    assert final_allowance(spec, 7, 1.5) == Allowance(7, min(1.5, most), memory)
    assert final_allowance(spec, 7, 100.0) == Allowance(7, min(100.0, most), memory)


def test_the_baselines_are_admitted(tiny_texts: Texts) -> None:
    spec = spec_of()
    found, space, appraiser = foresee(tiny_texts, spec)
    for knobs in (found.dial, found.largest):
        assert knobs is not None and appraiser.admits(space.decode(knobs), allowance(spec))
    assert found.to_dict()["dial"] == found.dial


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"limits": {"params": "1k"}},
            r"no candidate of 513 .*1 layers of width 16.*breaks params: needs .*allowed 1k",
        ),
        (
            {"budget": budget_of(own="10MFLOP")},
            r"MFLOP a step\) breaks compute: needs \d+ MFLOP, allowed 10 MFLOP",
        ),
        (
            {"budget": budget_of("400MFLOP", "300MFLOP")},
            r"not one candidate can be trained: .* takes \d+ MFLOP, the search has 300 MFLOP",
        ),
        (
            {"budget": budget_of(time="400ms")},
            r"takes \d+ MFLOP and \d+ ms, the search has 2.25 GFLOP and 300 ms; lower budget.candidate or raise",
        ),
    ],
)
def test_when_nothing_fits_it_says_what_it_would_take(tiny_texts: Texts, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InfeasibleError, match=message):
        foresee(tiny_texts, spec_of(**changes), SPEED)


# --- what fits ---

LIMITED = {"params": "30k", "weight_bytes": "50KiB"}
KNOBS = [name for name in SPACE["knobs"] if name != "matrix_rate"]


def test_the_ends_of_what_fits(tiny_texts: Texts) -> None:
    """Nothing in the whole space that fits is cheaper; the largest is the baseline."""
    spec = spec_of(limits=LIMITED, space={"knobs": {name: SPACE["knobs"][name] for name in KNOBS}})
    found, space, appraiser = foresee(tiny_texts, spec)
    own, grant = fits(spec, space, appraiser, found), allowance(spec)
    everything = [space.decode(knobs) for knobs in space.grid(*KNOBS)]
    admitted = [candidate for candidate in everything if appraiser.admits(candidate, grant)]
    by_id = {candidate.id: candidate for candidate in admitted}
    least = min(appraiser.cost(candidate).flops_per_byte for candidate in admitted)
    assert appraiser.cost(by_id[own.cheapest.id]).flops_per_byte == least
    assert found.largest is not None and own.largest is not None
    assert own.largest.id == space.decode(found.largest).id and own.largest.params > own.cheapest.params
    for end in (own.cheapest, own.largest):
        plan = appraiser.plan(by_id[end.id], grant)
        assert (end.train_flops, end.memory_bytes) == (plan.train_flops, plan.memory_bytes)
        assert end.words.startswith(f"{by_id[end.id].architecture.depth} layers, width ")


def test_how_many_fit(tiny_texts: Texts) -> None:
    """Ranges count as one: what differs only within them costs the same."""
    spec = spec_of(limits=LIMITED)
    found, space, appraiser = foresee(tiny_texts, spec)
    own = fits(spec, space, appraiser, found)
    grid = [space.decode(knobs) for knobs in space.grid(*KNOBS)]
    assert math.isinf(space.size) and own.size == len(grid)
    share = sum(appraiser.admits(candidate, allowance(spec)) for candidate in grid) / len(grid)
    assert own.number == found.admitted_share * own.size
    assert own.number / own.size == pytest.approx(share, abs=0.1)


@pytest.mark.parametrize(
    ("changes", "limits"),
    [
        ({"limits": {}, "budget": budget_of("300GFLOP", "30GFLOP")}, []),
        ({"limits": {"params": "30k"}, "budget": budget_of("300GFLOP", "30GFLOP")}, ["params"]),
        ({"limits": LIMITED, "budget": budget_of("300GFLOP", "30GFLOP")}, ["weight_bytes", "params"]),
        ({"limits": {}, "budget": budget_of("3GFLOP", "150MFLOP")}, ["compute"]),
    ],
)
def test_what_the_others_break(tiny_texts: Texts, changes: dict[str, Any], limits: list[str]) -> None:
    spec = spec_of(**changes)
    found, space, appraiser = foresee(tiny_texts, spec)
    broken = fits(spec, space, appraiser, found).broken
    assert [own.limit for own in broken] == limits
    assert all(own.nearest.startswith(f"{own.limit}: needs ") for own in broken)
    assert all(0 < own.share <= 1 - found.admitted_share for own in broken)
    assert sum(own.share for own in broken) >= 1 - found.admitted_share or not limits, "each breaks at least one"
    if limits == ["params"]:
        assert broken[0].share == pytest.approx(1 - found.admitted_share)
