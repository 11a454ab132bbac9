"""A server as a process, and its users."""

import contextlib
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2

from nas.client.client import Client
from nas.errors import NasError
from tests.services.driving import Done, Place, gone

START_SECONDS = 180


@dataclass
class Served:
    """A server of a place, at a port; ``log`` is what it has said."""

    place: Place
    port: int
    arguments: tuple[str, ...] = ()
    process: "subprocess.Popen[str] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.place.folder / "server.log"

    def start(self) -> None:
        with self.log.open("a") as log:
            self.process = self.place.start(
                "serve", "--port", self.port, *self.arguments, stdout=subprocess.DEVNULL, stderr=log
            )
        limit = time.monotonic() + START_SECONDS
        with Client(self.url, retry_seconds=0) as client:
            while True:
                try:
                    client.version()
                    return
                except NasError:
                    assert self.process.poll() is None and time.monotonic() < limit, self.log.read_text()
                    time.sleep(0.1)

    def kill(self) -> None:
        """As nobody can expect it."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        """In good order; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=180)

    def client(self, token: str = "") -> Client:
        return Client(self.url, token)

    def answered(self, path: str) -> int:
        """Questions of a path, by its template, since it began."""
        figures = httpx2.get(f"{self.url}/metrics", timeout=60).text
        counts = re.findall(rf'nas_request_seconds_count{{method="GET",route="{re.escape(path)}",.*}} (\S+)', figures)
        return sum(int(float(own)) for own in counts)

    def followed(self, process: "subprocess.Popen[str]") -> None:
        """Waits until a command has asked twice after a search, so that it does so again and again, or has ended."""
        path, limit = "/api/v1/searches/{search_id}", time.monotonic() + START_SECONDS
        least = self.answered(path) + 2
        while self.answered(path) < least and process.poll() is None:
            assert time.monotonic() < limit
            time.sleep(0.05)

    def by(self, user: Place, *arguments: object, **environment: str) -> Done:
        """A command of somebody who uses this server."""
        return user.run(*arguments, **{"NAS_SERVER": self.url, **environment})


@contextlib.contextmanager
def serving(place: Place, *arguments: str) -> Iterator[Served]:
    """Nothing of it is left afterwards."""
    served = Served(place, free_port(), arguments)
    served.start()
    try:
        yield served
    finally:
        process = served.process
        assert process is not None
        if process.poll() is None:
            served.end()
        assert gone(process.pid) == [], "processes are left"


def free_port() -> int:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return int(own.getsockname()[1])
