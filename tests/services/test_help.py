"""What a new user meets first."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services.commands import CLICK, commands
from tests.services.driving import Place

COMMANDS = commands()
NAMES = list(COMMANDS)


def test_the_commands() -> None:
    assert set(NAMES) == {
        *("run", "fit", "resume", "pause", "stop", "cancel", "enqueue", "watch", "wait", "logs"),
        *("ls", "status", "candidates", "front"),
        *("train", "plan", "scale", "forecast", "generate", "export", "report", "spaces", "validate", "doctor"),
        *("profile device", "profile candidate"),
        *("serve", "submit", "login", "logout", "token create", "token ls", "token revoke"),
        *("db check", "db upgrade", "db backup"),
    }


def test_the_list_of_commands_is_whole(tmp_path: Path) -> None:
    helped = Place(tmp_path).run("--help", COLUMNS="80", TERMINAL_WIDTH="80")
    listed = re.findall(r"^  (\w+)  +(\S.*)$", helped.out.partition("Commands:")[2], re.M)
    assert (helped.code, helped.err) == (0, "")
    assert [name for name, _ in listed] == list(CLICK.commands)
    assert all(about.endswith(".") and not about.endswith("...") for _, about in listed), "no sentence is cut"
    assert helped.out.rstrip().endswith("Begin with: nas fit 'texts/*.txt' --time 10min")
    assert not (tmp_path / "home").exists()


def test_no_arguments_are_a_call_for_help(tmp_path: Path) -> None:
    place = Place(tmp_path)
    done = place.run()
    assert (done.code, done.out) == (2, "")
    assert done.err == place.run("-h").out


@pytest.mark.parametrize("name", NAMES)
def test_help_has_an_example_that_can_be_typed(name: str, tmp_path: Path) -> None:
    helped = Place(tmp_path).run(*name.split(), "--help")
    (example,) = re.findall(r"^  Example: (nas .*)$", helped.out, re.M)
    assert helped.code == 0
    assert f"{example} ".startswith(f"nas {name} ")
    arguments = shlex.split(example.removeprefix(f"nas {name}"))
    parsed = COMMANDS[name].make_context(name, arguments)
    assert parsed.params or not COMMANDS[name].params


def test_the_version(tmp_path: Path) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", Place(tmp_path).run("--version").out)


def test_help_says_what_an_option_means(tmp_path: Path) -> None:
    """Every option and argument has its words."""
    for name, command in COMMANDS.items():
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{name}: {parameter.name}"


def test_the_shell_completes_commands() -> None:
    environment = {**os.environ, "_NAS_COMPLETE": "complete_bash", "COMP_WORDS": "nas st", "COMP_CWORD": "1"}
    installed = Path(sys.executable).with_name("nas")
    done = subprocess.run([installed], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["stop", "status"]
