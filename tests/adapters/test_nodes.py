"""`TuneEngine` on a cluster of which a machine dies: its candidate goes on on another, with the same fate."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from nas.adapters.tune.engine import TuneEngine
from nas.adapters.tune.messages import Needs, Order
from nas.data.texts import Texts
from nas.ports import Outcome
from nas.records import CurvePoint, Verdict
from tests.helpers import SMALL, Watched, World, Worlds, spec_of

pytestmark = pytest.mark.filterwarnings("ignore")
STORE_BYTES = 80 * 2**20
DEATH_SECONDS = 60


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head that trains nothing, so that every machine that does may die."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    machines = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": STORE_BYTES, "include_dashboard": False},
    )
    try:
        ray.init(address=machines.address, log_to_driver=False)
        yield machines
    finally:
        ray.shutdown()
        machines.shutdown()


@pytest.fixture
def make(tiny_texts: Texts, tmp_path: Path) -> Iterator[Worlds]:
    worlds = Worlds(tiny_texts, tmp_path)
    yield worlds
    worlds.close()


def engine_on(world: World) -> TuneEngine:
    needs = Needs({"CPU": 1})
    return TuneEngine(lambda own: Order(own, world.open_workshop, needs), lambda: {"": 1}, world.note, reuse=True)


def test_a_candidate_whose_machine_dies_goes_on_on_another(make: Worlds, cluster: Any) -> None:
    undisturbed = make(spec_of(budget=SMALL)).run()
    world = make(spec_of(budget=SMALL))
    machines = [cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)]
    outcomes: list[Outcome] = []

    class Killing(Watched):
        def report(self, point: CurvePoint) -> Verdict:
            verdict = super().report(point)
            if point.number == 0 and point.rung is not None and machines:  # it waits for the verdict
                cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
                cluster.remove_node(machines.pop(), allow_graceful=False)
                wait_for_death()
            return verdict

        def finish(self, outcome: Outcome) -> None:
            outcomes.append(outcome)
            super().finish(outcome)

    engine_on(world).run(Killing(world.enter()))
    assert outcomes[0].kind == "lost"
    _, second = world.store.attempts("s", 0)
    assert second.first_step > 0, "from its checkpoint"
    assert world.fate() == undisturbed.fate()


def wait_for_death() -> None:
    """Until the cluster knows that one of the two is gone."""
    limit = time.monotonic() + DEATH_SECONDS
    while sum(node["Alive"] and node["Resources"].get("CPU", 0) > 0 for node in ray.nodes()) != 1:  # type: ignore[no-untyped-call]
        assert time.monotonic() < limit
        time.sleep(0.2)
