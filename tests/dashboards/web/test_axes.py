"""Labels of the page's axes are those of the report."""

import pytest

from dashboards.palette import log_axis
from tests.dashboards.web.node import called

RANGES = [
    (1.0, 1.0),
    (3.0, 4.0),
    (95_000.0, 460_000.0),
    (1.0, 5.1),
    (2e4, 3e6),
    (1.0, 1001.0),
    (0.93, 41.0),
    (77.1, 80.2),
]


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_labels_stay_apart_in_the_same_way(low: float, high: float) -> None:
    own = log_axis("", low, high)
    expected = {name: own[name] for name in ("tick0", "dtick") if name in own}
    found = called("axes.js", "logTicks", [[low, high]])[0]
    assert found.keys() == expected.keys()
    if "tick0" in expected:
        assert found["tick0"] == pytest.approx(expected["tick0"])
        assert float(found["dtick"][1:]) == pytest.approx(float(expected["dtick"][1:]))
    else:
        assert found == expected
