"""The FastAPI application."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import metadata

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from nas.client.models import API, API_VERSION, VERSION_HEADER, Problem
from services.controller import problems
from services.controller.metrics import Figures
from services.controller.reconcile import Reconciler
from services.controller.routes import analysis, candidates, catalogue, corpora, events, health, searches, tokens
from services.controller.service import Service

ABOUT = """Find the best language model you can afford, and prove that it fits.

Errors are problem documents (RFC 9457). Answers that can be polled have an ETag. Times are seconds since the epoch,
FLOPs and bytes are integers, losses are bits per byte."""


def create_app(service: Service, reconciles: bool = True) -> FastAPI:
    """An application over what the caller has opened, and closes; ``reconciles``: it also looks after the searches."""
    reconciler = Reconciler(service)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if reconciles:
            reconciler.begin()
        yield
        if reconciles:
            reconciler.end()
            service.dispatcher.drain()

    app = FastAPI(
        title="nas",
        version=metadata.version("nas"),
        description=ABOUT,
        lifespan=lifespan,
        max_body_size=service.settings.quotas.body_bytes,
    )
    app.state.service = service
    app.state.figures = Figures()
    app.state.ready = lambda: {"searches": reconciler.state} if reconciles else {}
    problems.install(app)
    api = APIRouter(prefix=API)
    for own in (searches, candidates, analysis, events, catalogue, corpora, tokens):
        api.include_router(own.router)
    app.include_router(api)
    app.include_router(health.router)
    app.middleware("http")(_measured(app.state.figures))
    app.add_middleware(HostCheck, allowed=service.settings.allowed_hosts)
    _describe_problems(app)
    return app


def _measured(figures: Figures) -> Callable[[Request, Callable[[Request], Awaitable[Response]]], Awaitable[Response]]:
    async def measure(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        began = time.perf_counter()
        answer = await call_next(request)
        route = request.scope.get("route")
        path = getattr(route, "path", "none")
        if not path.endswith("/stream"):
            seconds = time.perf_counter() - began
            figures.requests.labels(request.method, path, answer.status_code).observe(seconds)
        answer.headers[VERSION_HEADER] = str(API_VERSION)
        answer.headers.setdefault("X-Content-Type-Options", "nosniff")
        answer.headers.setdefault("Cache-Control", "no-store")
        return answer

    return measure


class HostCheck:
    """Answers only to its own names: a page elsewhere may make a name of its own point here."""

    def __init__(self, app: ASGIApp, allowed: frozenset[str]) -> None:
        self._app, self._allowed = app, allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope)
            if _host(request.headers.get("host", "")) not in self._allowed:
                answer = problems.answer(request, "host", 400, "this server does not answer to that name")
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _host(header: str) -> str:
    """Without the port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0].lower()


def _describe_problems(app: FastAPI) -> None:
    """The OpenAPI document knows `Problem`, and no answers that are never given."""
    make = app.openapi

    def openapi() -> dict[str, object]:
        if app.openapi_schema is None:
            document = make()
            schemas = document["components"]["schemas"]
            schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
        return make()

    app.openapi = openapi  # type: ignore[method-assign]
