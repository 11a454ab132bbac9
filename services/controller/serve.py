"""A server from its start to its end: database, Ray, application."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from nas.adapters.sql.store import open_store
from nas.errors import StateError
from services.controller.app import create_app
from services.controller.dispatcher import Dispatcher
from services.controller.service import Service
from services.controller.settings import Settings
from services.home import Home

DRAIN_SECONDS = 10


def serve(home: Home, settings: Settings) -> None:
    """Until it is told to end. What is in training saves a checkpoint then, and goes on at the next start.

    Raises `StateError` when its cluster is gone: whoever keeps it running is to start it again.
    """
    store = open_store(home.database)
    try:
        with dispatching(home, settings) as dispatcher:
            app = create_app(Service(home, store, settings, dispatcher))
            config = uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=DRAIN_SECONDS,
                proxy_headers=False,
            )
            with _quiet_signals():
                uvicorn.Server(config).run()
            if dispatcher.lost:
                raise StateError(dispatcher.lost)
    finally:
        store.close()


@contextmanager
def _quiet_signals() -> Iterator[None]:
    """Uvicorn raises the signals again that have ended it; by then all is in good order, and nothing is to happen."""
    former = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def dispatching(home: Home, settings: Settings) -> Iterator[Dispatcher]:
    """Where searches are driven: a cluster, a Ray of our own, or nowhere."""
    from services.controller.dispatch import NoRay, RayDispatcher

    if settings.ray == "none":
        yield NoRay()
        return
    from services.worker.cluster import connected

    with connected(settings.ray or None):
        yield RayDispatcher(home, cluster=bool(settings.ray))
