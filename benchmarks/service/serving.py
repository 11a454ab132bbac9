"""A server in a process of its own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2


@contextmanager
def serving(folder: Path, database: str, *arguments: str) -> Iterator[tuple[str, int]]:
    """A server's address and process, which leads a session; ``folder`` is its home."""
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        port = own.getsockname()[1]
    environment = {**os.environ, "NAS_HOME": str(folder), "NAS_DATABASE": database, "NAS_SERVER": ""}
    command = [sys.executable, "-m", "services.cli.main", "serve", "--port", str(port), *arguments]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    server = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                httpx2.get(f"{server}/livez")
                break
            except httpx2.TransportError:
                assert process.poll() is None, "the server has ended"
                time.sleep(0.1)
        yield server, process.pid
    finally:
        process.terminate()
        process.wait(timeout=60)
