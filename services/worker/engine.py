"""Where a driver's candidates train: Ray workers on the devices of its ground."""

import math
from collections.abc import Mapping
from functools import partial

from nas.adapters.tune.engine import TuneEngine
from nas.adapters.tune.messages import Needs, Order
from nas.plan import Plan
from nas.ports import Assignment, Engine
from services.ground import Ground, open_workshop
from services.home import Home
from services.logs import at_work
from services.worker.driver import Note, name_of
from services.worker.fleet import Fleet

GONE = "none"
"""The machine of runs whose machines went away since they were asked for; they are handed out again."""


def tune_engine(ground: Ground, home: Home, fleet: Fleet | None, note: Note) -> Engine:
    """Workers of the Ray that this process is connected to; ``fleet`` where that is one of several machines."""
    reuse = ground.device == "cpu"  # where there is no memory of a device to be given back
    order, slots, there = (
        partial(_order, ground, home, fleet),
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


def _order(ground: Ground, home: Home, fleet: Fleet | None, assignment: Assignment) -> Order:
    """With what the run was planned for: the threads, and a machine that has that very device."""
    device = next(own for own in ground.devices if name_of(ground, own) == assignment.plan.device)
    threads = device.all_threads if assignment.final else device.threads
    bundle = {"CPU": float(threads)} if device.kind == "cpu" else {"CPU": 1.0, "GPU": gpu_share(assignment.plan)}
    nodes = sorted(node.id for node in fleet.with_hardware(device)) or [GONE] if fleet is not None else []
    fingerprint = ground.texts.corpus.fingerprint
    workshop = partial(open_workshop, ground.spec, ground.base, home, fingerprint, device)
    return Order(assignment, workshop, Needs(bundle, tuple(nodes)), at_work)


def gpu_share(plan: Plan) -> float:
    """As Ray counts: in hundredths, rounded up."""
    return math.ceil(round(plan.share * 100, 6)) / 100
