"""The dashboard's modules in Node.js: those without a page, which compute."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.programs import program

STATIC = Path(__file__).parents[3] / "dashboards" / "static"
CALL = """
import {readFileSync} from "node:fs";
const {module, name, cases} = JSON.parse(readFileSync(0, "utf8"));
const call = (await import(module))[name];
if (!call) throw new Error(`${name} is missing in ${module}`);
process.stdout.write(JSON.stringify(cases.map(given => call(...given) ?? null)));
"""


def node(*arguments: object, given: str = "", timeout: float = 120) -> "subprocess.CompletedProcess[str]":
    command = [program("node"), *map(str, arguments)]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=timeout)


def called(module: str, name: str, cases: Sequence[Sequence[Any]]) -> list[Any]:
    """What an exported function of ``static/MODULE`` answers to each case, a list of arguments; ``None`` for nothing.

    What JSON cannot say, such as infinity, can neither be given nor answered.
    """
    asked = {"module": (STATIC / module).as_uri(), "name": name, "cases": list(cases)}
    done = node("--input-type=module", "--eval", CALL, given=json.dumps(asked, allow_nan=False))
    assert done.returncode == 0, done.stderr
    answers: list[Any] = json.loads(done.stdout)
    return answers
