"""Real limits of a real process: each test runs in one of its own, for a limit that stays would be felt by others."""

import mmap
import subprocess
import sys
from contextlib import nullcontext

import pytest

from nas.candidate import Architecture, Candidate, Recipe
from nas.cost import memory_bound
from nas.errors import CrowdedError, ProbeError
from nas.measure.probe import ProbeRequest, probe
from nas.plan import Layout
from nas.train import containment
from nas.train.containment import BESIDE_BYTES, HEADROOM, check_uncrowded, contained, data_bytes
from nas.train.worker import is_out_of_memory
from nas.units import format_bytes

MIB = 2**20
PROLOGUE = """
import resource, torch
from nas.train.containment import contained
from nas.train.worker import is_out_of_memory
torch.set_num_threads(1)
MIB = 2**20
def take(mebibytes):
    try:
        torch.ones(mebibytes * MIB, dtype=torch.uint8)
    except RuntimeError as error:
        return "out of memory" if is_out_of_memory(error) else repr(error)
    return "taken"
"""


def said(script: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", PROLOGUE + script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts mappings on Linux alone")
def test_what_asks_for_more_runs_out_of_memory_and_the_process_goes_on() -> None:
    found = said("""
before = resource.getrlimit(resource.RLIMIT_DATA)
with contained("cpu", 64 * MIB):
    print(take(60))
    print(take(640))
    print(take(60))
print(take(640))
print(resource.getrlimit(resource.RLIMIT_DATA) == before)
""")
    assert found == ["taken", "out of memory", "taken", "taken", "True"]


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts mappings on Linux alone")
def test_a_tighter_limit_that_was_there_stays() -> None:
    found = said("""
with contained("cpu", 64 * MIB):
    with contained("cpu", 6400 * MIB):
        print(take(640))
    print(take(640))
""")
    assert found == ["out of memory", "out of memory"]


def test_no_cap_is_no_limit() -> None:
    with contained("cpu", None):
        assert len(bytearray(int(64 * MIB * (1 + HEADROOM)) + BESIDE_BYTES)) > 64 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says")
def test_data_is_counted() -> None:
    before = data_bytes()
    kept = mmap.mmap(-1, 100 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # and no memory that was freed before
    after = data_bytes()
    assert before is not None and after is not None
    assert after - before >= 99 * MIB
    kept.close()


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts mappings on Linux alone")
def test_a_candidate_that_needs_ten_times_its_cap_ends_alone() -> None:
    """Real steps of a real candidate, in a process of their own: the next one is measured as if nothing had been."""
    large = Candidate(Architecture(4, 256, 8, 32, 8, 768, 1024, 512), Recipe(16 * 512))
    small = Candidate(Architecture(1, 32, 2, 16, 2, 96, 256, 64), Recipe(2 * 64))
    needed = memory_bound(large, 16)
    assert needed > 640 * MIB
    with pytest.raises(ProbeError) as raised:
        probe(ProbeRequest(large, Layout(16), cap_bytes=needed // 10, timed=1))
    assert raised.value.kind == "out_of_memory"
    assert probe(ProbeRequest(small, Layout(2), cap_bytes=needed // 10, timed=1)).steps == 3


def test_a_gpu_is_waited_for_until_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containment, "LOOK_SECONDS", 0.0)
    free = iter([10, 20, 30])
    containment._await_free("cuda", 25, lambda device: (next(free), 100))
    assert list(free) == []


def test_a_gpu_that_others_fill_is_not_the_candidate_s_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containment, "FREE_SECONDS", 0.0)
    monkeypatch.setattr(containment, "LOOK_SECONDS", 0.0)
    with pytest.raises(CrowdedError, match="cuda is used by others: 10 MiB free, 25 MiB needed") as raised:
        containment._await_free("cuda", 25 * MIB, lambda device: (10 * MIB, 100 * MIB))
    assert not is_out_of_memory(raised.value)


@pytest.mark.parametrize(
    ("device", "cap", "had", "crowded"),
    [
        ("cuda", 25 * MIB, 10 * MIB, True),
        ("cuda:1", 25 * MIB, 25 * MIB - 1, True),
        ("cuda", 25 * MIB, 25 * MIB, False),  # it had all that it was allowed: that was not enough
        ("cuda", 25 * MIB, 100 * MIB, False),
        ("cuda", None, 0, False),  # it was allowed what there is
        ("cpu", 25 * MIB, 0, False),  # its data is limited, whatever others have
    ],
)
def test_who_is_to_blame_for_too_little_memory(device: str, cap: int | None, had: int, crowded: bool) -> None:
    asked: list[str] = []
    with pytest.raises(CrowdedError) if crowded else nullcontext() as raised:
        check_uncrowded(device, cap, lambda name: asked.append(name) or had)  # type: ignore[func-returns-value]
    if crowded:
        assert str(raised.value) == f"{device} was filled by others: {format_bytes(had)} left of 25 MiB"
    assert asked == ([device] if cap and device != "cpu" else [])
