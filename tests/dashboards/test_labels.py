import pytest

from dashboards.labels import QUANTITIES
from nas.spec import OBJECTIVES


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_has_a_name_and_a_unit_for_people(name: str) -> None:
    own = QUANTITIES[name]
    assert own.name and own.source in ("measured", "calculated", "predicted")
    assert own.format(1.5)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("peak_memory", 3 * 2**29, "1.5 GiB"),
        ("train_seconds", 90.0, "1 min 30 s"),
        ("latency_ms_per_kb", 12.345, "12.3 ms"),
        ("latency_ms_per_kb", 0.5, "0.5 ms"),
    ],
)
def test_costs_on_the_device_in_their_units(name: str, value: float, shown: str) -> None:
    assert QUANTITIES[name].format(value) == shown
