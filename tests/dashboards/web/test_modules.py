"""The dashboard's modules: their tests in Node.js, and what none of them does."""

from pathlib import Path

import pytest

from tests.dashboards.web.node import STATIC, called, node

FILES = sorted(Path(__file__).parent.glob("*.test.mjs"))


def test_there_are_tests() -> None:
    assert FILES


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_in_node(file: Path) -> None:
    done = node("--test", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_test_that_fails_is_heard(tmp_path: Path) -> None:
    file = tmp_path / "wrong.test.mjs"
    file.write_text('import test from "node:test";\nimport assert from "node:assert";\n')
    with file.open("a") as more:
        more.write('test("sums", () => assert.equal(1 + 1, 3));\n')
    done = node("--test", file)
    assert done.returncode == 1 and "sums" in done.stdout


def test_calls_from_python(tmp_path: Path) -> None:
    (tmp_path / "own.js").write_text("export const pair = (a, b) => [b, a]; export function none() {}")
    assert called(str(tmp_path / "own.js"), "pair", [["é\n", 1.5], [None, {"a": [True]}]]) == [
        [1.5, "é\n"],
        [{"a": [True]}, None],
    ]
    assert called(str(tmp_path / "own.js"), "none", [[]]) == [None]
    with pytest.raises(AssertionError, match="missing"):
        called(str(tmp_path / "own.js"), "missing", [[]])


@pytest.mark.parametrize("file", sorted(STATIC.glob("*.js")), ids=lambda path: path.name)
def test_every_module_is_checked(file: Path) -> None:
    """By `make check`; a comment at its head says so to editors too."""
    text = file.read_text()
    assert text.startswith("// @ts-check\n") and "@ts-ignore" not in text and "@ts-nocheck" not in text


FORBIDDEN = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function")


@pytest.mark.parametrize("file", sorted(STATIC.glob("*.js")), ids=lambda path: path.name)
def test_no_text_is_read_as_html_or_code(file: Path) -> None:
    assert [own for own in FORBIDDEN if own in file.read_text()] == []
