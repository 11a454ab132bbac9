"""One request to a server: sent again where that is safe, its answer checked, its problems raised as our errors."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx2
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from nas.client.models import API, API_VERSION, VERSION_HEADER
from nas.errors import (
    AccessError,
    CancelledError,
    CorpusError,
    ExportError,
    InfeasibleError,
    MissingDependencyError,
    NasError,
    NotFoundError,
    RefusedError,
    SpecError,
    StateError,
    StorageError,
    UnreachableError,
)

TIMEOUT = httpx2.Timeout(30.0, connect=5.0)
RETRY_SECONDS = 20.0
"""That a request is tried again for, where the server is away or has no time."""
KINDS: Mapping[str, type[NasError]] = {
    "corpus": CorpusError,
    "infeasible": InfeasibleError,
    "not-found": NotFoundError,
    "cancelled": CancelledError,
    "state": StateError,
    "export": ExportError,
    "storage": StorageError,
    "not-installed": MissingDependencyError,
}
"""Of the problems that a server tells, those which are errors of the core."""


class Http:
    """Of one server. Whoever makes it closes it.

    Attributes:
        server: its address, for messages: without a password.
    """

    def __init__(
        self,
        server: str,
        token: str = "",
        transport: httpx2.BaseTransport | None = None,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self.server, self._retry_seconds = redacted(server.rstrip("/")), retry_seconds
        headers = {"User-Agent": "nas"} | ({"Authorization": f"Bearer {token}"} if token else {})
        try:
            self._client = httpx2.Client(
                base_url=server.rstrip("/") + API, headers=headers, timeout=TIMEOUT, transport=transport
            )
        except httpx2.InvalidURL as error:
            raise SpecError("--server", "must be an address like http://127.0.0.1:8470", self.server) from error

    def close(self) -> None:
        self._client.close()

    def request(self, method: str, path: str, *, safe: bool = True, **given: Any) -> httpx2.Response:
        """An answer that is no problem.

        Args:
            safe: the same request may be sent again: it changes nothing, or nothing more.

        Raises:
            UnreachableError: the server does not answer.
            AccessError, RefusedError: it will not.
            NasError: of the kind that it tells.
        """
        tries = Retrying(
            retry=retry_if_exception(_passes),
            stop=stop_after_delay(self._retry_seconds if safe else 0),
            wait=_wait,
            reraise=True,
        )
        answer: httpx2.Response = tries(self._once, method, path, given)
        return answer

    @contextmanager
    def stream(self, path: str, **given: Any) -> Iterator[httpx2.Response]:
        """An answer that goes on; errors as in `request`, but for those of the connection, which are the caller's."""
        with self._told(), self._client.stream("GET", path, timeout=httpx2.Timeout(60.0, connect=5.0), **given) as got:
            if got.is_error:
                got.read()
            self._check(got)
            yield got

    def _once(self, method: str, path: str, given: Mapping[str, Any]) -> httpx2.Response:
        with self._told():
            answer = self._client.request(method, path, **given)
        self._check(answer)
        return answer

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except httpx2.UnsupportedProtocol as error:
            raise SpecError("--server", "must be an address like http://127.0.0.1:8470", self.server) from error
        except httpx2.TransportError as error:
            reason = str(error) or type(error).__name__
            raise UnreachableError(
                f"no server answers at {self.server}: {reason}; start one with: nas serve"
            ) from error

    def _check(self, answer: httpx2.Response) -> None:
        version = answer.headers.get(VERSION_HEADER)
        if version is None and answer.status_code == 502:
            raise UnreachableError(f"no server answers at {self.server}: {answer.status_code} of what is before it")
        if answer.is_error and answer.headers.get("Content-Type", "").startswith("application/problem+json"):
            raise problem(answer.json(), answer.headers.get("Retry-After"))
        if version is None:
            raise RefusedError(f"{self.server} does not answer as a server of nas does ({answer.status_code})")
        if version != str(API_VERSION):
            rule = f"speaks version {version} of the interface, this nas speaks {API_VERSION}"
            raise RefusedError(f"{self.server} {rule}: install the same nas on both sides")
        if answer.is_error:
            raise NasError(f"{self.server} failed ({answer.status_code}): {answer.text[:200]}")


def redacted(address: str) -> str:
    """Without the name and the password that an address may hold."""
    scheme, separator, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}***@{host.rpartition('@')[2]}{slash}{path}" if "@" in host else address


def problem(raw: Mapping[str, Any], retry_after: str | None = None) -> NasError:
    """The error that a problem document tells of."""
    kind, detail = str(raw.get("type", "")).rpartition(":")[2], str(raw.get("detail", "the server gives no reason"))
    if kind in ("spec", "request") and raw.get("field"):
        return SpecError(str(raw["field"]), str(raw.get("rule", detail)), raw.get("value"))
    if kind in ("unauthenticated", "forbidden"):
        return AccessError(detail, known=kind == "forbidden")
    if kind in KINDS:
        return KINDS[kind](detail)
    if kind == "rate":
        return RefusedError(detail, retry_after=float(retry_after or 1))
    status = int(raw.get("status", 500))
    if 400 <= status < 500:
        return RefusedError(detail)
    request = raw.get("trace_id")
    return NasError(f"{detail} (request {request})" if request else detail)


def _passes(error: BaseException) -> bool:
    """What may be better in a moment."""
    return isinstance(error, (UnreachableError, StorageError)) or (
        isinstance(error, RefusedError) and error.retry_after is not None
    )


_backoff = wait_random_exponential(multiplier=0.2, max=5)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.retry_after if isinstance(error, RefusedError) else None
    return asked if asked is not None else _backoff(state)
