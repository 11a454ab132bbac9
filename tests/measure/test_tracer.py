"""What is put together from shallow traces against traces of the whole, and what is kept."""

from dataclasses import replace
from typing import Any

import pytest

from nas.calibration import Trace
from nas.candidate import Architecture, Candidate, Deviation, Recipe
from nas.measure import tracer as tracer_module
from nas.measure.trace import trace_step
from nas.measure.tracer import SHALLOW, Tracer
from nas.plan import Layout
from nas.space import load_space

SMALL = Architecture(depth=4, width=16, heads=2, head_size=8, kv_heads=1, mlp_width=32, vocabulary=256, context=64)
TWO = Layout(2)


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[Candidate]:
    """The candidates that were really traced."""
    candidates: list[Candidate] = []

    def watched(candidate: Candidate, layout: Layout, **settings: Any) -> Trace:
        candidates.append(candidate)
        return trace_step(candidate, layout, **settings)

    monkeypatch.setattr(tracer_module, "trace_step", watched)
    return candidates


def assert_alike(found: Trace, whole: Trace) -> None:
    assert found.flops == whole.flops
    assert [phase.flops for phase in found.phases] == [phase.flops for phase in whole.phases]
    assert (found.resident_bytes, found.checkpoints) == (whole.resident_bytes, whole.checkpoints)
    assert found.attention_flops == whole.attention_flops > 0
    for a, b in zip(found.phases, whole.phases, strict=True):
        assert a.peak_bytes == pytest.approx(b.peak_bytes, rel=0.005)
    assert found.operators == pytest.approx(whole.operators, rel=0.005)
    assert found.moved_bytes == pytest.approx(whole.moved_bytes, rel=0.005)


@pytest.mark.parametrize(
    ("name", "backend", "precision"), [("llama-tiny", "cpu", "float32"), ("llama-small", "cuda", "bfloat16")]
)
@pytest.mark.parametrize("index", range(4))
def test_deep_candidates_of_a_space(index: int, name: str, backend: str, precision: str) -> None:
    space = load_space(name)
    knobs = space.uniform(index)
    knobs["depth"] = sorted(space.values("depth"))[-1 - index % 2]
    candidate = space.decode(knobs)
    candidate = replace(candidate, recipe=replace(candidate.recipe, dropout=0.1 * (index % 3 == 0)))
    assert candidate.architecture.depth > SHALLOW
    layout = Layout(max(1, candidate.sequences // (1 + index % 2)), index % 2 == 1)
    found = Tracer(backend, precision).trace(candidate, layout)
    assert_alike(found, trace_step(candidate, layout, backend=backend, precision=precision))


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
@pytest.mark.parametrize(
    ("pattern", "depth", "real"),
    [
        ("L", 3, [3]),
        ("L", 4, [2, 3]),
        ("L", 9, [2, 3]),
        ("SL", 6, [6]),
        ("SL", 7, [5, 7]),
        ("SL", 10, [4, 6]),
        ("SSSL", 12, [12]),
        ("SSSL", 13, [9, 13]),
        ("SSSL", 18, [10, 14]),
        ("LLS", 11, [8, 11]),
        ("LSS", 12, [6, 9]),
        ("S", 5, [2, 3]),
    ],
)
def test_patterns_of_windows(pattern: str, depth: int, real: list[int], backend: str, traced: list[Candidate]) -> None:
    """Depth grows by whole patterns, and the last layer sees everything whatever its letter: both are kept."""
    windows = {"window": 16, "window_pattern": pattern} if "S" in pattern else {}
    candidate = Candidate(replace(SMALL, depth=depth, **windows), Recipe(256))  # type: ignore[arg-type]
    found = Tracer(backend, "float32").trace(candidate, TWO)
    assert [own.architecture.depth for own in traced] == real
    assert_alike(found, trace_step(candidate, TWO, backend=backend))


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
@pytest.mark.parametrize(
    ("which", "pattern", "depth", "real"),
    [
        ("all", "L", 9, [2, 3]),
        ("alternate", "L", 6, [6]),
        ("alternate", "L", 9, [5, 7]),
        ("alternate", "L", 10, [4, 6]),
        ("alternate", "LLS", 19, [13, 19]),
        ("alternate", "SSSL", 13, [9, 13]),
    ],
)
def test_patterns_of_value_embeddings(
    which: str, pattern: str, depth: int, real: list[int], backend: str, traced: list[Candidate]
) -> None:
    windows = {"window": 16, "window_pattern": pattern} if "S" in pattern else {}
    shape = replace(SMALL, depth=depth, value_embeddings=which, x0_shortcut=True, softcap=9.0, **windows)  # type: ignore[arg-type]
    found = Tracer(backend, "float32").trace(Candidate(shape, Recipe(256)), TWO)
    assert [own.architecture.depth for own in traced] == real
    assert_alike(found, trace_step(Candidate(shape, Recipe(256)), TWO, backend=backend))


def test_layers_that_deviate_are_traced_as_they_are(traced: list[Candidate]) -> None:
    candidate = Candidate(replace(SMALL, depth=6, deviations=(Deviation(4, mlp_width=64),)), Recipe(128))
    assert Tracer("cpu", "float32").trace(candidate, TWO) == trace_step(candidate, TWO)
    assert traced == [candidate]


def test_what_was_found_is_kept(traced: list[Candidate]) -> None:
    tracer, deep = Tracer("cpu", "float32"), Candidate(replace(SMALL, depth=6), Recipe(128))
    first = tracer.trace(deep, TWO)
    assert len(traced) == 2
    for same in (
        deep,
        replace(deep, recipe=Recipe(128, matrix_rate=2.0, embedding_rate=0.5, weight_decay=0.1)),
        replace(deep, recipe=Recipe(128, warmup=0.3, cooldown=0.2, floor=0.1)),
    ):
        assert tracer.trace(same, TWO) == first
    deeper = tracer.trace(replace(deep, architecture=replace(SMALL, depth=12)), TWO)
    assert deeper.flops > first.flops
    shallow = Candidate(replace(SMALL, depth=3), Recipe(128))
    assert tracer.trace(shallow, TWO) is tracer.trace(shallow, TWO)
    assert len(traced) == 2, "all of these need the same two traces"


@pytest.mark.parametrize(
    ("recipe", "layout"),
    [
        (Recipe(128), Layout(2, recompute=True)),
        (Recipe(128), Layout(1)),
        (Recipe(128), Layout(2, logits_chunk=2**13)),
        (Recipe(256), TWO),
        (Recipe(128, "adamw"), TWO),
        (Recipe(128, dropout=0.1), TWO),
    ],
)
def test_another_step_is_another_trace(recipe: Recipe, layout: Layout, traced: list[Candidate]) -> None:
    tracer, shallow = Tracer("cpu", "float32"), replace(SMALL, depth=1)
    first = tracer.trace(Candidate(shallow, Recipe(128)), TWO)
    other = tracer.trace(Candidate(shallow, recipe), layout)
    assert len(traced) == 2 and other != first


def test_tracers_of_other_devices_share_nothing() -> None:
    own = Candidate(replace(SMALL, depth=1), Recipe(128))
    found = {
        Tracer(backend, precision).trace(own, TWO)
        for backend in ("cpu", "cuda")
        for precision in ("float32", "bfloat16")
    }
    assert len(found) == 4
