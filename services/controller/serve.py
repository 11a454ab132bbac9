"""A server from its start to its end: database, Ray, application."""

import errno
import gc
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from nas.adapters.sql.store import open_store
from nas.errors import SpecError, StateError
from services.controller.app import create_app
from services.controller.dispatcher import Dispatcher
from services.controller.service import Service
from services.controller.settings import Settings
from services.home import Home
from services.logs import configure

DRAIN_SECONDS = 10


def serve(home: Home, settings: Settings) -> None:
    """Until it is told to end. What is in training saves a checkpoint then, and goes on at the next start.

    Raises `StateError` when its cluster is gone: whoever keeps it running is to start it again; `SpecError` for a port
    or an address that is not to be had.
    """
    check_address(settings.host, settings.port)
    configure()
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
            settle_heap()
            with _quiet_signals():
                uvicorn.Server(config).run()
            if dispatcher.lost:
                raise StateError(dispatcher.lost)
    finally:
        store.close()


def check_address(host: str, port: int) -> None:
    """Said before Ray is started, which takes seconds."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as own:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            own.bind(address)
    except socket.gaierror as error:
        raise SpecError("--host", "must be an address or a name of this machine", host) from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SpecError("--port", "must be free: is a server running already?", port) from error
        raise SpecError("--host", f"must be an address that can be listened at: {error.strerror}", host) from error


def settle_heap() -> None:
    """What is loaded by now stays until the end. A full collection, during which nothing is answered, does not go
    through it again: that took 0.15 s."""
    gc.collect()
    gc.freeze()


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
