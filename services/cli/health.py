"""The command that looks at the machine, or at a server."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from nas.errors import SpecError
from services.cli import remote
from services.cli.output import TableOrJson, emit_json, say

if TYPE_CHECKING:
    from services.doctor import Check, Finding, Level

MARKS = {"ok": "✓", "warning": "!", "error": "✗"}


def doctor(
    ray: Annotated[
        str | None, typer.Option("--ray", metavar="ADDRESS", help="A Ray cluster to look at too, e.g. 10.0.0.1:6379.")
    ] = None,
    output: TableOrJson = "table",
) -> None:
    """Look at all that a search needs, and say what to do.

    With --server it looks at that server, as one who uses it finds it. The exit code is 1 when something a search
    cannot do without is wrong; of a server that of any command which meets the same: 4, 6 or 7.

    Example: nas doctor
    """
    from services.doctor import checks
    from services.home import home

    where = home()
    if address := remote.named():
        if ray is not None:
            raise SpecError("--ray", "must not be given with a server: its own is looked at", ray)
        from services.doctor.server import Visit

        with Visit(address, remote.token(where, address)) as visit:
            failed = _show(visit.checks, output)
            code = visit.exit_code
    else:
        failed, code = _show(checks(where, ray), output), 0
        if known := remote.server(where):
            say(f"this was this machine; for the server: nas doctor --server {known}")
    if failed:
        raise typer.Exit(code or 1)


def _show(made: "Mapping[str, Check]", output: str) -> bool:
    """Makes the checks and shows what they find; whether there is an error."""
    from services.doctor import Level, examine

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
    return levels[Level.ERROR] > 0


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
