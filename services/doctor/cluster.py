"""Ray: whether it is there, and what answers at the address of a cluster."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from services.doctor.findings import Finding, Level, one_line
from services.doctor.software import version_of

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
        yield Finding("ray", Level.ERROR, f"{address}: {one_line(cluster.error)}", _cure(cluster.error))
        return
    cpus, gpus = (sum(values) for values in ([n.cpus for n in cluster.nodes], [n.gpus for n in cluster.nodes]))
    found = f"{address}: {len(cluster.nodes)} node{'s' * (len(cluster.nodes) != 1)} alive, {units(cpus, gpus)}"
    if cpus or gpus:
        yield Finding("ray", Level.OK, found)
    else:
        yield Finding("ray", Level.ERROR, found, "start a node that works: ray start --address=HOST:PORT")
    for node in cluster.nodes:
        yield Finding("ray", Level.OK, f"node {node.address}: {units(node.cpus, node.gpus)}")


def units(cpus: float, gpus: float) -> str:
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
        return Cluster(error=f"cannot be reached: {error.strerror or one_line(error)}")
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
    version = version_of("ray")
    cluster = ask_ray(address) if version is not None and address is not None else Cluster()
    return judge_ray(version, os.environ.get("RAY_ADDRESS"), address, cluster)
