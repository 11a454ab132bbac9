"""The driver of a search as a detached Ray actor: it lives on when the command that started it does not.

Whoever starts one needs no torch: what drives is imported where it runs.
"""

import os
import shutil
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas.client.models import ScaledCandidate
from nas.errors import StateError
from services.home import Home

END_SECONDS = 30.0
"""That Ray has to end an actor."""
ANSWER_SECONDS = 2.0
"""That an actor has to answer."""
LINGER_SECONDS = 30.0
"""That an actor lives on after its run, for whoever waits to hear how it ended, and to end it."""
THREADS = "OMP_NUM_THREADS"
PREFIX = "driver-of-a-server-"
"""Of the names of actors that a server makes."""


@ray.remote(num_cpus=0, max_restarts=0, max_task_retries=0)
class DriverActor:
    """`services.worker.driving.Driving`. Nothing restarts it but whoever wants the search to go on."""

    def __init__(self, threads: str | None) -> None:
        from services.logs import configure
        from services.worker.driving import Driving

        configure()
        self._driving, self._threads = Driving(), threads

    def drive(self, home: Home, search_id: str, cluster: bool, patient: bool, last: bool = False) -> None:
        """``last``: the actor ends itself afterwards, since nobody else will."""
        _allow(self._threads)
        try:
            self._driving.drive(home, search_id, cluster=cluster, patient=patient)
        finally:
            if last:
                threading.Timer(LINGER_SECONDS, os._exit, (0,)).start()

    def idle_seconds(self) -> float:
        """Since it was made, if it drives nothing."""
        return self._driving.idle_seconds

    def interrupt(self) -> None:
        self._driving.interrupt()

    def said(self, after: int) -> list[str]:
        return self._driving.said(after)


def start(home: Home, search_id: str, *, cluster: bool, patient: bool) -> tuple[Any, Any]:
    """The actor, and what its run will come to. One of that name which is left ends first: nobody waits for it."""
    name = f"driver-{search_id}"
    end(name)
    actor = _made(name, home, cluster, lifetime="detached")
    return actor, actor.drive.remote(home, search_id, cluster, patient)


def _made(name: str, home: Home, cluster: bool, **options: Any) -> Any:
    options |= {"name": name, "max_concurrency": 3, **_where(home, cluster)}
    return DriverActor.options(**options).remote(os.environ.get(THREADS))  # type: ignore[attr-defined]


def _where(home: Home, cluster: bool) -> dict[str, Any]:
    """Options of what opens the database."""
    if cluster and home.database.startswith("sqlite"):  # which only this machine can open
        here = ray.get_runtime_context().get_node_id()
        return {"scheduling_strategy": NodeAffinitySchedulingStrategy(here, soft=False)}
    return {}


def _allow(threads: str | None) -> None:
    """As many threads as whoever started this allows: to what reserves no processor Ray says 1. To be called after
    heavy imports, whose own threads are to stay that few."""
    if threads is None:
        os.environ.pop(THREADS, None)
    else:
        os.environ[THREADS] = threads


def end(name: str) -> None:
    """Ends the actor of a name, if there is one, and waits until the name is free."""
    limit = time.monotonic() + END_SECONDS
    while time.monotonic() < limit:
        try:
            ray.kill(ray.get_actor(name))
        except ValueError:
            return
        time.sleep(0.2)
    raise StateError(f"actor {name} of Ray does not end")


# --- for a server ---


def spare(home: Home, cluster: bool) -> Any:
    """An actor that will drive a search: its imports take seconds, so it is made before there is one. On a cluster it
    outlives whoever made it, once it drives."""
    name = f"{PREFIX}{uuid.uuid4().hex[:12]}"
    return _made(name, home, cluster, **({"lifetime": "detached"} if cluster else {}))


def take_up(actor: Any, home: Home, search_id: str, *, cluster: bool) -> Any:
    """Lets a spare actor drive a search; what its run comes to. The actor ends with it."""
    return actor.drive.remote(home, search_id, cluster, False, True)


def forget_idle(seconds: float) -> None:
    """Ends spare actors of a cluster that a server has left behind."""
    for own in ray.util.list_named_actors():
        if not own.startswith(PREFIX):
            continue
        with suppress(ValueError, ray.exceptions.RayError):
            actor = ray.get_actor(own)
            idle: Any = ray.get(actor.idle_seconds.remote(), timeout=ANSWER_SECONDS)
            if float(idle) > seconds:
                ray.kill(actor)


def forget_files(home: Home, search_id: str, node: str) -> Any:
    """Has a machine delete the copies that it keeps of a search's checkpoints and models."""
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    return _forget.options(scheduling_strategy=there).remote(home, search_id)


@ray.remote(num_cpus=0, max_retries=0)
def _forget(home: Home, search_id: str) -> None:
    shutil.rmtree(home.artifacts / search_id, ignore_errors=True)


@ray.remote(num_cpus=0, max_retries=0)
def scale(home: Home, search_id: str, number: int, compute: int) -> ScaledCandidate:
    """A candidate carried to another budget."""
    from services.worker.scaling import scale as scaled

    return scaled(home, search_id, number, compute)


@ray.remote(num_cpus=0, max_retries=0)
def generate(home: Home, search_id: str, number: int, prompt: str, tokens: int, temperature: float, seed: int) -> str:
    """Text by a trained candidate."""
    from services.worker.writing import write

    return write(home, search_id, number, prompt, tokens, temperature, seed)


@ray.remote(num_cpus=0, max_retries=0)
def export(home: Home, search_id: str, number: int) -> tuple[bytes, str]:
    """A gzipped tar of a trained candidate for transformers, and how it compares with that."""
    from services.worker.writing import export as exported

    return exported(home, search_id, number)


@ray.remote(num_cpus=0, max_retries=0)
def forecast(home: Home, spec: dict[str, Any], device: str, cluster: bool, threads: str | None) -> dict[str, Any]:
    """What a search would do."""
    from services.worker.ahead import foretell

    _allow(threads)
    return foretell(home, spec, device, cluster)


@ray.remote(num_cpus=0, max_retries=0)
def profile(home: Home, device: str, parallel: int, full: bool, refit: bool, cluster: bool, threads: str | None) -> str:
    """Profiles a device where that is not done yet; the fingerprint."""
    from services.worker.ahead import profile as profiled

    _allow(threads)
    return profiled(home, device, parallel, full=full, refit=refit, cluster=cluster)


def ask_forecast(home: Home, cluster: bool, spec: Mapping[str, Any], device: str) -> Any:
    """A forecast to come."""
    task = forecast.options(**_where(home, cluster))
    return task.remote(home, dict(spec), device, cluster, os.environ.get(THREADS))


def ask_profile(home: Home, cluster: bool, device: str, parallel: int, *, full: bool, refit: bool) -> Any:
    """A fingerprint to come."""
    task = profile.options(**_where(home, cluster))
    return task.remote(home, device, parallel, full, refit, cluster, os.environ.get(THREADS))
