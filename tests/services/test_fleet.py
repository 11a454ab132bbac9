"""What a search makes of a cluster's machines; the cluster itself is looked at in `test_cluster`."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import SpecError, StateError
from nas.plan import Plan
from services.device import Device
from services.worker.engine import gpu_share
from services.worker.fleet import Fleet, Node, share_out

EPYC, XEON = "AMD EPYC", "Intel Xeon"


def node(number: int, cpus: int, gpus: int = 0, *, processor: str = EPYC, gpu: str = "", label: str = "") -> Node:
    return Node(f"n{number}", f"host{number}", cpus, gpus, gpu, processor, label)


def fleet(*nodes: Node) -> Fleet:
    """Looked at just now, and for good."""
    found = Fleet()
    found._known, found._looked = {own.id: own for own in nodes}, math.inf
    return found


@pytest.mark.parametrize(
    ("own", "kind", "hardware"),
    [
        (node(0, 8), "cpu", EPYC),
        (node(0, 0), "cpu", ""),
        (node(0, 8), "cuda", ""),
        (node(0, 8, 2, gpu="H100"), "cuda", "H100"),
        (node(0, 8, 2), "cuda", "GPU"),
        (node(0, 8, 2, gpu="H100", label="lab"), "cuda", "lab"),
        (node(0, 8, label="lab"), "cpu", "lab"),
        (node(0, 8, label="lab"), "cuda", ""),
    ],
)
def test_what_is_trained_on(own: Node, kind: str, hardware: str) -> None:
    assert own.hardware(kind) == hardware


# machines, the spec's device, parallel; devices: kind, hardware, threads beside others and alone
CASES: list[tuple[Sequence[Node], str, int, list[tuple[str, str, int, int]]]] = [
    ([node(0, 8)], "auto", 1, [("cpu", EPYC, 8, 8)]),
    ([node(0, 8)], "auto", 4, [("cpu", EPYC, 2, 8)]),
    ([node(0, 8), node(1, 4)], "cpu", 2, [("cpu", EPYC, 4, 4)]),
    ([node(0, 0), node(1, 4)], "cpu", 1, [("cpu", EPYC, 4, 4)]),
    ([node(0, 8), node(1, 4, processor=XEON)], "cpu", 3, [("cpu", EPYC, 4, 8), ("cpu", XEON, 4, 4)]),
    ([node(0, 8), node(1, 4, processor=XEON)], "cpu", 1, [("cpu", EPYC, 8, 8)]),
    ([node(0, 8), node(1, 16, 1, gpu="H100")], "auto", 1, [("cuda", "H100", 4, 4)]),
    ([node(0, 8), node(1, 16, 1, gpu="H100")], "cpu", 3, [("cpu", EPYC, 4, 8)]),
    ([node(0, 4, 2, gpu="A"), node(1, 4, 1, gpu="B")], "auto", 3, [("cuda", "A", 4, 4), ("cuda", "B", 4, 4)]),
]


@pytest.mark.parametrize(("nodes", "name", "parallel", "expected"), CASES)
def test_devices(nodes: Sequence[Node], name: str, parallel: int, expected: list[tuple[str, str, int, int]]) -> None:
    assert fleet(*nodes).devices(name, parallel) == [Device(*own) for own in expected]


@pytest.mark.parametrize(("nodes", "name"), [([node(0, 8)], "cuda"), ([node(0, 0)], "auto")])
def test_a_device_that_no_machine_has(nodes: Sequence[Node], name: str) -> None:
    with pytest.raises(SpecError, match=f"device: must be auto, cpu, or cuda on a cluster with a GPU, found '{name}'"):
        fleet(*nodes).devices(name, 1)


def test_a_listed_device_is_none_of_a_cluster() -> None:
    said = "on a cluster with a GPU; h100-sxm is in the catalogue: it can be planned for with nas forecast, found"
    with pytest.raises(SpecError, match=said):
        fleet(node(0, 8, 1, gpu="H100")).devices("h100-sxm", 1)


def test_slots_follow_the_machines_that_are_there() -> None:
    devices = [Device("cpu", EPYC, 1, 8), Device("cpu", XEON, 1, 4)]
    both, one = [node(0, 8), node(1, 4, processor=XEON)], [node(1, 4, processor=XEON)]
    assert fleet(*both).slots(devices, 3) == {EPYC: 2, XEON: 1}
    assert fleet(*one).slots(devices, 3) == {EPYC: 0, XEON: 3}
    assert fleet().slots(devices, 3) == {EPYC: 0, XEON: 0}


def test_machines_must_share_files() -> None:
    fleet(node(0, 8)).check_storage("")
    fleet(node(0, 8), node(1, 8)).check_storage("s3://bucket")
    with pytest.raises(StateError, match="the machines host0, host1 must share files: set NAS_STORAGE"):
        fleet(node(0, 8), node(1, 8)).check_storage("")


UNITS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 16), min_size=1)


@given(st.integers(0, 20), UNITS)
def test_runs_are_shared_out(parallel: int, units: dict[str, int]) -> None:
    """All of them, to devices that are there, none less than its share rounded down (D'Hondt's lower quota)."""
    shares = share_out(parallel, units)
    total = sum(units.values())
    assert shares.keys() == units.keys()
    assert sum(shares.values()) == (parallel if total else 0)
    assert all(shares[own] == 0 for own in units if not units[own])
    if total:
        assert all(shares[own] >= parallel * units[own] // total for own in units)


@pytest.mark.parametrize(("share", "gpu"), [(1.0, 1.0), (0.5, 0.5), (1 / 3, 0.34), (1 / 16, 0.07), (0.07, 0.07)])
def test_a_share_is_asked_of_ray_in_hundredths(share: float, gpu: float) -> None:
    """Rounded up: what goes side by side must come to no more than the whole."""
    plan = Plan(1, 1, 1, 1, 1, 1.0, 1, 1, 1.0, share=share)
    assert gpu_share(plan) == gpu


@given(st.lists(st.floats(1 / 16, 1.0), max_size=20))
def test_what_ray_lets_side_by_side_shares_a_gpu(wanted: list[float]) -> None:
    """Ray counts in ten-thousandths, so that what it adds up is exact."""
    asked, shares = 0, 0.0
    for share in wanted:
        hundredths = round(100 * gpu_share(Plan(1, 1, 1, 1, 1, 1.0, 1, 1, 1.0, share=share)))
        assert share - 1e-6 <= hundredths / 100 < share + 0.01 + 1e-6
        if asked + hundredths <= 100:
            asked, shares = asked + hundredths, shares + share
    assert shares <= 1 + 1e-6
