"""The driver of a search as a detached Ray actor: it lives on when the command that started it does not."""

import math
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas.adapters.sql.store import open_store
from nas.adapters.tune.engine import TuneEngine
from nas.adapters.tune.messages import Needs, Order
from nas.errors import StateError
from nas.plan import Plan
from nas.ports import Assignment, Engine
from nas.spec import parse_spec
from services.ground import Ground, open_workshop, survey_again
from services.home import Home
from services.worker.driver import Note, SearchDriver, name_of
from services.worker.fleet import Fleet
from services.worker.lease import held

GONE = "none"
"""The machine of runs whose machines went away since they were asked for; they are handed out again."""
END_SECONDS = 30.0
"""That Ray has to end an actor."""


@ray.remote(num_cpus=0, max_restarts=0, max_task_retries=0)
class DriverActor:
    """Named after its search. Nothing restarts it but whoever wants the search to go on."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._driver: SearchDriver | None = None
        self._interrupted = False

    def drive(self, home: Home, search_id: str, cluster: bool, patient: bool) -> None:
        """Until the search ends or pauses; raises what ended it. ``patient``: as `services.worker.lease.held`."""
        store = open_store(home.database)
        try:
            record = store.search(search_id)
            with held(store, search_id, self._lines.append, patient=patient) as lease:
                ground = survey_again(parse_spec(record.spec), record.setting, home, lambda topic, line: None)
                engine = partial(_engine, ground, Path(record.setting["base"]), home, cluster)
                self._driver = SearchDriver(home, lease, search_id, ground, engine, self._lines.append)
                if self._interrupted:
                    self._driver.interrupt()
                self._driver.run()
        finally:
            store.close()

    def interrupt(self) -> None:
        """Asks for a pause, also where no request can be written."""
        self._interrupted = True
        if self._driver is not None:
            self._driver.interrupt()

    def said(self, after: int) -> list[str]:
        """Lines that could not be recorded, from that number on."""
        return self._lines[after:]


def _engine(ground: Ground, base: Path, home: Home, cluster: bool, note: Note) -> Engine:
    fleet = Fleet() if cluster else None
    reuse = ground.device == "cpu"  # where there is no memory of a device to be given back
    order, slots, there = (
        partial(_order, ground, base, home, fleet),
        partial(_slots, ground, fleet),
        partial(_there, fleet),
    )
    return TuneEngine(order, slots, note, reuse=reuse, there=there)


def _slots(ground: Ground, fleet: Fleet | None) -> Mapping[str, int]:
    parallel = ground.spec.method.parallel
    if fleet is None:
        return {name_of(ground, ground.devices[0]): parallel}
    shares = fleet.slots(ground.devices, parallel)
    return {name_of(ground, own): shares[own.hardware] for own in ground.devices}


def _there(fleet: Fleet | None, needs: Needs) -> bool:
    return fleet is None or any(node.id in needs.nodes for node in fleet.nodes())


def _order(ground: Ground, base: Path, home: Home, fleet: Fleet | None, assignment: Assignment) -> Order:
    """With what the run was planned for: the threads, and a machine that has that very device."""
    device = next(own for own in ground.devices if name_of(ground, own) == assignment.plan.device)
    threads = device.all_threads if assignment.final else device.threads
    bundle = {"CPU": float(threads)} if device.kind == "cpu" else {"CPU": 1.0, "GPU": gpu_share(assignment.plan)}
    nodes = sorted(node.id for node in fleet.with_hardware(device)) or [GONE] if fleet is not None else []
    fingerprint = ground.texts.corpus.fingerprint
    workshop = partial(open_workshop, ground.spec, base, home, fingerprint, device)
    return Order(assignment, workshop, Needs(bundle, tuple(nodes)))


def gpu_share(plan: Plan) -> float:
    """As Ray counts: in hundredths, rounded up."""
    return math.ceil(round(plan.share * 100, 6)) / 100


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
