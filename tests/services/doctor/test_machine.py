"""Of cores, memory and disk: what is made of facts, and that control groups are read."""

import math
import os
import re
from pathlib import Path

import pytest

from services.doctor import Finding, Level
from services.doctor.findings import GIB, MIB
from services.doctor.machine import (
    cgroup_folders,
    cgroup_memory,
    check_cores,
    cpu_quota,
    judge_cores,
    judge_disk,
    judge_memory,
    judge_shared,
    parse_meminfo,
)
from tests.services.doctor.facts import ERROR, OK, WARNING, levels, write


@pytest.mark.parametrize(
    ("cores", "machine", "quota", "threads", "load", "expected"),
    [
        (2, 2, math.inf, None, 2.0, [OK]),
        (2, 2, 2.0, None, 0.0, [OK]),
        (2, 2, 1.5, None, 0.0, [WARNING]),
        (2, 2, math.inf, None, 2.1, [OK, WARNING]),
        (2, 8, math.inf, None, 7.0, [OK]),
        (2, 2, math.inf, "4,1", 0.0, [OK, OK]),
        (2, 2, math.inf, "all", 0.0, [OK, WARNING]),
        (2, 2, math.inf, "", 0.0, [OK]),
        (1, 1, 0.5, "1", 9.0, [WARNING, OK, WARNING]),
    ],
)
def test_cores(cores: int, machine: int, quota: float, threads: str | None, load: float, expected: list[Level]) -> None:
    assert levels(judge_cores(cores, machine, quota, threads, load)) == expected


def test_a_quota_advises_threads_that_exist() -> None:
    advised = [next(judge_cores(8, 8, quota, None, 0.0)).advice for quota in (0.5, 2.5)]
    assert [re.findall(r"OMP_NUM_THREADS=(\d+)", own) for own in advised] == [["1"], ["2"]]


def test_folders_of_control_groups() -> None:
    root = Path("/c")
    assert cgroup_folders("0::/a/b\n", "cpu", root) == [root / "a/b", root / "a", root]
    assert cgroup_folders("0::/\n", "cpu", root) == [root]
    assert cgroup_folders("0::/../../host\n", "cpu", root) == [root]
    first = "4:memory:/m\n2:cpu,cpuacct:/a\n1:name=systemd:/x\n"
    assert cgroup_folders(first, "cpu", root) == [root / "cpu/a", root / "cpu"]
    assert cgroup_folders(first, "memory", root) == [root / "memory/m", root / "memory"]
    assert cgroup_folders("", "cpu", root) == []


def test_quotas_of_control_groups(tmp_path: Path) -> None:
    none = write(tmp_path / "none", cpu__max="max 100000\n")
    half = write(tmp_path / "half", cpu__max="50000 100000\n")
    first = write(tmp_path / "first", cpu__cfs_quota_us="150000\n", cpu__cfs_period_us="100000\n")
    unset = write(tmp_path / "unset", cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n")
    torn = write(tmp_path / "torn", cpu__max="50000\n")
    found = [cpu_quota([own]) for own in (none, half, first, unset, torn, tmp_path / "absent")]
    assert found == [math.inf, 0.5, 1.5, math.inf, math.inf, math.inf]
    assert cpu_quota([none, first, half]) == 0.5
    assert cpu_quota([]) == math.inf


def test_memory_of_control_groups(tmp_path: Path) -> None:
    stat = "active_file 7\ninactive_file 30\n"
    second = write(tmp_path / "second", memory__max="100\n", memory__current="90\n", memory__stat=stat)
    bare = write(tmp_path / "bare", memory__max="100\n", memory__current="90\n")
    over = write(tmp_path / "over", memory__max="100\n", memory__current="190\n")
    none = write(tmp_path / "none", memory__max="max\n", memory__current="90\n")
    old = {"memory__limit_in_bytes": "100\n", "memory__usage_in_bytes": "80\n"}
    first = write(tmp_path / "first", **old, memory__stat="inactive_file 1\ntotal_inactive_file 5\n")
    found = [cgroup_memory([own]) for own in (second, bare, over, none, first)]
    assert found == [40, 10, 0, math.inf, 25]
    assert cgroup_memory([none, second, bare]) == 10
    assert cgroup_memory([]) == math.inf


@pytest.mark.parametrize(
    ("available", "left", "level", "found"),
    [
        (8 * GIB, math.inf, OK, "8 GiB free of 16 GiB"),
        (2 * GIB, math.inf, OK, "2 GiB free of 16 GiB"),
        (2 * GIB - 1, math.inf, WARNING, "2 GiB free of 16 GiB"),
        (8 * GIB, 4 * GIB, OK, "4 GiB free below the container's limit"),
        (8 * GIB, 1 * GIB, WARNING, "1 GiB free below the container's limit"),
        (1 * GIB, 4 * GIB, WARNING, "1 GiB free of 16 GiB"),
    ],
)
def test_memory(available: int, left: float, level: Level, found: str) -> None:
    judged = judge_memory(available, 16 * GIB, left)
    assert (judged.level, judged.found, bool(judged.advice)) == (level, found, level is not OK)


def test_memory_of_other_systems() -> None:
    assert judge_memory(None, None, math.inf) == Finding("memory", OK, "not known on this system")
    assert parse_meminfo("MemTotal:       24 kB\nHugePages_Total:       3\n") == {"MemTotal": 24 * 1024}


@pytest.mark.parametrize(
    ("free", "level"),
    [(2 * GIB, OK), (2 * GIB - 1, WARNING), (200 * MIB, WARNING), (200 * MIB - 1, ERROR), (0, ERROR)],
)
def test_disk(free: int, level: Level) -> None:
    judged = judge_disk("home", free, "move")
    assert (judged.level, judged.advice) == (level, "" if level is OK else "free some space, or move")


def test_shared_memory() -> None:
    assert [judge_shared(free).level for free in (256 * MIB, 256 * MIB - 1)] == [OK, WARNING]


def test_the_load_and_threads_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = [own.found for own in check_cores()]
    assert found[0].startswith(f"{len(os.sched_getaffinity(0))} core")
    assert "OMP_NUM_THREADS is 3: at most so many threads for each worker" in found
