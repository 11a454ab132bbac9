"""Ray: a local one, started and ended with the command, or a cluster that is there."""

import logging
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nas.errors import StateError
from services.cpus import cores
from services.worker.reaper import reaped

OBJECT_STORE_BYTES = 256 * 2**20
"""Of a local Ray. Little goes through it: what is trained on comes from files."""
NAMESPACE = "nas"
CONNECT_SECONDS = 5.0


@contextmanager
def connected(address: str | None, cpus: int = 0) -> Iterator[None]:
    """Within the block this process is connected to Ray; a local one (no address) ends with the block, or with this
    process, however that ends.

    Args:
        cpus: that a local Ray is to offer, at least; it offers those of the machine.

    Raises:
        StateError: no Ray at the address, or none can be started.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address:
        if os.environ.get("RAY_AUTH_TOKEN") or any(token.exists() for token in _tokens()):  # else it is tried without
            os.environ.setdefault("RAY_AUTH_MODE", "token")
        _check_reachable(address)
        with _initialised(address, address=address):
            yield
        return
    folder = Path(tempfile.mkdtemp(prefix="nas-ray-"))  # short, since the paths of sockets must be
    local = {
        "address": "local",
        "num_cpus": max(cpus, cores()),
        "object_store_memory": OBJECT_STORE_BYTES,
        "include_dashboard": False,
        "_temp_dir": str(folder),
    }
    with reaped(folder), _initialised("this machine", **local):
        yield


def _check_reachable(address: str) -> None:
    """Ray itself would try for ever."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return  # auto, or a name of Ray's
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise StateError(
            f"Ray at {address}: {error.strerror or error}; `nas doctor --ray {address}` says more"
        ) from error


def _tokens() -> list[Path]:
    """Where Ray keeps the token of its clusters."""
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    return [Path(named)] if named else [Path.home() / ".ray" / "auth_token"]


@contextmanager
def _initialised(place: str, **options: Any) -> Iterator[None]:
    import ray

    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, namespace=NAMESPACE, **options)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StateError(f"Ray at {place}: {reason}; `nas doctor` looks into it") from error
    try:
        yield
    finally:
        ray.shutdown()
