"""Devices that are profiled because somebody asked for it: by a worker, one at a time for each device."""

import logging
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

from nas.client.models import NewProfile, ProfileJob
from nas.errors import NasError, NotFoundError, StateError
from services.controller.dispatcher import Dispatcher

log = logging.getLogger(__name__)
KEPT = 100
"""Jobs that are remembered, at most."""


class Profiling:
    """Any number of threads. Jobs are known to this process alone; what they come to is in the store."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._lock = threading.Lock()
        self._jobs: dict[str, ProfileJob] = {}
        self._at_work: dict[str, str] = {}  # the job of each kind of device
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="profile")

    def start(self, new: NewProfile) -> ProfileJob:
        """Has a device profiled; what is asked for while that is under way is under way.

        Raises `StateError` while the device is profiled otherwise.
        """
        kind = self._dispatcher.kind(new.device)
        with self._lock:
            if kind in self._at_work:
                return _same(self._jobs[self._at_work[kind]], new)
            job = ProfileJob(id=f"p_{uuid.uuid4().hex[:12]}", state="running", **new.model_dump())
            self._at_work[kind] = job.id
            self._jobs[job.id] = job
            self._forget()
        self._threads.submit(self._make, kind, job)
        return job

    def find(self, own: str) -> ProfileJob:
        """Raises `NotFoundError`."""
        with self._lock:
            if own not in self._jobs:
                raise NotFoundError(f"no profile {own!r} was asked for since this server began")
            return self._jobs[own]

    def all(self) -> list[ProfileJob]:
        """In the order in which they were asked for."""
        with self._lock:
            return list(self._jobs.values())

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _forget(self) -> None:
        over = [own for own in self._jobs if own not in self._at_work.values()]
        for own in over[: max(0, len(self._jobs) - KEPT)]:
            del self._jobs[own]

    def _make(self, kind: str, job: ProfileJob) -> None:
        try:
            found = self._dispatcher.profile(job.device, job.parallel, full=job.full, refit=job.refit)
            ended = job.model_copy(update={"state": "done", "fingerprint": found})
        except Exception as error:
            if not isinstance(error, NasError):
                log.exception("profile %s failed", job.id)
            ended = job.model_copy(update={"state": "failed", "detail": str(error)})
        with self._lock:
            self._jobs[job.id] = ended
            del self._at_work[kind]


def _same(job: ProfileJob, new: NewProfile) -> ProfileJob:
    """The job, if it does all that is asked for."""
    enough = (job.full or job.refit or not new.full) and (job.refit or not new.refit)
    if job.parallel != new.parallel or not enough:
        raise StateError(f"profile {job.id} of {job.device} is under way: ask for another when it is done")
    return job
