"""Everything a search needs, looked at: whether it is there and works, and what to do where it does not.

Longer than other files, as it reads as one list: for each topic first the judgement, a function of plain facts, then
the check, which gets the facts. Heavy packages are imported by the checks that need them: a broken one is a finding
about its topic, and the others are still looked at.
"""

import json
import math
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from nas.errors import NasError
from nas.units import format_bytes, format_seconds
from services.home import Home

MIB, GIB = 2**20, 2**30


class Level(StrEnum):
    """How a finding is to be taken: a search cannot do with an error, and does worse with a warning."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about a topic, and what to do about it (empty: nothing)."""

    topic: str
    level: Level
    found: str
    advice: str = ""


Check = Callable[[], Iterable[Finding]]


def checks(home: Home, ray: str | None = None) -> dict[str, Check]:
    """All checks by topic; ``ray`` is the address of a cluster to look at."""
    return {
        "python": check_python,
        "versions": check_versions,
        "torch": check_torch,
        "cuda": check_cuda,
        "cores": check_cores,
        "memory": check_memory,
        "disk": partial(check_disk, home.root),
        "database": partial(check_database, home.database),
        "clock": partial(check_clock, home.database),
        "compiler": check_compiler,
        "ray": partial(check_ray, ray),
    }


def examine(checks: Mapping[str, Check]) -> Iterator[Finding]:
    """All findings, one check after the other; a check that fails is an error of its topic."""
    for topic, check in checks.items():
        try:
            yield from check()
        except Exception as error:  # whatever it is, the other checks are still worth their while
            broken = isinstance(error, ImportError)
            advice = "install the package again" if broken else "look at this first; if all is well there, report it"
            said = f"cannot be looked at: {type(error).__name__}: {_line(error)}"
            yield Finding(topic, Level.ERROR, said.rstrip(": "), advice)


def _line(text: object, most: int = 400) -> str:
    """On one line, without its end where that is far away."""
    words = " ".join(str(text).split())
    return words if len(words) <= most else f"{words[:most]}..."


def _read(path: Path) -> str:
    """A small file of the system, empty where there is none."""
    try:
        return path.read_text()
    except OSError:
        return ""


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


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def check_versions() -> Iterator[Finding]:
    installed = {name: _version(name) for name in PACKAGES}
    needs: dict[str, Need] = {}
    if installed["nas"] is not None:
        extras = metadata.metadata("nas").get_all("Provides-Extra") or []
        needs = needs_of(metadata.requires("nas") or [], extras)
    return judge_versions(installed, needs)


# --- torch ---


def judge_torch(version: str, build: str | None, threads: int) -> Finding:
    kind = "a CPU build" if build is None else f"a build for {build}"
    return Finding("torch", Level.OK, f"{version}, {kind}; {threads} thread{'s' * (threads != 1)}")


def judge_products(capability: str, machine: str) -> Finding:
    """Of float32 on the CPU. Only x86 names what it lacks; others are "DEFAULT" with their vector units in use."""
    wide = {"AVX512": "AVX-512", "AVX2": "AVX2"}.get(capability)
    if wide is None and machine.lower() in ("x86_64", "amd64"):
        found = f"products of float32 use no AVX2 ({capability}): training will be several times slower"
        return Finding("torch", Level.WARNING, found, "unset ATEN_CPU_CAPABILITY where it is set, or use a newer CPU")
    return Finding("torch", Level.OK, f"products of float32 use {wide or f'{machine} ({capability})'}")


def check_torch() -> Iterator[Finding]:
    import torch

    yield judge_torch(torch.__version__, _torch_build(), torch.get_num_threads())
    if not _is_cuda_available()[0]:
        yield judge_products(torch.backends.cpu.get_cpu_capability(), platform.machine())


def _torch_build() -> str | None:
    """``CUDA 13.0`` or ``ROCm 7.1``, ``None`` for a build for the CPU."""
    import torch

    hip = getattr(torch.version, "hip", None)
    return f"CUDA {torch.version.cuda}" if torch.version.cuda else f"ROCm {hip}" if hip else None


def _is_cuda_available() -> tuple[bool, str]:
    """Whether torch finds a GPU, and what it complains of (a driver that is too old, say)."""
    import torch

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    return available, _line(said[0].message, most=200) if said else ""


# --- cuda ---


@dataclass(frozen=True, slots=True)
class Gpu:
    """``memory`` in bytes, 0 where it is not known."""

    name: str
    memory: int

    def __str__(self) -> str:
        return f"{self.name}, {format_bytes(self.memory)}" if self.memory else self.name


@dataclass(frozen=True, slots=True)
class Gpus:
    """Attributes:
    seen: by torch.
    installed: those that nvidia-smi lists.
    driver: its version, empty where it is not known.
    build: what torch is built for, ``None`` for the CPU.
    visible: ``CUDA_VISIBLE_DEVICES``, ``None`` where it is not set.
    said: torch's complaint, empty for none.
    """

    seen: tuple[Gpu, ...] = ()
    installed: tuple[Gpu, ...] = ()
    driver: str = ""
    build: str | None = None
    visible: str | None = None
    said: str = ""


def judge_cuda(gpus: Gpus) -> Iterator[Finding]:
    driver = f"; driver {gpus.driver}" if gpus.driver else ""
    for number, gpu in enumerate(gpus.seen):
        yield Finding("cuda", Level.OK, f"cuda:{number} is {gpu}{driver}")
    if gpus.seen:
        return
    if not gpus.installed:
        yield Finding("cuda", Level.OK, "none; training on the CPU")
        return
    if gpus.build is None:
        advice = "install a CUDA build of torch: https://pytorch.org/get-started/locally/"
    elif gpus.visible is not None:
        advice = f"unset CUDA_VISIBLE_DEVICES, which is {gpus.visible!r}"
    else:
        advice = f"update the driver, or install a build of torch for an older one than {gpus.build}"
    names = ", ".join(map(str, gpus.installed))
    said = f" ({gpus.said})" if gpus.said else ""
    yield Finding("cuda", Level.WARNING, f"there is {names}{driver}, but torch does not see it{said}", advice)


def parse_smi(text: str) -> tuple[tuple[Gpu, ...], str]:
    """GPUs and driver from lines ``name, MiB, driver`` of nvidia-smi."""
    rows = [[cell.strip() for cell in line.rsplit(",", 2)] for line in text.splitlines()]
    rows = [row for row in rows if len(row) == 3]
    gpus = tuple(Gpu(name, int(memory) * MIB if memory.isdecimal() else 0) for name, memory, _ in rows)
    return gpus, rows[0][2] if rows else ""


def _nvidia_smi(seconds: float = 20) -> str:
    command = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def check_cuda() -> Iterator[Finding]:
    import torch

    installed, driver = parse_smi(_nvidia_smi())
    available, said = _is_cuda_available()
    found = [torch.cuda.get_device_properties(own) for own in range(torch.cuda.device_count())] if available else []
    seen = tuple(Gpu(own.name, own.total_memory) for own in found)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return judge_cuda(Gpus(seen, installed, driver, _torch_build(), visible, said))


# --- cores ---

CGROUPS = Path("/sys/fs/cgroup")


def cgroup_folders(text: str, controller: str, root: Path = CGROUPS) -> list[Path]:
    """Folders of a process's control group and of those above it, from ``/proc/self/cgroup``: versions 1 and 2.

    In a container the path may be one of the host, which is not there: what holds is at the root.
    """
    folders = []
    for line in text.splitlines():
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        base = root / controller if names else root
        folder = base if ".." in path else base / path.strip("/")
        folders += [own for own in (folder, *folder.parents) if own.is_relative_to(base)]
    return folders


def cpu_quota(folders: Iterable[Path]) -> float:
    """The least quota of control groups, in cores; infinite for none."""
    return min((_quota(folder) for folder in folders), default=math.inf)


def _quota(folder: Path) -> float:
    """``cpu.max`` holds ``150000 100000`` or ``max 100000``; version 1 has two files, and -1 for no quota."""
    parts = _read(folder / "cpu.max").split() or [
        _read(folder / name).strip() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    ]
    share, period = (*parts, "")[:2]
    return int(share) / int(period) if share.isdecimal() and period.isdecimal() and int(period) else math.inf


def judge_cores(cores: int, machine: int, quota: float, threads: str | None, load: float) -> Iterator[Finding]:
    """``machine`` are all cores, which the load average is about; ``threads`` is ``OMP_NUM_THREADS``."""
    usable = f"{cores} core{'s' * (cores != 1)}" + (f" of {machine}" if machine > cores else "")
    if quota < cores:
        advice = f"set OMP_NUM_THREADS={max(1, int(quota))}, or raise the container's CPU quota"
        found = f"{usable}, but a quota of {quota:.3g}: threads beyond it only wait"
        yield Finding("cores", Level.WARNING, found, advice)
    else:
        yield Finding("cores", Level.OK, usable)
    if threads:
        if threads.partition(",")[0].strip().isdecimal():
            yield Finding("cores", Level.OK, f"OMP_NUM_THREADS is {threads}: at most so many threads for each worker")
        else:
            found = f"OMP_NUM_THREADS is {threads!r}, which is no number"
            yield Finding("cores", Level.WARNING, found, "unset it, or set it to a number")
    if load > machine:
        found = f"load average {load:.1f} on {machine} core{'s' * (machine != 1)}: timings will be off"
        yield Finding("cores", Level.WARNING, found, "end what else runs, or wait: budgets of time are measured here")


def check_cores() -> Iterator[Finding]:
    machine = os.cpu_count() or 1
    # as `services.device.cores`, without torch, which may be what is broken
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else machine
    quota = cpu_quota(cgroup_folders(_read(Path("/proc/self/cgroup")), "cpu"))
    return judge_cores(cores, machine, quota, os.environ.get("OMP_NUM_THREADS"), os.getloadavg()[0])


# --- memory ---

LEAST_MEMORY = 2 * GIB


def parse_meminfo(text: str) -> dict[str, int]:
    """Bytes by name, from ``/proc/meminfo``."""
    return {name: int(kib) * 1024 for name, kib in re.findall(r"^(\w+): +(\d+) kB$", text, re.M)}


def cgroup_memory(folders: Iterable[Path]) -> float:
    """Bytes that are left below the limits of control groups, infinite for no limit."""
    return min((_left(folder) for folder in folders), default=math.inf)


def _left(folder: Path) -> float:
    """What is used includes files that were read, which go when memory is short: they count as free."""
    for limit, used, cached in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        most, now = (_read(folder / name).strip() for name in (limit, used))
        if most.isdecimal() and now.isdecimal():
            reclaimable = re.search(rf"^{cached} (\d+)$", _read(folder / "memory.stat"), re.M)
            return max(0, int(most) - int(now) + (int(reclaimable[1]) if reclaimable else 0))
    return math.inf


def judge_memory(available: int | None, total: int | None, left: float) -> Finding:
    """``left`` is what the container leaves, infinite without a limit."""
    if available is None or total is None:
        return Finding("memory", Level.OK, "not known on this system")
    free = min(available, left)
    found = f"{format_bytes(free)} free of {format_bytes(total)}"
    if left < available:
        found = f"{format_bytes(free)} free below the container's limit"
    if free < LEAST_MEMORY:
        advice = "end what else runs, or lower budget.candidate.memory and method.parallel"
        return Finding("memory", Level.WARNING, found, advice)
    return Finding("memory", Level.OK, found)


def check_memory() -> Iterator[Finding]:
    known = parse_meminfo(_read(Path("/proc/meminfo")))
    left = cgroup_memory(cgroup_folders(_read(Path("/proc/self/cgroup")), "memory"))
    yield judge_memory(known.get("MemAvailable"), known.get("MemTotal"), left)


# --- disk ---

LITTLE_DISK, NO_DISK, LITTLE_SHARED = 2 * GIB, 200 * MIB, 256 * MIB


def judge_disk(place: str, free: int, advice: str) -> Finding:
    level = Level.ERROR if free < NO_DISK else Level.WARNING if free < LITTLE_DISK else Level.OK
    found = f"{place}: {format_bytes(free)} free, can be written"
    return Finding("disk", level, found, "" if level is Level.OK else f"free some space, or {advice}")


def judge_shared(free: int) -> Finding:
    found = f"/dev/shm: {format_bytes(free)} free"
    if free < LITTLE_SHARED:
        advice = "Ray keeps its objects there: give it more (docker run --shm-size=2g)"
        return Finding("disk", Level.WARNING, found, advice)
    return Finding("disk", Level.OK, found)


def check_disk(root: Path) -> Iterator[Finding]:
    yield _folder(f"home {root}", lambda: root, "name another folder with NAS_HOME")
    yield _folder("temporary files", lambda: Path(tempfile.gettempdir()), "name another folder with TMPDIR")
    shared = Path("/dev/shm")
    if shared.is_dir():
        yield judge_shared(shutil.disk_usage(shared).free)


def _folder(place: str, find: Callable[[], Path], advice: str) -> Finding:
    """Writes a file for real: permissions, quotas and read-only mounts show only then."""
    try:
        folder = find()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".nas-doctor-") as file:
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
        return judge_disk(place, shutil.disk_usage(folder).free, advice)
    except OSError as error:
        found = f"{place}: cannot be written ({error.strerror or _line(error)})"
        return Finding("disk", Level.ERROR, found, f"make it a folder that can be written, or {advice}")


# --- database ---

NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse", "9p", "afs", "ceph", "glusterfs", "lustre", "beegfs")


def file_system(path: Path, mounts: str) -> str:
    """The kind of file system that a path lies on, from ``/proc/mounts``; empty where that is not known."""
    kind, longest = "", -1
    for line in mounts.splitlines():
        _, point, found = line.split()[:3]
        where = Path(re.sub(r"\\([0-7]{3})", lambda own: chr(int(own[1], 8)), point))  # \040 is a blank
        if path.is_relative_to(where) and len(where.parts) >= longest:  # of two at one place the later is on top
            kind, longest = found, len(where.parts)
    return kind


def judge_sqlite(place: str, journal: str, system: str) -> Finding:
    found = f"{place}: can be written, journal {journal}{f', on {system}' if system else ''}"
    if journal == "memory":
        advice = "unset NAS_DATABASE, or name a file: nothing outlives the command"
        return Finding("database", Level.WARNING, found, advice)
    if system.partition(".")[0] in NETWORK:
        advice = "locks of SQLite fail there: move NAS_HOME to a local disk, or use PostgreSQL (NAS_DATABASE)"
        return Finding("database", Level.WARNING, found, advice)
    if journal != "wal":
        advice = "readers wait for writers, as WAL does not work there: move NAS_HOME to a local disk"
        return Finding("database", Level.WARNING, found, advice)
    return Finding("database", Level.OK, found)


def judge_postgresql(place: str, version: str, seconds: float, read_only: bool) -> Finding:
    found = f"{place}: PostgreSQL {version}, {seconds * 1000:.2g} ms for a round trip"
    if read_only:
        return Finding("database", Level.ERROR, f"{found}, read-only", "name the primary server in NAS_DATABASE")
    return Finding("database", Level.OK, found)


def check_database(url: str) -> Iterator[Finding]:
    try:
        yield _look_into(url)
    except NasError as error:
        advice = "name another database with NAS_DATABASE, or another folder with NAS_HOME"
        yield Finding("database", Level.ERROR, _line(error), advice)


def _look_into(url: str) -> Finding:
    """Opens the database as every command does, and asks it about itself. Leaves no row."""
    from sqlalchemy import make_url

    from nas.adapters.sql.engine import create, redacted_url
    from nas.adapters.sql.errors import refusals
    from nas.adapters.sql.store import open_store

    with closing(open_store(url)) as store, store.transaction():
        pass  # a transaction that writes can begin and end
    place = redacted_url(url)
    with refusals(place):
        engine = create(url)
        try:
            with engine.connect() as connection:
                ask = connection.exec_driver_sql
                if engine.dialect.name == "sqlite":
                    file = Path(make_url(url).database or "").resolve()
                    system = file_system(file, _read(Path("/proc/mounts")))
                    return judge_sqlite(place, str(ask("PRAGMA journal_mode").scalar_one()), system)
                version = str(ask("SHOW server_version").scalar_one())
                read_only = ask("SHOW transaction_read_only").scalar_one() == "on"
                trips = [_seconds(lambda: ask("SELECT 1").scalar_one()) for _ in range(5)]
                return judge_postgresql(place, version, statistics.median(trips), read_only)
        finally:
            engine.dispose()


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


# --- clock ---

CLOCKS_APART = 2.0


def judge_clock(advanced: float, ahead: float | None) -> Iterator[Finding]:
    """``advanced`` seconds in a short sleep; ``ahead`` of the database's clock, ``None`` where that is the same."""
    if advanced <= 0:
        found = f"the monotonic clock went {advanced:g} s in a sleep: no time can be measured"
        yield Finding("clock", Level.ERROR, found, "use another machine, or restart this one")
    elif ahead is None:
        yield Finding("clock", Level.OK, "advances")
    elif abs(ahead) > CLOCKS_APART:
        found = f"{format_seconds(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} the database's"
        yield Finding("clock", Level.WARNING, found, "set both by network time (timedatectl set-ntp true)")
    else:
        yield Finding("clock", Level.OK, f"advances, {format_seconds(abs(ahead))} from the database's")


def check_clock(url: str) -> Iterator[Finding]:
    began = time.monotonic()
    time.sleep(0.02)
    advanced = time.monotonic() - began
    try:
        ahead = _ahead(url)
    except NasError:
        ahead = None  # a database that does not answer is a finding of its own
    return judge_clock(advanced, ahead)


def _ahead(url: str) -> float | None:
    """Seconds that this clock is ahead of a PostgreSQL server's, the way there taken as long as that back."""
    from nas.adapters.sql.engine import create, redacted_url
    from nas.adapters.sql.errors import refusals

    if not url.startswith("postgresql"):
        return None
    with refusals(redacted_url(url)):
        engine = create(url)
        try:
            with engine.connect() as connection:
                before = time.time()
                there = connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one()
                return (before + time.time()) / 2 - float(there)
        finally:
            engine.dispose()


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
            return Compiled(name, error.strerror or _line(error))
    if done.returncode == 0:
        return Compiled(name)
    lines = done.stderr.splitlines()
    worst = [line for line in lines if "error" in line] or lines or [f"exit code {done.returncode}"]
    return Compiled(name, _line(worst[0], most=200))


def check_compiler() -> Iterator[Finding]:
    named = os.environ.get("CXX")
    usual = ["clang++", "g++"] if sys.platform == "darwin" else ["g++", "clang++"]
    default = named or usual[0]
    found = [name for name in ([named] if named else usual) if shutil.which(name)]
    tried = try_compiler(found[0]) if found else Compiled(named, "there is no such program") if named else None
    yield judge_compiler(tried, default)


# --- ray ---

RAY_SECONDS, REACH_SECONDS = 30.0, 5.0
PROBE = """\
import json, sys
try:
    import ray
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
    said = {"nodes": ray.nodes(), "error": ""}
except Exception as error:
    said = {"nodes": [], "error": str(error) or type(error).__name__}
print(json.dumps(said, default=str), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of a cluster that is alive."""

    address: str
    cpus: float
    gpus: float


@dataclass(frozen=True, slots=True)
class Cluster:
    """What answered at an address: nodes, or else why there are none."""

    nodes: tuple[Node, ...] = ()
    error: str = ""


def judge_ray(version: str | None, variable: str | None, address: str | None, cluster: Cluster) -> Iterator[Finding]:
    """``variable`` is ``RAY_ADDRESS``; ``address`` is the cluster that was asked for, ``None`` for none."""
    if version is None:
        level = Level.OK if address is None else Level.ERROR
        advice = "" if address is None else "pip install 'ray[default]', of the cluster's version"
        yield Finding("ray", level, "not installed" + ("; it is optional" if address is None else ""), advice)
    else:
        yield Finding("ray", Level.OK, version)
    if variable:
        yield Finding("ray", Level.OK, f"RAY_ADDRESS is {variable}: Ray connects there unless told otherwise")
    if version is None or address is None:
        return
    if cluster.error:
        yield Finding("ray", Level.ERROR, f"{address}: {_line(cluster.error)}", _cure(cluster.error))
        return
    cpus, gpus = (sum(values) for values in ([n.cpus for n in cluster.nodes], [n.gpus for n in cluster.nodes]))
    found = f"{address}: {len(cluster.nodes)} node{'s' * (len(cluster.nodes) != 1)} alive, {_units(cpus, gpus)}"
    if cpus or gpus:
        yield Finding("ray", Level.OK, found)
    else:
        yield Finding("ray", Level.ERROR, found, "start a node that works: ray start --address=HOST:PORT")
    for node in cluster.nodes:
        yield Finding("ray", Level.OK, f"node {node.address}: {_units(node.cpus, node.gpus)}")


def _units(cpus: float, gpus: float) -> str:
    return f"{cpus:g} CPU{'s' * (cpus != 1)}, {gpus:g} GPU{'s' * (gpus != 1)}"


def _cure(error: str) -> str:
    if "ersion mismatch" in error:
        return "use the same versions of Python and Ray here as on the cluster"
    if "token" in error:
        return "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to the cluster's token (on its head: ~/.ray/auth_token)"
    if "ray[client]" in error:
        return "pip install 'ray[client]', or HOST:PORT from a machine of the cluster"
    if "nvalid" in error:
        return "write HOST:PORT (usually 6379), ray://HOST:PORT (usually 10001) or auto"
    return "check address and firewall, and that the cluster runs (ray start --head there, then ray status)"


def server_of(address: str) -> tuple[str, int] | None:
    """Host and port of ``HOST:PORT`` or ``ray://HOST:PORT``, ``None`` for anything else."""
    try:
        split = urlsplit(address if "://" in address else f"ray://{address}")
        host, port = split.hostname, split.port
    except ValueError:
        return None
    return (host, port) if split.scheme == "ray" and host and port else None


def ask_ray(address: str, seconds: float = RAY_SECONDS) -> Cluster:
    """Connects in a process of its own, which can be ended: Ray itself tries a wrong address for minutes."""
    server = server_of(address)
    if server is None and address != "auto":
        return Cluster(error="invalid address")
    try:
        if server is not None:
            socket.create_connection(server, min(seconds, REACH_SECONDS)).close()
    except OSError as error:
        return Cluster(error=f"cannot be reached: {error.strerror or _line(error)}")
    command = [sys.executable, "-c", PROBE, address]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        silence = "the process that asked it died"
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            out, err = process.communicate()
            silence = f"no answer within {seconds:g} s"
        finally:
            _end(process)
    return read_probe(out, err, silence)


def _end(process: "subprocess.Popen[str]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def read_probe(out: str, log: str, silence: str) -> Cluster:
    """The cluster from the last line of the probe, or else ``silence``; Ray gives some reasons only in its log."""
    try:
        said = json.loads(out.splitlines()[-1])
        alive = [(node["NodeManagerAddress"], node["Resources"]) for node in said["nodes"] if node["Alive"]]
        nodes = tuple(Node(address, float(has.get("CPU", 0)), float(has.get("GPU", 0))) for address, has in alive)
        found = Cluster(nodes, said["error"])
    except (IndexError, KeyError, TypeError, ValueError):
        found = Cluster(error=": ".join([silence, *log.splitlines()[-1:]]))
    if found.error and "AuthToken" in log:
        return Cluster(error=f"{found.error} (authentication token is missing or incorrect)")
    return found


def check_ray(address: str | None) -> Iterator[Finding]:
    version = _version("ray")
    cluster = ask_ray(address) if version is not None and address is not None else Cluster()
    return judge_ray(version, os.environ.get("RAY_ADDRESS"), address, cluster)
