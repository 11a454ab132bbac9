import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm

from nas.acquire import LIMITS, best_within, cost_limits, expected_gain, expected_improvement
from nas.pareto import hypervolume

Floats = NDArray[np.float64]
WORST = 4.0

# Candidates by their one cost, limits L to P, and the best loss that each limit buys; "." where nothing keeps it.
#
#   loss
#   4  |.
#   3  |   a                     a: the cheapest
#   2  |          c     d        b: dearer than a and worse, buys nothing; d: no better than c
#   3.5|      b
#   1  |                      e
#      +--L---M------N-----O-----P-
#       0   1   2    3     4   5     cost
LOSSES = {"a": 3.0, "b": 3.5, "c": 2.0, "d": 2.0, "e": 1.0}
COSTS = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "e": 5.0}


def column(*values: float) -> Floats:
    return np.array(values, dtype=np.float64)[:, None]


@pytest.mark.parametrize(
    ("limit", "best"),
    [
        (0.5, WORST),
        (1.0, 3.0),  # what costs as much as the limit keeps it
        (1.5, 3.0),
        (2.0, 3.0),
        (2.9, 3.0),
        (3.0, 2.0),
        (4.5, 2.0),
        (5.0, 1.0),
        (99.0, 1.0),
    ],
)
def test_the_picture(limit: float, best: float) -> None:
    found = best_within(column(limit), column(*COSTS.values()), np.array(list(LOSSES.values())), WORST)
    assert found.tolist() == [best]


@pytest.mark.parametrize(
    ("limit", "best"), [((1, 1), WORST), ((1, 2), 3.0), ((2, 1), 2.0), ((2, 2), 2.0), ((9, 0), WORST), ((9, 9), 2.0)]
)
def test_every_cost_has_its_limit(limit: tuple[float, float], best: float) -> None:
    costs, losses = np.array([[1.0, 2.0], [2.0, 1.0]]), np.array([3.0, 2.0])
    assert best_within(np.array([limit], dtype=np.float64), costs, losses, WORST).tolist() == [best]


def test_a_loss_above_the_worst_is_no_gain() -> None:
    assert best_within(column(1.0), column(1.0), np.array([5.0]), WORST).tolist() == [WORST]
    assert best_within(column(1.0, 2.0), np.empty((0, 1)), np.empty(0), WORST).tolist() == [WORST, WORST]


# --- limits ---


@pytest.mark.parametrize("dimensions", [0, 1, 2, 3])
def test_limits_lie_in_the_box(dimensions: int) -> None:
    low, high = np.full(dimensions, -2.0), np.arange(dimensions) + 1.0
    limits = cost_limits(low, high)
    assert limits.shape == (LIMITS, dimensions)
    assert np.all(limits >= low) and np.all(limits <= high)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_limits_are_even(dimensions: int) -> None:
    """The share below any corner is its volume."""
    limits = cost_limits(np.zeros(dimensions), np.ones(dimensions))
    for corner in itertools.product((0.2, 0.5, 0.9), repeat=dimensions):
        share = np.all(limits <= np.array(corner), axis=1).mean()
        assert share == pytest.approx(np.prod(corner), abs=0.02)


def test_a_cost_that_is_the_same_for_all_has_one_limit() -> None:
    assert set(cost_limits(np.array([3.0]), np.array([3.0])).ravel()) == {3.0}


# --- expected improvement ---

NUMBER, DEVIATION = st.floats(-3, 3), st.floats(0.05, 3)


@given(NUMBER, NUMBER, DEVIATION)
def test_expected_improvement_is_the_integral(best: float, mean: float, deviation: float) -> None:
    places = np.linspace(mean - 10 * deviation, mean + 10 * deviation, 20_001)
    values = np.maximum(0, best - places) * norm.pdf(places, mean, deviation)
    found = expected_improvement(np.array(best), np.array(mean), np.array(deviation))
    assert float(found) == pytest.approx(np.trapezoid(values, places), abs=1e-5)


@pytest.mark.parametrize(("mean", "improvement"), [(1.0, 1.0), (2.0, 0.0), (3.0, 0.0)])
def test_without_doubt_it_is_the_difference(mean: float, improvement: float) -> None:
    found = expected_improvement(np.array(2.0), np.array(mean), np.array(1e-9))
    assert float(found) == pytest.approx(improvement, abs=1e-8)


# --- expected gain ---

QUANTILES = norm.ppf((np.arange(200) + 0.5) / 200)
"""Even draws of a normal number: their mean of a kinked function is within a hundredth of its deviation."""


def by_hypervolume(costs: Floats, losses: Floats, own: Floats, mean: float, deviation: float, high: Floats) -> float:
    """Mean hypervolume that a candidate adds, over its losses."""
    points, reference = np.column_stack((losses, costs)), np.array([WORST, *high])
    before = hypervolume(points, reference)
    with_it = [hypervolume([*points, (loss, *own)], reference) for loss in mean + deviation * QUANTILES]
    return float(np.mean(with_it)) - before


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dimensions", [0, 1, 2])
def test_the_gain_is_that_of_hypervolume(dimensions: int, seed: int) -> None:
    """Up to the discretisation of limits: a hundredth of the largest gain with 4096 of them, three with 512; and up to
    that of the losses, half a thousandth."""
    rng = np.random.default_rng(seed)
    low, high = np.zeros(dimensions), np.full(dimensions, 2.0)
    costs, losses = rng.uniform(0, 2, (12, dimensions)), rng.uniform(2, 4, 12)
    own, mean, deviation = rng.uniform(0, 2, (6, dimensions)), rng.uniform(1.5, 3.5, 6), rng.uniform(0.05, 0.5, 6)
    volume = float(np.prod(high - low))
    exact = np.array([by_hypervolume(costs, losses, *each, high) for each in zip(own, mean, deviation, strict=True)])
    assert exact.max() > 0.01 * volume, "something is to be gained"
    for count, tolerance in ((4096, 0.01), (LIMITS, 0.03)):
        limits = cost_limits(low, high, count)
        best = best_within(limits, costs, losses, WORST)
        gain = expected_gain(limits, best, own, mean, deviation) * volume
        assert gain == pytest.approx(exact, abs=tolerance * exact.max() + 5e-4 * volume)


def test_what_costs_more_than_every_limit_gains_nothing() -> None:
    limits = cost_limits(np.zeros(2), np.ones(2))
    best = np.full(len(limits), WORST)
    costs = np.array([[1.1, 0.0], [0.0, 1.1], [0.0, 0.0]])
    gain = expected_gain(limits, best, costs, np.full(3, 1.0), np.full(3, 0.1))
    assert gain[:2].tolist() == [0.0, 0.0] and gain[2] == pytest.approx(WORST - 1.0)


def test_a_second_like_the_best_gains_little() -> None:
    limits = cost_limits(np.zeros(1), np.ones(1))
    best = best_within(limits, column(0.0), np.array([2.0]), WORST)
    gain = expected_gain(limits, best, column(0.0, 0.0, 0.0), np.array([1.9, 2.0, 2.1]), np.full(3, 1e-6))
    assert gain == pytest.approx([0.1, 0.0, 0.0], abs=1e-6)


FRONTS = st.lists(st.tuples(st.floats(0, 2), st.floats(0, 2), st.floats(1, 5)), max_size=6)


@given(FRONTS, st.tuples(st.floats(-0.5, 2.5), st.floats(-0.5, 2.5)), NUMBER, DEVIATION, st.floats(0, 2))
def test_what_is_better_never_gains_less(
    front: list[tuple[float, float, float]], costs: tuple[float, float], mean: float, deviation: float, less: float
) -> None:
    """A lower mean, or a lower cost."""
    limits = cost_limits(np.zeros(2), np.full(2, 2.0), 64)
    known = np.array(front).reshape(-1, 3)
    best = best_within(limits, known[:, :2], known[:, 2], WORST)

    def gain(costs: tuple[float, float], mean: float) -> float:
        return float(expected_gain(limits, best, np.array([costs]), np.array([mean]), np.array([deviation]))[0])

    own, (first, second) = gain(costs, mean), costs
    assert own >= 0
    for better in (gain(costs, mean - less), gain((first - less, second), mean), gain((first, second - less), mean)):
        assert better >= own - 1e-12
    assert (own > 0) == bool(np.all(np.array(costs) <= limits, axis=1).any()) or own < 1e-12


def test_candidates_are_weighed_each_for_itself() -> None:
    rng = np.random.default_rng(0)
    limits = cost_limits(np.zeros(2), np.ones(2))
    best = best_within(limits, rng.random((5, 2)), rng.uniform(1, 4, 5), WORST)
    costs, mean, deviation = rng.random((9, 2)), rng.uniform(1, 4, 9), rng.uniform(0.1, 1, 9)
    alone = [expected_gain(limits, best, costs[i : i + 1], mean[i : i + 1], deviation[i : i + 1])[0] for i in range(9)]
    assert expected_gain(limits, best, costs, mean, deviation) == pytest.approx(alone)
