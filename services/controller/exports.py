"""Exported models: made by a worker, kept as one archive each with its hash, until somebody deletes them."""

import hashlib
import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path

from structlog.contextvars import bind_contextvars

from nas.client.models import ExportInfo, ExportState
from nas.data.storage import atomic_file
from nas.errors import NasError, NotFoundError, StateError
from services.controller.dispatcher import Dispatcher

log = logging.getLogger(__name__)
AT_A_TIME = 2


class Exports:
    """Any number of threads. What is being made is known to this process alone: after its end it is not there."""

    def __init__(self, folder: Path, dispatcher: Dispatcher) -> None:
        self._folder, self._dispatcher = folder, dispatcher
        self._lock = threading.Lock()
        self._open: dict[str, ExportInfo] = {}
        self._threads = ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="export")

    def start(self, search_id: str, number: int) -> ExportInfo:
        """Has a trained candidate exported, unless that is done or under way."""
        own = f"{search_id}-{number}"
        with self._lock:
            found = self._find(own)
            if found is not None and found.state is not ExportState.FAILED:
                return found
            begun = ExportInfo(id=own, search_id=search_id, number=number, state=ExportState.RUNNING)
            self._open[own] = begun
        self._threads.submit(copy_context().run, self._make, begun)  # lines of the log name the request
        return begun

    def find(self, own: str) -> ExportInfo:
        """Raises `NotFoundError`."""
        with self._lock:
            found = self._find(own)
        if found is None:
            raise NotFoundError(f"no export {own!r}")
        return found

    def all(self) -> list[ExportInfo]:
        with self._lock:
            names = {path.stem for path in self._folder.glob("*.json")} | self._open.keys()
            return [found for own in sorted(names) if (found := self._find(own)) is not None]

    def archive(self, own: str) -> Path:
        """A gzipped tar of the model's folder; raises `StateError` before it is done."""
        found = self.find(own)
        if found.state is not ExportState.DONE:
            raise StateError(f"export {own} is {found.state}{f': {found.detail}' if found.detail else ''}")
        return self._folder / f"{own}.tar.gz"

    def forget(self, search_id: str) -> None:
        """The exports of a search go with it."""
        for own in self.all():
            if own.search_id == search_id:
                with self._lock:
                    self._open.pop(own.id, None)
                    for path in (self._folder / f"{own.id}.json", self._folder / f"{own.id}.tar.gz"):
                        path.unlink(missing_ok=True)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _find(self, own: str) -> ExportInfo | None:
        if own in self._open:
            return self._open[own]
        path = self._folder / f"{own}.json"
        if path.parent != self._folder or not path.is_file():  # an id is no path
            return None
        return ExportInfo.model_validate_json(path.read_bytes())

    def _make(self, begun: ExportInfo) -> None:
        bind_contextvars(search_id=begun.search_id, candidate=begun.number)
        try:
            archive, compared = self._dispatcher.export(begun.search_id, begun.number)
            changes = {
                "state": ExportState.DONE,
                "sha256": hashlib.sha256(archive).hexdigest(),
                "bytes": len(archive),
                "detail": compared,
            }
            self._keep(begun, archive, begun.model_copy(update=changes))
        except Exception as error:
            if not isinstance(error, NasError):
                log.exception("export %s failed", begun.id)
            failed = begun.model_copy(update={"state": ExportState.FAILED, "detail": str(error)})
            with self._lock:
                if self._open.get(begun.id) is begun:
                    self._open[begun.id] = failed

    def _keep(self, begun: ExportInfo, archive: bytes, done: ExportInfo) -> None:
        """Unless it was forgotten meanwhile, with its search."""
        with self._lock:
            if self._open.get(begun.id) is not begun:
                return
            with atomic_file(self._folder / f"{begun.id}.tar.gz") as file:
                file.write(archive)
            with atomic_file(self._folder / f"{begun.id}.json") as file:
                file.write(json.dumps(done.model_dump(mode="json")).encode())
            del self._open[begun.id]
