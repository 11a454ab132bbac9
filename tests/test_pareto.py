import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna._hypervolume import compute_hypervolume
from optuna.study import StudyDirection
from optuna.study._multi_objective import _is_pareto_front

from nas.pareto import _Stairs, dominates, front_mask, hypervolume, knee, reference_point

Points = list[tuple[float, ...]]

# Two objectives, both minimised; x dominates what lies right of and above it.
#
#   5 |  a
#   4 |        e           front: a, b, c, d (a tie with d's twin)
#   3 |     b     f        e is dominated by b, f by b and c, g by c, d
#   2 |
#   1 |        c     g     c and its twin are equal: both are kept
#     +--------------------
#        1  2  3  4  5
PICTURE = {"a": (1, 5), "b": (2, 3), "c": (3, 1), "twin": (3, 1), "e": (3, 4), "f": (4, 3), "g": (5, 1)}


def coordinates(objectives: int) -> st.SearchStrategy[Points]:
    """Points on a coarse grid, so that ties and duplicates happen."""
    number = st.integers(0, 6).map(float) | st.floats(0, 6)
    return st.lists(st.tuples(*[number] * objectives), max_size=14)


ANY_POINTS = st.integers(1, 4).flatmap(coordinates)


@pytest.mark.parametrize("left", PICTURE)
def test_the_picture(left: str) -> None:
    better = {"b": "ef", "a": "", "c": "efg", "twin": "efg", "e": "", "f": "", "g": ""}
    for right in PICTURE:
        assert dominates(PICTURE[left], PICTURE[right]) == (right in better[left]), (left, right)


def test_the_front_of_the_picture() -> None:
    mask = front_mask(list(PICTURE.values()))
    assert [name for name, kept in zip(PICTURE, mask, strict=True) if kept] == ["a", "b", "c", "twin"]
    # Boxes below (6, 6): a 5 wide and 1 high, b 4 wide and 2 more, c 3 wide and 2 more.
    assert hypervolume(list(PICTURE.values()), (6, 6)) == 5 * 1 + 4 * 2 + 3 * 2


@given(ANY_POINTS)
def test_the_front_is_what_nothing_dominates(points: Points) -> None:
    expected = [not any(dominates(other, point) for other in points) for point in points]
    assert front_mask(points).tolist() == expected


@given(ANY_POINTS)
def test_the_front_of_a_front_is_itself(points: Points) -> None:
    front = [point for point, kept in zip(points, front_mask(points), strict=True) if kept]
    assert front_mask(front).all()
    assert bool(front) == bool(points)


@given(ANY_POINTS, st.randoms())
def test_order_does_not_matter(points: Points, rng: Any) -> None:
    order = list(range(len(points)))
    rng.shuffle(order)
    shuffled = [points[index] for index in order]
    assert front_mask(shuffled).tolist() == front_mask(points)[order].tolist()
    reference = [5.0] * len(points[0]) if points else [5.0]
    assert hypervolume(shuffled, reference) == pytest.approx(hypervolume(points, reference))


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
@given(data=st.data())
@settings(max_examples=40)
def test_hypervolume_is_the_union_of_boxes(objectives: int, data: st.DataObject) -> None:
    """By inclusion and exclusion over all subsets."""
    points = data.draw(coordinates(objectives).map(lambda found: found[:6]))
    corner = np.full(objectives, 5.0)
    volume = 0.0
    for size in range(1, len(points) + 1):
        for subset in itertools.combinations(points, size):
            box = np.prod(np.maximum(corner - np.max(subset, axis=0), 0.0))
            volume += (-1) ** (size + 1) * float(box)
    assert hypervolume(points, corner) == pytest.approx(volume, abs=1e-6)


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_hypervolume_is_the_share_of_darts_that_hit(objectives: int) -> None:
    rng = np.random.default_rng(objectives)
    points, darts = rng.random((20, objectives)), rng.random((20_000, objectives))
    hit = (points[None] <= darts[:, None]).all(axis=2).any(axis=1).mean()
    assert hypervolume(points, np.ones(objectives)) == pytest.approx(hit, abs=0.015)


@given(ANY_POINTS.filter(bool), st.data())
def test_a_point_more_never_shrinks_the_hypervolume(points: Points, data: st.DataObject) -> None:
    more = data.draw(st.tuples(*[st.floats(0, 7)] * len(points[0])))
    reference = [5.0] * len(more)
    before, after = hypervolume(points, reference), hypervolume([*points, more], reference)
    assert after >= before - 1e-9
    if all(value < 5 for value in more) and not any(dominates(p, more) or p == more for p in points):
        assert after >= before
    if any(dominates(point, more) for point in points):
        assert after == pytest.approx(before)


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_agrees_with_optuna(objectives: int) -> None:
    rng = np.random.default_rng(7)
    for round_ in range(10):
        points = rng.integers(0, 8, (25, objectives)).astype(float) if round_ % 2 else rng.random((25, objectives))
        reference = points.max(axis=0) + round_ / 20  # optuna wants no point beyond it
        assert hypervolume(points, reference) == pytest.approx(compute_hypervolume(points, reference))
        assert front_mask(points).tolist() == _is_pareto_front(points, assume_unique_lexsorted=False).tolist()


def test_agrees_with_the_best_trials_of_a_study() -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=[StudyDirection.MINIMIZE] * 3)
    points = np.random.default_rng(3).integers(0, 5, (30, 3)).astype(float)
    for point in points:
        study.add_trial(optuna.create_trial(values=point.tolist()))
    assert sorted(trial.number for trial in study.best_trials) == np.flatnonzero(front_mask(points)).tolist()


@pytest.mark.parametrize(
    ("points", "index"),
    [
        ([(0, 10), (1, 1), (10, 0)], 1),  # the corner
        ([(10, 0), (0, 10), (5, 5)], 1),  # all on one line: the first objective decides
        ([(5, 5)], 0),
        ([(3, 3), (3, 3)], 0),
        ([(9, 9), (0, 10), (2, 2), (10, 0)], 2),  # (9, 9) is not on the front
        ([(1, 1, 1), (0, 5, 5), (5, 0, 5), (5, 5, 0)], 0),
        ([(7.0,), (3.0,), (5.0,)], 1),
    ],
)
def test_knee(points: Points, index: int) -> None:
    assert knee(points) == index


@given(ANY_POINTS.filter(bool))
def test_the_knee_does_not_depend_on_units(points: Points) -> None:
    scaled = [(point[0] * 1024, *point[1:]) for point in points]
    assert knee(scaled) == knee(points)
    assert front_mask(points)[knee(points)]


def test_nothing_is_an_empty_front() -> None:
    assert front_mask([]).tolist() == []
    assert front_mask(np.empty((0, 3))).tolist() == []
    assert hypervolume([], (1, 1)) == 0.0
    assert hypervolume(np.empty((0, 2)), (1, 1)) == 0.0
    assert hypervolume([(2, 0), (0, 2), (1, 1)], (1, 1)) == 0.0  # on or beyond the reference
    with pytest.raises(ValueError, match=r"points must not be empty"):
        knee([])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_values_must_be_finite(bad: float) -> None:
    for call in (front_mask, knee, lambda points: hypervolume(points, (9, 9))):
        with pytest.raises(ValueError, match=r"points must be finite, found"):
            call([(1.0, 2.0), (bad, 1.0)])


def test_points_and_reference_have_the_same_objectives() -> None:
    with pytest.raises(ValueError, match=r"points must have the 2 objectives of the reference, found 3"):
        hypervolume([(1, 2, 3), (3, 2, 1)], (9, 9))


def test_reference_point() -> None:
    assert reference_point([2.0, -10.0, 0.0]).tolist() == pytest.approx([2.2, -9.0, 0.0])
    assert reference_point([4.0], margin=0.5).tolist() == [6.0]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=25))
def test_stairs_are_the_front_of_what_has_come(points: list[tuple[int, int]]) -> None:
    """After each point, equal ones and all."""
    stairs, come = _Stairs(), list[tuple[int, int]]()
    for x, y in points:
        stairs.add(x, y)
        come.append((x, y))
        front = np.array(come, dtype=np.float64)[front_mask(come)]
        assert sorted(map(tuple, stairs.points().tolist())) == sorted(map(tuple, front.tolist()))
