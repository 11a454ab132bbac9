"""A local Ray leaves nothing behind, whatever becomes of the command that started it; a search outlives its driver."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from nas.adapters.sql.store import open_store
from nas.errors import StateError
from nas.records import SearchState
from services.worker.cluster import connected
from services.worker.reaper import at_work_in, reaped
from tests.services.driving import Place, ending, gone, group, said_until

WRITES = "import sys, time; file = open(sys.argv[1], 'w'); print('opened', flush=True); time.sleep(300)"
CONNECTED = """
import sys, time
from services.worker.cluster import connected

with connected(None, 1):
    import ray

    ray.get(ray.remote(lambda: 1).options(num_cpus=1).remote())
    print("connected", flush=True)
    time.sleep(float(sys.argv[1]))
print("went on", flush=True)
"""
HOLDS = """
import subprocess, sys, time
from pathlib import Path
from services.worker.reaper import reaped

with reaped(Path(sys.argv[1])):
    worker = subprocess.Popen([sys.executable, "-c", sys.argv[2], f"{sys.argv[1]}/log"], stdout=subprocess.PIPE)
    worker.stdout.readline()
    print(worker.pid, flush=True)
    time.sleep(300)
"""


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files of our own, whose name is short, as the paths of sockets must be."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp", ignore_cleanup_errors=True) as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def started(code: str, *arguments: object, session: bool = True) -> "subprocess.Popen[str]":
    """A process, in a session of its own or in ours, once it has said a line."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=session)
    assert process.stdout is not None and process.stdout.readline()
    return process


def ended(process: "subprocess.Popen[str]") -> int:
    with process:
        process.kill()
        return process.wait(20)


def is_gone(folder: Path, seconds: float = 20) -> bool:
    limit = time.monotonic() + seconds
    while folder.exists() and time.monotonic() < limit:
        time.sleep(0.05)
    return not folder.exists()


# --- the reaper ---


def test_what_works_in_a_folder_ends_with_the_block(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "inside-not"
    for folder in (inside, outside):
        folder.mkdir()
    with reaped(inside):
        worker = started(WRITES, inside / "log", session=False)
        bystander = started(WRITES, outside / "log", session=False)
        reader = started(WRITES, inside / "log")  # of another session: somebody who looks at the logs
        assert sorted(at_work_in(inside)) == sorted([worker.pid, reader.pid])
        assert worker.poll() is None
    assert worker.wait(20) == -signal.SIGKILL
    assert not inside.exists() and outside.exists()
    assert bystander.poll() is reader.poll() is None
    assert {ended(own) for own in (worker, bystander, reader)} == {-signal.SIGKILL}


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_in_the_block_is_raised(tmp_path: Path, error: type[BaseException]) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    with pytest.raises(error), reaped(folder):
        raise error
    assert not folder.exists()


def test_what_works_in_a_folder_ends_with_a_command_that_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    command = started(HOLDS, folder, WRITES)
    assert len(group(command.pid)) == 2
    assert ended(command) == -signal.SIGKILL
    assert is_gone(folder)
    assert gone(command.pid) == []


# --- Ray ---


@pytest.fixture
def deaf() -> Iterator[str]:
    """An address where nothing listens, and nothing else can begin to."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize("protocol", ["", "ray://"])
def test_an_address_where_nothing_listens_is_refused_at_once(
    deaf: str, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray itself would try for ever."""
    monkeypatch.setattr(os, "environ", os.environ.copy())  # Ray's settings are not for the tests that follow
    address, began = f"{protocol}{deaf}", time.monotonic()
    with pytest.raises(StateError, match=rf"^Ray at {re.escape(address)}: .*refused; `nas doctor "), connected(address):
        raise AssertionError("connected to nothing")
    assert time.monotonic() - began < 10


def test_nothing_of_a_local_ray_is_left_after_the_block(short: Path) -> None:
    """And the command, which had files of it open too, goes on."""
    with started(CONNECTED, 0) as command:
        assert command.stdout is not None
        (folder,) = short.glob("nas-ray-*")
        assert len(at_work_in(folder)) > 3
        said = command.stdout.read()
        left = gone(command.pid, 5)
    assert (command.returncode, said, left) == (0, "went on\n", [])
    assert not folder.exists() and at_work_in(folder) == []


def test_nothing_of_a_local_ray_is_left_after_its_command_was_killed(short: Path) -> None:
    command = started(CONNECTED, 300)
    (folder,) = short.glob("nas-ray-*")
    assert len(at_work_in(folder)) > 3
    assert ended(command) == -signal.SIGKILL
    assert gone(command.pid, 20) == []
    assert is_gone(folder) and at_work_in(folder) == []


def drivers_of(command: int) -> list[int]:
    """Processes of the command's session that Ray names after the driver."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and b"ray::DriverActor" in (entry / "cmdline").read_bytes():
                session = (entry / "stat").read_text().rpartition(")")[2].split()[3]
                found += [int(entry.name)] if int(session) == command else []
    return found


def test_a_search_outlives_its_driver(place: Place, short: Path) -> None:
    """Its driver is killed while a candidate trains, another one goes on, and nothing is left at the end."""
    place.write_spec(total="  total: {compute: 2GFLOP, candidates: 2}")
    with ending(place.start("run", "tiny.yaml", environment={"TMPDIR": str(short)})) as process:
        said_until(process, r"candidate 0 \(")
        (driver,) = drivers_of(process.pid)
        os.kill(driver, signal.SIGKILL)
        said_until(process, "the driver died, another goes on: ")
        said_until(process, r"candidate \d completed: test ")
        assert list(short.glob("nas-ray-*"))
        out, err = process.communicate(timeout=60)
        left = gone(process.pid, 20)
    store = open_store(f"sqlite:///{place.home / 'nas.db'}")
    (record,) = store.searches()
    lease, candidates = store.lease(record.id), store.candidates(record.id)
    store.close()
    assert record.state is SearchState.COMPLETED
    assert all(own.state.terminal for own in candidates)
    assert lease is not None and lease.token == 2
    assert list(short.glob("nas-ray-*")) == [] and left == []
    assert (process.returncode, out.splitlines()[-1:]) == (0, [(record.result or {})["sentence"]]), err
