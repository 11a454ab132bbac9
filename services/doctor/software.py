"""What programs are made of: Python, the packages with their versions, and the compiler."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from services.doctor.findings import Finding, Level, one_line

# --- python ---

LEAST_PYTHON = (3, 11)


def judge_python(version: Sequence[int], bits: int) -> Finding:
    found = f"{'.'.join(map(str, version[:3]))}, {bits} bit"
    if tuple(version[:2]) < LEAST_PYTHON or bits < 64:
        least = ".".join(map(str, LEAST_PYTHON))
        return Finding("python", Level.ERROR, found, f"install a 64 bit Python {least} or newer")
    return Finding("python", Level.OK, found)


def check_python() -> Iterator[Finding]:
    yield judge_python(sys.version_info[:3], 64 if sys.maxsize > 2**32 else 32)


# --- versions ---

PACKAGES = ("nas", "torch", "numpy", "optuna", "ray", "sqlalchemy", "tokenizers", "transformers")


@dataclass(frozen=True, slots=True)
class Need:
    """What is required of a package: a range, and the extra that brings it (empty: it is always required)."""

    range: str
    extra: str = ""


def needs_of(requirements: Iterable[str], extras: Iterable[str]) -> dict[str, Need]:
    """By package, from the requirements of ours; what only developers need is no need."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    needs: dict[str, Need] = {}
    for requirement in map(Requirement, requirements):
        # without a marker it is always required; "" is no extra, so other markers (of the platform) count as they are
        for extra in ("", *sorted(set(extras) - {"dev"})):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                needs.setdefault(canonicalize_name(requirement.name), Need(str(requirement.specifier), extra))
                break
    return needs


def judge_versions(installed: Mapping[str, str | None], needs: Mapping[str, Need]) -> Iterator[Finding]:
    """A finding for each package that is missing or out of range, and one for all others."""
    from packaging.specifiers import SpecifierSet

    fine = []
    for name, version in installed.items():
        need = needs.get(name)
        if version is None:
            yield _missing(name, need)
        elif need is not None and not SpecifierSet(need.range).contains(version, prereleases=True):
            found = f"{name} {version} is out of the range {need.range}"
            yield Finding("versions", Level.WARNING, found, f"pip install '{name}{need.range}'")
        else:
            fine.append(f"{name} {version}")
    if fine:
        yield Finding("versions", Level.OK, ", ".join(fine))


def _missing(name: str, need: Need | None) -> Finding:
    if name == "nas":
        found = "nas runs from a folder: it is not installed, so what it requires is not known"
        return Finding("versions", Level.WARNING, found, "pip install -e . in that folder")
    if need is not None and not need.extra:
        return Finding("versions", Level.ERROR, f"{name} is missing", f"pip install '{name}{need.range}'")
    brings = f"nas[{need.extra}]" if need else name
    return Finding("versions", Level.OK, f"{name} is not installed; it is optional", f"for it: pip install '{brings}'")


def version_of(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def check_versions() -> Iterator[Finding]:
    installed = {name: version_of(name) for name in PACKAGES}
    needs: dict[str, Need] = {}
    if installed["nas"] is not None:
        extras = metadata.metadata("nas").get_all("Provides-Extra") or []
        needs = needs_of(metadata.requires("nas") or [], extras)
    return judge_versions(installed, needs)


# --- compiler ---

PROGRAM = """\
#include <cmath>
#include <Python.h>
extern "C" double twice(double x) { return std::fabs(x) + PyLong_AsDouble(nullptr); }
"""
"""What torch compiles includes Python.h as well: the headers are missing more often than the compiler."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A compiler that was tried; ``complaint`` is empty when it works."""

    name: str
    complaint: str = ""


def judge_compiler(tried: Compiled | None, default: str) -> Finding:
    """``default`` is the compiler that torch takes: $CXX, else g++ (on macOS clang++)."""
    without = "training goes on without compiling"
    if tried is None:
        advice = f"{without}; for it: apt install g++, or the like"
        return Finding("compiler", Level.WARNING, "no C++ compiler, which torch.compile needs on the CPU", advice)
    if tried.complaint:
        headers = "Python.h" in tried.complaint
        advice = f"{without}; for it: {'apt install python3-dev' if headers else 'repair the compiler'}, or the like"
        return Finding("compiler", Level.WARNING, f"{tried.name} fails: {tried.complaint}", advice)
    if tried.name != default:
        advice = f"{without}; for it: export CXX={tried.name}"
        return Finding("compiler", Level.WARNING, f"{tried.name} works, but torch looks for {default}", advice)
    return Finding("compiler", Level.OK, f"{tried.name} works")


def try_compiler(name: str, seconds: float = 60) -> Compiled:
    """Compiles a small library as torch does."""
    parallel = [] if sys.platform == "darwin" else ["-fopenmp"]
    include = f"-I{sysconfig.get_paths()['include']}"
    with tempfile.TemporaryDirectory(prefix="nas-doctor-") as folder:
        (Path(folder) / "program.cpp").write_text(PROGRAM)
        dynamic = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
        command = [name, "-shared", "-fPIC", *parallel, include, "program.cpp", "-o", "program.so", *dynamic]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired:
            return Compiled(name, f"no end within {seconds:g} s")
        except OSError as error:
            return Compiled(name, error.strerror or one_line(error))
    if done.returncode == 0:
        return Compiled(name)
    lines = done.stderr.splitlines()
    worst = [line for line in lines if "error" in line] or lines or [f"exit code {done.returncode}"]
    return Compiled(name, one_line(worst[0], most=200))


def check_compiler() -> Iterator[Finding]:
    named = os.environ.get("CXX")
    usual = ["clang++", "g++"] if sys.platform == "darwin" else ["g++", "clang++"]
    default = named or usual[0]
    found = [name for name in ([named] if named else usual) if shutil.which(name)]
    tried = try_compiler(found[0]) if found else Compiled(named, "there is no such program") if named else None
    yield judge_compiler(tried, default)
