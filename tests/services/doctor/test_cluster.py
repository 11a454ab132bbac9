"""Of Ray: what is made of facts, and what is found out about real and wrong addresses."""

import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.doctor import Level, examine
from services.doctor.cluster import Cluster, Node, ask_ray, check_ray, judge_ray, read_probe, server_of
from tests.services.doctor.facts import ERROR, OK, levels


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
    assert levels(judge_ray(version, variable, address, cluster)) == expected


def test_nodes_of_a_cluster() -> None:
    _, whole, first, second = judge_ray("2", None, "h:1", Cluster((Node("a", 4, 1), Node("b", 1, 0))))
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
    *_, judged = judge_ray("2", None, "h:1", Cluster(error=error))
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
    assert read_probe(out, log, "it died") == cluster


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
    assert server_of(address) == server


def test_a_server_that_never_answers_does_not_hang_the_doctor() -> None:
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as server:
        began = time.monotonic()
        found = ask_ray(f"127.0.0.1:{server.getsockname()[1]}", seconds=3)
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
    version, whole, node = check_ray(cluster)
    assert version.level is OK
    assert (whole.level, whole.found) == (OK, f"{cluster}: 1 node alive, 3 CPUs, 0 GPUs")
    assert node.found == f"node {cluster.partition(':')[0]}: 3 CPUs, 0 GPUs"


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
    (found,) = examine({"ray": lambda: list(check_ray(address))[-1:]})
    assert time.monotonic() - began < 5
    assert found.level is ERROR
    assert found.found == f"{address}: {said}"
    assert advice in found.advice
