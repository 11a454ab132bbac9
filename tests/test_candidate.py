import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.candidate import Architecture, Candidate, Deviation, Layer, Recipe
from nas.errors import SpecError

PLAIN = Architecture(depth=3, width=64, heads=4, head_size=16, kv_heads=2, mlp_width=192, vocabulary=4096, context=256)
RICH = replace(
    PLAIN,
    depth=4,
    tied=False,
    qk_norm=False,
    window=64,
    window_pattern="SSL",
    deviations=(Deviation(1, mlp_width=64), Deviation(3, heads=6, kv_heads=3)),
)
SPEEDRUN = replace(PLAIN, activation="relu2", value_embeddings="alternate", x0_shortcut=True, softcap=15.0)
RECIPE = Recipe(1024)
RICH_RECIPE = Recipe(512, "adamw", 0.5, 1.25, 0.1, 0.2, 0.0, 0.5, 0.1)
ARCHITECTURE_RAW = Candidate(PLAIN, RECIPE).to_dict()["architecture"]


@pytest.mark.parametrize(
    ("candidate", "id_"),
    [
        (Candidate(PLAIN, RECIPE), "de70127a32eb"),
        (Candidate(RICH, RICH_RECIPE), "8840e8781f0e"),
        (Candidate(replace(PLAIN, vocabulary=256), replace(RECIPE, optimizer="adamw")), "005ff92a2f23"),
        (Candidate(SPEEDRUN, RECIPE), "69b28b84f214"),
    ],
)
def test_ids_are_forever(candidate: Candidate, id_: str) -> None:
    """Databases and files hold them: a change here orphans every result that was ever made."""
    assert candidate.id == id_


def test_fields_at_their_default_do_not_count() -> None:
    """A field that is added later, with what was done before as its default, leaves all ids as they are."""
    spelled = Candidate(
        replace(
            PLAIN,
            tied=True,
            qk_norm=True,
            window=0,
            window_pattern="L",
            deviations=(),
            activation="swiglu",
            value_embeddings="none",
            x0_shortcut=False,
            softcap=0,
        ),
        Recipe(1024, "muon", 1.0, 1.0, 0.0, 0.0, 0.02, 0.7, 0.0),
    )
    assert spelled.id == Candidate(PLAIN, RECIPE).id
    assert spelled.to_dict() == {
        "architecture": {
            "depth": 3,
            "width": 64,
            "heads": 4,
            "head_size": 16,
            "kv_heads": 2,
            "mlp_width": 192,
            "vocabulary": 4096,
            "context": 256,
        },
        "recipe": {"batch_tokens": 1024},
    }


def test_every_field_counts() -> None:
    changes: list[tuple[str, object]] = [
        *(("depth", 4), ("width", 96), ("heads", 8), ("head_size", 8), ("kv_heads", 1), ("mlp_width", 8)),
        *(("vocabulary", 512), ("context", 128), ("tied", False), ("qk_norm", False)),
        *(("activation", "relu2"), ("value_embeddings", "alternate"), ("value_embeddings", "all")),
        *(("x0_shortcut", True), ("softcap", 15), ("softcap", 30)),
        ("deviations", (Deviation(0, mlp_width=8),)),
    ]
    architectures = [replace(PLAIN, **{name: value}) for name, value in changes]  # type: ignore[arg-type]
    windows = [replace(PLAIN, window=size, window_pattern=p) for size, p in [(64, "S"), (32, "S"), (64, "SL")]]
    recipe_changes: list[tuple[str, object]] = [
        *(("batch_tokens", 512), ("optimizer", "adamw"), ("matrix_rate", 2), ("embedding_rate", 2)),
        *(("weight_decay", 0.1), ("dropout", 0.1), ("warmup", 0.1), ("cooldown", 0.1), ("floor", 0.1)),
    ]
    candidates = [
        Candidate(PLAIN, RECIPE),
        *(Candidate(architecture, RECIPE) for architecture in architectures + windows),
        *(Candidate(PLAIN, replace(RECIPE, **{name: value})) for name, value in recipe_changes),  # type: ignore[arg-type]
    ]
    assert len({candidate.id for candidate in candidates}) == len(candidates)


def test_equal_candidates_have_equal_ids() -> None:
    whole, real = Candidate(PLAIN, Recipe(1024, matrix_rate=2)), Candidate(PLAIN, Recipe(1024, matrix_rate=2.0))
    assert whole == real
    assert whole.id == real.id
    assert type(whole.recipe.matrix_rate) is float
    capped, alike = (Candidate(replace(PLAIN, softcap=cap), RECIPE) for cap in (15, 15.0))
    assert capped == alike
    assert capped.id == alike.id


RATES = st.floats(1e-3, 1e3)


@st.composite
def candidates(draw: st.DrawFn) -> Candidate:
    kv_heads, groups, depth = draw(st.integers(1, 8)), draw(st.integers(1, 4)), draw(st.integers(1, 12))
    context = 2 ** draw(st.integers(2, 12))
    window = draw(st.sampled_from([0, context // 2, context // 4]))
    deviating = draw(st.lists(st.integers(0, depth - 1), unique=True, max_size=3).map(sorted))
    architecture = Architecture(
        depth=depth,
        width=draw(st.integers(1, 2048)),
        heads=kv_heads * groups,
        head_size=2 * draw(st.integers(1, 64)),
        kv_heads=kv_heads,
        mlp_width=draw(st.integers(1, 8192)),
        vocabulary=draw(st.integers(256, 2**16)),
        context=context,
        tied=draw(st.booleans()),
        qk_norm=draw(st.booleans()),
        window=window,
        window_pattern=draw(st.from_regex(r"[SL]*S[SL]*", fullmatch=True))
        if window
        else draw(st.sampled_from(["L", "LL"])),
        deviations=tuple(
            Deviation(layer, heads=kv_heads * draw(st.integers(0, 3)), mlp_width=draw(st.integers(0, 99)))
            for layer in deviating
        ),
        activation=draw(st.sampled_from(["swiglu", "relu2"])),
        value_embeddings=draw(st.sampled_from(["none", "alternate", "all"])),
        x0_shortcut=draw(st.booleans()),
        softcap=draw(st.sampled_from([0.0, 0.5, 15.0, 1e6])),
    )
    warmup = draw(st.floats(0, 1))
    recipe = Recipe(
        batch_tokens=context * draw(st.integers(1, 64)),
        optimizer=draw(st.sampled_from(["muon", "adamw"])),
        matrix_rate=draw(RATES),
        embedding_rate=draw(RATES),
        weight_decay=draw(st.floats(0, 10)),
        dropout=draw(st.floats(0, 1, exclude_max=True)),
        warmup=warmup,
        cooldown=draw(st.floats(0, 1 - warmup)),
        floor=draw(st.floats(0, 1)),
    )
    return Candidate(architecture, recipe)


@given(candidates())
def test_a_candidate_survives_json(candidate: Candidate) -> None:
    again = Candidate.from_dict(json.loads(json.dumps(candidate.to_dict(), allow_nan=False)))
    assert again == candidate
    assert again.id == candidate.id
    assert again.sequences * candidate.architecture.context == candidate.recipe.batch_tokens


def test_layers() -> None:
    assert RICH.layers() == (Layer(4, 2, 192, 64), Layer(4, 2, 64, 64), Layer(4, 2, 192, 0), Layer(6, 3, 192, 0))
    assert replace(PLAIN, window=64, window_pattern="S").layers()[-1].window == 0  # the last is always long
    assert PLAIN.layers() == (Layer(4, 2, 192, 0),) * 3
    assert replace(RICH, value_embeddings="alternate").layers() == (
        *(Layer(4, 2, 192, 64), Layer(4, 2, 64, 64, True)),
        *(Layer(4, 2, 192, 0), Layer(6, 3, 192, 0, True)),
    )


@pytest.mark.parametrize(
    ("which", "depth", "expected"),
    [
        ("none", 3, [False, False, False]),
        ("all", 3, [True, True, True]),
        ("alternate", 1, [True]),
        ("alternate", 2, [False, True]),
        ("alternate", 3, [True, False, True]),
        ("alternate", 4, [False, True, False, True]),
    ],
)
def test_layers_with_value_embeddings(which: Any, depth: int, expected: list[bool]) -> None:
    """The last layer is among them whatever the depth."""
    layers = replace(PLAIN, depth=depth, value_embeddings=which).layers()
    assert [layer.value_embedding for layer in layers] == expected


@pytest.mark.parametrize(
    ("changes", "uniform"),
    [
        ({}, True),
        ({"window": 64, "window_pattern": "SL"}, True),
        ({"deviations": (Deviation(1, mlp_width=192),)}, True),
        ({"deviations": (Deviation(1, mlp_width=64),)}, False),
        ({"deviations": (Deviation(0, heads=8),)}, False),
    ],
)
def test_uniform(changes: dict[str, Any], uniform: bool) -> None:
    assert replace(PLAIN, **changes).uniform is uniform


@pytest.mark.parametrize(
    ("changes", "field", "rule"),
    [
        ({"depth": 0}, "depth", "must be at least 1"),
        ({"width": -1}, "width", "must be at least 1"),
        ({"heads": 0}, "heads", "must be at least 1"),
        ({"kv_heads": 0}, "kv_heads", "must be at least 1"),
        ({"head_size": 0}, "head_size", "must be at least 1"),
        ({"mlp_width": 0}, "mlp_width", "must be at least 1"),
        ({"context": 0}, "context", "must be at least 1"),
        ({"head_size": 15}, "head_size", "must be even (rotary positions turn pairs)"),
        ({"vocabulary": 255}, "vocabulary", "must be at least 256, the bytes"),
        ({"kv_heads": 3}, "kv_heads", "must divide heads (4)"),
        ({"window_pattern": ""}, "window_pattern", "must be of S and L"),
        ({"window_pattern": "SX", "window": 64}, "window_pattern", "must be of S and L"),
        ({"window_pattern": "SL"}, "window", "goes with an S in window_pattern"),
        ({"window": 64}, "window", "goes with an S in window_pattern"),
        ({"window": 256, "window_pattern": "S"}, "window", "must divide context (256) and be below it"),
        ({"window": 60, "window_pattern": "S"}, "window", "must divide context (256) and be below it"),
        ({"window": -64, "window_pattern": "S"}, "window", "must divide context (256) and be below it"),
        ({"activation": "gelu"}, "activation", "must be of swiglu, relu2"),
        ({"value_embeddings": "some"}, "value_embeddings", "must be of none, alternate, all"),
        ({"softcap": -1}, "softcap", "must be at least 0 and finite"),
        ({"softcap": float("inf")}, "softcap", "must be at least 0 and finite"),
        ({"softcap": float("nan")}, "softcap", "must be at least 0 and finite"),
        ({"deviations": (Deviation(3),)}, "deviations", "must name layers of the model once, ascending"),
        ({"deviations": (Deviation(-1),)}, "deviations", "must name layers of the model once, ascending"),
        ({"deviations": (Deviation(1), Deviation(1))}, "deviations", "must name layers of the model once, ascending"),
        ({"deviations": (Deviation(1), Deviation(0))}, "deviations", "must name layers of the model once, ascending"),
        ({"deviations": (Deviation(1, mlp_width=-8),)}, "deviations", "must have sizes of at least 0"),
        ({"deviations": (Deviation(1, heads=-4),)}, "deviations", "must have sizes of at least 0"),
        ({"deviations": (Deviation(1, heads=3),)}, "deviations", "kv_heads must divide heads"),
    ],
)
def test_architectures_that_cannot_be(changes: dict[str, Any], field: str, rule: str) -> None:
    with pytest.raises(SpecError) as caught:
        replace(PLAIN, **changes)
    assert (caught.value.field, caught.value.rule) == (field, rule)


@pytest.mark.parametrize(
    ("changes", "field", "rule"),
    [
        ({"batch_tokens": 0}, "batch_tokens", "must be at least 1"),
        ({"optimizer": "sgd"}, "optimizer", "must be muon or adamw"),
        ({"matrix_rate": 0}, "matrix_rate", "must be above 0"),
        ({"embedding_rate": -1}, "embedding_rate", "must be above 0"),
        ({"matrix_rate": float("inf")}, "matrix_rate", "must be finite"),
        ({"weight_decay": float("nan")}, "weight_decay", "must be finite"),
        ({"weight_decay": -0.1}, "weight_decay", "must be at least 0"),
        ({"dropout": 1}, "dropout", "must be at least 0 and below 1"),
        ({"dropout": -0.1}, "dropout", "must be at least 0 and below 1"),
        ({"warmup": -0.1}, "warmup", "must be a share of 1"),
        ({"cooldown": 1.1}, "cooldown", "must be a share of 1"),
        ({"floor": 2}, "floor", "must be a share of 1"),
        ({"warmup": 0.5, "cooldown": 0.6}, "cooldown", "must fit into 1 with warmup"),
    ],
)
def test_recipes_that_cannot_be(changes: dict[str, Any], field: str, rule: str) -> None:
    with pytest.raises(SpecError) as caught:
        replace(RECIPE, **changes)
    assert (caught.value.field, caught.value.rule) == (field, rule)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, "candidate: must be a mapping of its fields"),
        ([1], "candidate: must be a mapping of its fields, found [1]"),
        ({}, "architecture: must be a mapping of its fields"),
        ({"architecture": ARCHITECTURE_RAW}, "recipe: must be a mapping of its fields"),
        ({"x": 1}, "candidate.x: is not known; known are architecture, recipe"),
        ({"architecture": ARCHITECTURE_RAW, "recipe": 5}, "recipe: must be a mapping of its fields, found 5"),
    ],
)
def test_what_is_no_candidate(raw: Any, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        Candidate.from_dict(raw)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("architecture", "depth"), "3", "architecture.depth: must be a whole number, found '3'"),
        (("architecture", "depth"), 3.0, "architecture.depth: must be a whole number, found 3.0"),
        (("architecture", "depth"), True, "architecture.depth: must be a whole number, found True"),
        (("architecture", "depth"), 0, "architecture.depth: must be at least 1, found 0"),
        (("architecture", "tied"), 1, "architecture.tied: must be true or false, found 1"),
        (("architecture", "window_pattern"), ["S"], "architecture.window_pattern: must be text, found ['S']"),
        (("architecture", "layers"), 3, "architecture.layers: is not known"),
        (("architecture", "deviations"), 3, "architecture.deviations: must be a list, found 3"),
        (("architecture", "deviations"), [3], "architecture.deviations: must be a mapping of its fields, found 3"),
        (("architecture", "deviations"), [{}], "architecture.deviations.layer: is required"),
        (("architecture", "deviations"), [{"layer": 9}], "architecture.deviations: must name layers"),
        (("architecture", "deviations"), [{"layer": 0, "width": 9}], "architecture.deviations.width: is not known"),
        (
            ("architecture", "activation"),
            ["relu2"],
            "architecture.activation: must be of swiglu, relu2, found ['relu2']",
        ),
        (("architecture", "value_embeddings"), True, "architecture.value_embeddings: must be of none, alternate, all"),
        (("architecture", "x0_shortcut"), 1, "architecture.x0_shortcut: must be true or false, found 1"),
        (("architecture", "softcap"), "15", "architecture.softcap: must be a number, found '15'"),
        (("recipe", "matrix_rate"), "1", "recipe.matrix_rate: must be a number, found '1'"),
        (("recipe", "matrix_rate"), True, "recipe.matrix_rate: must be a number, found True"),
        (("recipe", "optimizer"), 5, "recipe.optimizer: must be muon or adamw, found 5"),
        (("recipe", "optimizer"), ["muon"], "recipe.optimizer: must be muon or adamw, found ['muon']"),
        (("recipe", "dropout"), 1, "recipe.dropout: must be at least 0 and below 1, found 1.0"),
        (("recipe", "batch_tokens"), 1000, "batch_tokens: must be a multiple of context (256), found 1000"),
    ],
)
def test_fields_that_cannot_be(path: tuple[str, str], value: object, message: str) -> None:
    raw = Candidate(PLAIN, RECIPE).to_dict()
    raw[path[0]][path[1]] = value
    with pytest.raises(SpecError) as caught:
        Candidate.from_dict(raw)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("name", list(ARCHITECTURE_RAW))
def test_fields_that_must_be(name: str) -> None:
    raw = Candidate(PLAIN, RECIPE).to_dict()
    del raw["architecture"][name]
    with pytest.raises(SpecError, match=rf"^architecture.{name}: is required$"):
        Candidate.from_dict(raw)
