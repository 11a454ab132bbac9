"""Specs as people write them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.specs import DEPTH_MOST, QUANTITIES, TEXT_MOST, read_yaml, written, yaml_of
from nas.errors import SpecError
from nas.spec import load_spec, parse_spec

BASE: dict[str, Any] = {"corpus": "austen", "space": "llama-tiny", "budget": {"total": {"compute": 10**13}}}


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("budget.total.compute", 20 * 10**12, "20TFLOP"),
        ("budget.total.compute", 1_500_000_000_000, "1.5TFLOP"),
        ("budget.total.compute", 20 * 10**12 + 1, 20 * 10**12 + 1),  # what they stand for is exactly the same
        ("budget.total.compute", "20 TFLOP", "20 TFLOP"),
        ("budget.total.compute", 10**4000, 10**4000),
        ("budget.total.compute", True, True),
        ("budget.total.compute", -5, -5),
        ("budget.total.time", 420.0, "7min"),
        ("budget.total.time", 90.0, "1.5min"),
        ("budget.total.time", 0.25, "250ms"),
        ("budget.candidate.memory", 2**30, "1GiB"),
        ("budget.candidate.memory", 500_000_000, "500MB"),
        ("budget.final", 0.3, "30%"),
        ("budget.final", 0, 0),
        ("limits.params", 20_000_000, "20M"),
        ("limits.params", 999, 999),
        ("limits.train_seconds", 600.0, "10min"),
        ("method.seed", 1000, 1000),
        ("name", 5000, 5000),
    ],
)
def test_written(field: str, value: Any, text: Any) -> None:
    spec = value
    for name in reversed(field.split(".")):
        spec = {name: spec}
    found: Any = written(spec)
    for name in field.split("."):
        found = found[name]
    assert found == text and type(found) is type(text)


def test_a_space_that_has_fields_of_such_names_stays_as_it_is() -> None:
    space = {"space": {"budget": {"total": {"compute": 10**12}}}}
    assert written(space) == space


@given(
    compute=st.integers(10**6, 10**24),
    time=st.floats(0.001, 1e6),
    memory=st.integers(1, 2**45),
    final=st.just(0.0) | st.floats(1e-9, 0.9),
    name=st.text(min_size=1).filter(str.strip),
)
def test_what_is_written_says_the_same(compute: int, time: float, memory: int, final: float, name: str) -> None:
    budget = {"total": {"compute": compute, "time": time}, "candidate": {"memory": memory}, "final": final}
    spec = parse_spec({**BASE, "name": name, "budget": budget})
    assert parse_spec(written(spec.to_dict())) == spec


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\x85\u2028\u2029\ufeff\ufffe\uffff"))
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
NAMES = st.text("abc*&!<%{: #", min_size=1)


@given(
    st.recursive(PLAIN, lambda own: st.lists(own, max_size=3) | st.dictionaries(NAMES, own, max_size=3), max_leaves=12)
)
def test_yaml_is_read_back(value: Any) -> None:
    spec = {"name": "x", "value": value}
    assert read_yaml(yaml_of(spec)) == spec


def test_the_example_both_ways() -> None:
    spec = load_spec(Path(__file__).parents[2] / "examples" / "austen-quickstart.yaml")
    text = yaml_of(written(spec.to_dict()))
    assert "compute: 20TFLOP" in text and "time: 7min" in text
    assert parse_spec(read_yaml(text)) == spec


BOMB = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "line", "rule"),
    [
        (BOMB, 2, "must have no aliases"),
        ("a: &a {x: 1}\nb:\n  <<: *a\n", 3, "must have no aliases"),
        ("a: !!python/object/apply:os.system [ls]", 1, "must have no tags"),
        ("a: 1\nb: !mine 2", 2, "must have no tags"),
        ("%TAG ! tag:x\n---\na: !b 1", 3, "must have no tags"),
        ("a: " + "[" * (DEPTH_MOST + 1), 1, "must be nested less deeply"),
        ("a: " + "[" * 10_000, 1, "must be nested less deeply"),
        ("a: 1\na: 2", 2, "must be YAML 1.2: found duplicate key"),
        ("a: [", 1, "must be YAML 1.2"),
        ("---\na: 1\n---\nb: 2", 3, "must be YAML 1.2: but found another document"),
        ("a: \0", None, "must be YAML 1.2"),
        ("a: \ud800", None, "must be YAML 1.2"),
        ("a: " + "9" * 5000, None, "must be YAML 1.2"),
        ("a: .nan", None, "must be a finite number"),
        ("a: {b: [-.inf]}", None, "must be a finite number"),
        ("- a", 1, "must be a mapping of fields"),
        ("", 1, "must be a mapping of fields"),
        ("a: " + "x" * TEXT_MOST, None, "must be at most 64 KiB"),
    ],
)  # fmt: skip
def test_what_is_not_read(text: str, line: int | None, rule: str) -> None:
    with pytest.raises(SpecError) as refused:
        read_yaml(text)
    assert refused.value.line == line and refused.value.rule.startswith(rule)
    json.dumps(refused.value.value)


def test_what_nests_too_deeply_is_not_written() -> None:
    spec: dict[str, Any] = {}
    for _ in range(900):
        spec = {"a": spec}
    with pytest.raises(SpecError, match="nested less deeply"):
        yaml_of(spec)


def test_quantities_are_fields_of_specs() -> None:
    """A value of each is taken where it is, and nowhere else."""
    for field in QUANTITIES:
        raw: dict[str, Any] = {**BASE, "budget": {"total": {"compute": "10TFLOP", "time": "1000"}}}
        *path, last = field.split(".")
        own = raw
        for name in path:
            own = own.setdefault(name, {})
        own[last] = "10%" if field == "budget.final" else "500"
        assert parse_spec(raw), field
