from dataclasses import replace

import pytest

from dashboards.labels import QUANTITIES, architecture, prospects
from nas.candidate import Architecture, Candidate, Recipe
from nas.records import CandidateRecord, CandidateState, Origin
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


def test_knobs_of_speedruns_are_named_where_they_are_on() -> None:
    own = Architecture(
        depth=2, width=32, heads=2, head_size=16, kv_heads=2, mlp_width=96, vocabulary=512, context=64,
        activation="relu2", value_embeddings="alternate", x0_shortcut=True, softcap=15.0,
    )  # fmt: skip
    for shape, more in ((own, ", relu2, value embeddings (alternate), x0 shortcut, softcap 15.0"), (_plain(own), "")):
        candidate = Candidate(shape, Recipe(64))
        record = CandidateRecord("s", 0, candidate.id, Origin.FINAL, CandidateState.COMPLETED, 0.0, candidate.to_dict())
        assert architecture(record) == f"2 x 32, 2 heads of 16, MLP 96, vocabulary 512, context 64{more}"


def _plain(own: Architecture) -> Architecture:
    return replace(own, activation="swiglu", value_embeddings="none", x0_shortcut=False, softcap=0.0)


def test_prospects_are_a_sentence_with_intervals() -> None:
    ahead = {
        "flops": 500_000_000_000,
        "runs": 3,
        "loss": {"mean": 0.0213, "low": 0.0, "high": 0.0541},
        "widening": {"mean": 0.009, "low": 0.002, "high": 0.018},
    }
    assert prospects(ahead) == (
        "(500 GFLOP, about 3 more candidates) is expected to lower the best loss by 0.021 (0.000 to 0.054) bits per "
        "byte and to widen the front by 1% (0% to 2%)"
    )
    assert "about 1 more candidate)" in prospects({**ahead, "runs": 1})
