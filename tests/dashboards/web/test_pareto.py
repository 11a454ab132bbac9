"""``pareto.js`` finds what `nas.pareto` finds."""

import random

import numpy as np
import pytest

from nas.pareto import front_mask, knee
from tests.dashboards.web.node import called


def clouds() -> list[list[list[float]]]:
    """Points of one to three objectives: few and many, with ties and twins, and in a line."""
    rng = random.Random(0)
    found: list[list[list[float]]] = [[], [[1.0, 2.0]], [[1.0, 2.0]] * 3, [[float(own), 3.0 - own] for own in range(4)]]
    for objectives in (1, 2, 3):
        for size in (2, 3, 5, 8, 13, 40, 300):
            for _ in range(6):
                found.append([[rng.random() for _ in range(objectives)] for _ in range(size)])
                found.append([[float(rng.randrange(4)) for _ in range(objectives)] for _ in range(size)])  # ties
                found.append([[rng.choice([0.5, 1e6, 3e-4]) for _ in range(objectives)] for _ in range(size)])
    sphere = np.abs(np.random.default_rng(1).normal(size=(400, 3)))
    found.append((1 - sphere / np.linalg.norm(sphere, axis=1, keepdims=True)).tolist())  # all of them on the front
    return found


def test_the_same_front() -> None:
    own = clouds()
    masks = called("pareto.js", "frontMask", [[points] for points in own])
    assert masks == [front_mask(points).tolist() if points else [] for points in own]
    assert {len(mask) == sum(mask) for mask in masks} == {True, False}


def test_the_same_knee() -> None:
    own = [points for points in clouds() if points]
    assert called("pareto.js", "knee", [[points] for points in own]) == [knee(points) for points in own]


def test_no_points_have_no_knee() -> None:
    assert called("pareto.js", "knee", [[[]]]) == [-1]
    with pytest.raises(ValueError):
        knee([])
