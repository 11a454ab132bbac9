"""The seam to Ray: what needs torch runs in its workers, and only there."""

import logging
import os
import signal
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import ray

from nas.client.models import ScaledCandidate, WorkerInfo
from nas.errors import NasError, RefusedError, StateError
from services.home import Home
from services.worker import actor

log = logging.getLogger(__name__)
GENERATE_SECONDS, SCALE_SECONDS, EXPORT_SECONDS, FORECAST_SECONDS = 120.0, 120.0, 600.0, 300.0
ANSWER_SECONDS = 3.0
FORECASTS = 2
"""At a time: each takes a process with torch."""
TURN_SECONDS = 10.0
"""That a forecast waits for its turn."""
OTHER_CLUSTER = "WrongClusterID"
"""In what Ray says to one who was connected to a head that has been replaced."""
SPARE_SECONDS = 20.0
"""After which there is a spare actor again, even if the search that took the last one still goes on."""
IDLE_SECONDS = 60.0
"""After which a spare actor that is there already was left behind."""
DRAIN_SECONDS = 30.0
"""That drivers have to save what is in training."""


@dataclass(frozen=True, slots=True)
class _Driver:
    """An actor at work; ``end`` is what its run comes to."""

    actor: Any
    end: Any
    since: float


class NoRay:
    """Where there is none: searches wait."""

    lost = ""

    def state(self) -> str:
        return "ok"

    def start(self, search_id: str) -> bool:
        return False

    def keep(self) -> None:
        return None

    def starting(self, search_id: str) -> bool:
        return False

    def drain(self) -> None:
        return None

    def forget(self, search_id: str) -> None:
        return None

    def workers(self) -> list[WorkerInfo]:
        return []

    def scale(self, search_id: str, number: int, compute: int) -> ScaledCandidate:
        raise StateError("this server has no workers")

    def export(self, search_id: str, number: int) -> tuple[bytes, str]:
        raise StateError("this server has no workers")

    def generate(self, search_id: str, number: int, prompt: str, tokens: int, temperature: float, seed: int) -> str:
        raise StateError("this server has no workers")

    def forecast(self, spec: Mapping[str, Any], device: str) -> dict[str, Any]:
        raise StateError("this server has no workers")

    def kind(self, device: str) -> str:
        raise StateError("this server has no workers")

    def profile(self, device: str, parallel: int, *, full: bool, refit: bool) -> str:
        raise StateError("this server has no workers")


class RayDispatcher:
    """On the Ray that this process is connected to; ``cluster``: one of several machines, that was there before.

    A spare actor is kept, so that a search need not wait for imports; the next one is made a while after a search has
    taken it, since both would want the processor.
    """

    def __init__(self, home: Home, cluster: bool) -> None:
        self._home, self._cluster = home, cluster
        self._drivers: dict[str, _Driver] = {}
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="ray")
        self._forecasts = threading.BoundedSemaphore(FORECASTS)
        self.lost = ""
        if cluster:
            actor.forget_idle(IDLE_SECONDS)
        self._spare: Any = actor.spare(home, cluster)
        self._taken = 0.0

    def state(self) -> str:
        try:
            self._nodes()
        except StateError as error:
            return str(error)
        return "ok"

    def start(self, search_id: str) -> bool:
        try:
            return self._start(search_id)
        except ray.exceptions.RayError as error:
            if OTHER_CLUSTER not in str(error):
                raise StateError(f"Ray: {_first_line(error)}") from error
            self.lost = "the cluster that this server was connected to is gone, and another is in its place"
            log.critical("%s", self.lost)
            os.kill(os.getpid(), signal.SIGTERM)  # in good order; whoever keeps it running starts it again
            return False

    def _start(self, search_id: str) -> bool:
        taken = self._spare or actor.spare(self._home, self._cluster)
        self._spare, self._taken = None, time.monotonic()
        end = actor.take_up(taken, self._home, search_id, cluster=self._cluster)
        self._drivers[search_id] = _Driver(taken, end, time.monotonic())
        return True

    def keep(self) -> None:
        at_work = [own for own in list(self._drivers) if self.starting(own)]
        if self._spare is None and (time.monotonic() - self._taken > SPARE_SECONDS or not at_work):
            self._spare = actor.spare(self._home, self._cluster)

    def starting(self, search_id: str) -> bool:
        driver = self._drivers.get(search_id)
        if driver is None:
            return False
        ready, _ = ray.wait([driver.end], timeout=0)
        if not ready:
            return True
        del self._drivers[search_id]
        try:
            ray.get(driver.end)
        except ray.exceptions.RayTaskError as error:
            seconds = time.monotonic() - driver.since
            log.warning("the driver of search %s ended after %.0f s: %s", search_id, seconds, error.cause)
        except ray.exceptions.RayError as error:
            log.warning("the driver of search %s died: %s", search_id, _first_line(error))
        ray.kill(driver.actor)
        return False

    def drain(self) -> None:
        if self._spare is not None:
            ray.kill(self._spare)
        if self._cluster:  # drivers live on there, and whoever serves next finds them
            return
        ends = [own.end for own in self._drivers.values()]
        for own in self._drivers.values():
            own.actor.interrupt.remote()
        if ends:
            ray.wait(ends, num_returns=len(ends), timeout=DRAIN_SECONDS)

    def forget(self, search_id: str) -> None:
        if not self._cluster:  # this machine is all there is
            return
        try:
            for node in self._nodes():
                if node["Alive"]:
                    actor.forget_files(self._home, search_id, node["NodeID"])
        except (StateError, ray.exceptions.RayError) as error:
            log.warning("files of search %s are left on workers: %s", search_id, error)

    def workers(self) -> list[WorkerInfo]:
        return [
            WorkerInfo(
                id=node["NodeID"],
                host=node["NodeManagerHostname"],
                alive=bool(node["Alive"]),
                resources={name: float(own) for name, own in node["Resources"].items() if "node:" not in name},
            )
            for node in self._nodes()
        ]

    def scale(self, search_id: str, number: int, compute: int) -> ScaledCandidate:
        found: ScaledCandidate = _got(actor.scale.remote(self._home, search_id, number, compute), SCALE_SECONDS)
        return found

    def _nodes(self) -> list[dict[str, Any]]:
        """Raises `StateError` where Ray does not answer: it would be waited for without end."""
        try:
            found: list[dict[str, Any]] = self._asking.submit(ray.nodes).result(ANSWER_SECONDS)
        except TimeoutError as error:
            raise StateError(f"Ray does not answer within {ANSWER_SECONDS:.0f} s") from error
        return found

    def generate(self, search_id: str, number: int, prompt: str, tokens: int, temperature: float, seed: int) -> str:
        arguments = (search_id, number, prompt, tokens, temperature, seed)
        return str(_got(actor.generate.remote(self._home, *arguments), GENERATE_SECONDS))

    def export(self, search_id: str, number: int) -> tuple[bytes, str]:
        archive, compared = _got(actor.export.remote(self._home, search_id, number), EXPORT_SECONDS)
        return bytes(archive), str(compared)

    def forecast(self, spec: Mapping[str, Any], device: str) -> dict[str, Any]:
        if not self._forecasts.acquire(timeout=TURN_SECONDS):
            raise RefusedError(f"forecasts: must be at most {FORECASTS} at a time", retry_after=TURN_SECONDS)
        try:
            found: dict[str, Any] = _got(actor.ask_forecast(self._home, self._cluster, spec, device), FORECAST_SECONDS)
        finally:
            self._forecasts.release()
        return found

    def kind(self, device: str) -> str:
        if device != "auto":
            return device
        return "cuda" if any(own.resources.get("GPU") for own in self.workers() if own.alive) else "cpu"

    def profile(self, device: str, parallel: int, *, full: bool, refit: bool) -> str:
        asked = actor.ask_profile(self._home, self._cluster, device, parallel, full=full, refit=refit)
        return str(_got(asked, None))


def _got(answer: Any, seconds: float | None) -> Any:
    """What a task gives; its errors, and `StateError` for one that takes too long."""
    try:
        return ray.get(answer, timeout=seconds)
    except ray.exceptions.GetTimeoutError as error:
        ray.cancel(answer, force=True)
        raise StateError(f"no answer of a worker within {seconds:.0f} s: they are busy") from error
    except ray.exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, NasError) else NasError(str(error).splitlines()[-1]) from error
    except ray.exceptions.RayError as error:
        raise NasError(f"a worker was lost: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
