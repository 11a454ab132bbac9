"""Runs share a GPU by what their plans take of it: on a real Ray, which is told of a GPU that nobody needs to have."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import ray
from ray.util import placement_group_table

from nas.adapters.tune.engine import TuneEngine
from nas.adapters.tune.messages import Needs, Order
from nas.ports import Assignment
from nas.records import CurvePoint, Verdict
from services.worker.cluster import connected
from services.worker.engine import gpu_share
from tests.helpers import Watched, Worlds, spec_of

# Ray and Tune warn of what is theirs to change.
pytestmark = pytest.mark.filterwarnings("ignore")

BUDGET = {"total": {"compute": "6GFLOP"}, "candidate": {"compute": "1GFLOP"}, "final": 0.0}
"""For candidates that are in training long enough to meet."""


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_OVERRIDE_RESOURCES", '{"GPU": 1}')
        with connected(None, cpus=4):
            assert ray.cluster_resources()["GPU"] == 1
            yield
    assert not ray.is_initialized()


class Counting(Watched):
    """Looks, whenever a run has got somewhere, at how many have their share."""

    most = 0

    def report(self, point: CurvePoint) -> Verdict:
        placed = [own for own in placement_group_table().values() if own["state"] == "CREATED"]
        self.most = max(self.most, len(placed))
        return super().report(point)


@pytest.mark.parametrize(("share", "most"), [(0.51, 1), (0.5, 2), (0.25, 3)])
def test_as_many_go_side_by_side_as_their_shares_allow(make: Worlds, share: float, most: int) -> None:
    """Of three that may."""
    world = make(spec_of(budget=BUDGET, method={"parallel": 3, "policy": "none"}))

    def order(assignment: Assignment) -> Order:
        planned = replace(assignment.plan, share=share)
        return Order(assignment, world.open_workshop, Needs({"CPU": 1.0, "GPU": gpu_share(planned)}))

    driver = Counting(world.enter())
    world.run(driver, TuneEngine(order, lambda: {"": 3}, world.note, reuse=True))
    assert driver.most == most
    assert all(own.state.terminal for own in world.candidates)
