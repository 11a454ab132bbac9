"""The FastAPI application."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import metadata

from fastapi import APIRouter, FastAPI, Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nas.client.models import API, API_VERSION, VERSION_HEADER, Problem
from services.controller import docs, pages, problems
from services.controller.metrics import Figures
from services.controller.reconcile import Reconciler
from services.controller.routes import (
    analysis,
    candidates,
    catalogue,
    corpora,
    curves,
    events,
    exports,
    forecasts,
    health,
    profiles,
    searches,
    tokens,
)
from services.controller.service import Service
from services.controller.tracing import Traced

ABOUT = """Find the best language model you can afford, and prove that it fits.

Errors are problem documents (RFC 9457). Answers that can be polled have an ETag. Times are seconds since the epoch,
FLOPs and bytes are integers, losses are bits per byte."""


def create_app(service: Service, reconciles: bool = True) -> FastAPI:
    """An application over what the caller has opened, and closes; ``reconciles``: it also looks after the searches."""
    reconciler = Reconciler(service)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if reconciles:
            service.nudges.append(reconciler.nudge)
            reconciler.begin()
        yield
        if reconciles:
            reconciler.end()
            service.dispatcher.drain()
        service.exports.close()
        service.profiling.close()

    app = _Application(
        title="nas",
        version=metadata.version("nas"),
        description=ABOUT,
        docs_url=None,  # the framework's pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        max_body_size=service.settings.quotas.body_bytes,
    )
    app.state.service = service
    app.state.figures = Figures()
    app.state.ready = lambda: {"searches": reconciler.state, "ray": service.dispatcher.state()} if reconciles else {}
    problems.install(app)
    api = APIRouter(prefix=API)
    for own in (
        *(searches, forecasts, candidates, curves, analysis, events),
        *(exports, catalogue, profiles, corpora, tokens),
    ):
        api.include_router(own.router)
    app.include_router(api)
    app.include_router(health.router)
    app.include_router(docs.router)
    app.include_router(pages.router)
    _describe_problems(app)
    return app


class _Application(FastAPI):
    def build_middleware_stack(self) -> ASGIApp:
        """With ours around the framework's own, which answer some requests before any middleware of `add_middleware`
        sees them."""
        service: Service = self.state.service
        inner = TooLarge(super().build_middleware_stack())
        return Traced(Measured(HostCheck(inner, service.settings.allowed_hosts), self.state.figures))


class Measured:
    """Takes down how long answers take, and gives each the headers that all have."""

    def __init__(self, app: ASGIApp, figures: Figures) -> None:
        self._app, self._figures = app, figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                headers[VERSION_HEADER] = str(API_VERSION)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Cache-Control", "no-store")
                self._take_down(scope, message["status"], time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, answer)

    def _take_down(self, scope: Scope, status: int, seconds: float) -> None:
        path = getattr(scope.get("route"), "path", "none")
        if scope["path"].startswith(f"{API}/") and path.startswith("/") and not path.startswith(API):
            path = API + path  # a route does not know what the router that has it is below
        if not path.endswith("/stream"):
            self._figures.requests.labels(scope["method"], path, status).observe(seconds)


class TooLarge:
    """A body that is too large is refused before any route sees it; the answer is a problem document all the same."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = False

        async def answer(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] == 413:
                refused = True
                told = problems.answer(Request(scope), "too-large", 413, "the body is larger than this may be")
                await told(scope, receive, send)
            if not refused:
                await send(message)

        await self._app(scope, receive, answer)


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
