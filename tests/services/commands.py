"""The commands that one can type, those of a group by both words."""

from typing import Any

import typer.main

from services.cli.main import app

CLICK: Any = typer.main.get_command(app)


def commands(group: Any = CLICK, before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        found |= {f"{before}{name}": command} if inner is None else commands(command, f"{before}{name} ")
    return found
