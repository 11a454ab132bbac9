import math
from dataclasses import replace
from typing import Any

import pytest
from ruamel.yaml import YAML

from nas.candidate import Architecture, Candidate, Deviation, Recipe
from nas.cost import cost
from nas.export.card import model_card
from nas.records import CandidateRecord, CandidateState, Origin

ARCHITECTURE = Architecture(
    depth=4, width=64, heads=4, head_size=16, kv_heads=2, mlp_width=96, vocabulary=256, context=128
)
CANDIDATE = Candidate(ARCHITECTURE, Recipe(batch_tokens=1024, matrix_rate=1.5))
RECORD = CandidateRecord(
    search_id="s",
    number=12,
    id=CANDIDATE.id,
    origin=Origin.FINAL,
    state=CandidateState.COMPLETED,
    created_at=0.0,
    candidate=CANDIDATE.to_dict(),
    costs=cost(CANDIDATE, 1.0).to_dict(),
    val_bpb=1.8,
    val_error=0.005,
    test_bpb=1.91234,
    test_error=0.00421,
    train_flops_spent=5_200_000_000_000,
    eval_flops=10**9,
    seconds=450.0,
)


def _card(record: CandidateRecord = RECORD, limits: dict[str, Any] | None = None, **changes: Any) -> str:
    words: dict[str, Any] = {"search_name": "tiny", "corpus": "austen", "device": "8-core CPU", "seed": 7} | changes
    return model_card(record, limits=limits or {}, **words)


def _metadata(card: str) -> dict[str, Any]:
    _, head, _ = card.split("---\n", 2)
    return dict(YAML(typ="safe").load(head))


def test_it_says_how_good_and_at_what_cost() -> None:
    card = _card()

    assert "**1.9123 bits per byte** ± 0.0042 (standard error) on the test split" in card
    assert "validation split" not in card
    for row in (
        "| Training | 5.2 TFLOP (`model_flops_v1`) |",
        "| Time, training and evaluation | 7 min 30 s |",
        "| Device | 8-core CPU |",
        "| Seed | 7 |",
    ):
        assert row in card
    assert f"candidate `{CANDIDATE.id}`" in card


def test_every_field_of_architecture_and_recipe_is_there() -> None:
    card = _card()
    for row in ("| depth | 4 |", "| tied | yes |", "| deviations | none |", "| matrix_rate | 1.5 |", "| floor | 0 |"):
        assert row in card


def test_deviations_are_spelled_out() -> None:
    deviations = (Deviation(1, mlp_width=128), Deviation(2, heads=2, kv_heads=1))
    candidate = Candidate(replace(ARCHITECTURE, deviations=deviations), CANDIDATE.recipe)
    card = _card(replace(RECORD, candidate=candidate.to_dict()))
    assert "| deviations | layer 1: mlp_width 128; layer 2: heads 2, kv_heads 1 |" in card


def test_metadata_is_what_model_hubs_read() -> None:
    metadata = _metadata(_card())

    assert metadata["library_name"] == "transformers"
    assert metadata["pipeline_tag"] == "text-generation"
    assert metadata["license"] == "unknown"
    result = metadata["model-index"][0]["results"][0]
    assert result["dataset"] == {"type": "austen", "name": "austen", "split": "test"}
    assert result["metrics"] == [{"type": "bits_per_byte", "name": "Bits per byte", "value": 1.9123}]


def test_the_hub_library_reads_the_metadata() -> None:
    hub = pytest.importorskip("huggingface_hub")
    data = hub.ModelCard(_card()).data
    assert data.model_name == "tiny, candidate 12"
    assert data.eval_results[0].metric_value == 1.9123


@pytest.mark.parametrize("name", ['a "b": {c} | d', "one\ntwo", "# 日本 👩‍🚀", "- x: [", "---"])
def test_names_cannot_break_the_card(name: str) -> None:
    card = _card(search_name=name, corpus=name, device=name)

    metadata = _metadata(card.replace("\n---\n\n", "\n---\n", 1))
    assert metadata["model-index"][0]["name"] == f"{name}, candidate 12"
    device = next(line for line in card.splitlines() if line.startswith("| Device"))
    assert device.replace("\\|", "").count("|") == 3


def test_without_a_test_loss_the_card_says_validation() -> None:
    card = _card(replace(RECORD, test_bpb=None, test_error=None))

    assert "**1.8000 bits per byte** ± 0.0050 (standard error) on the validation split" in card
    assert "likely to score a little worse" in card
    assert _metadata(card)["model-index"][0]["results"][0]["dataset"]["split"] == "validation"


def test_limits_are_shown_beside_what_was_held() -> None:
    card = _card(limits={"params": 200_000, "weight_bytes": 500_000, "flops_per_byte": None, "export": "native"})

    assert "| Parameters | 140k | at most 200k | yes |" in card
    assert "| Weights, float32 | 547 KiB | at most 488 KiB | no |" in card
    assert "| Forward FLOPs per byte of text | 410 kFLOP | none | - |" in card
    assert "| Family in transformers | qwen3 | must have one | yes |" in card


NOTHING = replace(
    RECORD, costs={}, val_bpb=None, val_error=None, test_bpb=None, test_error=None, train_flops_spent=0, seconds=0.0
)


@pytest.mark.parametrize(
    "record",
    [
        NOTHING,
        replace(RECORD, test_bpb=math.nan, val_bpb=math.inf, val_error=math.nan),
        replace(RECORD, test_error=math.inf, seconds=math.nan),
        replace(RECORD, test_error=None, costs={"params": math.nan}),
        replace(RECORD, time_bound=True),
    ],
)
@pytest.mark.parametrize("limits", [{}, {"params": 1000, "weight_bytes": math.inf, "kv_bytes_per_byte": None}])
def test_what_is_not_known_is_said_in_words(record: CandidateRecord, limits: dict[str, Any]) -> None:
    words = _card(record, limits).lower().replace("|", " ").split()
    assert not {"nan", "none.", "null", "inf", "infinity", "-inf"} & set(words)
    assert "None" not in _card(record, limits)


def test_an_unmeasured_candidate() -> None:
    card = _card(NOTHING, limits={"params": 1000})
    assert "Not measured." in card
    assert "model-index" not in _metadata(card)
    assert "| Parameters | not known | at most 1k | not known |" in card


def test_a_shortened_run_is_named() -> None:
    assert "slower than predicted" in _card(replace(RECORD, time_bound=True))
    assert "slower than predicted" not in _card()
