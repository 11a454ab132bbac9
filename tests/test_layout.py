"""The house: who may import whom, what stays light, and what is shipped beside the code."""

import json
import subprocess
import sys
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS: list[dict[str, Any]] = PROJECT["tool"]["importlinter"]["contracts"]
PURE, CONTROLLER = (
    next(own for own in CONTRACTS if own["name"].startswith(name)) for name in ("The pure core", "The controller")
)
HEAVY = {*PURE["forbidden_modules"], "ray", "fastapi", "alembic", "numba", "pandas", "scipy"}
IMPORT = """
import importlib, json, sys
importlib.import_module(sys.argv[1])
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_contracts_hold() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in done.stdout


def test_every_flat_module_is_of_the_pure_core() -> None:
    """A new one is to be named in the contract, so that the test below holds it light."""
    flat = {f"nas.{path.stem}" for path in (ROOT / "nas").glob("*.py") if path.stem != "__init__"}
    assert flat <= set(PURE["source_modules"])


def test_every_module_has_its_layer() -> None:
    (layers,) = (contract["layers"] for contract in CONTRACTS if contract["type"] == "layers")
    named = {name.strip() for row in layers for name in row.split("|")}
    found = {
        ".".join((folder.name, path.stem))
        for folder in (ROOT / "nas", ROOT / "services")
        for path in folder.iterdir()
        if path.stem not in ("__init__", "__pycache__") and (path.suffix == ".py" or (path / "__init__.py").exists())
    }
    assert found <= named


LEARNING = ("nas.surrogate", "nas.acquire", "nas.belief", "nas.advise")


@pytest.mark.parametrize("module", [*PURE["source_modules"], "services.cli.main", "services.doctor"])
def test_the_pure_core_and_help_are_light(module: str) -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT, module], capture_output=True, text=True, check=True)
    allowed = {"scipy"} if module in LEARNING else set()
    assert sorted((HEAVY - allowed) & set(json.loads(done.stdout))) == []


def test_the_controller_is_light() -> None:
    """Also with what it imports only once it serves."""
    code = "import services.controller.serve, services.controller.dispatch, dashboards.report, json, sys\n"
    code += "print(json.dumps(sorted(name for name in sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    assert sorted({*CONTROLLER["forbidden_modules"], "ray.tune", "pandas"} & set(loaded)) == []


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("services.controller", "templates/docs.html.j2"),
        ("search_spaces", "llama-tiny.yaml"),
        ("search_spaces", "llama-small.yaml"),
        ("nas.data", "austen/manifest.json"),
        ("nas.data", "austen/emma.txt.xz"),
        ("nas.adapters.sql", "migrations/env.py"),
        ("nas.adapters.sql", "migrations/script.py.mako"),
        ("nas.adapters.sql", "migrations/versions/0001_first.py"),
        ("dashboards", "templates/report.css"),
        ("dashboards", "static/shared.css"),
    ],
)
def test_data_is_found_as_a_resource(package: str, name: str) -> None:
    assert (resources.files(package) / name).read_bytes()


def test_data_lies_in_what_is_packed() -> None:
    """A wheel takes whole packages: whatever is not Python must lie below one of them."""
    packed = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {"nas", "services", "dashboards", "search_spaces"} <= set(packed)
    assert all((ROOT / name).is_dir() for name in packed)


def test_the_command_is_installed() -> None:
    module, _, function = PROJECT["project"]["scripts"]["nas"].partition(":")
    assert callable(getattr(__import__(module, fromlist=[function]), function))
