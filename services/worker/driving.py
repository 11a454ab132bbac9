"""A search driven in a process of its own, on Ray workers."""

import importlib
import logging
import time
from functools import partial

from structlog.contextvars import bound_contextvars

from nas.adapters.optuna_suggester import warm
from nas.adapters.sql.store import open_store
from nas.errors import LeaseError, NasError, StorageError
from nas.ports import Store
from nas.records import RequestKind, SearchState
from nas.spec import parse_spec
from services.ground import Ground, survey_again
from services.home import Home
from services.worker.beginning import prepare
from services.worker.driver import OVER, SearchDriver, cancel_held
from services.worker.engine import tune_engine
from services.worker.fleet import Fleet
from services.worker.lease import held, whoami

log = logging.getLogger(__name__)


class Driving:
    """`drive` is for one thread, the others for any."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._driver: SearchDriver | None = None
        self._interrupted = False
        warm()
        importlib.import_module("torch._dynamo")  # as torch does in its first optimizer: the longer half of a forecast
        self._made, self._began = time.monotonic(), False

    def drive(self, home: Home, search_id: str, *, cluster: bool, patient: bool) -> None:
        """Until the search ends or pauses; raises what ended it. ``patient``: as `services.worker.lease.held`."""
        self._began = True
        with bound_contextvars(search_id=search_id):
            log.info("a driver begins, %s", whoami())
            try:
                self._drive(home, search_id, cluster, patient)
            except NasError as error:
                log.warning("the driver ends: %s", error)
                raise
            except Exception:
                log.exception("the driver ends by an error that nobody foresaw")
                raise
            log.info("the driver ends")

    def _drive(self, home: Home, search_id: str, cluster: bool, patient: bool) -> None:
        store = open_store(home.database)
        fleet = Fleet() if cluster else None
        try:
            with held(store, search_id, self._say, patient=patient) as lease:
                if not _woken(home, lease.store, search_id):
                    return
                ground = _ground(home, lease.store, search_id, fleet)
                engine = partial(tune_engine, ground, home, fleet)
                self._driver = SearchDriver(home, lease, search_id, ground, engine, self._say)
                if self._interrupted:
                    self._driver.interrupt()
                self._driver.run()
        finally:
            store.close()

    def _say(self, line: str) -> None:
        log.info("%s", line)
        self._lines.append(line)

    @property
    def idle_seconds(self) -> float:
        """Since it was made, as long as nothing was to be driven; then 0."""
        return 0.0 if self._began else time.monotonic() - self._made

    def interrupt(self) -> None:
        """Asks for a pause, also where no request can be written."""
        self._interrupted = True
        if self._driver is not None:
            self._driver.interrupt()

    def said(self, after: int) -> list[str]:
        """Lines that could not be recorded, from that number on."""
        return self._lines[after:]


def _woken(home: Home, store: Store, search_id: str) -> bool:
    """Takes up what was asked while nothing drove the search; whether it goes on. One that has ended since somebody
    wanted it driven stays as it is."""
    if store.search(search_id).state in OVER:
        return False
    asked = {own.kind: own.sequence for own in store.requests(search_id, unanswered=True)}
    if RequestKind.CANCEL in asked:
        cancel_held(home, store, search_id)
        store.answer_request(search_id, asked[RequestKind.CANCEL], "is cancelled", at=store.now())
        return False
    if RequestKind.RESUME in asked:
        with store.transaction():
            store.update_search(search_id, state=SearchState.QUEUED, reason="", finished_at=None)
            store.answer_request(search_id, asked[RequestKind.RESUME], "goes on", at=store.now())
    return True


def _ground(home: Home, store: Store, search_id: str, fleet: Fleet | None) -> Ground:
    """Of a search that goes on, or begins now. That there is none is recorded: nothing else would tell of it."""
    record = store.search(search_id)
    try:
        if "forecast" not in record.setting:
            return prepare(home, store, search_id, fleet)
        return survey_again(parse_spec(record.spec), record.setting, home, lambda topic, line: None)
    except (LeaseError, StorageError):
        raise
    except NasError as error:
        at = store.now()
        with store.transaction():
            store.update_search(search_id, state=SearchState.FAILED, reason=str(error), finished_at=at)
            store.add_event(search_id, "failed", str(error), at=at, level="warning")
        raise
