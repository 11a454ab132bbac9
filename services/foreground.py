"""A search in the foreground: begun, driven here or on Ray, followed until it ends."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from nas.adapters.inline_engine import InlineEngine
from nas.errors import NasError, StateError, StorageError
from nas.forecast import Forecast
from nas.ports import Store
from nas.records import SearchRecord, queued_search
from nas.spec import SearchSpec
from services.ground import Ground, workshop_of
from services.home import Home
from services.profiles import Tell
from services.worker.beginning import look_ahead
from services.worker.driver import SearchDriver
from services.worker.lease import held

if TYPE_CHECKING:
    from services.worker.fleet import Fleet

LOOK_SECONDS = 0.5
"""Between looks at what is new."""
RESTARTS = 3
"""Of a driver that dies again before it has brought a candidate further."""

Say = Callable[[str], None]


def begin(
    home: Home,
    store: Store,
    spec: SearchSpec,
    base: Path,
    tell: Tell,
    agree: Callable[[Forecast], None],
    fleet: "Fleet | None" = None,
) -> tuple[SearchRecord, Ground]:
    """A queued search and its ground. Input that does not do, or a forecast that is refused, leaves no record.

    Args:
        base: what relative paths of the spec are relative to.
        agree: gets the forecast before anything is spent, and raises to refuse.
        fleet: of a cluster to train on; ``None`` for this machine.
    """
    found = look_ahead(home, store, spec, base, tell, fleet)
    agree(found.forecast)
    record = queued_search(spec.name, spec.to_dict(), found.setting, at=time.time())
    store.add_search(record)
    return record, found.ground


def drive_inline(
    home: Home, store: Store, search_id: str, ground: Ground, look: Callable[[], None], say: Say
) -> SearchRecord:
    """Drives a search in this process, one candidate at a time; the search's record as it ends.

    Args:
        look: called now and then, from another thread, for people who watch.
    """
    with held(store, search_id, say) as lease:
        shop = workshop_of(ground.texts, home, ground.devices[0])
        driver = SearchDriver(home, lease, search_id, ground, lambda note: InlineEngine(shop, note), say)

        def interrupted(times: int) -> None:
            if times > 1:
                raise KeyboardInterrupt
            _say_pausing(say)
            driver.interrupt()

        with _signals(interrupted), _looking(look):
            return driver.run()


def drive_on_ray(
    home: Home, store: Store, search_id: str, look: Callable[[], None], say: Say, *, cluster: bool
) -> SearchRecord:
    """Starts the search's driver on the Ray that this process is connected to, and follows it until the search ends;
    the search's record then. A driver that dies is started again.

    Args:
        cluster: whether Ray is one of several machines, and was there before.

    Raises what ended the driver, and `KeyboardInterrupt` when the driver was killed by a second interrupt.
    """
    from services.worker.actor import end, start

    deaths, known = 0, _progress(store, search_id)
    while True:
        actor, ended = start(home, search_id, cluster=cluster, patient=deaths > 0)
        try:
            died = _Following(actor, ended, look, say).until_it_ends()
        finally:
            end(f"driver-{search_id}")
        if not died:
            return store.search(search_id)
        now = _progress(store, search_id)
        deaths, known = (deaths + 1 if now == known else 1), now
        if deaths > RESTARTS:
            raise StateError(f"the driver died {deaths} times without getting further: {died}")
        say(f"the driver died, another goes on: {died}")


class _Following:
    """Waits for a driver elsewhere. The first interrupt asks it to pause, the second kills it."""

    def __init__(self, actor: Any, ended: Any, look: Callable[[], None], say: Say) -> None:
        self._actor, self._ended, self._look, self._say = actor, ended, look, say
        self._interrupts, self._asked, self._heard = 0, False, 0

    def until_it_ends(self) -> str:
        """Empty, or how its process died."""
        import ray

        with _signals(self._interrupted):
            while not ray.wait([self._ended], timeout=LOOK_SECONDS)[0]:
                self._attend()
                self._listen()
        self._attend()
        try:
            ray.get(self._ended)
        except ray.exceptions.RayActorError as error:
            if self._interrupts > 1:
                raise KeyboardInterrupt from error
            return next(line for line in str(error).splitlines() if line)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            raise cause if isinstance(cause, NasError) else NasError(f"the driver failed: {error}") from error
        return ""

    def _interrupted(self, times: int) -> None:
        self._interrupts = times

    def _attend(self) -> None:
        import ray

        if self._interrupts and not self._asked:
            self._asked = True
            _say_pausing(self._say)
            self._actor.interrupt.remote()
        if self._interrupts > 1:
            ray.kill(self._actor)
        with suppress(StorageError):  # the driver waits until the database is there again, and so does this
            self._look()

    def _listen(self) -> None:
        """Says what the driver could not record."""
        import ray

        with suppress(ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
            for line in ray.get(self._actor.said.remote(self._heard), timeout=1):
                self._heard += 1
                self._say(line)


def _say_pausing(say: Say) -> None:
    say("pausing: what is in training saves a checkpoint (interrupt again to end it at once)")


def _progress(store: Store, search_id: str) -> tuple[int, int]:
    """Something that changes as long as a search gets further."""
    records = store.candidates(search_id)
    return len(records), sum(own.state.terminal for own in records)


@contextmanager
def _signals(interrupted: Callable[[int], None]) -> Iterator[None]:
    """Ctrl-C, a request to end and the loss of the terminal call ``interrupted`` with how many there were."""
    times = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal times
        times += 1
        interrupted(times)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def _looking(look: Callable[[], None]) -> Iterator[None]:
    """Calls ``look`` now and then, and at the end."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(LOOK_SECONDS):
            with suppress(StorageError):
                look()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        with suppress(StorageError):
            look()
