"""The seam to Ray: what needs torch runs in its workers, and only there."""

import logging
import time
from typing import Any

import ray

from nas.client.models import WorkerInfo
from nas.errors import NasError, StateError
from services.home import Home
from services.worker import actor

log = logging.getLogger(__name__)
GENERATE_SECONDS = 120.0
DRAIN_SECONDS = 30.0
"""That drivers have to save what is in training."""


class NoRay:
    """Where there is none: searches wait."""

    def start(self, search_id: str) -> bool:
        return False

    def starting(self, search_id: str) -> bool:
        return False

    def drain(self) -> None:
        return None

    def workers(self) -> list[WorkerInfo]:
        return []

    def generate(self, search_id: str, number: int, prompt: str, tokens: int, temperature: float, seed: int) -> str:
        raise StateError("this server has no workers")


class RayDispatcher:
    """On the Ray that this process is connected to; ``cluster``: one of several machines, that was there before."""

    def __init__(self, home: Home, cluster: bool) -> None:
        self._home, self._cluster = home, cluster
        self._ends: dict[str, tuple[Any, float]] = {}

    def start(self, search_id: str) -> bool:
        if actor.is_there(search_id):
            return False
        _, end = actor.start(self._home, search_id, cluster=self._cluster, patient=False)
        self._ends[search_id] = end, time.monotonic()
        return True

    def starting(self, search_id: str) -> bool:
        if search_id not in self._ends:
            return False
        end, since = self._ends[search_id]
        ready, _ = ray.wait([end], timeout=0)
        if not ready:
            return True
        del self._ends[search_id]
        try:
            ray.get(end)
        except ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            log.warning(
                "the driver of search %s ended after %.0f s: %s", search_id, time.monotonic() - since, lines[-1]
            )
        finally:
            actor.end(f"driver-{search_id}")
        return False

    def drain(self) -> None:
        if self._cluster:  # drivers live on there, and whoever serves next finds them
            return
        for search_id in self._ends:
            actor.interrupt(search_id)
        if self._ends:
            ray.wait([end for end, _ in self._ends.values()], num_returns=len(self._ends), timeout=DRAIN_SECONDS)

    def workers(self) -> list[WorkerInfo]:
        return [
            WorkerInfo(
                id=node["NodeID"],
                host=node["NodeManagerHostname"],
                alive=bool(node["Alive"]),
                resources={name: float(own) for name, own in node["Resources"].items() if "node:" not in name},
            )
            for node in ray.nodes()  # type: ignore[no-untyped-call]
        ]

    def generate(self, search_id: str, number: int, prompt: str, tokens: int, temperature: float, seed: int) -> str:
        task = actor.generate.options(num_cpus=0)
        answer = task.remote(self._home, search_id, number, prompt, tokens, temperature, seed)
        try:
            return str(ray.get(answer, timeout=GENERATE_SECONDS))
        except ray.exceptions.GetTimeoutError as error:
            ray.cancel(answer, force=True)
            raise StateError(f"no text within {GENERATE_SECONDS:.0f} s: the workers are busy") from error
        except ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, NasError) else NasError(str(error).splitlines()[-1]) from error
