import random
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.candidate import Candidate, Deviation
from nas.errors import NotFoundError, SpecError
from nas.space import DEFAULTS, Choice, Knobs, Range, Space, load_space, space_names

SHIPPED = ("llama-small", "llama-tiny", "speedrun")
LEAST = {"depth": [1, 2, 4], "width": [32, 48], "vocabulary": [256, 512]}
DEVIATING = {"knobs": LEAST, "deviations": {"mlp_ratio": ["1/2", 1, 2], "kv_ratio": ["1/2", 1]}}


def space_of(**knobs: Any) -> Space:
    return load_space({"knobs": {**LEAST, **knobs}})


@cache
def shipped(name: str) -> Space:
    return load_space(name)


@cache
def deviating() -> Space:
    return load_space(DEVIATING)


@st.composite
def drawn(draw: st.DrawFn, space: Space) -> Knobs:
    """Knobs whose conditions hold, any others left out."""
    knobs: Knobs = {}
    for knob in space.knobs:
        if knob.active(knobs):
            domain = knob.domain
            values = st.floats(domain.low, domain.high) if isinstance(domain, Range) else st.sampled_from(domain.values)
            knobs[knob.name] = draw(values)
    return knobs


# --- decode and encode ---


@pytest.mark.parametrize("name", SHIPPED)
@given(data=st.data())
def test_every_point_is_a_candidate(name: str, data: st.DataObject) -> None:
    space = shipped(name)
    knobs = data.draw(drawn(space))
    candidate = space.decode(knobs)
    again = space.encode(candidate)
    assert again is not None
    assert space.decode(again) == candidate
    assert set(again) <= {knob.name for knob in space.knobs}
    kept = {"depth", "width", "vocabulary", "optimizer", "activation", "value_embeddings", "x0_shortcut", "softcap"}
    assert again.items() >= {name: knobs[name] for name in kept & set(knobs)}.items()


@pytest.mark.parametrize("name", SHIPPED)
@given(data=st.data())
def test_even_without_conditions(name: str, data: st.DataObject) -> None:
    """`Space.decode` is total over the product of all domains, and over parts of it."""
    space = shipped(name)
    knobs = {knob.name: knob.domain.at(data.draw(st.floats(0, 1, exclude_max=True))) for knob in space.knobs}
    some = data.draw(st.sets(st.sampled_from(sorted(knobs))))
    assert isinstance(space.decode(knobs), Candidate)
    assert isinstance(space.decode({name: knobs[name] for name in some}), Candidate)


@given(st.data())
def test_deviations_come_back(data: st.DataObject) -> None:
    space = deviating()
    candidate = space.decode(data.draw(drawn(space)))
    again = space.encode(candidate)
    assert again is not None
    assert space.decode(again) == candidate


@pytest.mark.parametrize(
    ("knobs", "field", "value"),
    [
        ({"width": 192, "head_size": 16}, "heads", 12),
        ({"width": 48, "head_size": 32}, "heads", 1),  # as many as fit
        ({"width": 32, "head_size": 64}, "heads", 1),
        ({"width": 192, "head_size": 16, "kv_ratio": 0.25}, "kv_heads", 3),
        ({"width": 96, "head_size": 16, "kv_ratio": 0.75}, "kv_heads", 3),  # 4.5 allowed, divisors of 6 are 1, 2, 3, 6
        ({"width": 80, "head_size": 16, "kv_ratio": 0.5}, "kv_heads", 1),  # 2.5 allowed, divisors of 5 are 1, 5
        ({"width": 32, "head_size": 16, "kv_ratio": 0.01}, "kv_heads", 1),
        ({"width": 36, "mlp_ratio": 3.0}, "mlp_width", 112),  # 108 to a multiple of 8, ties to even
        ({"width": 32, "mlp_ratio": 0.01}, "mlp_width", 8),
        ({"context": 256, "window_pattern": "SL", "window_ratio": 0.125}, "window", 32),
        ({"context": 256, "window_pattern": "SL", "window_ratio": 0.125, "depth": 1}, "window", 0),
        ({"context": 256, "window_pattern": "L", "window_ratio": 0.125}, "window", 0),
    ],
)
def test_decoded_shapes(knobs: Knobs, field: str, value: int) -> None:
    assert getattr(space_of().decode({"depth": 4, **knobs}).architecture, field) == value


@pytest.mark.parametrize(("batch", "decoded"), [(256, 256), (300, 256), (100, 256), (400, 512), (1024, 1024)])
def test_batches_are_whole_sequences(batch: int, decoded: int) -> None:
    assert space_of().decode({"batch_tokens": batch}).recipe.batch_tokens == decoded


def test_deviations_say_only_what_differs() -> None:
    space = load_space(DEVIATING)
    knobs = {"depth": 4, "width": 32, "mlp_ratio@1": 2.0, "kv_ratio@1": 1.0, "kv_ratio@2": 0.5, "mlp_ratio@3": 1.0}
    assert space.decode({**knobs, "head_size": 16}).architecture.deviations == (
        Deviation(1, mlp_width=192),
        Deviation(2, kv_heads=1),
    )
    # a layer with one head has no fewer KV heads: a deviation in name only would give one model two ids
    plain = space.decode({"depth": 2, "width": 32})
    assert space.decode({"depth": 2, "width": 32, "kv_ratio@0": 0.5}).id == plain.id


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("architecture", {"width": 40, "mlp_width": 120}),
        ("architecture", {"mlp_width": 104}),
        ("architecture", {"deviations": (Deviation(0, mlp_width=8),)}),
        ("architecture", {"heads": 4, "kv_heads": 4}),
        ("architecture", {"activation": "relu2"}),
        ("architecture", {"value_embeddings": "all"}),
        ("architecture", {"x0_shortcut": True}),
        ("architecture", {"softcap": 15.0}),
        ("recipe", {"matrix_rate": 3.0}),
        ("recipe", {"floor": 0.5}),
        ("recipe", {"optimizer": "adamw"}),
    ],
)
def test_what_lies_outside_has_no_knobs(part: str, changes: dict[str, Any]) -> None:
    space = space_of(optimizer="muon", matrix_rate={"min": 0.5, "max": 2.0})
    inside = space.decode({"depth": 2, "width": 32})
    assert space.encode(inside) is not None
    outside = replace(inside, **{part: replace(getattr(inside, part), **changes)})
    assert space.encode(outside) is None


# --- ways through a space ---


@pytest.mark.parametrize("name", SHIPPED)
def test_uniform_meets_every_value_soon(name: str) -> None:
    """Within about three times as many points as a knob has values, and evenly in the long run."""
    space = load_space(name)
    points = [space.uniform(index) for index in range(1000)]
    for knob in space.knobs:
        met = [point[knob.name] for point in points if knob.name in point]
        if isinstance(knob.domain, Range):
            edges = [knob.domain.at(k / 8) for k in range(9)]
            counts = [sum(low <= value < high for value in met) for low, high in pairwise(edges)]
            assert max(counts) - min(counts) <= 0.35 * len(met) / 8
            continue
        values = knob.domain.values
        counts = [met.count(value) for value in values]
        assert max(counts) - min(counts) <= 0.35 * len(met) / len(values), knob.name
        assert set(met[: 3 * len(values) + 4]) == set(values), knob.name


def test_uniform_is_a_fixed_sequence_of_different_points() -> None:
    space = load_space("llama-tiny")
    again = load_space("llama-tiny")
    first = [space.uniform(index) for index in range(50)]
    assert first == [again.uniform(index) for index in range(50)]
    assert len({space.decode(knobs).id for knobs in first}) == 50


def test_uniform_leaves_layers_alike() -> None:
    space = load_space(DEVIATING)
    assert all(space.decode(space.uniform(index)).architecture.uniform for index in range(50))


@pytest.mark.parametrize("name", SHIPPED)
def test_samples_keep_conditions(name: str) -> None:
    space = load_space(name)
    rng = random.Random(0)
    points = [space.sample(rng) for _ in range(300)]
    for knob in space.knobs:
        asked = [knob.name in point for point in points]
        assert asked == [knob.active(point) for point in points]
        assert 30 < sum(asked) <= 300
    assert space.sample(random.Random(3)) == space.sample(random.Random(3))
    assert any("window_ratio" not in point for point in points)


def test_grids() -> None:
    space = space_of(tied=[True, False], matrix_rate={"min": 0.5, "max": 2, "log": True, "default": 1})
    grid = list(space.grid("depth", "tied", "head_size"))
    assert [(point["depth"], point["tied"]) for point in grid] == [(d, t) for d in (1, 2, 4) for t in (True, False)]
    assert {(point["width"], point["vocabulary"], point["matrix_rate"]) for point in grid} == {(48, 512, 1.0)}
    assert [point["matrix_rate"] for point in space.grid("matrix_rate")] == [0.5, 1.0, 2.0]
    assert list(space.grid()) == [space.encode(space.decode({}))]


def test_grids_keep_conditions() -> None:
    space = load_space("llama-tiny")
    patterns = [
        (p.get("qk_norm"), p.get("window_pattern"), "window_ratio" in p)
        for p in space.grid("qk_norm", "window_pattern")
    ]
    assert patterns == [
        *[(False, None, False)] * 3,
        *((True, "L", False), (True, "SL", True), (True, "SSSL", True)),
    ]


# --- neighbours ---


def conditional(space: Space) -> set[str]:
    return {knob.name for knob in space.knobs if knob.when}


@pytest.mark.parametrize("name", [*SHIPPED, "deviating"])
@given(start=st.integers(0, 2**32), seed=st.integers(0, 2**32))
def test_a_neighbour_differs_in_at_most_two_knobs(name: str, start: int, seed: int) -> None:
    """Apart from those that its conditions ask for and the other's did not; and it is a candidate."""
    space = deviating() if name == "deviating" else shipped(name)
    knobs = space.sample(random.Random(start))
    before = dict(knobs)
    other = space.neighbour(knobs, random.Random(seed))
    assert knobs == before
    assert sum(other[name] != knobs[name] for name in other if name in knobs) <= 2
    assert [knob.name in other for knob in space.knobs] == [knob.active(other) for knob in space.knobs]
    assert set(other) ^ set(knobs) <= conditional(space)
    assert all(knob.domain.nearest(other[knob.name]) == other[knob.name] for knob in space.knobs if knob.name in other)
    assert isinstance(space.decode(other), Candidate)
    assert space.neighbour(knobs, random.Random(seed)) == other


@pytest.mark.parametrize("name", SHIPPED)
def test_neighbours_lie_in_every_direction(name: str) -> None:
    """Every knob is changed by some, alone or with another, and some change what others are asked."""
    space, rng = shipped(name), random.Random(0)
    knobs = space.sample(random.Random(1))
    changed: list[set[str]] = []
    for _ in range(600):
        other = space.neighbour(knobs, rng)
        changed.append({own for own in other if own in knobs and other[own] != knobs[own]})
    assert set.union(*changed) == set(knobs)
    assert {len(own) for own in changed} == {0, 1, 2}  # a value may be drawn again
    assert sum(len(own) == 1 for own in changed) > 200 and sum(len(own) == 2 for own in changed) > 60


def test_a_neighbour_of_a_knob_that_others_hang_on() -> None:
    space = load_space(DEVIATING)
    shallow: Knobs = {"depth": 1, "width": 32, "vocabulary": 256, "mlp_ratio@0": 2.0, "kv_ratio@0": 1.0}
    deep = next(other for seed in range(200) if (other := space.neighbour(shallow, random.Random(seed)))["depth"] == 4)
    assert {f"mlp_ratio@{layer}" for layer in range(4)} <= set(deep)
    back = next(other for seed in range(200) if (other := space.neighbour(deep, random.Random(seed)))["depth"] == 1)
    assert set(back) == set(shallow)


def test_the_neighbour_where_there_is_one_knob() -> None:
    space = load_space({"knobs": {"depth": [1, 2], "width": 32, "vocabulary": 256}})
    assert {space.neighbour({"depth": 1}, random.Random(seed))["depth"] for seed in range(20)} == {1, 2}
    none = load_space({"knobs": {"depth": 1, "width": 32, "vocabulary": 256}})
    assert none.neighbour({}, random.Random(0)) == {}


@pytest.mark.parametrize(
    ("knobs", "size"),
    [
        ({"depth": 1, "width": 32, "vocabulary": 256}, 1),
        (LEAST, 3 * 2 * 2),
        ({**LEAST, "tied": [True, False]}, 24),
        ({**LEAST, "tied": {"values": [True, False], "when": {"depth": 4}}}, 24),  # where it is asked or not
        ({**LEAST, "matrix_rate": {"min": 0.5, "max": 2}}, float("inf")),
    ],
)
def test_the_size_of_a_space(knobs: dict[str, Any], size: float) -> None:
    space = load_space({"knobs": knobs})
    assert space.size == size
    if size < float("inf"):
        assert len(list(space.grid(*(knob.name for knob in space.knobs)))) == size
    assert deviating().size == 3 * 2 * 2 * 3**4 * 2**4


# --- domains ---


@pytest.mark.parametrize(
    ("value", "nearest"),
    [(1, 1), (3, 4), (2.8, 2), (100, 16), (0, 1), ("x", 1), (None, 1), (True, 1), (11, 8), (12, 16)],
)
def test_the_nearest_choice(value: Any, nearest: int) -> None:
    """By ratio, as sizes are meant."""
    assert Choice((1, 2, 4, 8, 16)).nearest(value) == nearest


def test_choices() -> None:
    choice = Choice(("a", "b", "c"))
    assert [choice.at(q) for q in (0, 0.33, 0.34, 0.67, 0.999, 1.0)] == ["a", "a", "b", "c", "c", "c"]
    assert choice.nearest("b") == "b"
    assert choice.nearest("x") == "a"
    assert {choice.sample(random.Random(seed)) for seed in range(50)} == {"a", "b", "c"}


@given(st.floats(0, 1, exclude_max=True), st.booleans())
def test_ranges(quantile: float, log: bool) -> None:
    domain = Range(0.5, 8.0, log)
    value = domain.at(quantile)
    assert 0.5 <= value <= 8.0
    assert domain.nearest(value) == value
    assert (domain.nearest(0), domain.nearest(9)) == (0.5, 8.0)
    assert (value < 2) == (quantile < (0.5 if log else 0.2))
    assert 0.5 <= domain.sample(random.Random(str(quantile))) <= 8.0


# --- reading ---


def test_shipped_spaces() -> None:
    assert space_names() == sorted(SHIPPED)
    for name in SHIPPED:
        space = load_space(name)
        assert space.name == name
        assert space.about
        assert load_space(space.to_dict()) == space


def test_defaults() -> None:
    space = space_of(kv_ratio=["1/4", "1/2"], cooldown={"values": [0.5, 0.6], "default": 0.6}, floor=0.1)
    assert space.defaults == {
        **DEFAULTS,
        **{"depth": 2, "width": 48, "vocabulary": 512, "kv_ratio": 0.5, "cooldown": 0.6, "floor": 0.1},
    }
    assert space.values("floor") == (0.1,)
    assert space.values("head_size") == (32,)
    assert space.domain("kv_ratio") == Choice((0.25, 0.5))
    assert [knob.name for knob in space.knobs] == ["depth", "width", "vocabulary", "kv_ratio", "cooldown"]


def test_conditions_may_come_in_any_order() -> None:
    knobs: dict[str, Any] = {
        "window_ratio": {"values": ["1/4", "1/8"], "when": {"window_pattern": "SL"}},
        "window_pattern": {"values": ["L", "SL"], "when": {"qk_norm": True}},
        "qk_norm": [True, False],
    }
    space = load_space({"knobs": knobs | LEAST})
    names = [knob.name for knob in space.knobs]
    assert names.index("qk_norm") < names.index("window_pattern") < names.index("window_ratio")
    assert all(
        knob.active(point) for point in map(space.uniform, range(40)) for knob in space.knobs if knob.name in point
    )


def test_deviation_knobs_exist_for_layers_that_do() -> None:
    space = load_space(DEVIATING)
    for knobs in space.grid("depth"):
        assert sum("mlp_ratio@" in name for name in knobs) == knobs["depth"]
    fixed = load_space({"knobs": {**LEAST, "depth": 2}, "deviations": {"mlp_ratio": [1, 2]}})
    assert [knob.name for knob in fixed.knobs][-2:] == ["mlp_ratio@0", "mlp_ratio@1"]


def test_paths(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("about: words\nknobs: {depth: 2, width: [32, 64], vocabulary: 256}\n")
    space = load_space("mine.yaml", tmp_path)
    assert (space.name, space.about, space.values("width")) == ("mine", "words", (32, 64))
    assert load_space(str(tmp_path / "mine.yaml")) == space
    with pytest.raises(
        NotFoundError, match=r"space: must be one of llama-small, llama-tiny, speedrun, a path or a mapping, found"
    ):
        load_space("yours.yaml", tmp_path)


SL = {"window_pattern": ["L", "SL"]}


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"layers": [1]}, r"layers: is not a knob; known are depth, width"),
        ({"depth": []}, r"depth: must list at least one value, each once, found \[\]"),
        ({"depth": [1, 1]}, r"depth: must list at least one value, each once"),
        ({"depth": [0, 1]}, r"depth: must be whole numbers of at least 1, found 0"),
        ({"depth": [1.5]}, r"depth: must be whole numbers of at least 1, found 1.5"),
        ({"depth": [True]}, r"depth: must be whole numbers of at least 1, found True"),
        ({"depth": {"values": [1, 2], "default": 3}}, r"depth: must have its default among its values, found 3"),
        ({"depth": {"values": [1, 2], "step": 3}}, r"depth.step: is not known here"),
        ({"width": {"min": 32, "max": 64}}, r"width.min: is for rates; list the values of width"),
        ({"vocabulary": [128, 512]}, r"vocabulary: must be at least 256, the bytes, found 128"),
        ({"vocabulary": 128}, r"vocabulary: must be at least 256, the bytes, found 128"),
        ({"head_size": [16, 17]}, r"head_size: must be even"),
        ({"tied": [1]}, r"tied: must be true or false, found 1"),
        ({"qk_norm": "yes"}, r"qk_norm: must be true or false, found 'yes'"),
        ({"optimizer": ["muon", "lion"]}, r"optimizer: must be of muon, adamw, found 'lion'"),
        ({"activation": ["swiglu", "gelu"]}, r"activation: must be of swiglu, relu2, found 'gelu'"),
        ({"value_embeddings": [True]}, r"value_embeddings: must be of none, alternate, all, found True"),
        ({"x0_shortcut": [0]}, r"x0_shortcut: must be true or false, found 0"),
        ({"softcap": [-15]}, r"softcap: must be at least 0 and finite, found -15"),
        ({"softcap": {"min": 10, "max": 30}}, r"softcap.min: is for rates; list the values of softcap"),
        ({"window_pattern": ["LX"]}, r"window_pattern: must be of the letters S and L, found 'LX'"),
        ({"mlp_ratio": ["1/0"]}, r"mlp_ratio: must be numbers, or fractions such as 1/4, found '1/0'"),
        ({"mlp_ratio": ["big"]}, r"mlp_ratio: must be numbers, or fractions"),
        ({"mlp_ratio": ["1e400"]}, r"mlp_ratio: must be numbers, or fractions"),
        ({"mlp_ratio": [0]}, r"mlp_ratio: must be above 0 and finite, found 0"),
        ({"mlp_ratio": [float("inf")]}, r"mlp_ratio: must be above 0 and finite, found inf"),
        ({"weight_decay": [float("nan")]}, r"weight_decay: must be at least 0 and finite, found nan"),
        ({"weight_decay": [-0.1]}, r"weight_decay: must be at least 0 and finite, found -0.1"),
        ({"dropout": [0, 1]}, r"dropout: must be at least 0 and below 1, found 1.0"),
        ({"matrix_rate": {"min": 1}}, r"matrix_rate.max: is required"),
        ({"matrix_rate": {"min": "a", "max": 2}}, r"matrix_rate.min: must be a number, found 'a'"),
        ({"matrix_rate": {"min": 2, "max": 1}}, r"matrix_rate.max: must be above min"),
        ({"matrix_rate": {"min": 0, "max": 1, "log": True}}, r"matrix_rate.max: must be above min, and min above 0"),
        ({"matrix_rate": {"min": 0, "max": 1}}, r"matrix_rate: must be above 0, found 0.0"),
        ({"matrix_rate": {"min": 1, "max": 2, "log": "y"}}, r"matrix_rate.log: must be true or false, found 'y'"),
        ({"matrix_rate": {"min": 1, "max": 2, "default": 3}}, r"matrix_rate: must have its default among its values"),
        ({"matrix_rate": {"min": 1, "max": float("inf")}}, r"matrix_rate: must be finite, found inf"),
        ({"warmup": [0.4], "cooldown": [0.5, 0.7]}, r"cooldown: must fit into 1 with warmup, found 0.7"),
        ({"warmup": {"min": 0.1, "max": 0.5}}, r"cooldown: must fit into 1 with warmup, found 0.7"),
        ({**SL, "window_ratio": ["1/3"]}, r"window: must divide context \(256\) and be below it, found 85"),
        ({**SL, "window_ratio": [1]}, r"window: must divide context \(256\) and be below it, found 256"),
        ({**SL, "context": [64, 100], "window_ratio": ["1/8"]}, r"window: must divide context \(100\)"),
        (
            {  # reached only where a knob is not at its default
                "qk_norm": {"values": [True, False], "default": False},
                "window_pattern": {"values": ["L", "SL"], "default": "L", "when": {"qk_norm": True}},
                "window_ratio": ["1/3"],
            },
            r"window: must divide context",
        ),
        (
            {"dropout": {"values": [0, 0.1], "when": {"tied": True}}},
            r"dropout: has a condition on a knob that is missing",
        ),
        (
            {"tied": {"values": [True, False], "when": {"depth": [3]}}},
            r"tied: has a condition that no value of depth meets",
        ),
        ({"tied": {"values": [True, False], "when": {"depth": ["x"]}}}, r"tied.when.depth: must be whole numbers"),
        ({"tied": {"values": [True, False], "when": [1]}}, r"tied.when: must be a mapping of fields, found \[1\]"),
        (
            {
                "tied": {"values": [True, False], "when": {"qk_norm": True}},
                "qk_norm": {"values": [True, False], "when": {"tied": True}},
            },
            r"tied: has a condition on a knob that is missing, fixed or circular",
        ),
    ],
)
def test_bad_knobs(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=rf"^space\.knobs\.{message}"):
        space_of(**knobs)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"knobs": {"depth": 1, "width": 8}}, r"space.knobs.vocabulary: is required"),
        ({}, r"space.knobs.depth: is required"),
        ({"knobs": LEAST, "extra": 1}, r"space.extra: is not known here"),
        ({"knobs": [1]}, r"space.knobs: must be a mapping of fields"),
        ({"knobs": LEAST, "about": 5}, r"space.about: must be text"),
        (
            {"knobs": LEAST, "deviations": {"width": [1, 2]}},
            r"space.deviations.width: cannot deviate by layer; can: mlp",
        ),
        (
            {"knobs": LEAST, "deviations": {"mlp_ratio": [2]}},
            r"space.deviations.mlp_ratio: must list factors .* 1 among",
        ),
        ({"knobs": LEAST, "deviations": {"kv_ratio": [0, 1]}}, r"space.deviations.kv_ratio: must be above 0"),
    ],
)
def test_bad_spaces(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=rf"^{message}"):
        load_space(raw)


def test_complaints_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("knobs:\n  depth: [1, 2]\n  width: [32]\n  vocabulary: [512]\n  head_size: [x]\n")
    with pytest.raises(
        SpecError, match=r"mine.yaml:5: knobs.head_size: must be whole numbers of at least 1, found 'x'"
    ):
        load_space(str(path))


REQUIRED = {
    "depth": st.lists(st.integers(1, 6), min_size=1, max_size=3, unique=True),
    "width": st.lists(st.integers(1, 300), min_size=1, max_size=3, unique=True),
    "vocabulary": st.lists(st.integers(256, 9999), min_size=1, max_size=2, unique=True),
}
OPTIONAL = {
    "head_size": st.lists(st.integers(1, 40), min_size=1, max_size=2, unique=True),
    "kv_ratio": st.lists(st.sampled_from([0.1, 0.25, 0.5, 1, 2]), min_size=1, unique=True),
    "context": st.lists(st.integers(1, 300), min_size=1, max_size=2, unique=True),
    "window_pattern": st.lists(st.sampled_from(["L", "S", "SL", "LS"]), min_size=1, unique=True),
    "window_ratio": st.lists(st.sampled_from(["1/2", "1/3", "1/4", 1]), min_size=1, unique=True),
    "activation": st.lists(st.sampled_from(["swiglu", "relu2"]), min_size=1, unique=True),
    "value_embeddings": st.lists(st.sampled_from(["none", "alternate", "all"]), min_size=1, unique=True),
    "softcap": st.lists(st.sampled_from([0, 15, 0.5]), min_size=1, unique=True),
    "warmup": st.lists(st.sampled_from([0, 0.1, 0.5]), min_size=1, unique=True),
    "cooldown": st.lists(st.sampled_from([0, 0.5, 0.9]), min_size=1, unique=True),
    "dropout": st.lists(st.sampled_from([0, 0.5, 1]), min_size=1, unique=True),
}
SPACES = st.fixed_dictionaries(REQUIRED, optional=OPTIONAL)


@given(SPACES, st.integers(0, 2**32))
@settings(max_examples=60)
def test_what_is_read_can_be_decoded(knobs: dict[str, Any], seed: int) -> None:
    """A space is refused when it is read, or every point of it is a candidate."""
    try:
        space = load_space({"knobs": knobs})
    except SpecError:
        return
    rng = random.Random(seed)
    for _ in range(5):
        assert isinstance(space.decode(space.sample(rng)), Candidate)
