"""Tokens, and sessions of a browser."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from nas.adapters.sql.tokens import SESSION, TOKEN, TokenRecord
from nas.client.models import (
    SESSION_COOKIE,
    CreatedToken,
    Login,
    Me,
    NewToken,
    TokenInfo,
    TokenList,
)
from nas.errors import AccessError
from services.controller.access import Administering, Reading, check_origin, csrf_of
from services.controller.routes import problems
from services.controller.service import TheService

router = APIRouter(tags=["access"])
SESSION_SECONDS = 12 * 3600.0


@router.get("/me", response_model=Me, responses=problems())
def me(caller: Reading) -> Me:
    """Who asks, and what that may do."""
    return Me(name=caller.name, scope=caller.scope, csrf=caller.csrf, expires_at=caller.expires_at)


@router.get("/tokens", response_model=TokenList, responses=problems())
def list_tokens(service: TheService, caller: Administering) -> TokenList:
    return TokenList(tokens=[_info(own) for own in service.tokens.all()])


@router.post("/tokens", status_code=201, response_model=CreatedToken, responses=problems(413))
def create_token(service: TheService, caller: Administering, new: NewToken) -> CreatedToken:
    """Its secret is in this answer and nowhere else."""
    expires = None if new.expires_in is None else service.store.now() + new.expires_in
    secret, record = service.tokens.create(new.name, new.scope, expires)
    return CreatedToken(secret=secret, **_info(record).model_dump())


@router.delete("/tokens/{token_id}", response_model=TokenInfo, responses=problems(404))
def revoke_token(service: TheService, caller: Administering, token_id: str) -> TokenInfo:
    return _info(service.tokens.revoke(token_id))


@router.post("/session", status_code=201, response_model=Me, responses=problems(413))
def login(request: Request, service: TheService, given: Login) -> Response:
    """A session for a browser, by a token: a cookie that scripts cannot read."""
    check_origin(request)
    service.rates.submission(f"login {request.client.host if request.client else ''}")
    record = service.tokens.find(given.token)
    now = service.store.now()
    if record is None or record.kind != TOKEN or not record.holds(now):
        raise AccessError("the token is not known to this server, or does not hold any more")
    ends = min(now + SESSION_SECONDS, record.expires_at or float("inf"))
    secret, session = service.tokens.create(record.name, record.scope, ends, SESSION, record.id)
    content = Me(name=session.name, scope=_info(session).scope, csrf=csrf_of(secret), expires_at=ends)
    answer = JSONResponse(content.model_dump(mode="json"), 201)
    secure = request.url.scheme == "https"
    answer.set_cookie(
        SESSION_COOKIE, secret, max_age=int(ends - now), httponly=True, samesite="strict", secure=secure, path="/"
    )
    return answer


@router.delete("/session", status_code=204, responses=problems())
def logout(service: TheService, caller: Reading) -> Response:
    if caller.csrf is not None:
        service.tokens.revoke(caller.token_id)
    answer = Response(status_code=204)
    answer.delete_cookie(SESSION_COOKIE, path="/")
    return answer


def _info(record: TokenRecord) -> TokenInfo:
    names = TokenInfo.model_fields
    return TokenInfo(**{name: getattr(record, name) for name in names})
