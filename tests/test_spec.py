import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import NotFoundError, SpecError
from nas.policy import POLICIES
from nas.spec import (
    CHOICES,
    LOSS,
    OBJECTIVES,
    Budget,
    CandidateBudget,
    Limits,
    Method,
    SearchSpec,
    Total,
    load_spec,
    parse_spec,
)

EXAMPLE = """\
name: austen-quickstart
corpus: austen
space: llama-tiny
device: auto
budget:
  total: {compute: 20TFLOP, time: 8min}
  final: 30%
  candidate: {compute: 1TFLOP, memory: 1GiB}
limits: {params: 20M}
minimize: [val_bpb, flops_per_byte]
method: {policy: default, parallel: 2, seed: 0}
"""
LEAST = {"corpus": "austen", "space": "llama-tiny", "budget": {"total": {"compute": 1000}}}


def test_the_example() -> None:
    spec = parse_spec(EXAMPLE)
    assert spec == SearchSpec(
        name="austen-quickstart",
        corpus="austen",
        space="llama-tiny",
        device="auto",
        budget=Budget(Total(20 * 10**12, 480.0), CandidateBudget(10**12, memory=2**30), 0.3),
        limits=Limits(params=20_000_000),
        minimize=("val_bpb", "flops_per_byte"),
        method=Method(parallel=2),
    )
    assert spec.budget.search_compute == 14 * 10**12
    assert spec.budget.final_compute == 6 * 10**12
    assert spec.budget.search_time == pytest.approx(336)
    assert spec.cost_objectives == ("flops_per_byte",)


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[1] / "examples").glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_examples(path: Path) -> None:
    spec = load_spec(path)
    assert spec.name == path.stem
    assert parse_spec(spec.to_dict()) == spec


def test_defaults() -> None:
    spec = parse_spec(LEAST)
    assert spec == SearchSpec("austen", "llama-tiny", Budget(Total(1000), CandidateBudget(700 // 16)))
    assert spec.budget.search_time == math.inf
    assert parse_spec({**LEAST, "limits": None, "method": {}, "name": None}) == spec


@pytest.mark.parametrize(
    ("was", "becomes", "field", "rule", "value", "line"),
    [
        ("corpus: austen\n", "", "corpus", "is required", None, 1),
        ("space: llama-tiny\n", "", "space", "is required", None, 1),
        ("corpus: austen", "corpus: 5", "corpus", "must be a name, a path or a mapping", 5, 2),
        ("corpus: austen", "corpus: {}", "corpus", "must be a name, a path or a mapping", {}, 2),
        ("space: llama-tiny", "space: ''", "space", "must be a name, a path or a mapping", "", 3),
        ("space: llama-tiny", "space: [a]", "space", "must be a name, a path or a mapping", ["a"], 3),
        ("name: austen-quickstart", "name: 5", "name", "must be text", 5, 1),
        ("device: auto", "device: [cpu]", "device", "must be text", ["cpu"], 4),
        ("{compute: 20TFLOP, time: 8min}", "{time: 8min}", "budget.total.compute", "is required", None, 6),
        ("total: {compute: 20TFLOP, time: 8min}", "", "budget.total", "is required", None, 7),
        (
            "compute: 20TFLOP",
            "compute: 20",
            "budget.candidate.compute",
            "must be at most what the search",
            "1 TFLOP",
            8,
        ),
        ("compute: 20TFLOP", "compute: 20TB", "budget.total.compute", "must be FLOPs", "20TB", 6),
        ("compute: 20TFLOP", "compute: 0", "budget.total.compute", "must be FLOPs", 0, 6),
        ("time: 8min", "time: 8m", "budget.total.time", "must be a duration", "8m", 6),
        ("time: 8min", "time: 8min, hours: 1", "budget.total.hours", "is not known here", None, 6),
        ("time: 8min", "candidates: 0", "budget.total.candidates", "must be a whole number of at least 1", 0, 6),
        ("time: 8min", "candidates: 1.5", "budget.total.candidates", "must be a whole number of at least 1", 1.5, 6),
        ("final: 30%", "final: 100%", "budget.final", "must be a share", "100%", 7),
        ("final: 30%", "final: best", "budget.final", "must be a share", "best", 7),
        ("final: 30%", "final: -1", "budget.final", "must be a share", -1, 7),
        ("final: 30%", "final: 96%", "budget.candidate.compute", "must be at most what the search", "1 TFLOP", 8),
        ("compute: 1TFLOP", "compute: 15TFLOP", "budget.candidate.compute", "must be at most what", "15 TFLOP", 8),
        ("compute: 1TFLOP", "time: 6min", "budget.candidate.time", "must be at most the search's share", "6 min", 8),
        ("memory: 1GiB", "memory: 1Gi", "budget.candidate.memory", "must be bytes", "1Gi", 8),
        ("memory: 1GiB", "disk: 1GiB", "budget.candidate.disk", "is not known here", None, 8),
        ("final: 30%", "finl: 30%", "budget.finl", "is not known here", None, 7),
        ("candidate: {", "candidate: 5 #", "budget.candidate", "must be a mapping of fields", 5, 8),
        ("limits: {params: 20M}", "limits: [1]", "limits", "must be a mapping of fields", [1], 9),
        ("params: 20M", "params: 0", "limits.params", "must be a count", 0, 9),
        ("params: 20M", "weights: 20M", "limits.weights", "is not known here", None, 9),
        ("params: 20M", "export: onnx", "limits.export", "must be one of native, any", "onnx", 9),
        ("params: 20M", "flops_per_byte: 1kB", "limits.flops_per_byte", "must be FLOPs", "1kB", 9),
        ("params: 20M", "kv_bytes_per_byte: x", "limits.kv_bytes_per_byte", "must be bytes", "x", 9),
        ("params: 20M", "weight_bytes: 0", "limits.weight_bytes", "must be bytes", 0, 9),
        ("params: 20M", "peak_memory: 1Gi", "limits.peak_memory", "must be bytes", "1Gi", 9),
        ("params: 20M", "peak_memory: 0", "limits.peak_memory", "must be bytes", 0, 9),
        ("params: 20M", "train_seconds: 8m", "limits.train_seconds", "must be a duration", "8m", 9),
        ("params: 20M", "train_seconds: -1", "limits.train_seconds", "must be a duration", -1, 9),
        ("params: 20M", "latency_ms_per_kb: 0", "limits.latency_ms_per_kb", "must be a number above 0", 0, 9),
        ("params: 20M", "latency_ms_per_kb: -2.5", "limits.latency_ms_per_kb", "must be a number above 0", -2.5, 9),
        ("params: 20M", "latency_ms_per_kb: 5ms", "limits.latency_ms_per_kb", "must be a number above 0", "5ms", 9),
        ("params: 20M", "latency_ms_per_kb: true", "limits.latency_ms_per_kb", "must be a number above 0", True, 9),
        ("params: 20M", "latency_ms_per_kb: .inf", "limits.latency_ms_per_kb", "must be a number above 0", math.inf, 9),
        ("params: 20M", "latency: 5", "limits.latency", "is not known here", None, 9),
        ("[val_bpb, flops_per_byte]", "val_bpb", "minimize", "must be a list of objectives", "val_bpb", 10),
        ("[val_bpb, flops_per_byte]", "[]", "minimize", "must be a list of objectives", [], 10),
        ("[val_bpb, flops_per_byte]", "[loss]", "minimize", "must be of val_bpb, params", "loss", 10),
        ("[val_bpb, flops_per_byte]", "[[val_bpb]]", "minimize", "must be of val_bpb, params", ["val_bpb"], 10),
        ("[val_bpb, flops_per_byte]", "[params]", "minimize", "must contain val_bpb", ["params"], 10),
        ("[val_bpb, flops_per_byte]", "[val_bpb, val_bpb]", "minimize", "once", ["val_bpb", "val_bpb"], 10),
        ("policy: default", "policy: median", "method.policy", "must be one of default, none", "median", 11),
        ("parallel: 2", "parallel: 0", "method.parallel", "must be a whole number of at least 1", 0, 11),
        ("parallel: 2", "parallel: yes", "method.parallel", "must be a whole number of at least 1", "yes", 11),
        ("seed: 0", "seed: -1", "method.seed", "must be a whole number of at least 0", -1, 11),
        ("seed: 0", "choose: worst", "method.choose", "must be one of best, knee", "worst", 11),
        ("seed: 0", "sampler: tpe", "method.sampler", "is not known here", None, 11),
        ("device: auto", "devices: auto", "devices", "is not known here", None, 4),
    ],
)
def test_contradictions(was: str, becomes: str, field: str, rule: str, value: object, line: int) -> None:
    assert was in EXAMPLE
    with pytest.raises(SpecError) as caught:
        parse_spec(EXAMPLE.replace(was, becomes), "spec.yaml")
    error = caught.value
    assert error.field == field
    assert rule in error.rule
    assert error.value == value
    assert (error.source, error.line) == ("spec.yaml", line)


@pytest.mark.parametrize(
    ("written", "limits"),
    [
        ("peak_memory: 512MiB", Limits(peak_memory=2**29)),
        ("train_seconds: 90s", Limits(train_seconds=90.0)),
        ("train_seconds: 2min", Limits(train_seconds=120.0)),
        ("latency_ms_per_kb: 250", Limits(latency_ms_per_kb=250.0)),
        ("latency_ms_per_kb: 0.5", Limits(latency_ms_per_kb=0.5)),
    ],
)
def test_limits_on_the_device(written: str, limits: Limits) -> None:
    assert parse_spec(EXAMPLE.replace("params: 20M", written)).limits == limits


@pytest.mark.parametrize(
    ("minimize", "limit", "named"),
    [
        ((LOSS, "params"), None, False),
        ((LOSS, "params"), 5.0, True),
        ((LOSS, "latency_ms_per_kb"), None, True),
        ((LOSS, "latency_ms_per_kb"), 5.0, True),
    ],
)
def test_latency_matters_where_it_is_named(minimize: tuple[str, ...], limit: float | None, named: bool) -> None:
    spec = replace(parse_spec(LEAST), minimize=minimize, limits=Limits(latency_ms_per_kb=limit))
    assert spec.names_latency is named


def test_a_budget_is_required() -> None:
    with pytest.raises(SpecError, match=r"^budget: is required$"):
        parse_spec({"corpus": "a", "space": "b"})
    with pytest.raises(SpecError, match=r"^budget: must be a mapping of fields, found 5$"):
        parse_spec({"corpus": "a", "space": "b", "budget": 5})


def test_files(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(EXAMPLE)
    assert load_spec(tmp_path / "x.yaml") == parse_spec(EXAMPLE)
    with pytest.raises(NotFoundError):
        load_spec(tmp_path / "y.yaml")


COMPUTE = st.integers(100, 10**21)
TIME = st.floats(1e-3, 1e9) | st.just(math.inf)
MAPPING = st.dictionaries(
    st.text(min_size=1), st.none() | st.integers() | st.text() | st.lists(st.booleans()), min_size=1, max_size=3
)
WORD = st.text(min_size=1).filter(str.strip)


@st.composite
def specs(draw: st.DrawFn) -> SearchSpec:
    total = Total(draw(COMPUTE), draw(TIME), draw(st.none() | st.integers(1, 10**6)))
    final = draw(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.75, "auto"]))
    budget = Budget(total, CandidateBudget(1), final)
    own = CandidateBudget(
        draw(st.integers(1, budget.search_compute)),
        draw(st.just(math.inf) | st.floats(1e-4, min(1e9, budget.search_time))),
        draw(st.none() | st.integers(1, 2**50)),
    )
    whole = ("params", "flops_per_byte", "kv_bytes_per_byte", "weight_bytes", "peak_memory")
    numbers = {name: draw(st.none() | st.integers(1, 10**12)) for name in whole}
    numbers |= {name: draw(st.none() | st.floats(1e-3, 1e9)) for name in ("train_seconds", "latency_ms_per_kb")}
    others = draw(st.lists(st.sampled_from(OBJECTIVES[1:]), unique=True))
    return SearchSpec(
        corpus=draw(WORD | MAPPING),
        space=draw(WORD | MAPPING),
        budget=replace(budget, candidate=own),
        name=draw(WORD),
        device=draw(WORD),
        limits=Limits(**numbers, export=draw(st.sampled_from(["native", "any"]))),  # type: ignore[arg-type]
        minimize=tuple(draw(st.permutations([LOSS, *others]))),
        method=Method(
            policy=draw(st.sampled_from(sorted(POLICIES))),
            parallel=draw(st.integers(1, 64)),
            seed=draw(st.integers(0, 2**40)),
            choose=draw(st.sampled_from(CHOICES)),
        ),
    )


@given(specs())
def test_a_spec_survives_its_mapping(spec: SearchSpec) -> None:
    raw: dict[str, Any] = json.loads(json.dumps(spec.to_dict(), allow_nan=False))
    assert parse_spec(raw) == spec


def test_the_mapping_leaves_out_limits_that_are_not_there() -> None:
    assert parse_spec(LEAST).to_dict() == {
        "name": "search",
        "corpus": "austen",
        "space": "llama-tiny",
        "device": "auto",
        "budget": {"total": {"compute": 1000}, "candidate": {"compute": 43}, "final": 0.3},
        "limits": {"export": "native"},
        "minimize": ["val_bpb", "flops_per_byte"],
        "method": {"policy": "default", "parallel": 1, "seed": 0, "choose": "best"},
    }


def test_the_split_may_be_left_to_the_search() -> None:
    spec = parse_spec(EXAMPLE.replace("final: 30%", "final: auto"))
    assert spec.budget.auto and spec.budget.final_share == 0.2
    assert spec.budget.search_compute == 16 * 10**12
    assert not parse_spec(EXAMPLE).budget.auto
