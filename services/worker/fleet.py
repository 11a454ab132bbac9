"""The machines of a Ray cluster that a search trains on: those with one kind of device.

Speed and memory were measured on that kind, so a plan holds there and nowhere else.
"""

import platform
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas.candidate import Candidate
from nas.errors import NasError, SpecError, StateError
from services.device import GPU_THREADS, Device
from services.ground import Measurement, measure_here

REFRESH_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of a cluster. ``accelerator`` is Ray's name of its GPUs, empty without."""

    id: str
    host: str
    cpus: int
    gpus: int
    accelerator: str
    processor: str

    def hardware(self, kind: str) -> str:
        """What a candidate is trained on there; empty where it cannot be."""
        if kind == "cpu":
            return self.processor if self.cpus else ""
        return self.accelerator or "GPU" if self.gpus else ""


class Fleet:
    """Looks at the cluster that this process is connected to; machines come and go. Not for more than one thread."""

    def __init__(self) -> None:
        self._known: dict[str, Node] = {}
        self._hardware = ""
        self._looked = -REFRESH_SECONDS

    def nodes(self) -> list[Node]:
        """Machines that are alive."""
        if time.monotonic() - self._looked >= REFRESH_SECONDS:
            alive = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]
            self._known = {own: self._known.get(own) or _describe(node) for own, node in alive.items()}
            self._looked = time.monotonic()
        return list(self._known.values())

    def with_hardware(self, kind: str, hardware: str) -> list[Node]:
        """Machines with that very device."""
        return [node for node in self.nodes() if node.hardware(kind) == hardware]

    def device(self, name: str, parallel: int) -> Device:
        """The kind of device that a search trains on: what the spec names, the most frequent where there are several.

        Raises `SpecError` where no machine has it.
        """
        nodes = self.nodes()
        kind = name.partition(":")[0]
        if kind == "auto":
            kind = "cuda" if any(node.gpus for node in nodes) else "cpu"
        groups: Mapping[str, list[Node]] = defaultdict(list)
        for node in nodes:
            if hardware := node.hardware(kind):
                groups[hardware].append(node)
        if not groups:
            raise SpecError("device", "must be auto, cpu, or cuda on a cluster with a GPU", name)
        self._hardware, chosen = max(groups.items(), key=lambda group: (_units(kind, group[1]), group[0]))
        return Device(kind, self._hardware, *_threads(kind, chosen, parallel))

    def measure(
        self, shapes: Sequence[Candidate], device: str, threads: int, all_threads: int, memory: int | None
    ) -> Measurement:
        """As `services.ground.measure_here`, on a machine with the device that was chosen last."""
        node = self.with_hardware(device, self._hardware)[0]
        needs = {"num_cpus": all_threads} if device == "cpu" else {"num_cpus": 1, "num_gpus": 1}
        there = NodeAffinitySchedulingStrategy(node.id, soft=False)
        task = ray.remote(measure_here).options(max_retries=0, scheduling_strategy=there, **needs)
        try:
            found: Measurement = ray.get(task.remote(shapes, device, threads, all_threads, memory))
        except ray.exceptions.RayTaskError as error:
            raise NasError(f"{node.host} cannot be measured: {str(error).splitlines()[-1]}") from error
        except ray.exceptions.RayError as error:
            raise StateError(f"{node.host} was lost while it was measured: {error}") from error
        return found

    def check_storage(self, storage: str) -> None:
        """Raises `StateError` where several machines have no files in common."""
        hosts = sorted({node.host for node in self.nodes()})
        if len(hosts) > 1 and not storage:
            raise StateError(f"the machines {', '.join(hosts)} must share files: set NAS_STORAGE to a folder or URL")


def _units(kind: str, nodes: Sequence[Node]) -> int:
    return sum(node.cpus if kind == "cpu" else node.gpus for node in nodes)


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
    return Node(
        id=node["NodeID"],
        host=node["NodeManagerHostname"],
        cpus=int(resources.get("CPU", 0)),
        gpus=int(resources.get("GPU", 0)),
        accelerator=marks[0] if marks else "",
        processor=_ask_processor(node["NodeID"]) if resources.get("CPU") else "",
    )


def _ask_processor(node: str) -> str:
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    task = ray.remote(_processor).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
    try:
        return str(ray.get(task.remote(), timeout=60))
    except (ray.exceptions.RayError, TimeoutError):  # it has gone, or is going
        return ""


def _processor() -> str:
    """The model of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
