"""Which request a line of the log belongs to, and a problem that is told to somebody."""

import re
import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars

from nas.client.models import API, REQUEST_HEADER

PLAIN = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SEARCH = re.compile(rf"{API}/searches/([\w-]{{1,64}})(?:/|$)")


class Traced:
    """Puts the id of a request, and of the search that its path names, on every line that is logged meanwhile. An id
    that comes with the request is kept if it is short and plain; the answer has it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_HEADER, "")
        own = given if PLAIN.fullmatch(given) else secrets.token_hex(8)
        search = _SEARCH.match(scope["path"])
        # They stay until the next request of this connection: what is raised from here is logged by its server.
        clear_contextvars()
        bind_contextvars(request_id=own, **({"search_id": search[1]} if search else {}))

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(raw=message["headers"])[REQUEST_HEADER] = own
            await send(message)

        await self._app(scope, receive, answer)


def request_id() -> str:
    """Of the request that is being answered; empty outside of one."""
    return str(get_contextvars().get("request_id", ""))
