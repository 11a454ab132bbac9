"""Searches and the processes that drive them, brought together: at the start and every few seconds.

What is to be driven follows from the database alone, so a controller that was killed loses nothing, and of two that
look after one database neither needs to know of the other: whoever holds a search's lease drives it.
"""

import logging
import threading
import time
from contextlib import suppress

from structlog.contextvars import bound_contextvars

from nas.adapters.sql.reader import Reader
from nas.errors import LeaseError, NasError, StorageError
from nas.ports import Store
from nas.records import RequestKind, SearchRecord, SearchState
from services.controller.dispatcher import Dispatcher
from services.controller.service import Service
from services.worker.lease import driving

log = logging.getLogger(__name__)
GLANCE_SECONDS, LOOK_SECONDS = 1.0, 5.0
"""Between glances at whether anything has changed, and between looks at all searches even if nothing has."""
RESTARTS = 3
"""Of a driver that dies again before it has brought a candidate further."""
GOES_ON = (SearchState.QUEUED, SearchState.RUNNING, SearchState.STOPPING)
"""States in which a search is to be driven."""
WAKING = (RequestKind.RESUME, RequestKind.CANCEL)
"""Requests that need a driver where there is none."""
OVER = (SearchState.COMPLETED, SearchState.CANCELLED)


class Reconciler:
    """`look` is for one thread; `run` calls it until `end`."""

    def __init__(self, service: Service) -> None:
        self._store: Store = service.store
        self._reader: Reader = service.reader
        self._dispatcher: Dispatcher = service.dispatcher
        self._most = service.settings.running
        self._known: dict[str, object] = {}  # how far a search had got when a driver of it was started last
        self._deaths: dict[str, int] = {}  # of drivers since
        self._over, self._nudged = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="reconciler")
        self._looked, self._done = 0.0, -LOOK_SECONDS
        self._newest: object = None

    def begin(self) -> None:
        self._thread.start()

    def nudge(self) -> None:
        """Looks at once: something was asked."""
        self._nudged.set()

    def end(self) -> None:
        self._over.set()
        self._nudged.set()
        self._thread.join()

    @property
    def state(self) -> str:
        """``ok``, or what is wrong with it."""
        if self._over.is_set():
            return "draining"
        late = time.monotonic() - self._looked
        return "ok" if self._looked and late < 30 else "has not looked for a while"

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                if self._is_time():
                    self.look()
                self._looked = time.monotonic()
            except StorageError as error:
                log.warning("searches cannot be looked after: %s", error)
            except Exception:
                log.exception("searches cannot be looked after")
            self._nudged.wait(GLANCE_SECONDS)
            self._nudged.clear()

    def _is_time(self) -> bool:
        """Something has changed, or it is long ago: leases expire without a change."""
        before, self._newest = self._newest, self._reader.newest()
        if self._newest == before and time.monotonic() - self._done < LOOK_SECONDS:
            return False
        self._done = time.monotonic()
        return True

    def look(self) -> None:
        """Starts what is to be driven and is not, as far as there is room."""
        wanted = self._wanted()
        busy = sum(self._is_busy(own) for own in wanted)
        for record in wanted:
            if self._over.is_set() or self._is_busy(record):
                continue
            if busy >= self._most:
                break
            busy += 1
            with bound_contextvars(search_id=record.id):
                self._start(record)
        self._dispatcher.keep()

    def _wanted(self) -> list[SearchRecord]:
        """The oldest first; those that go on already before those that begin."""
        asked = self._reader.asked()
        found = [own for own in self._reader.searches(states=GOES_ON, limit=10_000) if own.setting.get("served")]
        known = {own.id for own in found}
        for search_id, kinds in asked.items():
            if search_id not in known and any(own in WAKING for own in kinds):
                record = self._store.search(search_id)
                if record.setting.get("served") and record.state not in OVER:
                    found.append(record)
        return sorted(found, key=lambda own: (own.state is SearchState.QUEUED, own.created_at, own.id))

    def _is_busy(self, record: SearchRecord) -> bool:
        return driving(self._store, record.id) is not None or self._dispatcher.starting(record.id)

    def _start(self, record: SearchRecord) -> None:
        progress = self._progress(record.id)
        deaths = self._deaths.get(record.id, 0) if self._known.get(record.id) == progress else 0
        if deaths > RESTARTS:
            self._give_up(record)
            return
        try:
            if self._dispatcher.start(record.id):
                self._known[record.id], self._deaths[record.id] = progress, deaths + 1
        except NasError as error:
            log.warning("search %s cannot be driven: %s", record.id, error)

    def _progress(self, search_id: str) -> tuple[tuple[str, int], ...]:
        """Something that changes as long as a search gets further."""
        return tuple(sorted(self._reader.counts_of(search_id).items()))

    def _give_up(self, record: SearchRecord) -> None:
        reason = f"its driver died {RESTARTS + 1} times without getting further; the server's log says why"
        log.error("search %s: %s", record.id, reason)
        at = time.time()
        with suppress(LeaseError), self._store.transaction():
            for asked in self._store.requests(record.id, unanswered=True):
                if asked.kind in WAKING:
                    self._store.answer_request(record.id, asked.sequence, f"comes to nothing: {reason}", at=at)
            self._store.update_search(record.id, state=SearchState.FAILED, reason=reason, finished_at=at)
            self._store.add_event(record.id, "failed", reason, at=at, level="warning")
        self._known.pop(record.id, None)
        self._deaths.pop(record.id, None)
