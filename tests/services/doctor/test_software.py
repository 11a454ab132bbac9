"""Of Python, versions and the compiler: what is made of facts, and that the real compiler is tried."""

import shutil
from pathlib import Path

import pytest

from services.doctor import Finding, Level
from services.doctor.software import (
    Compiled,
    Need,
    check_compiler,
    judge_compiler,
    judge_python,
    judge_versions,
    needs_of,
    try_compiler,
)
from tests.services.doctor.facts import ERROR, OK, WARNING, script


@pytest.mark.parametrize(
    ("version", "bits", "level", "found"),
    [
        ((3, 11, 0), 64, OK, "3.11.0, 64 bit"),
        ((4, 0, 0), 64, OK, "4.0.0, 64 bit"),
        ((3, 10, 9), 64, ERROR, "3.10.9, 64 bit"),
        ((3, 12, 1), 32, ERROR, "3.12.1, 32 bit"),
    ],
)
def test_python(version: tuple[int, ...], bits: int, level: Level, found: str) -> None:
    judged = judge_python(version, bits)
    assert (judged.level, judged.found, bool(judged.advice)) == (level, found, level is not OK)


def test_needs_come_from_the_metadata() -> None:
    lines = ["torch<3,>=2.11", "ray>=2; extra == 'dev'", "Ray[tune]<3; extra == 'ray'", "x; python_version < '3'"]
    assert needs_of(lines, ["dev", "ray"]) == {"torch": Need("<3,>=2.11"), "ray": Need("<3", "ray")}


@pytest.mark.parametrize(
    ("name", "version", "need", "level", "found", "advice"),
    [
        ("torch", "2.13.0+cpu", Need("<3,>=2.11"), OK, "torch 2.13.0+cpu", ""),
        ("torch", "3.0.0.dev1", Need("<3.1,>=2.11"), OK, "torch 3.0.0.dev1", ""),
        ("torch", "2.9", Need(">=2.11"), WARNING, "torch 2.9 is out of the range >=2.11", "pip install 'torch>=2.11'"),
        ("torch", None, Need(">=2.11"), ERROR, "torch is missing", "pip install 'torch>=2.11'"),
        ("ray", "1", None, OK, "ray 1", ""),
        ("ray", None, None, OK, "ray is not installed; it is optional", "for it: pip install 'ray'"),
        ("ray", None, Need("<3", "ray"), OK, "ray is not installed; it is optional", "for it: pip install 'nas[ray]'"),
        ("ray", "4", Need("<3", "ray"), WARNING, "ray 4 is out of the range <3", "pip install 'ray<3'"),
    ],
)
def test_versions(name: str, version: str | None, need: Need | None, level: Level, found: str, advice: str) -> None:
    needs = {} if need is None else {name: need}
    assert list(judge_versions({name: version}, needs)) == [Finding("versions", level, found, advice)]


def test_versions_in_range_share_a_line() -> None:
    first, second = judge_versions({"nas": None, "torch": "1", "numpy": "2"}, {})
    assert (first.level, second.level, second.found) == (WARNING, OK, "torch 1, numpy 2")


@pytest.mark.parametrize(
    ("tried", "level", "advice"),
    [
        (Compiled("g++"), OK, ""),
        (None, WARNING, "apt install g++"),
        (Compiled("clang++"), WARNING, "export CXX=clang++"),
        (Compiled("g++", "Python.h: No such file"), WARNING, "apt install python3-dev"),
        (Compiled("g++", "cannot find -lgomp"), WARNING, "repair the compiler"),
    ],
)
def test_compilers(tried: Compiled | None, level: Level, advice: str) -> None:
    judged = judge_compiler(tried, "g++")
    assert (judged.level, bool(judged.advice)) == (level, bool(advice))
    assert advice in judged.advice


def test_a_compiler_is_tried(tmp_path: Path) -> None:
    failing = script(tmp_path / "failing", "echo note; echo 'x.cpp: error: no' >&2; echo more >&2; exit 1")
    assert try_compiler(failing) == Compiled(failing, "x.cpp: error: no")
    silent = script(tmp_path / "silent", "exit 3")
    assert try_compiler(silent) == Compiled(silent, "exit code 3")
    hanging = script(tmp_path / "hanging", "exec sleep 60")
    assert try_compiler(hanging, seconds=0.2) == Compiled(hanging, "no end within 0.2 s")
    assert try_compiler("/absent").complaint == "No such file or directory"


@pytest.mark.skipif(not shutil.which("g++"), reason="there is no g++")
def test_the_real_compiler_needs_the_headers_of_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert try_compiler("g++") == Compiled("g++")
    monkeypatch.setattr("services.doctor.software.PROGRAM", '#include "Absent.h"\n')
    assert "Absent.h" in try_compiler("g++").complaint
    monkeypatch.setenv("CXX", str(tmp_path / "absent"))
    (named,) = check_compiler()
    assert (named.level, named.found) == (WARNING, f"{tmp_path}/absent fails: there is no such program")
