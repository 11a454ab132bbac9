"""Who asks, and whether that may be: bearer tokens, sessions of a browser, where a page comes from."""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from nas.adapters.sql.tokens import SESSION, TOKEN, TokenRecord
from nas.client.models import CSRF_HEADER, SCOPES, SESSION_COOKIE, Scope
from nas.errors import AccessError
from services.controller.problems import Refusal
from services.controller.service import Service, service_of

SAFE = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. ``token_id`` is empty where no token is needed."""

    name: str
    scope: Scope
    token_id: str = ""
    csrf: str | None = None
    expires_at: float | None = None

    def may(self, scope: Scope) -> bool:
        return SCOPES.index(scope) <= SCOPES.index(self.scope)


LOCAL = Caller("local", "admin")
"""Everybody, on a server of one machine that asks for no token."""


def caller_of(request: Request) -> Caller:
    """Raises `AccessError` for nobody, and `RefusedError` for one who asks too often."""
    service = service_of(request)
    caller = _caller(request, service)
    service.rates.request(caller.token_id or caller.name)
    return caller


def requires(scope: Scope) -> Callable[[Request], Caller]:
    """A dependency: the caller, if the scope is held."""

    def check(request: Request) -> Caller:
        caller = caller_of(request)
        if not caller.may(scope):
            raise AccessError(f"token {caller.name!r} has scope {caller.scope}; this needs {scope}", known=True)
        return caller

    return check


Reading = Annotated[Caller, Depends(requires("read"))]
Writing = Annotated[Caller, Depends(requires("write"))]
Administering = Annotated[Caller, Depends(requires("admin"))]


def _caller(request: Request, service: Service) -> Caller:
    check_origin(request)
    if not service.settings.auth:
        return LOCAL
    kind, _, secret = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer":
        record = _holding(service, secret.strip(), TOKEN)
        return Caller(record.name, _scope(record), record.id, expires_at=record.expires_at)
    cookie = request.cookies.get(SESSION_COOKIE)
    if cookie is None:
        raise AccessError("a token is needed: nas login, or the header Authorization: Bearer nas_...")
    record = _holding(service, cookie, SESSION)
    csrf = csrf_of(cookie)
    if request.method not in SAFE and not hmac.compare_digest(request.headers.get(CSRF_HEADER, ""), csrf):
        raise AccessError(f"a browser must send {CSRF_HEADER} with what changes something", known=True)
    return Caller(record.name, _scope(record), record.id, csrf, record.expires_at)


def _holding(service: Service, secret: str, kind: str) -> TokenRecord:
    record = service.tokens.find(secret)
    if record is None or record.kind != kind:
        raise AccessError("the token is not known to this server")
    if record.revoked_at is not None:
        raise AccessError(f"token {record.name!r} was revoked")
    if not record.holds(service.store.now()):
        raise AccessError(f"token {record.name!r} has expired")
    service.tokens.used(record)
    return record


def _scope(record: TokenRecord) -> Scope:
    return next(own for own in SCOPES if own == record.scope)


def csrf_of(secret: str) -> str:
    """What a page of ours knows of a session and no other page can: derived from its secret, so that it needs no
    keeping."""
    return hashlib.sha256(f"csrf:{secret}".encode()).hexdigest()


def check_origin(request: Request) -> None:
    """A page of somebody else must not change anything, also where no token is needed."""
    origin = request.headers.get("Origin")
    if request.method in SAFE or origin is None:
        return
    if urlsplit(origin).netloc != request.headers.get("Host"):
        raise Refusal(403, "forbidden", f"a page of {origin} must not change anything here")
