"""The documents say what the code does: commands, options, fields, defaults, exit codes, and nothing that is gone."""

import dataclasses
import math
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nas import errors
from nas.data.hub import _FIELDS as HUB_FIELDS
from nas.records import CandidateState, Origin, SearchState
from nas.spec import LOSS, OBJECTIVES, Budget, CandidateBudget, Limits, Method, SearchSpec, Total, parse_spec
from nas.units import parse_bytes, parse_count, parse_flops, parse_seconds, parse_share
from services.cli.main import OF_THIS_MACHINE
from services.cli.output import SCHEMA_VERSION
from tests.services import schema
from tests.services.commands import commands

ROOT = Path(__file__).parents[1]
CLI, SPEC, SERVICE, README = (ROOT / name for name in ("docs/cli.md", "docs/spec.md", "docs/service.md", "README.md"))
DOCUMENTS = sorted([README, *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "decisions").glob("*.md")])
COMMANDS = commands()


def rows(text: str, columns: int) -> list[list[str]]:
    """Cells of all lines of tables with so many columns, heads and rules left out."""
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    return [line for line in cells if len(line) == columns and not set(line[0]) <= {"-", "|"}]


def marked(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


def section(text: str, head: str) -> str:
    """From a head to the next one of its level or above."""
    level = head.split()[0]
    found = re.search(rf"^{re.escape(head)}\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", text, re.M | re.S)
    assert found, f"there is no section {head}"
    return found[1]


def spec_fields(kind: Any = SearchSpec, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names of all fields of a spec, with their defaults."""
    nested = {"budget": Budget, "total": Total, "candidate": CandidateBudget, "limits": Limits, "method": Method}
    for field in dataclasses.fields(kind):
        name = f"{path}{field.name}"
        if field.name in nested:
            yield from spec_fields(nested[field.name], f"{name}.")
        else:
            yield name, field.default


FIELDS = dict(spec_fields())


# --- the spec ---


def test_every_field_of_the_spec_is_explained_and_no_other() -> None:
    documented = rows(section(SPEC.read_text(), "## Fields"), 3)[1:]
    assert [marked(name)[0] for name, _, _ in documented] != []
    assert {marked(name)[0] for name, _, _ in documented} == set(FIELDS)
    assert all(means and default for _, means, default in documented)


def test_defaults_of_the_spec() -> None:
    least = parse_spec({"corpus": "austen", "space": "llama-tiny", "budget": {"total": {"compute": 1600}}})
    for name, _, written in rows(section(SPEC.read_text(), "## Fields"), 3)[1:]:
        value: Any = least
        for part in marked(name)[0].split("."):
            value = getattr(value, part)
        if written == "no limit":
            assert value in (None, math.inf), name
        elif written == "a 16th of the search's compute":
            assert value == int(1600 * 0.7) // 16
        elif written != "required":
            assert normal(marked(written)[0]) == normal(value), name


def normal(value: Any) -> str:
    """A default as it is written and as it is held, in one form."""
    text = ", ".join(value) if isinstance(value, tuple) else str(value)
    return str(parse_share(text)) if text.endswith("%") else text.strip("[]")


def test_the_example_names_every_field() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", SPEC.read_text(), re.S)
    raw = parse_spec(example, "example").to_dict()
    for name in FIELDS:
        value: Any = raw
        for part in name.split("."):
            assert part in value, name
            value = value[part]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives(name: str) -> None:
    fields = section(SPEC.read_text(), "## Fields")
    assert f"`{name}`" in next(line for line in fields.splitlines() if line.startswith("| `minimize`"))
    assert name == LOSS or f"`limits.{name}`" in fields


@pytest.mark.parametrize(
    ("quantity", "parse"),
    [
        ("FLOPs", parse_flops),
        ("time", parse_seconds),
        ("bytes", parse_bytes),
        ("count", parse_count),
        ("share", parse_share),
    ],
)
def test_quantities_can_be_written_so(quantity: str, parse: Any) -> None:
    written = next(line[1] for line in rows(section(SPEC.read_text(), "## Units"), 3) if line[0] == quantity)
    for text in marked(written):
        assert parse(text) > 0


def test_fields_of_a_data_set() -> None:
    documented = [name for line in rows(section(SPEC.read_text(), "## Corpora"), 3)[1:] for name in marked(line[0])]
    assert sorted(documented) == sorted(HUB_FIELDS)


# --- the commands ---


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_explained(name: str) -> None:
    text = section(CLI.read_text(), f"### nas {name}")
    examples = [line for line in text.splitlines() if line.startswith(f"    nas {name}")]
    assert examples, "has an example"
    options = {own for parameter in COMMANDS[name].params for own in parameter.opts if own.startswith("--")}
    general = {"--output", "--help", "--yes"} if name != "run" else {"--output", "--help"}
    assert [own for own in sorted(options - general) if own not in text] == []


def test_what_each_command_does_with_a_server() -> None:
    lines = rows(section(SERVICE.read_text(), "## Commands"), 3)[1:]
    told = {name: cells[1] for cells in lines for name in marked(cells[0])}
    assert sorted(told) == sorted(COMMANDS)
    refused = [name for name in COMMANDS if name.split()[0] in OF_THIS_MACHINE]
    assert {told[name] for name in refused} == {"no"}


def test_no_other_command_is_explained() -> None:
    heads = re.findall(r"^### nas ([\w ]+)$", CLI.read_text(), re.M)
    assert sorted(heads) == sorted(COMMANDS)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_commands_can_be_typed(path: Path) -> None:
    """Every line of a document that is a command is one that the program understands."""
    lines = re.findall(r"^    (?:\.venv/bin/)?nas ([a-z]+ .*?)(?: *#.*| *>.*)?$", path.read_text(), re.M)
    for line in lines:
        name = next(own for own in COMMANDS if f"{line} ".startswith(f"{own} "))
        assert COMMANDS[name].make_context(name, shlex.split(line.removeprefix(name))) is not None


def test_exit_codes() -> None:
    documented = {int(code) for code, _ in rows(CLI.read_text().partition("## Searching")[0], 2) if code.isdigit()}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.NasError)]
    assert documented == {0, 130} | {kind.exit_code for kind in kinds}


def test_the_json_contract() -> None:
    text = section(CLI.read_text(), "## JSON")
    commands, objects = (
        {line[0]: marked(line[1]) for line in rows(part, 2)} for part in text.split("| object | fields |")
    )
    assert f"(now {SCHEMA_VERSION};" in text
    assert set(objects["search"]) == set(schema.SEARCH)
    assert set(objects["candidate"]) == set(schema.CANDIDATE)
    assert set(objects["`result`"]) == set(schema.RESULT)
    assert set(objects["`costs`"]) == set(schema.TIMED)
    assert set(objects["`plan`"]) == set(schema.PLAN)
    assert set(commands["`train`"]) - {"--test"} == set(schema.TRAINED) - {"schema_version"}
    told = [own for own in commands["`forecast`"] if own not in ("compute", "time", "null", "plan", *schema.RANGE)]
    assert set(told) == set(schema.FORECAST) - {"schema_version"}
    told = [own for own in commands["`scale`"] if own not in ("true", "null")]
    assert set(told) == (set(schema.SCALED) | set(schema.SCALED["origin"])) - {"schema_version"}
    for name, contract in (("plan", schema.DIAL), ("ls", schema.LS), ("front", schema.FRONT)):
        assert set(commands[f"`{name}`"]) == set(contract) - {"schema_version"}


@pytest.mark.parametrize("kind", [CandidateState, Origin], ids=["states", "origins"])
def test_words_of_candidates(kind: Any) -> None:
    ending = section(CLI.read_text(), "## JSON").rpartition("|")[2]
    assert all(own.value in ending for own in kind)


def test_words_of_searches() -> None:
    text = section(CLI.read_text(), "### nas ls")
    assert [own.value for own in SearchState if own.value not in text] == []


# --- all documents ---


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_links_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)#\s]+)\)", path.read_text()):
        assert "://" in link or (path.parent / link).exists(), link
