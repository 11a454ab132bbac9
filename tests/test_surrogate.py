from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nas.surrogate import FITTED, _cost, fit

Floats = NDArray[np.float64]


def smooth(inputs: Floats) -> Floats:
    return np.asarray(np.sin(3 * inputs[:, 0]) + inputs[:, 1] ** 2, dtype=np.float64)


def drawn(seed: int, count: int, dimensions: int = 2) -> Floats:
    return np.random.default_rng(seed).random((count, dimensions))


# --- the gradient ---


@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 4), st.booleans())
def test_the_gradient_is_that_of_differences(seed: int, count: int, dimensions: int, twins: bool) -> None:
    rng = np.random.default_rng(seed)
    inputs, targets, own = rng.random((count, dimensions)), rng.normal(size=count), rng.random(count) ** 2
    if twins:
        inputs[-1] = inputs[0]
    squares = (inputs[:, None, :] - inputs[None, :, :]) ** 2
    centre, width = rng.normal(size=dimensions + 2), rng.uniform(0.5, 2, dimensions + 2)
    logs = rng.uniform(-1.5, 1.5, dimensions + 2)

    def cost(at: Floats) -> tuple[float, Floats]:
        return _cost(at, centre, width, squares, targets, own)

    steps = 1e-5 * np.eye(len(logs))
    differences = [(cost(logs + step)[0] - cost(logs - step)[0]) / 2e-5 for step in steps]
    assert cost(logs)[1] == pytest.approx(differences, rel=1e-4, abs=1e-5)


# --- what it says ---


def test_a_smooth_function_is_learned() -> None:
    inputs, others = drawn(0, 40), drawn(1, 200)
    model = fit(inputs, smooth(inputs))
    spread = smooth(others).std()
    at_data, _ = model.predict(inputs)
    assert np.abs(at_data - smooth(inputs)).max() < 0.03 * spread
    mean, deviation = model.predict(others)
    error = mean - smooth(others)
    assert np.sqrt(np.mean(error**2)) < 0.03 * spread
    assert np.mean(np.abs(error) <= 3 * deviation) > 0.9


def test_noise_is_found_and_told_apart() -> None:
    inputs, rng = drawn(0, 120), np.random.default_rng(5)
    loud = fit(inputs, smooth(inputs) + 0.2 * rng.normal(size=120))
    assert 0.13 < loud.noise < 0.27 and fit(inputs, smooth(inputs)).noise < 0.05
    others = drawn(1, 200)
    mean, deviation = loud.predict(others)
    error = mean - smooth(others)
    assert np.sqrt(np.mean(error**2)) < 0.12, "the function, and not what was measured of it"
    assert 0.7 < np.mean(np.abs(error) <= 2 * deviation) <= 1


def test_a_feature_that_says_nothing_has_a_long_scale() -> None:
    inputs = drawn(0, 60, 3)
    lengths = fit(inputs, np.sin(4 * inputs[:, 0])).lengths
    assert lengths[0] < 0.5 * min(lengths[1:])


def test_far_from_data_it_is_less_sure() -> None:
    inputs = 0.3 * drawn(0, 30)
    model = fit(inputs, np.sin(20 * inputs[:, 0]) + inputs[:, 1])
    mean, deviation = model.predict(np.array([inputs[0], [0.15, 0.15], [1.0, 1.0], [5.0, 5.0]]))
    assert max(deviation[:2]) < 0.5 * deviation[2] and deviation[2] <= deviation[3]
    assert np.all(deviation > 0) and np.all(np.isfinite(mean))


def test_targets_that_are_in_doubt_pull_less() -> None:
    """One of twelve is far off; the more it is in doubt, the nearer the prediction is to what the others say."""
    inputs = drawn(0, 12, 1)
    targets = inputs[:, 0].copy()
    targets[0] += 3.0
    pulled = []
    for doubt in (0.0, 1.0, 10.0):
        extra = np.zeros(12)
        extra[0] = doubt
        mean, _ = fit(inputs, targets, extra).predict(inputs[:1])
        pulled.append(float(mean[0]) - inputs[0, 0])
    assert pulled[0] > 1.2 * pulled[1] > 1.2 * pulled[2]
    assert (
        fit(inputs, targets).predict(inputs)[0].tolist()
        == fit(inputs, targets, np.zeros(12)).predict(inputs)[0].tolist()
    )


@pytest.mark.parametrize("seed", range(6))
def test_the_doubt_is_how_far_off_each_is_that_the_others_predict(seed: int) -> None:
    """With far outliers, by leaving each out."""
    rng = np.random.default_rng(seed)
    targets = rng.standard_t(1.2, size=8)
    model = fit(drawn(seed, 8), targets)
    kernel, standard = model._factor @ model._factor.T, (targets - targets.mean()) / targets.std()
    surprises = []
    for one in range(8):
        others = np.arange(8) != one
        pull = np.linalg.solve(kernel[np.ix_(others, others)], kernel[others, one])
        variance = kernel[one, one] - kernel[one, others] @ pull
        surprises.append((standard[one] - standard[others] @ pull) / np.sqrt(variance))
    assert model.doubt == pytest.approx(max(1.0, np.sqrt(np.mean(np.square(surprises)))))
    others, plain = drawn(seed + 1, 5), replace(model, doubt=1.0)
    assert model.predict(others)[1] == pytest.approx(model.doubt * plain.predict(others)[1])


# --- laws ---

LAW: dict[str, Any] = {"max_examples": 25}
SEEDS, COUNTS = st.integers(0, 2**32), st.integers(2, 20)


@given(SEEDS, COUNTS, st.floats(-50, 50), st.floats(0.01, 100))
@settings(**LAW)
def test_shifted_and_scaled_targets_shift_and_scale_what_is_said(
    seed: int, count: int, shift: float, scale: float
) -> None:
    inputs, others, rng = drawn(seed, count), drawn(seed + 1, 5), np.random.default_rng(seed)
    targets, extra = smooth(inputs) + 0.1 * rng.normal(size=count), 0.1 * rng.random(count)
    mean, deviation = fit(inputs, targets, extra).predict(others)
    own = fit(inputs, shift + scale * targets, scale * extra)
    found, doubt = own.predict(others)
    unit = scale * targets.std()
    assert found == pytest.approx(shift + scale * mean, abs=1e-4 * unit)
    assert doubt == pytest.approx(scale * deviation, abs=1e-4 * unit)


@given(SEEDS, COUNTS)
@settings(**LAW)
def test_the_order_of_targets_does_not_matter(seed: int, count: int) -> None:
    inputs, others, rng = drawn(seed, count), drawn(seed + 1, 5), np.random.default_rng(seed)
    targets, extra, order = rng.normal(size=count), 0.1 * rng.random(count), rng.permutation(count)
    mean, deviation = fit(inputs, targets, extra).predict(others)
    found, doubt = fit(inputs[order], targets[order], extra[order]).predict(others)
    assert found == pytest.approx(mean, abs=1e-4 * targets.std())
    assert doubt == pytest.approx(deviation, abs=1e-4 * targets.std())


def test_the_same_again() -> None:
    inputs, others = drawn(0, 30), drawn(1, 9)
    first, second = (fit(inputs, smooth(inputs)).predict(others) for _ in range(2))
    assert [own.tolist() for own in first] == [own.tolist() for own in second]


# --- little, equal, many ---


def test_of_one_target() -> None:
    mean, deviation = fit(np.array([[0.5, 0.5]]), np.array([2.5])).predict(np.array([[0.5, 0.5], [0.0, 1.0]]))
    assert mean.tolist() == [2.5, 2.5]
    assert 0 < deviation[0] < deviation[1] < 2


def test_of_two_targets() -> None:
    inputs = np.array([[0.0, 0.0], [1.0, 1.0]])
    mean, deviation = fit(inputs, np.array([2.0, 3.0])).predict(np.array([*inputs, [0.5, 0.5]]))
    assert 2 <= mean[0] < mean[2] < mean[1] <= 3
    assert mean[2] == pytest.approx(2.5)
    assert deviation[2] > max(deviation[:2]) > 0


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7, 20])
@pytest.mark.parametrize("value", [0.0, 0.1, 3.3, 4.0, 4.4])
def test_of_equal_targets(value: float, count: int) -> None:
    """Whose deviation would be rounding; elsewhere the loss may still be another."""
    mean, deviation = fit(drawn(0, count), np.full(count, value), np.full(count, 0.1)).predict(np.array([[3.0, -3.0]]))
    assert mean == pytest.approx([value])
    assert 0.05 < deviation[0] < 2


def test_of_the_same_point_twice() -> None:
    inputs = np.array([[0.2, 0.2], [0.2, 0.2], [0.8, 0.8], [0.8, 0.8]])
    mean, deviation = fit(inputs, np.array([1.0, 1.2, 3.0, 3.2])).predict(np.array([[0.2, 0.2], [0.8, 0.8]]))
    assert mean == pytest.approx([1.1, 3.1], abs=0.25)
    assert np.all(np.isfinite(deviation)) and np.all(deviation > 0)


def test_of_more_targets_than_the_scales_are_fitted_to() -> None:
    """All of them are held."""
    inputs, others = drawn(0, 3 * FITTED), drawn(1, 100)
    model = fit(inputs, smooth(inputs))
    mean, _ = model.predict(others)
    assert len(model.inputs) == 3 * FITTED
    assert np.sqrt(np.mean((mean - smooth(others)) ** 2)) < 0.02
