"""Real probes in real processes, and all the ways in which they end."""

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path

import pytest
import torch

from nas.candidate import Architecture, Candidate, Recipe
from nas.errors import CrowdedError, ProbeError, ProfileError
from nas.measure import probe as probe_module
from nas.measure.probe import TIMED, WARM_UP, Probe, ProbeRequest, measure_step, probe
from nas.measure.trace import trace_step
from nas.plan import Layout, step_flops

WIDE = Architecture(depth=2, width=128, heads=4, head_size=32, kv_heads=2, mlp_width=384, vocabulary=2048, context=128)
OWN = ProbeRequest(Candidate(WIDE, Recipe(512)), Layout(2))
ENDLESS = ProbeRequest(Candidate(replace(WIDE, depth=12), Recipe(2**22)), Layout(1))
"""A step of hours."""
HUGE = ProbeRequest(Candidate(replace(WIDE, mlp_width=10**13), Recipe(128)), Layout(1))


def running() -> list[int]:
    """Processes that the server of probes has forked and that have not ended."""
    server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it has just ended
            continue
        if int(parent) == server and state != "Z":
            found.append(int(path.parent.name))
    return found


@pytest.fixture(autouse=True)
def _nothing_is_left_running() -> Iterator[None]:
    yield
    if forkserver._forkserver._forkserver_pid is not None:  # type: ignore[attr-defined]
        assert running() == []


def ended(request: ProbeRequest, limit_seconds: float = 120.0) -> ProbeError:
    with pytest.raises(ProbeError) as caught:
        probe(request, limit_seconds)
    return caught.value


# --- that end well ---


@pytest.mark.parametrize("recompute", [False, True])
def test_a_probe(recompute: bool) -> None:
    layout = Layout(2, recompute)
    found = probe(replace(OWN, layout=layout))
    traced = trace_step(OWN.candidate, layout)
    assert found.peak_bytes == pytest.approx(traced.peak_bytes, rel=0.02)
    assert found.steps >= WARM_UP + 1 + TIMED
    assert found.flops == found.steps * step_flops(OWN.candidate)
    assert found.step_seconds > 0
    assert (found.reserved_bytes, found.context_bytes, found.process_bytes) == (found.peak_bytes, 0, found.peak_bytes)
    assert (found.compile_seconds, found.joules) == (0.0, None), "nothing was compiled; a CPU has no counter"
    assert found.token_seconds is None, "that was not asked for"


def test_a_larger_step_takes_longer() -> None:
    larger = replace(OWN, candidate=Candidate(replace(WIDE, depth=8), Recipe(1024)))
    small, large = measure_step(OWN), measure_step(larger)
    assert small.step_seconds < large.step_seconds and small.peak_bytes < large.peak_bytes
    assert min(small.steps, large.steps) >= WARM_UP + 1 + TIMED


def test_a_token_in_use_is_timed_where_that_is_asked_for() -> None:
    """A deeper model takes longer; what is measured of a step is as without."""
    small, large = (
        measure_step(replace(OWN, candidate=Candidate(replace(WIDE, depth=depth), Recipe(512)), decodes=True))
        for depth in (2, 16)
    )
    assert small.token_seconds is not None and large.token_seconds is not None
    assert 0 < small.token_seconds < large.token_seconds < 1
    assert small.peak_bytes == measure_step(OWN).peak_bytes


@pytest.mark.parametrize("context", [1, 2, 7, 64])
def test_a_token_is_timed_in_any_context(context: int) -> None:
    short = Candidate(Architecture(1, 16, 2, 8, 1, 32, 256, context), Recipe(2 * context))
    found = measure_step(ProbeRequest(short, Layout(1), decodes=True)).token_seconds
    assert found is not None and 0 < found < 1


def test_what_a_process_takes_is_reserved_and_context() -> None:
    found = Probe(100, 120, 30, 0.5, 0.0, None, 0.001, 5, 1000)
    assert found.process_bytes == 150
    assert Probe(**found.to_dict()) == found


# --- that do not ---


def test_out_of_memory_is_an_answer() -> None:
    error = ended(HUGE)
    assert error.kind == "out_of_memory" and "can't allocate memory" in error.detail
    assert str(error).startswith("the probe ran out of memory: ")


def test_a_probe_that_hangs_is_ended() -> None:
    error = ended(ENDLESS, 0.01)
    assert (error.kind, error.detail) == ("hung", "not over after 0.01 s")
    assert running() == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV])
def test_a_probe_that_is_killed_has_died(how: signal.Signals) -> None:
    errors: list[ProbeError] = []
    thread = threading.Thread(target=lambda: errors.append(ended(ENDLESS)))
    thread.start()
    deadline = time.monotonic() + 60
    while not (own := multiprocessing.active_children()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [child.pid for child in own] == running()
    os.kill(own[0].pid or 0, how)
    thread.join(60)
    assert not thread.is_alive()
    assert (errors[0].kind, errors[0].detail) == ("died", f"its process ended with {-how}")


def test_an_error_is_named() -> None:
    error = ended(replace(OWN, device="nonsense"))
    assert error.kind == "failed"
    assert error.detail.startswith("RuntimeError: ") and "nonsense" in error.detail and "\n" not in error.detail


@pytest.mark.parametrize(
    ("error", "crowded", "kind", "detail"),
    [
        (MemoryError("so much"), False, "out_of_memory", "MemoryError: so much"),
        (MemoryError("so much"), True, "failed", "cuda is filled by others"),
        (ValueError("mine\nand more"), True, "failed", "ValueError: mine"),
        (CrowdedError("cuda is used by others"), False, "failed", "cuda is used by others"),
    ],
)
def test_a_device_that_others_fill_is_not_the_candidate_s_fault(
    error: Exception, crowded: bool, kind: str, detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a probe says nothing, and the run itself waits for the device."""

    def check(device: str, cap: int | None) -> None:
        assert (device, cap) == ("cuda", 7)
        if crowded:
            raise CrowdedError("cuda is filled by others")

    monkeypatch.setattr(probe_module, "check_uncrowded", check)
    assert probe_module._ended(error, replace(OWN, device="cuda", cap_bytes=7)) == (kind, detail)


@pytest.mark.skipif(torch.cuda.is_available(), reason="of a machine without a GPU")
def test_a_device_that_is_not_there_is_named() -> None:
    error = ended(replace(OWN, device="cuda"))
    assert error.kind == "failed" and ("CUDA" in error.detail or "NVIDIA" in error.detail)


def test_a_failed_probe_spoils_no_other() -> None:
    ended(replace(OWN, device="nonsense"))
    assert probe(OWN).peak_bytes > 2**20


@pytest.mark.parametrize("kind", ["out_of_memory", "hung", "died", "failed"])
def test_errors_cross_process_borders(kind: str) -> None:
    error = ProbeError(kind, "why")
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, ProfileError)
    assert (type(again), again.kind, again.detail, str(again)) == (ProbeError, kind, "why", str(error))
    assert str(error).endswith(": why")
