"""Of a server: what is made of facts, and what is found out about servers that are there, are others, or are none."""

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from nas.client.models import API_VERSION, VERSION_HEADER, Me, WorkerInfo
from nas.errors import SpecError
from services.doctor import Finding, Level, examine
from services.doctor.machine import LITTLE_DISK, NO_DISK
from services.doctor.server import (
    DAY,
    Visit,
    is_loopback,
    judge_clocks,
    judge_connection,
    judge_database,
    judge_devices,
    judge_ready,
    judge_refusal,
    judge_room,
    judge_token,
    judge_version,
    judge_workers,
)
from tests.services.doctor.facts import ERROR, OK, WARNING, levels


@pytest.mark.parametrize(
    ("place", "tls", "left", "level"),
    [
        ("http://127.0.0.1:8470", "", None, OK),
        ("http://localhost", "", None, OK),
        ("http://[::1]:8470", "", None, OK),
        ("http://nas.lab", "", None, WARNING),
        ("http://10.0.0.1:8470", "", None, WARNING),
        ("https://nas.lab", "TLS 1.3", 90 * DAY, OK),
        ("https://nas.lab", "TLS 1.3", 13 * DAY, WARNING),
        ("https://nas.lab", "TLS 1.3", None, OK),
    ],
)
def test_the_connection(place: str, tls: str, left: float | None, level: Level) -> None:
    found = judge_connection(place, tls, left, 0.002)
    assert found.level is level and bool(found.advice) == (level is not OK)
    assert found.found.startswith(f"{place} answers, {tls or 'plain HTTP'}")


@pytest.mark.parametrize(
    ("place", "here"),
    [("http://127.9.9.9", True), ("http://LOCALHOST:1", True), ("http://localhost.evil.example", False), ("", False)],
)
def test_addresses_of_this_machine(place: str, here: bool) -> None:
    assert is_loopback(place) is here


@pytest.mark.parametrize(
    ("api", "theirs", "level"),
    [(str(API_VERSION), "1.0", OK), (str(API_VERSION), "1.1", WARNING), ("99", "1.0", ERROR), ("", "1.0", ERROR)],
)
def test_versions(api: str, theirs: str, level: Level) -> None:
    assert judge_version(api, theirs, "1.0").level is level


@pytest.mark.parametrize(
    ("expires", "given", "level", "said"),
    [
        (None, False, OK, "none is asked for"),
        (None, True, OK, "of ann, scope write, never expires"),
        (1000 + 5 * DAY, True, OK, "of ann, scope write, expires in 5 days"),
        (1000 + 3600, True, WARNING, "of ann, scope write, expires in 1 h"),
    ],
)
def test_tokens(expires: float | None, given: bool, level: Level, said: str) -> None:
    found = judge_token(Me(name="ann", scope="write", expires_at=expires), given, 1000.0)
    assert found.level is level and said in found.found


def test_tokens_that_are_refused() -> None:
    assert judge_refusal("token 'ann' was revoked", True).found == "token 'ann' was revoked"
    assert judge_refusal("a token is needed", False).found == "none is known here, and one is needed"


@pytest.mark.parametrize(
    ("ahead", "said"),
    [
        (1.5, "within 2 s of the server's"),
        (-1.5, "within 2 s of the server's"),
        (90.0, "1 min 30 s ahead of the server's"),
        (-90.0, "1 min 30 s behind the server's"),
    ],
)
def test_clocks(ahead: float, said: str) -> None:
    found = judge_clocks(ahead)
    assert found.found == said and (found.level is WARNING) == ("within" not in said)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"database": "ok", "searches": "ok", "ray": "ok"}, [OK]),
        ({"database": "ok", "searches": "draining", "ray": "ok"}, [OK, ERROR]),
        ({"database": "gone", "ray": "does not answer"}, [ERROR, ERROR]),
        ({}, []),
    ],
)
def test_readiness(parts: dict[str, str], expected: list[Level]) -> None:
    assert levels(judge_ready(parts)) == expected


def test_the_database() -> None:
    def judged(found: str) -> Finding:
        return judge_database({"kind": "postgresql", "version": "16.2", "schema": {"found": found, "wanted": "0004"}})

    assert (judged("0004").level, judged("0004").found) == (OK, "postgresql 16.2, schema 0004")
    assert (judged("0003").level, judged("0003").found) == (ERROR, "postgresql 16.2, schema 0003, 0004 is needed")


@pytest.mark.parametrize(
    ("free", "level"), [(NO_DISK - 1, ERROR), (NO_DISK, WARNING), (LITTLE_DISK - 1, WARNING), (LITTLE_DISK, OK)]
)
def test_the_disk(free: int, level: Level) -> None:
    assert judge_room(free, 10 * LITTLE_DISK).level is level


def worker(host: str, alive: bool = True, **resources: float) -> WorkerInfo:
    return WorkerInfo(id=host, host=host, alive=alive, resources=resources)


@pytest.mark.parametrize(
    ("workers", "expected", "said"),
    [
        ([], [WARNING], "0 machines alive, 0 CPUs, 0 GPUs: searches wait"),
        ([worker("a", CPU=4, GPU=1, memory=2**30)], [OK, OK], "1 machine alive, 4 CPUs, 1 GPU"),
        ([worker("a", CPU=4), worker("b", False, CPU=8)], [OK, OK], "1 machine alive, 1 gone, 4 CPUs, 0 GPUs"),
        ([worker("a")], [WARNING, OK], "1 machine alive, 0 CPUs, 0 GPUs: searches wait"),
    ],
)
def test_workers(workers: list[WorkerInfo], expected: list[Level], said: str) -> None:
    first, *others = judge_workers(workers)
    assert [own.level for own in (first, *others)] == expected and first.found == said
    assert [own.found.partition(":")[0] for own in others] == [own.host for own in workers if own.alive]


def test_devices() -> None:
    profiles = [{"fingerprint": {"name": name, "threads": own}} for name, own in (("EPYC", 2), ("A100", 1))]
    assert judge_devices(profiles).found == "profiled: A100 (1 thread), EPYC (2 threads)"
    assert judge_devices([]).found.startswith("none is profiled yet")


# --- servers that are others, or none ---


@contextmanager
def answering(
    bodies: Mapping[str, str], headers: Mapping[str, str], status: int = 200, context: ssl.SSLContext | None = None
) -> Iterator[str]:
    """A server that gives the same to everybody, by path; its host and port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = bodies.get(self.path, "{}").encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string(time.time() - 5400)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def visited(server: str, token: str = "") -> tuple[dict[str, Finding], int]:
    """The last finding of each topic, and the exit code."""
    with Visit(server, token) as visit:
        return {own.topic: own for own in examine(visit.checks)}, visit.exit_code


def test_a_server_of_another_version() -> None:
    bodies = {"/api/v1/version": '{"api": 99, "nas": "9.9.9"}'}
    with answering(bodies, {VERSION_HEADER: "99"}) as place:
        found, code = visited(f"http://{place}")
    assert (list(found), code) == (["server", "version", "clock"], 6), "what cannot be understood is not asked for"
    assert found["version"].level is ERROR and "nas 9.9.9 there" in found["version"].found
    assert found["clock"].found.startswith("1 h ") and found["clock"].found.endswith(" ahead of the server's")


def test_a_server_of_something_else() -> None:
    with answering({}, {}) as place:
        found, code = visited(f"http://{place}")
    assert code == 6 and found["version"].found == f"http://{place} does not answer as a server of nas does (200)"
    assert "token" not in found


def test_a_proxy_without_a_server_behind_it() -> None:
    with answering({}, {}, 502) as place:
        found, code = visited(f"http://{place}")
    assert (list(found), code) == (["server"], 7) and "502 of what is before it" in found["server"].found


def test_nobody_there_and_no_password_told() -> None:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        port = own.getsockname()[1]
        found, code = visited(f"http://ann:secret@127.0.0.1:{port}", "nas_secret")
    assert (list(found), code) == (["server"], 7)
    assert found["server"].found.startswith(f"http://***@127.0.0.1:{port} does not answer: ")
    assert "nas serve" in found["server"].advice


def test_tls_where_there_is_none() -> None:
    with answering({}, {}) as place:
        found, code = visited(f"https://{place}")
    assert code == 7 and found["server"].advice == "write http:// where the server has no TLS, https:// where it has"


@pytest.mark.parametrize("address", ["nonsense", "ftp://x", "http://", "http://127.0.0.1:port"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(SpecError, match="--server: must be an address like"):
        Visit(address, "")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """For this machine, by nobody else, for five days."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("there is no openssl to make a certificate with")
    file = tmp_path / "certificate.pem"
    command = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "5", "-subj", "/CN=127.0.0.1"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([program, *command, *names, "-keyout", file, "-out", file.with_suffix(".crt")], check=True)
    file.write_text(file.read_text() + file.with_suffix(".crt").read_text())
    return file


def test_tls(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    bodies = {"/api/v1/version": f'{{"api": {API_VERSION}, "nas": "0"}}'}
    with answering(bodies, {VERSION_HEADER: str(API_VERSION)}, context=context) as place:
        found, code = visited(f"https://{place}")
        assert code == 7 and "SSL_CERT_FILE" in found["server"].advice, "nobody whom we trust has signed it"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_suffix(".crt")))
        found, code = visited(f"https://{place}")
    assert found["server"].found.startswith(f"https://{place} answers, TLS 1.3, its certificate holds for 5 days, ")
    assert found["server"].level is WARNING and found["version"].level is WARNING
