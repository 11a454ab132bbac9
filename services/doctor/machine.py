"""What the machine has left: cores, memory and disk, and what a container takes of them."""

import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from nas.units import format_bytes
from services.doctor.findings import GIB, MIB, Finding, Level, one_line, text_of

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
    parts = text_of(folder / "cpu.max").split() or [
        text_of(folder / name).strip() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
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
    quota = cpu_quota(cgroup_folders(text_of(Path("/proc/self/cgroup")), "cpu"))
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
        most, now = (text_of(folder / name).strip() for name in (limit, used))
        if most.isdecimal() and now.isdecimal():
            reclaimable = re.search(rf"^{cached} (\d+)$", text_of(folder / "memory.stat"), re.M)
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
    known = parse_meminfo(text_of(Path("/proc/meminfo")))
    left = cgroup_memory(cgroup_folders(text_of(Path("/proc/self/cgroup")), "memory"))
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
        found = f"{place}: cannot be written ({error.strerror or one_line(error)})"
        return Finding("disk", Level.ERROR, found, f"make it a folder that can be written, or {advice}")
