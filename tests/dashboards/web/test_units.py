"""``units.js`` prints what `nas.units` prints."""

import random
from collections.abc import Callable

import pytest

from nas.units import format_bytes, format_count, format_flops, format_seconds
from tests.dashboards.web.node import called

EDGES = [
    *(0, 0.4, 0.5, 0.9995, 0.99949, 1, 1.005, 2.5, 59.94, 59.95, 59.96, 60, 90, 3599.4, 3599.5, 3600, 7199, 86400),
    *(999, 999.4, 999.5, 999.6, 1000, 1023, 1023.6, 1024, 1048575, 999_499, 999_500, 999_999, 1e6, 1.5e9),
]


def drawn(most: float) -> list[float]:
    """Numbers of every size, whole ones and others."""
    rng = random.Random(0)
    sizes = [10 ** rng.uniform(-3, most) for _ in range(2000)]
    return [*EDGES, *sizes, *(float(round(own)) for own in sizes)]


@pytest.mark.parametrize(
    ("kind", "python", "most"),
    [
        ("flops", format_flops, 23),
        ("bytes", format_bytes, 20),
        ("count", format_count, 13),
        ("seconds", format_seconds, 12),  # 30,000 years
    ],
)
def test_numbers_read_the_same(kind: str, python: Callable[[float], str], most: float) -> None:
    values = drawn(most)
    printed = called("units.js", "format", [[kind, own] for own in values])
    pairs = zip(values, printed, strict=True)
    assert {own: (shown, python(own)) for own, shown in pairs if shown != python(own)} == {}
