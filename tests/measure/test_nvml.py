"""What the driver's library says: nothing without a GPU; by a library that is written out, what it should."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from nas.measure import nvml

UUID = "9a3e5c2b-0000-4000-8000-0123456789ab"
NUMBERS = [nvml.joules, nvml.used_bytes, nvml.free_bytes]


class Library:
    """Of one GPU, or one slice of it, that is known as ``known``."""

    class NVMLError(Exception):
        pass

    def __init__(self, known: str = f"GPU-{UUID}", *, sliced: bool = False, counts: bool = True) -> None:
        self.known, self.sliced, self.counts = known, sliced, counts

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if uuid != self.known:
            raise self.NVMLError("not found")
        return f"handle of {uuid}"

    def nvmlDeviceIsMigDeviceHandle(self, handle: str) -> int:
        assert handle == f"handle of {self.known}"
        return int(self.sliced)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        if not self.counts:
            raise self.NVMLError("not supported")
        return 12_345  # thousandths of a joule

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> SimpleNamespace:
        return SimpleNamespace(total=100, used=30, free=70)

    def nvmlSystemGetDriverVersion(self) -> str:
        return "570.1"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Library], None]:
    def install(library: Library) -> None:
        monkeypatch.setattr(nvml, "_library", lambda: library)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
        uuids = ["another", UUID]
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=uuids[index]))

    return install


Install = Callable[[Library], None]


@pytest.mark.skipif(torch.cuda.is_available(), reason="of a machine without a GPU")
@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:0"])
def test_without_a_gpu_nobody_can_say(device: str) -> None:
    assert [ask(device) for ask in NUMBERS] == [None, None, None]
    assert nvml.driver_version() == ""


def test_a_processor_has_none_of_it(installed: Install) -> None:
    installed(Library())
    assert [ask("cpu") for ask in NUMBERS] == [None, None, None]


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
@pytest.mark.parametrize("known", [f"GPU-{UUID}", UUID])
def test_a_gpu_is_known_by_its_uuid(device: str, known: str, installed: Install) -> None:
    """Torch gives it without the word that NVML has before a GPU's."""
    installed(Library(known))
    assert [ask(device) for ask in NUMBERS] == [12.345, 30, 70]
    assert nvml.driver_version() == "570.1"


def test_one_that_is_not_there_says_nothing(installed: Install) -> None:
    installed(Library("GPU-of-somebody-else"))
    assert [ask("cuda") for ask in NUMBERS] == [None, None, None]


def test_a_slice_has_memory_of_its_own_and_no_counter(installed: Install) -> None:
    installed(Library(UUID, sliced=True))
    assert [ask("cuda") for ask in NUMBERS] == [None, 30, 70]


def test_an_old_gpu_without_a_counter(installed: Install) -> None:
    installed(Library(counts=False))
    assert [ask("cuda") for ask in NUMBERS] == [None, 30, 70]


@pytest.mark.gpu
def test_of_this_gpu() -> None:
    before, used, free = nvml.joules("cuda"), nvml.used_bytes("cuda"), nvml.free_bytes("cuda")
    assert nvml.driver_version()
    assert used is not None and free is not None
    assert used + free <= 1.01 * torch.cuda.get_device_properties(0).total_memory + 2**31  # what the driver keeps
    held = torch.ones(2**28, dtype=torch.float32, device="cuda")
    for _ in range(200):
        held.mul_(1.0)
    torch.cuda.synchronize()
    after = nvml.used_bytes("cuda")
    assert after is not None and after >= used + held.nbytes // 2
    counted = nvml.joules("cuda")
    assert (before is None) == (counted is None)
    assert before is None or counted is None or counted >= before
