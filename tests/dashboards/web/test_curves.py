"""The page's axes have the labels of the report's."""

import random

from dashboards.palette import log_axis
from tests.dashboards.web.node import called


def test_labels_of_logarithmic_axes() -> None:
    rng = random.Random(0)
    ranges = [(3.33e6, 4.54e6), (2.1, 3.4), (7.0, 7.0), (4.8e4, 2e6), (1e3, 1e7)]
    for _ in range(300):
        low = 10 ** rng.uniform(-3, 15)
        ranges.append((low, low * 10 ** rng.uniform(0, 4)))
    for own, (low, high) in zip(called("curves.js", "ticks", ranges), ranges, strict=True):
        expected = log_axis("", low, high)
        assert own["dtick"] == expected["dtick"], (low, high)
