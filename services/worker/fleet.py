"""The machines of a Ray cluster that a search trains on, by their devices.

Each device has a profile, so a plan holds there and nowhere else.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas.calibration import DeviceProfile, Fingerprint
from nas.errors import NasError, StateError
from nas.measure.fingerprint import processor
from services.device import GPU_THREADS, Device, absent
from services.profiles import Here

REFRESH_SECONDS = 10.0
LABEL = "nas-device:"
"""Begins the name of a Ray resource by which a machine's owner names its device: ``{"nas-device:small": 1}``."""


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of a cluster. ``accelerator`` is Ray's name of its GPUs, ``label`` what its owner calls its device."""

    id: str
    host: str
    cpus: int
    gpus: int
    accelerator: str
    processor: str
    label: str = ""

    def hardware(self, kind: str) -> str:
        """What a candidate is trained on there; empty where it cannot be."""
        if kind == "cpu":
            return (self.label or self.processor) if self.cpus else ""
        return (self.label or self.accelerator or "GPU") if self.gpus else ""

    def units(self, kind: str) -> int:
        return self.cpus if kind == "cpu" else self.gpus


class Fleet:
    """Looks at the cluster that this process is connected to; machines come and go. Not for more than one thread."""

    def __init__(self) -> None:
        self._known: dict[str, Node] = {}
        self._looked = -REFRESH_SECONDS

    def nodes(self) -> list[Node]:
        """Machines that are alive."""
        if time.monotonic() - self._looked >= REFRESH_SECONDS:
            alive = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]
            self._known = {own: self._known.get(own) or _describe(node) for own, node in alive.items()}
            self._looked = time.monotonic()
        return list(self._known.values())

    def with_hardware(self, device: Device) -> list[Node]:
        """Machines with that very device."""
        return [node for node in self.nodes() if node.hardware(device.kind) == device.hardware]

    def devices(self, name: str, parallel: int) -> list[Device]:
        """The devices that a search trains on, of the kind that the spec names: those that most machines have first.

        Raises `SpecError` where no machine has one.
        """
        nodes = self.nodes()
        kind = name.partition(":")[0]
        if kind == "auto":
            kind = "cuda" if any(node.gpus for node in nodes) else "cpu"
        groups: dict[str, list[Node]] = defaultdict(list)
        for node in nodes:
            if kind in ("cpu", "cuda") and (hardware := node.hardware(kind)):
                groups[hardware].append(node)
        if not groups:
            raise absent(name, "a cluster")
        units = {own: sum(node.units(kind) for node in group) for own, group in groups.items()}
        shares = share_out(parallel, units)
        order = sorted(groups, key=lambda own: (-units[own], own))
        return [Device(kind, own, *_threads(kind, groups[own], shares[own])) for own in order if shares[own]]

    def slots(self, devices: Sequence[Device], parallel: int) -> dict[str, int]:
        """How many of ``parallel`` runs each device takes now; none where its machines are gone."""
        units = {own.hardware: sum(node.units(own.kind) for node in self.with_hardware(own)) for own in devices}
        return share_out(parallel, units)

    def fingerprint(self, device: Device, threads: int) -> Fingerprint:
        """As `services.profiles.Here.fingerprint`, of a machine with that device."""
        needs = (
            {"num_cpus": 0} if device.kind == "cpu" else {"num_cpus": 0, "num_gpus": 0.01}
        )  # beside what trains there
        found: Fingerprint = self._there(device, needs, Here().fingerprint, device, threads)
        return found

    def profile(self, device: Device, fingerprint: Fingerprint, *, short: bool = True) -> DeviceProfile:
        """As `services.profiles.Here.profile`, on a machine with that device."""
        function = partial(Here().profile, short=short)
        found: DeviceProfile = self._there(device, all_of(device), function, device, fingerprint)
        return found

    def _there(self, device: Device, needs: Mapping[str, Any], function: Callable[..., Any], *arguments: Any) -> Any:
        """What a function gives on a machine with that device."""
        node = self.with_hardware(device)[0]
        there = NodeAffinitySchedulingStrategy(node.id, soft=False)
        return reserved(node.host, {**needs, "scheduling_strategy": there}, function, *arguments)

    def check_storage(self, storage: str) -> None:
        """Raises `StateError` where several machines have no files in common."""
        hosts = sorted({node.host for node in self.nodes()})
        if len(hosts) > 1 and not storage:
            raise StateError(f"the machines {', '.join(hosts)} must share files: set NAS_STORAGE to a folder or URL")


def all_of(device: Device) -> dict[str, Any]:
    """What Ray is to reserve for a function that has a device to itself."""
    return {"num_cpus": device.all_threads} if device.kind == "cpu" else {"num_cpus": 1, "num_gpus": 1}


def reserved(host: str, options: Mapping[str, Any], function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function gives on the machine ``host``, once it has what its options reserve."""
    task = ray.remote(_call).options(max_retries=0, **options)
    try:
        return ray.get(task.remote(function, *arguments))
    except ray.exceptions.RayTaskError as error:
        raise NasError(f"{host} cannot be profiled: {str(error).splitlines()[-1]}") from error
    except ray.exceptions.RayError as error:
        raise StateError(f"{host} was lost while it was profiled: {error}") from error


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def share_out(parallel: int, units: Mapping[str, int]) -> dict[str, int]:
    """Runs at a time by device, in proportion to what there is of each: the next run goes to the least used."""
    shares = dict.fromkeys(units, 0)
    for _ in range(parallel):
        there = [own for own in units if units[own]]
        if not there:
            break
        shares[min(there, key=lambda own: ((shares[own] + 1) / units[own], own))] += 1
    return shares


def _threads(kind: str, nodes: Sequence[Node], parallel: int) -> tuple[int, int]:
    """CPU threads of a worker among others and of one that is alone."""
    cpus = min(node.cpus for node in nodes)
    if kind != "cpu":
        return min(GPU_THREADS, max(1, cpus)), min(GPU_THREADS, max(1, cpus))
    beside = -(-parallel // len(nodes))
    return max(1, cpus // beside), max(1, cpus)


def _describe(node: Mapping[str, Any]) -> Node:
    resources = node["Resources"]
    marks = [name.partition(":")[2] for name in resources if name.startswith("accelerator_type:")]
    labels = [name.partition(":")[2] for name in resources if name.startswith(LABEL)]
    return Node(
        id=node["NodeID"],
        host=node["NodeManagerHostname"],
        cpus=int(resources.get("CPU", 0)),
        gpus=int(resources.get("GPU", 0)),
        accelerator=marks[0] if marks else "",
        processor=_ask_processor(node["NodeID"]) if resources.get("CPU") else "",
        label=labels[0] if labels else "",
    )


def _ask_processor(node: str) -> str:
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    task = ray.remote(processor).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
    try:
        return str(ray.get(task.remote(), timeout=60))
    except (ray.exceptions.RayError, TimeoutError):  # it has gone, or is going
        return ""
