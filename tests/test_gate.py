from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.cost import Cost
from nas.gate import MINIMUM_STEPS, Admitted, Needs, Rejected, Violation, admit
from nas.spec import Limits

COST = Cost(params=1000, flops_per_byte=200.0, kv_bytes_per_byte=30.5, weight_bytes=4000, step_flops=50)
NEEDS = Needs(COST, memory_bytes=10_000, latency_ms_per_kb=2.5)
COMPUTE = MINIMUM_STEPS * 50
FREE = Limits(export="any")


@pytest.mark.parametrize(
    ("limits", "compute", "memory", "broken"),
    [
        (FREE, COMPUTE, None, []),
        (replace(FREE, latency_ms_per_kb=2.5), COMPUTE, None, []),
        (replace(FREE, latency_ms_per_kb=2.4), COMPUTE, None, ["latency_ms_per_kb"]),
        (replace(FREE, peak_memory=1, train_seconds=1e-9), COMPUTE, None, []),  # allowances, not the gate's
        (FREE, COMPUTE - 1, None, ["compute"]),
        (FREE, COMPUTE, 10_000, []),
        (FREE, COMPUTE, 9_999, ["memory"]),
        (replace(FREE, params=1000), COMPUTE, None, []),
        (replace(FREE, params=999), COMPUTE, None, ["params"]),
        (replace(FREE, flops_per_byte=200), COMPUTE, None, []),
        (replace(FREE, flops_per_byte=199), COMPUTE, None, ["flops_per_byte"]),
        (replace(FREE, kv_bytes_per_byte=31), COMPUTE, None, []),
        (replace(FREE, kv_bytes_per_byte=30), COMPUTE, None, ["kv_bytes_per_byte"]),
        (replace(FREE, weight_bytes=4000), COMPUTE, None, []),
        (replace(FREE, weight_bytes=3999), COMPUTE, None, ["weight_bytes"]),
        (Limits(), COMPUTE, None, []),
        (Limits(params=900, weight_bytes=400), COMPUTE // 2, 5_000, ["weight_bytes", "compute", "memory", "params"]),
    ],
)
def test_truth_table(limits: Limits, compute: int, memory: int | None, broken: list[str]) -> None:
    """At the limit is within it; the worst violation comes first."""
    verdict = admit(NEEDS, limits, compute, memory)
    assert isinstance(verdict, Rejected if broken else Admitted)
    if isinstance(verdict, Rejected):
        assert [violation.limit for violation in verdict.violations] == broken
    assert {name for name, excess in verdict.excess.items() if excess > 0} == set(broken)


@pytest.mark.parametrize(
    ("native", "export", "admitted"),
    [(None, "native", True), ("layers differ", "native", False), ("layers differ", "any", True), (None, "any", True)],
)
def test_export(native: str | None, export: str, admitted: bool) -> None:
    verdict = admit(replace(NEEDS, native=native), Limits(export=export), COMPUTE, None)
    assert isinstance(verdict, Admitted) is admitted
    if not admitted:
        assert str(verdict) == "export: layers differ"


@pytest.mark.parametrize("limit", [None, 1e-9, 5.0])
def test_a_latency_that_nobody_knows_refuses_nobody(limit: float | None) -> None:
    verdict = admit(replace(NEEDS, latency_ms_per_kb=None), replace(FREE, latency_ms_per_kb=limit), COMPUTE, None)
    assert isinstance(verdict, Admitted) and verdict.excess.keys() == {"compute"}


def test_excess_is_relative_and_there_for_each_limit_that_is_set() -> None:
    verdict = admit(NEEDS, replace(FREE, params=500, flops_per_byte=400), 4 * COMPUTE, 20_000)
    assert verdict.excess == {"compute": -0.75, "memory": -0.5, "params": 1.0, "flops_per_byte": -0.5}


def test_words() -> None:
    limits = replace(
        FREE, params=800, flops_per_byte=100, kv_bytes_per_byte=20, weight_bytes=2000, latency_ms_per_kb=2.0
    )
    verdict = admit(NEEDS, limits, COMPUTE // 2, 5_000)
    assert str(verdict).split("; ") == [
        "compute: needs 1 kFLOP, allowed 500 FLOP (+100%)",
        "memory: needs 9.77 KiB, allowed 4.88 KiB (+100%)",
        "flops_per_byte: needs 200 FLOP, allowed 100 FLOP (+100%)",
        "weight_bytes: needs 3.91 KiB, allowed 1.95 KiB (+100%)",
        "kv_bytes_per_byte: needs 30.5 B, allowed 20 B (+52%)",
        "params: needs 1k, allowed 800 (+25%)",
        "latency_ms_per_kb: needs 2.5 ms, allowed 2 ms (+25%)",
    ]


def test_nothing_is_allowed() -> None:
    assert Violation("compute", 5.0, 0.0).excess == 5.0
    assert isinstance(admit(NEEDS, FREE, 0, None), Rejected)


SIZE = st.integers(1, 10**15)
NEED = st.builds(
    Needs,
    st.builds(Cost, SIZE, st.floats(1e-3, 1e15), st.floats(1e-3, 1e12), SIZE, SIZE),
    SIZE,
    st.none() | st.floats(1e-3, 1e12),
    st.none() | st.just("too strange"),
)
LIMITED = ("params", "flops_per_byte", "kv_bytes_per_byte", "weight_bytes", "latency_ms_per_kb")
LIMITS = st.fixed_dictionaries({name: st.none() | SIZE for name in LIMITED})


@given(NEED, LIMITS, SIZE, st.none() | SIZE, st.data())
def test_a_larger_limit_never_rejects_more(
    needs: Needs, limits: dict[str, Any], compute: int, memory: int | None, data: st.DataObject
) -> None:
    def raised(limit: int | None) -> int | None:
        """The limit, a larger one, or none at all."""
        return None if limit is None else data.draw(st.none() | st.integers(limit, 10**16))

    export = data.draw(st.sampled_from(["native", "any"]))
    tight = admit(needs, Limits(**limits, export=export), compute, memory)
    wide_limits = Limits(**{name: raised(limit) for name, limit in limits.items()}, export=export)
    wide = admit(needs, wide_limits, data.draw(st.integers(compute, 10**16)), raised(memory))
    assert isinstance(wide, Admitted) or isinstance(tight, Rejected)
    for name, excess in wide.excess.items():
        assert excess <= tight.excess[name]
    anything_goes = admit(needs, replace(wide_limits, export="any"), compute, None)
    assert anything_goes.excess.keys() <= {*wide.excess, "compute"}
