import errno
import os
import pickle
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from nas.data.depot import Depot
from nas.errors import DiskFullError, StorageError
from nas.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

STATE = {"step": 3, "weights": {"a": torch.arange(5.0)}, "reached": [0.125, 0.25], "note": "x", "none": None}


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "checkpoint.pt"
    assert load_checkpoint(path) is None
    save_checkpoint(path, STATE)
    found = load_checkpoint(path)
    assert found is not None
    assert torch.equal(found["weights"]["a"], torch.arange(5.0))
    assert {name: found[name] for name in ("step", "reached", "note", "none")} == {
        "step": 3,
        "reached": [0.125, 0.25],
        "note": "x",
        "none": None,
    }
    save_checkpoint(path, {**STATE, "step": 4})
    assert load_checkpoint(path)["step"] == 4  # type: ignore[index]
    assert list(path.parent.iterdir()) == [path]


class Unsaveable:
    def __reduce__(self) -> tuple[object, ...]:
        raise KeyError("in the middle of writing")


def test_a_failure_in_the_middle_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, STATE)
    with pytest.raises(KeyError):
        save_checkpoint(path, {"weights": torch.zeros(10_000), "bad": Unsaveable()})
    assert load_checkpoint(path)["step"] == 3  # type: ignore[index]
    assert list(tmp_path.iterdir()) == [path]


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, STATE)
    whole = path.read_bytes()
    for length in (0, 1, 10, 100, len(whole) // 2, len(whole) - 200, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(StorageError, match=r"checkpoint.pt: must be a whole checkpoint, found: \w+"):
            load_checkpoint(path)


@pytest.mark.parametrize(
    "content", [b"hello", b"\x80\x04.", b"PK\x03\x04" + b"\0" * 40, bytes(range(256)), b"\0" * 999]
)
def test_other_files_are_no_checkpoints(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"must be a whole checkpoint"):
        load_checkpoint(path)


def test_damage_is_noticed_or_harmless(tmp_path: Path) -> None:
    """A flipped byte never raises anything else, wherever it lies."""
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, STATE)
    whole = bytearray(path.read_bytes())
    for position in range(0, len(whole), 7):
        damaged = whole.copy()
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        with suppress(StorageError):
            load_checkpoint(path)


@pytest.mark.parametrize("state", [{"format": 1, "step": 1}, {"step": 1}, [1, 2], torch.zeros(2)])
def test_other_formats(tmp_path: Path, state: object) -> None:
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(StorageError, match=r"must be a checkpoint of format 2"):
        load_checkpoint(tmp_path / "checkpoint.pt")


class Code:
    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, ("proof",))


@pytest.mark.parametrize("save", [torch.save, lambda state, path: path.write_bytes(pickle.dumps(state))])
def test_checkpoints_hold_no_code(tmp_path: Path, save: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save({"format": 2, "step": Code()}, tmp_path / "checkpoint.pt")  # type: ignore[operator]
    with pytest.raises(StorageError, match=r"must be a whole checkpoint"):
        load_checkpoint(tmp_path / "checkpoint.pt")
    assert not (tmp_path / "proof").exists()


TOO_LARGE = """
import resource, sys, torch
from pathlib import Path
from nas.errors import StorageError
from nas.train.checkpoint import load_checkpoint, save_checkpoint

path = Path(sys.argv[1])
save_checkpoint(path, {"step": 3})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    save_checkpoint(path, {"step": 4, "weights": torch.zeros(100_000)})
except StorageError as error:
    print(type(error).__name__, error)
print(load_checkpoint(path)["step"], len(list(path.parent.iterdir())))
"""


def test_a_disk_that_takes_no_more(tmp_path: Path) -> None:
    """Simulated by a limit on the size of files: the error is ours, the old checkpoint stands, no rest is left."""
    command = [sys.executable, "-c", TOO_LARGE, str(tmp_path / "checkpoint.pt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    error, state = done.stdout.splitlines()
    assert error.startswith("StorageError ") and "checkpoint.pt: must be writable, found: File too large" in error
    assert state == "3 1"


class Full:
    """Text that finds no space left when torch reads it."""

    def __reduce__(self) -> tuple[object, ...]:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_has_its_own_name(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError, match=r"checkpoint.pt: no space left on the device"):
        save_checkpoint(tmp_path / "checkpoint.pt", {"step": Full()})
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"must be writable"):
        save_checkpoint(tmp_path / "file" / "checkpoint.pt", STATE)


# --- of machines that share a depot ---


def step_of(checkpoint: Checkpoint) -> int | None:
    saved = checkpoint.load()
    return None if saved is None else int(saved["step"])


@pytest.fixture
def machines(tmp_path: Path) -> tuple[Checkpoint, Checkpoint]:
    """The checkpoint of one run, on two machines."""
    depot = Depot(str(tmp_path / "depot"))
    here, there = (Checkpoint(tmp_path / name / "checkpoint.pt", depot, "s/7/checkpoint.pt") for name in "ab")
    return here, there


def test_what_is_saved_is_found_by_another_machine(machines: tuple[Checkpoint, Checkpoint], tmp_path: Path) -> None:
    here, there = machines
    assert (step_of(here), step_of(there)) == (None, None)
    here.save(STATE)
    assert (tmp_path / "depot" / "s" / "7" / "checkpoint.pt").read_bytes() == here.path.read_bytes()
    assert step_of(there) == 3
    assert there.path.read_bytes() == here.path.read_bytes()


def test_the_depot_knows_best(machines: tuple[Checkpoint, Checkpoint]) -> None:
    here, there = machines
    here.save(STATE)
    assert step_of(there) == 3
    there.save({**STATE, "step": 9})
    assert load_checkpoint(here.path)["step"] == 3  # type: ignore[index]
    assert step_of(here) == 9, "the other machine has got further"


def test_a_checkpoint_that_the_depot_has_not_is_none(machines: tuple[Checkpoint, Checkpoint]) -> None:
    """The run has ended elsewhere, or this file is of another database's search."""
    here, there = machines
    here.save(STATE)
    assert step_of(there) == 3
    there.delete()
    assert here.path.is_file() and step_of(here) is None
    assert not here.path.exists()


def test_deleting_deletes_both(machines: tuple[Checkpoint, Checkpoint], tmp_path: Path) -> None:
    here, _ = machines
    here.save(STATE)
    here.delete()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    here.delete()


def test_without_a_depot_a_file_is_all(tmp_path: Path) -> None:
    own = Checkpoint(tmp_path / "checkpoint.pt")
    own.save(STATE)
    assert step_of(own) == 3
    own.delete()
    assert step_of(own) is None


def test_a_copy_that_is_damaged_is_noticed(machines: tuple[Checkpoint, Checkpoint], tmp_path: Path) -> None:
    here, there = machines
    here.save(STATE)
    (tmp_path / "depot" / "s" / "7" / "checkpoint.pt").write_bytes(b"half of it")
    with pytest.raises(StorageError, match=r"checkpoint.pt: must be a whole checkpoint"):
        there.load()
