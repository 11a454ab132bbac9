"""The command that looks at the machine."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.output import TableOrJson, emit_json

if TYPE_CHECKING:
    from services.doctor import Finding, Level

MARKS = {"ok": "✓", "warning": "!", "error": "✗"}


def doctor(
    ray: Annotated[
        str | None, typer.Option("--ray", metavar="ADDRESS", help="A Ray cluster to look at too, e.g. 10.0.0.1:6379.")
    ] = None,
    output: TableOrJson = "table",
) -> None:
    """Look at all that a search needs, and say what to do.

    The exit code is 1 when something a search cannot do without is wrong.

    Example: nas doctor
    """
    from services.doctor import Level, checks, examine
    from services.home import home

    made = checks(home(), ray)
    levels: Counter[Level] = Counter()
    rows = _counted(examine(made), levels)
    if output == "json":
        findings = [asdict(own) for own in rows]
        emit_json({"findings": findings, "counts": {level.value: levels[level] for level in Level}})
    else:
        wide = max(map(len, made))
        for finding in rows:
            for line in _lines(finding, wide):
                print(line, flush=True)
        print(_sum(levels[Level.OK], levels[Level.WARNING], levels[Level.ERROR]))
    if levels[Level.ERROR]:
        raise typer.Exit(1)


def _counted(findings: "Iterable[Finding]", levels: "Counter[Level]") -> "Iterator[Finding]":
    """As they come: some checks take seconds."""
    for finding in findings:
        levels[finding.level] += 1
        yield finding


def _lines(finding: "Finding", wide: int) -> Iterator[str]:
    """A finding in columns, its advice beneath."""
    yield f"{MARKS[finding.level]} {finding.topic:<{wide}}  {finding.found}"
    if finding.advice:
        yield f"{'':<{wide + 4}}→ {finding.advice}"


def _sum(fine: int, warnings: int, errors: int) -> str:
    return f"{fine} fine, {warnings} warning{'s' * (warnings != 1)}, {errors} error{'s' * (errors != 1)}"
