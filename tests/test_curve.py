import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas import curve
from nas.curve import RUNGS, Progress, VolumeHistory, hypervolume_history, rung_losses, rung_steps
from nas.pareto import hypervolume
from nas.records import CurvePoint


@pytest.mark.parametrize(
    ("steps", "reached"),
    [
        (8, {1: 0.125, 2: 0.25, 4: 0.5}),
        (100, {7: 0.0625, 13: 0.125, 25: 0.25, 50: 0.5}),
        (1000, {63: 0.0625, 125: 0.125, 250: 0.25, 500: 0.5}),
        (4, {1: 0.25, 2: 0.5}),  # two rungs in one step: the later one
        (2, {1: 0.5}),
        (1, {}),
        (0, {}),
    ],
)
def test_rung_steps(steps: int, reached: dict[int, float]) -> None:
    assert rung_steps(steps) == reached


@given(st.integers(0, 10**7), st.lists(st.floats(0.001, 1), max_size=5).map(sorted))
def test_a_rung_is_measured_at_the_first_step_that_reaches_it(steps: int, rungs: list[float]) -> None:
    found = rung_steps(steps, rungs)
    assert list(found) == sorted(found)
    for step, rung in found.items():
        assert 0 < step < steps
        assert step >= rung * steps > step - 1
    assert len(found) <= len(rungs)
    assert set(rung_steps(steps)) <= {math.ceil(rung * steps) for rung in RUNGS}


def test_rung_losses() -> None:
    def point(step: int, val_bpb: float | None, rung: float | None, *, final: bool = False) -> CurvePoint:
        return CurvePoint("s", 0, 0, step, step / 8, step, 0.0, 3.0, val_bpb, rung, final)

    points = [point(1, 2.5, 0.125), point(2, None, None), point(3, None, 0.25), point(4, 2.0, 0.5), point(8, 1.9, None)]
    assert rung_losses(points) == {0.125: 2.5, 0.5: 2.0}
    assert rung_losses([]) == {}


def test_hypervolume_history() -> None:
    """In order of spending, whatever the order of arrival; a dominated candidate adds nothing."""
    finished = [Progress(30, (1.0, 3.0)), Progress(10, (2.0, 2.0)), Progress(20, (3.0, 3.0)), Progress(40, (3.0, 1.0))]
    assert hypervolume_history(finished, (4.0, 4.0)) == [(10, 4.0), (20, 4.0), (30, 5.0), (40, 6.0)]
    assert hypervolume_history([], (4.0, 4.0)) == []


@given(st.lists(st.tuples(*[st.integers(0, 6)] * 3), max_size=25))
def test_each_step_of_the_history_is_the_volume_of_all_so_far(values: list[tuple[int, int, int]]) -> None:
    finished = [Progress(spent, tuple(map(float, own))) for spent, own in enumerate(values)]
    corner = (5.0, 5.0, 5.0)
    expected = [hypervolume([own.values for own in finished[: count + 1]], corner) for count in range(len(values))]
    assert [volume for _, volume in hypervolume_history(finished, corner)] == pytest.approx(expected)


LATTICE = st.integers(0, 6).map(float)
VALUES = st.lists(st.one_of(st.tuples(LATTICE, LATTICE), st.tuples(*[st.floats(0, 6)] * 2)), max_size=60)


def one_by_one(finished: list[Progress], reference: tuple[float, ...]) -> list[tuple[int, float]]:
    """The history in words as plain as can be."""
    front: list[tuple[float, ...]] = []
    steps, volume = [], 0.0
    for item in finished:
        if not any(all(a <= b for a, b in zip(own, item.values, strict=True)) for own in front):
            front = [own for own in front if any(a < b for a, b in zip(own, item.values, strict=True))]
            front.append(item.values)
            volume = hypervolume(front, reference)
        steps.append((item.spent_flops, volume))
    return steps


@given(VALUES, st.lists(st.integers(0, 60), max_size=5), st.integers(1, 8))
def test_a_history_that_was_extended_is_the_one_of_all(
    values: list[tuple[float, float]], cuts: list[int], block: int
) -> None:
    """To the last bit, wherever it was cut, and whatever is compared at a time."""
    finished = [Progress(10 * spent, own) for spent, own in enumerate(values)]
    corner = (5.0, 5.0)
    places = [0, *sorted(min(own, len(finished)) for own in cuts), len(finished)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curve, "BLOCK", block)
        history = VolumeHistory.begun(corner)
        for start, end in itertools.pairwise(places):
            history = history.extended(values[start:end])
    anew, expected = VolumeHistory.begun(corner).extended(values), one_by_one(finished, corner)
    assert history.volumes == anew.volumes == tuple(volume for _, volume in expected)
    assert np.array_equal(history.front, anew.front)
    assert hypervolume_history(finished[::-1], corner) == expected


@pytest.mark.parametrize("wrong", [math.nan, -math.inf])
def test_a_history_of_no_numbers_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="points must be finite"):
        hypervolume_history([Progress(1, (1.0, 1.0)), Progress(2, (0.5, wrong))], (5.0, 5.0))
