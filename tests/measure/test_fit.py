import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.measure.fit import Matrix, held_out, matrix, non_negative

ROWS = matrix(
    [
        *([1e9, 2e7, 3e2, 1], [8e9, 3e7, 4e2, 1], [2e9, 9e7, 9e2, 1], [4e7, 1e6, 3e2, 1]),
        *([9e7, 4e7, 2e3, 1], [5e8, 2e6, 1e3, 1], [3e8, 3e8, 5e2, 1], [7e6, 6e6, 1e2, 1]),
    ]
)
"""FLOPs, bytes and operators of steps, and a constant: of eight orders of magnitude, as real ones are."""
COEFFICIENTS = st.tuples(
    st.sampled_from([0.0, 1e-11, 1e-9]),
    st.sampled_from([0.0, 1e-10, 1e-8]),
    st.sampled_from([0.0, 1e-6, 1e-4]),
    st.sampled_from([0.0, 1e-3]),
).filter(any)


def noisy(coefficients: tuple[float, ...], noise: float, seed: int) -> Matrix:
    return (ROWS @ matrix([coefficients])[0]) * np.exp(noise * np.random.default_rng(seed).normal(size=len(ROWS)))


@given(COEFFICIENTS)
def test_known_coefficients_are_found(coefficients: tuple[float, ...]) -> None:
    found = non_negative(ROWS, noisy(coefficients, 0.0, 0))
    assert found == pytest.approx(matrix([coefficients])[0], rel=1e-6, abs=1e-16)


@given(COEFFICIENTS, st.floats(0, 1), st.integers(0, 1000), st.integers(1, len(ROWS)))
def test_no_others_that_are_not_negative_come_nearer(
    coefficients: tuple[float, ...], noise: float, seed: int, count: int
) -> None:
    """The conditions of Karush, Kuhn and Tucker, which hold at the least and nowhere else: no coefficient is
    negative, the error's slope is 0 along those above 0, and rises along those at 0."""
    rows, values = ROWS[:count], noisy(coefficients, noise, seed)[:count]
    found = non_negative(rows, values)
    assert np.isfinite(found).all() and (found >= 0).all() and found.any()
    scaled = rows / values[:, None]
    columns = scaled / np.linalg.norm(scaled, axis=0)
    slopes = columns.T @ (scaled @ found - 1)
    assert (slopes >= -1e-4).all()
    assert slopes[found > 0] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(
    ("rows", "values", "coefficients"),
    [
        ([[1.0], [1.0]], [2.0, 2.0], [2.0]),
        ([[1.0], [1.0]], [1.0, 2.0], [1.2]),  # (1 + 1/2) / (1 + 1/4): the small one weighs more
        ([[1.0, 0.0], [0.0, 1.0]], [3.0, 4.0], [3.0, 4.0]),
        ([[1.0, 1.0], [2.0, 1.0]], [2.0, 1.0], [0.0, 1.2]),  # what is free says -1 and 3
        ([[1.0, 1.0], [2.0, 1.0]], [1.0, 3.0], [15 / 13, 0.0]),  # what is free says 2 and -1
    ],
)
def test_by_hand(rows: list[list[float]], values: list[float], coefficients: list[float]) -> None:
    assert non_negative(matrix(rows), matrix([values])[0]) == pytest.approx(matrix([coefficients])[0])


def test_a_feature_that_brings_nothing_gets_nothing() -> None:
    """Two that are alike would else share what one can say."""
    rows = matrix([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    assert sorted(non_negative(rows, rows[:, 0])) == pytest.approx([0.0, 1.0])


@given(COEFFICIENTS, st.integers(0, 1000), st.sampled_from([1e-6, 0.5, 1e6]))
def test_another_unit_changes_no_prediction(coefficients: tuple[float, ...], seed: int, unit: float) -> None:
    values = noisy(coefficients, 0.2, seed)
    found = ROWS @ non_negative(ROWS, values)
    assert ROWS @ non_negative(ROWS, unit * values) == pytest.approx(unit * found, rel=1e-3)


@given(COEFFICIENTS, st.integers(0, 1000))
def test_who_needs_more_is_never_predicted_less(coefficients: tuple[float, ...], seed: int) -> None:
    found = non_negative(ROWS, noisy(coefficients, 0.5, seed))
    for small in ROWS:
        assert (matrix([2 * small, small + 1]) @ found >= small @ found).all()


def test_what_a_fit_is_worth_by_hand() -> None:
    """Of a constant c to 1, 2 and 4, each left out: c = sum(1 / v) / sum(1 / v^2) of the two others."""
    rows, values = matrix([[1.0]] * 3), matrix([[1.0, 2.0, 4.0]])[0]
    constants = [0.75 / 0.3125, 1.25 / 1.0625, 1.5 / 1.25]
    by_hand = [constants[0] / 1 - 1, constants[1] / 2 - 1, constants[2] / 4 - 1]
    assert held_out(rows, values) == pytest.approx(matrix([by_hand])[0])
    assert by_hand == pytest.approx([1.4, -0.4117647, -0.7], rel=1e-6)


def test_a_fit_of_ones_own_is_judged_alike() -> None:
    rows, values = matrix([[1.0]] * 3), matrix([[1.0, 2.0, 6.0]])[0]
    found = held_out(rows, values, lambda rows, values: values.mean(keepdims=True))
    assert found == pytest.approx(matrix([[3.0, 0.75, -0.75]])[0])


@given(COEFFICIENTS)
def test_what_was_left_out_of_an_exact_fit_is_predicted(coefficients: tuple[float, ...]) -> None:
    assert held_out(ROWS, noisy(coefficients, 0.0, 0)) == pytest.approx(0, abs=1e-5)
