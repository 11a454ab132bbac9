from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.document import Fields, one_of, plain, read_file, read_text, text, whole
from nas.errors import NotFoundError, SpecError

NESTED = """\
# a comment
name: x

budget:
  total: {compute: 5,
          time: 6}
  candidate:
    compute: 7
  list: [1, 2]
"""


def anything(value: Any, name: str) -> Any:
    return plain(value)


def error_of(call: Any, *arguments: Any) -> SpecError:
    with pytest.raises(SpecError) as caught:
        call(*arguments)
    return caught.value


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("name",), 2),
        (("budget",), 4),
        (("budget", "total"), 5),
        (("budget", "list"), 9),
        (("budget", "total", "compute"), 5),
        (("budget", "total", "time"), 6),
        (("budget", "candidate", "compute"), 8),
    ],
)
def test_complaints_name_field_rule_value_line_and_file(path: tuple[str, ...], line: int) -> None:
    fields = read_text(NESTED, "spec.yaml")
    for name in path[:-1]:
        fields = fields.fields(name)

    def never(value: Any, name: str) -> Any:
        raise SpecError(name, "must be else", plain(value))

    error = error_of(fields.required, path[-1], never)
    assert (error.field, error.rule, error.line, error.source) == (".".join(path), "must be else", line, "spec.yaml")
    assert str(error).startswith(f"spec.yaml:{line}: {'.'.join(path)}: must be else, found ")


def test_a_missing_field_is_complained_about_at_its_mapping() -> None:
    fields = read_text(NESTED, "spec.yaml").fields("budget").fields("candidate")
    error = error_of(fields.required, "memory", anything)
    assert (error.field, error.rule, error.value, error.line) == ("budget.candidate.memory", "is required", None, 8)


def test_mappings_have_no_lines() -> None:
    error = error_of(Fields({"a": {"b": 1}}, "spec").fields("a").done)
    assert (error.field, error.line, error.source) == ("spec.a.b", None, None)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("2e12", 2e12),  # a number in YAML 1.2, text in YAML 1.1
        ("12e03", 12000.0),
        ("1_000", 1000),
        ("0x10", 16),
        ("0o17", 15),
        ("017", 17),
        (".inf", float("inf")),
        ("yes", "yes"),  # text in YAML 1.2, a boolean in YAML 1.1
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("1:30", "1:30"),
        ("true", True),
        ("False", False),
        ("&anchor true", True),
        ("&anchor 5", 5),
        ("'2e12'", "2e12"),
        ("5TFLOP", "5TFLOP"),
        ("[1, two, {three: 3}]", [1, "two", {"three": 3}]),
        ("2026-01-02", "2026-01-02"),
        ("~", None),
        ("null", None),
        ("", None),
        ("!thing {a: 1}", {"a": 1}),
    ],
)
def test_values(written: str, value: object) -> None:
    found = read_text(f"field: {written}", "s").raw("field")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("document", "rule", "line"),
    [
        ("a: 1\na: 2", "found duplicate key", 2),
        ("a: 1\nb: c: d", "mapping values are not allowed", 2),
        ("a: [1", "expected ',' or ']'", 1),
        ("a: 1\n---\nb: 2", "found another document", 2),
        ("a: \t1", "cannot start any token", 1),
        ("- 1\n- 2", "must be a mapping of fields", 1),
        ("", "must be a mapping of fields", 1),
        ("just text", "must be a mapping of fields", 1),
        ("a: " + "9" * 5000, "limit", None),
        ("a: !!int x", "invalid literal", None),
        ("a: \x00", "special characters are not allowed", None),
        ("a: " + "[" * 500, "must be nested less deeply", None),
    ],
)
def test_what_is_no_document(document: str, rule: str, line: int | None) -> None:
    error = error_of(read_text, document, "s.yaml")
    assert rule in str(error)
    assert (error.field, error.line, error.source) == ("document", line, "s.yaml")


@given(st.text(max_size=60) | st.text("[]{}:,-&*!|>'\"#%@` \nab1", max_size=40))
def test_any_text_is_read_or_refused(document: str) -> None:
    try:
        fields = read_text(document, "s")
    except SpecError:
        return
    fields.to_dict()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_plain_values_are_left_as_they_are(value: Any) -> None:
    assert plain(value) == value
    assert plain(OrderedDict(a=(value,))) == {"a": [value]}


def test_plain_makes_text_of_what_it_does_not_know() -> None:
    assert plain({1: Path("x")}) == {"1": "x"}


def test_reading() -> None:
    fields = Fields({"a": 1, "b": None, "c": [1]})
    assert fields.has("a") and not fields.has("b") and not fields.has("x")
    assert fields.read("a", whole(0), 7) == 1
    assert fields.read("b", whole(0), 7) == 7
    assert fields.read("x", whole(0), 7) == 7
    assert fields.raw("x", "default") == "default"
    assert list(fields.names()) == ["a", "b", "c"]
    assert fields.fields("x").to_dict() == {}
    assert fields.to_dict() == {"a": 1, "b": None, "c": [1]}


def test_every_field_must_be_asked_for() -> None:
    fields = read_text("a: 1\nbb: 2\nc:", "s")
    fields.required("a", anything)
    fields.read("other", anything, None)
    error = error_of(fields.done)
    assert str(error) == "s:2: bb: is not known here; known are a, other"
    fields.raw("bb")
    fields.fields("c")
    fields.done()


def test_a_field_that_is_no_mapping() -> None:
    error = error_of(read_text("a: [1]", "s").fields, "a")
    assert str(error) == "s:1: a: must be a mapping of fields, found [1]"


@pytest.mark.parametrize(
    ("parse", "good", "bad", "rule"),
    [
        (text, ["a", " b "], ["", " ", 1, None, ["a"], True], "must be text"),
        (whole(2), [2, 10**20], [1, 2.0, "2", True, None, -3], "must be a whole number of at least 2"),
        (one_of("a", "b"), ["a", "b"], ["c", "", 1, None, ["a"], "A"], "must be one of a, b"),
    ],
)
def test_parsers(parse: Any, good: list[Any], bad: list[Any], rule: str) -> None:
    for value in good:
        assert parse(value, "field") == value
    for value in bad:
        error = error_of(parse, value, "field")
        assert (error.field, error.rule, error.value) == ("field", rule, value)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("name: naïve", encoding="utf-8")
    assert read_file(path).required("name", text) == "naïve"
    with pytest.raises(NotFoundError, match=r"no file '.*other.yaml'"):
        read_file(tmp_path / "other.yaml")
    path.write_bytes(b"name: \xff")
    with pytest.raises(SpecError, match=r"spec.yaml: file: must be a readable UTF-8 text file"):
        read_file(path)
    with pytest.raises(SpecError, match=r"file: must be a readable"):
        read_file(tmp_path)
