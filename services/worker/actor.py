"""The driver of a search as a detached Ray actor: it lives on when the command that started it does not.

Whoever starts one needs no torch: what drives is imported where it runs.
"""

import time
from contextlib import suppress
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas.errors import StateError
from services.home import Home

END_SECONDS = 30.0
"""That Ray has to end an actor."""
ANSWER_SECONDS = 2.0
"""That an actor has to answer."""


@ray.remote(num_cpus=0, max_restarts=0, max_task_retries=0)
class DriverActor:
    """`services.worker.driving.Driving`, named after its search. Nothing restarts it but whoever wants the search to
    go on."""

    def __init__(self) -> None:
        from services.worker.driving import Driving

        self._driving = Driving()

    def drive(self, home: Home, search_id: str, cluster: bool, patient: bool) -> None:
        self._driving.drive(home, search_id, cluster=cluster, patient=patient)

    def drives(self) -> bool:
        return self._driving.drives

    def interrupt(self) -> None:
        self._driving.interrupt()

    def said(self, after: int) -> list[str]:
        return self._driving.said(after)


def start(home: Home, search_id: str, *, cluster: bool, patient: bool) -> tuple[Any, Any]:
    """The actor, and what its run will come to. One of that name which is left ends first: nobody waits for it."""
    name = f"driver-{search_id}"
    options: dict[str, Any] = {"name": name, "lifetime": "detached", "max_concurrency": 3}
    if cluster and home.database.startswith("sqlite"):  # which only this machine can open
        here = ray.get_runtime_context().get_node_id()
        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(here, soft=False)
    end(name)
    actor: Any = DriverActor.options(**options).remote()  # type: ignore[attr-defined]
    return actor, actor.drive.remote(home, search_id, cluster, patient)


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


def interrupt(search_id: str) -> None:
    """Asks the driver of a search to pause, if there is one."""
    with suppress(ValueError):
        ray.get_actor(f"driver-{search_id}").interrupt.remote()


def is_there(search_id: str) -> bool:
    """Whether somebody has started an actor for a search that drives it, or is about to."""
    try:
        found = ray.get_actor(f"driver-{search_id}")
    except ValueError:
        return False
    try:
        return bool(ray.get(found.drives.remote(), timeout=ANSWER_SECONDS))
    except ray.exceptions.GetTimeoutError:  # it is being made, or its machine is busy
        return True
    except ray.exceptions.RayError:
        return False


@ray.remote(num_cpus=0, max_retries=0)
def generate(home: Home, search_id: str, number: int, prompt: str, tokens: int, temperature: float, seed: int) -> str:
    """Text by a trained candidate."""
    from services.worker.writing import write

    return write(home, search_id, number, prompt, tokens, temperature, seed)
