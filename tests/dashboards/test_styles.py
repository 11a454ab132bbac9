"""Styles of the pages and of the report: what they have in common stands once."""

import re
from importlib import resources

import pytest

FOLDER = resources.files("dashboards")
SHARED, WEB, REPORT = "static/shared.css", "static/web.css", "templates/report.css"


def declarations(text: str) -> set[tuple[str, str, str]]:
    """(condition, selector, declaration) of each rule; ``@media`` is the condition."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    found, opened = set(), []
    for token, end in re.findall(r"([^{};]*)([{};])", text):
        words = " ".join(token.split())
        if end == "{":
            opened.append(words)
            continue
        if words:
            condition, selector = ("", opened[0]) if len(opened) == 1 else (opened[0], opened[1])
            found |= {(condition, own.strip(), words) for own in selector.split(",")}
        if end == "}":
            opened.pop()
    return found


def of(name: str) -> set[tuple[str, str, str]]:
    return declarations((FOLDER / name).read_text())


@pytest.mark.parametrize(("one", "other"), [(SHARED, WEB), (SHARED, REPORT), (WEB, REPORT)])
def test_no_rule_stands_twice(one: str, other: str) -> None:
    widths = {"main", "footer"}  # a page is wider than the report, and each says so in one rule
    twice = {own for own in of(one) & of(other) if own[1] not in widths}
    assert of(one) and of(other) and sorted(twice) == []


def test_declarations_are_found() -> None:
    text = "/* a { b: c } */ a, b { c: d; e: f } @media (x) { a { c: d; } }"
    assert declarations(text) == {
        *(("", own, what) for own in "ab" for what in ("c: d", "e: f")),
        ("@media (x)", "a", "c: d"),
    }
