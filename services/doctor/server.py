"""A server as one who uses it finds it: reached, of the same version, the token holds, and what it stands on.

One `Visit` makes all checks, in their order: those that need an answer say nothing where there was none before.
"""

import ipaddress
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx2

from nas.client.http import problem, redacted
from nas.client.models import API, API_VERSION, VERSION_HEADER, Me, WorkerInfo
from nas.errors import AccessError, NasError, RefusedError, SpecError, UnreachableError
from nas.units import format_bytes, format_seconds
from services.doctor.cluster import units
from services.doctor.database import CLOCKS_APART
from services.doctor.findings import Check, Finding, Level, one_line
from services.doctor.machine import LITTLE_DISK, NO_DISK
from services.doctor.software import version_of

TIMEOUT = httpx2.Timeout(15.0, connect=5.0)
DAY = 86400.0
CERTIFICATE_SECONDS, TOKEN_SECONDS = 14 * DAY, DAY
"""Before its end a certificate, or a token, is worth a warning."""

# --- server ---


def judge_connection(place: str, tls: str, left: float | None, seconds: float) -> Finding:
    """``tls`` is its version, empty for plain HTTP; ``left`` are seconds that its certificate holds, where known."""
    trip = f"{seconds * 1000:.2g} ms for a round trip"
    if not tls:
        found = f"{place} answers, plain HTTP, {trip}"
        if is_loopback(place):
            return Finding("server", Level.OK, found)
        advice = "put a proxy with TLS before it: whoever is on the way reads the token"
        return Finding("server", Level.WARNING, found, advice)
    holds = "" if left is None else f", its certificate holds for {_span(left)}"
    found = f"{place} answers, {tls}{holds}, {trip}"
    if left is not None and left < CERTIFICATE_SECONDS:
        return Finding("server", Level.WARNING, found, "renew its certificate: once it has ended no client talks to it")
    return Finding("server", Level.OK, found)


def judge_silence(place: str, reason: str) -> Finding:
    return Finding("server", Level.ERROR, f"{place} does not answer: {one_line(reason)}", _cure(reason))


def _cure(reason: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return "renew its certificate, or where it is your own name its issuer's file in SSL_CERT_FILE"
    if "SSL" in reason or "TLS" in reason:
        return "write http:// where the server has no TLS, https:// where it has"
    if "refused" in reason:
        return "start it with nas serve, or look at the port"
    if "Name or service" in reason or "nodename" in reason or "resolution" in reason:
        return "look at the name of the host"
    return "look at address and firewall, and at the server's log"


def is_loopback(place: str) -> bool:
    """Whether an address is of this machine, which no network is needed for."""
    host = urlsplit(place).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _span(seconds: float) -> str:
    return format_seconds(seconds) if seconds < 2 * DAY else f"{seconds / DAY:.0f} days"


# --- version ---


def judge_version(api: str, theirs: str, ours: str) -> Finding:
    """``api`` is the version of the interface that the server speaks, the others are of the packages."""
    found = f"nas {theirs} there, {ours} here; version {api} of the interface"
    if api != str(API_VERSION):
        advice = "install the same nas on both sides"
        return Finding("version", Level.ERROR, f"{found} there, {API_VERSION} here", advice)
    if theirs != ours:
        return Finding("version", Level.WARNING, found, "they understand each other; better install the same")
    return Finding("version", Level.OK, found)


# --- token ---


def judge_token(me: Me, given: bool, now: float) -> Finding:
    """``given``: whether a token was sent; ``now`` by the server's clock."""
    if not given:
        return Finding("token", Level.OK, f"none is asked for: whoever reaches it may do everything ({me.scope})")
    found = f"of {me.name}, scope {me.scope}"
    if me.expires_at is None:
        return Finding("token", Level.OK, f"{found}, never expires")
    left = me.expires_at - now
    found = f"{found}, expires in {_span(left)}"
    if left < TOKEN_SECONDS:
        return Finding("token", Level.WARNING, found, "ask an administrator for another: nas token create NAME")
    return Finding("token", Level.OK, found)


def judge_refusal(reason: str, given: bool) -> Finding:
    if given:
        return Finding(
            "token", Level.ERROR, one_line(reason), "ask an administrator for another, then: nas login SERVER"
        )
    return Finding("token", Level.ERROR, "none is known here, and one is needed", "nas login SERVER, or set NAS_TOKEN")


# --- clock ---


def judge_clocks(ahead: float) -> Finding:
    """``ahead`` seconds of the server's clock, of which it tells whole ones."""
    if abs(ahead) > CLOCKS_APART:
        found = f"{format_seconds(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} the server's"
        return Finding("clock", Level.WARNING, found, "set both by network time (timedatectl set-ntp true)")
    return Finding("clock", Level.OK, f"within {format_seconds(CLOCKS_APART)} of the server's")


# --- what it stands on ---


def judge_ready(parts: Mapping[str, str]) -> Iterator[Finding]:
    good = [name for name, said in parts.items() if said == "ok"]
    if good:
        yield Finding("ready", Level.OK, f"{', '.join(good)}: ok")
    for name, said in parts.items():
        if said != "ok":
            advice = "wait, then look again" if said == "draining" else "look at the server's log"
            yield Finding("ready", Level.ERROR, f"{name}: {one_line(said)}", advice)


def judge_database(database: Mapping[str, Any]) -> Finding:
    schema = database["schema"]
    found = f"{database['kind']} {database['version']}, schema {schema['found']}"
    if schema["found"] == schema["wanted"]:
        return Finding("database", Level.OK, found)
    advice = "end the server, then on its machine: nas db upgrade"
    return Finding("database", Level.ERROR, f"{found}, {schema['wanted']} is needed", advice)


def judge_room(free: int, total: int) -> Finding:
    level = Level.ERROR if free < NO_DISK else Level.WARNING if free < LITTLE_DISK else Level.OK
    advice = "" if level is Level.OK else "free some space on the server's machine"
    return Finding("disk", level, f"{format_bytes(free)} free of {format_bytes(total)}", advice)


# --- who trains ---


def judge_workers(workers: Sequence[WorkerInfo]) -> Iterator[Finding]:
    alive = [own for own in workers if own.alive]
    cpus, gpus = (sum(own.resources.get(name, 0.0) for own in alive) for name in ("CPU", "GPU"))
    dead = len(workers) - len(alive)
    gone = f", {dead} gone" if dead else ""
    found = f"{len(alive)} machine{'s' * (len(alive) != 1)} alive{gone}, {units(cpus, gpus)}"
    if cpus or gpus:
        yield Finding("workers", Level.OK, found)
    else:
        yield Finding(
            "workers", Level.WARNING, f"{found}: searches wait", "start it with a Ray, or add a machine to it"
        )
    for own in alive:
        memory = own.resources.get("memory")
        has = units(own.resources.get("CPU", 0.0), own.resources.get("GPU", 0.0))
        yield Finding("workers", Level.OK, f"{own.host}: {has}{f', {format_bytes(memory)} memory' if memory else ''}")


def judge_devices(profiles: Sequence[Mapping[str, Any]]) -> Finding:
    """``profiles`` as the store has them."""
    if not profiles:
        return Finding("devices", Level.OK, "none is profiled yet: the first search makes a short profile")
    names = [own["fingerprint"] for own in profiles]
    told = [f"{own['name']} ({own['threads']} thread{'s' * (own['threads'] != 1)})" for own in names]
    return Finding("devices", Level.OK, f"profiled: {', '.join(sorted(told))}")


# --- all of it ---


class Visit:
    """Of a server. A context, or to be closed.

    Attributes:
        exit_code: that of a command which meets the first thing that lets no command work; 0 for none.
    """

    def __init__(self, server: str, token: str, transport: httpx2.BaseTransport | None = None) -> None:
        self.place, self.exit_code = redacted(server.rstrip("/")), 0
        self._token = token
        rule = "must be an address like http://127.0.0.1:8470"
        if urlsplit(server).scheme not in ("http", "https") or not urlsplit(server).hostname:
            raise SpecError("--server", rule, self.place)
        try:
            self._http = httpx2.Client(
                base_url=server.rstrip("/"), headers={"User-Agent": "nas"}, timeout=TIMEOUT, transport=transport
            )
        except httpx2.InvalidURL as error:
            raise SpecError("--server", rule, self.place) from error
        self._answers = False
        self._met: httpx2.Response | None = None
        self._me: Me | None = None
        self._ready: dict[str, Any] = {}
        self._asked_at = 0.0

    def __enter__(self) -> "Visit":
        return self

    def __exit__(self, *error: object) -> None:
        self._http.close()

    @property
    def checks(self) -> dict[str, Check]:
        return {
            "server": self.check_server,
            "version": self.check_version,
            "token": self.check_token,
            "clock": self.check_clock,
            "ready": self.check_ready,
            "database": self.check_database,
            "disk": self.check_disk,
            "workers": self.check_workers,
            "devices": self.check_devices,
        }

    def check_server(self) -> Iterator[Finding]:
        try:
            self._http.get(f"{API}/version")  # the first takes the time of the connection too
            began = time.perf_counter()
            with self._http.stream("GET", f"{API}/version") as answer:
                tls, left = _tls_of(answer)
                answer.read()
            seconds = time.perf_counter() - began
        except httpx2.TransportError as error:
            yield self._failed(judge_silence(self.place, str(error) or type(error).__name__), UnreachableError)
            return
        if VERSION_HEADER not in answer.headers and answer.status_code in (502, 503, 504):
            said = f"{answer.status_code} of what is before it"
            yield self._failed(judge_silence(self.place, said), UnreachableError)
            return
        self._met, self._asked_at = answer, time.time()
        yield judge_connection(self.place, tls, left, seconds)

    def check_version(self) -> Iterator[Finding]:
        answer = self._met
        if answer is None:
            return
        if VERSION_HEADER not in answer.headers:
            found = f"{self.place} does not answer as a server of nas does ({answer.status_code})"
            yield self._failed(Finding("version", Level.ERROR, found, "look at address and path"), RefusedError)
            return
        if answer.is_error:
            told = str(problem(answer.json()))
            advice = "start it with --allowed-host and this name" if answer.status_code == 400 else "look at its log"
            yield self._failed(Finding("version", Level.ERROR, one_line(told), advice), RefusedError)
            return
        theirs = str(answer.json().get("nas", "?"))
        judged = judge_version(answer.headers[VERSION_HEADER], theirs, version_of("nas") or "?")
        self._answers = judged.level is not Level.ERROR
        yield judged if self._answers else self._failed(judged, RefusedError)

    def check_token(self) -> Iterator[Finding]:
        if not self._answers:
            return
        try:
            self._me = Me.model_validate(self._get(f"{API}/me"))
        except AccessError as error:
            yield self._failed(judge_refusal(self._hidden(str(error)), bool(self._token)), AccessError)
            return
        except NasError as error:
            yield Finding("token", Level.ERROR, self._hidden(str(error)), "look at the server's log")
            return
        yield judge_token(self._me, bool(self._token), self._asked_at - (self._ahead() or 0.0))

    def check_clock(self) -> Iterator[Finding]:
        ahead = self._ahead()
        if ahead is not None:
            yield judge_clocks(ahead)

    def check_ready(self) -> Iterator[Finding]:
        """Asks at once for all that it stands on, which it tells administrators alone."""
        if not self._answers:
            return
        self._ready = self._get("/readyz?verbose=true" if self._administers else "/readyz", (503,))
        yield from judge_ready({name: own for name, own in self._ready.items() if isinstance(own, str)})

    def check_database(self) -> Iterator[Finding]:
        if (found := self._ground.get("database")) is not None:
            yield judge_database(found)
        elif self._me is not None and not self._administers:
            yield Finding("database", Level.OK, "its kind, and the room on the disk, are told to administrators alone")

    def check_disk(self) -> Iterator[Finding]:
        if (found := self._ground.get("disk")) is not None:
            yield judge_room(found["free"], found["total"])

    def check_workers(self) -> Iterator[Finding]:
        if self._me is None:
            return
        try:
            found = self._get(f"{API}/workers")["workers"]
        except NasError as error:
            yield Finding("workers", Level.ERROR, self._hidden(str(error)), "look at the server's log, and at its Ray")
            return
        yield from judge_workers([WorkerInfo.model_validate(own) for own in found])

    def check_devices(self) -> Iterator[Finding]:
        if self._me is not None:
            yield judge_devices([own["profile"] for own in self._get(f"{API}/devices")["devices"]])

    @property
    def _administers(self) -> bool:
        return self._me is not None and self._me.scope == "admin"

    @property
    def _ground(self) -> dict[str, Any]:
        return self._ready.get("ground") or {}

    def _get(self, path: str, expected: Sequence[int] = ()) -> dict[str, Any]:
        """What is told at a path; raises the error of a problem document, and `UnreachableError`."""
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            answer = self._http.get(path, headers=headers)
        except httpx2.TransportError as error:
            raise UnreachableError(f"{self.place} answers no more: {error or type(error).__name__}") from error
        if answer.is_error and answer.status_code not in expected:
            if "json" not in answer.headers.get("Content-Type", ""):
                raise NasError(f"{path}: {answer.status_code}")
            raise problem(answer.json(), answer.headers.get("Retry-After"))
        found = answer.json()
        return found if isinstance(found, dict) else {}

    def _ahead(self) -> float | None:
        """Seconds that this clock is ahead of the server's, which tells the second that began up to two ago."""
        try:
            there = parsedate_to_datetime(self._met.headers["Date"]).timestamp() if self._met is not None else None
        except (KeyError, ValueError):
            there = None
        return None if there is None else self._asked_at - (there + 1.0)

    def _failed(self, finding: Finding, kind: type[NasError]) -> Finding:
        """With the exit code that the error has in other commands."""
        self.exit_code = self.exit_code or kind.exit_code
        return finding

    def _hidden(self, text: str) -> str:
        """Without the token, whatever was answered."""
        return one_line(text.replace(self._token, "***") if self._token else text)


def _tls_of(answer: httpx2.Response) -> tuple[str, float | None]:
    """Version of TLS, empty for none, and seconds that the certificate holds; of an answer that goes on."""
    stream = answer.extensions.get("network_stream")
    secured = stream.get_extra_info("ssl_object") if stream is not None else None
    if secured is None:
        return "", None
    ends = (secured.getpeercert() or {}).get("notAfter")
    left = None if ends is None else ssl.cert_time_to_seconds(str(ends)) - time.time()
    return str(secured.version() or "TLS").replace("TLSv", "TLS "), left
