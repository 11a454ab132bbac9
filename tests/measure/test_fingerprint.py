import platform
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from nas.calibration import Fingerprint
from nas.measure import fingerprint as fingerprint_module
from nas.measure import nvml
from nas.measure.fingerprint import ALLOCATOR_SETTINGS, fingerprint_here, memory_here, processor


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ALLOCATOR_SETTINGS:
        monkeypatch.delenv(name, raising=False)


def gpu(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A GPU as torch describes it."""
    properties = SimpleNamespace(name=name, multi_processor_count=16, total_memory=2**33)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(nvml, "driver_version", lambda: "570.1")


def test_of_this_processor() -> None:
    found = fingerprint_here("cpu", 3, "float32")
    assert found == Fingerprint(
        backend="cpu",
        name=processor(),
        slice="",
        memory_bytes=memory_here(),
        driver="",
        torch=torch.__version__,
        allocator="",
        threads=3,
        precision="float32",
    )
    assert type(found.torch) is str, "torch has a type of its own for it, which JSON and databases do not know"
    assert fingerprint_here("cpu", 3, "float32").key == found.key


def test_the_model_and_the_memory_are_what_the_system_says() -> None:
    cpuinfo = Path("/proc/cpuinfo").read_text()
    assert processor() and processor() in cpuinfo + platform.machine()
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    assert memory_here() == int(total.split()[1]) * 1024


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        ("processor\t: 0\nmodel name\t: Own: 9000 \nmodel name\t: other\n", "Own: 9000"),
        ("processor\t: 0\n", platform.machine()),
    ],
)
def test_processors_with_and_without_a_name(
    cpuinfo: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr(fingerprint_module, "Path", lambda path: tmp_path / Path(path).name)
    assert processor() == name


def test_a_system_without_such_a_file_still_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint_module, "Path", lambda path: tmp_path / "none")
    assert processor() == (platform.processor() or platform.machine())


def test_a_label_replaces_the_model() -> None:
    plain, labelled = fingerprint_here("cpu", 1, "float32"), fingerprint_here("cpu", 1, "float32", "the old one")
    assert labelled == replace(plain, name="the old one")
    assert labelled.key != plain.key


def test_threads_and_precision_make_another_device() -> None:
    found = {fingerprint_here("cpu", threads, own).key for threads in (1, 2) for own in ("float32", "bfloat16")}
    assert len(found) == 4


def test_settings_of_cudas_allocator_are_of_no_matter_to_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint_here("cpu", 1, "float32")
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    assert fingerprint_here("cpu", 1, "float32") == before


@pytest.mark.parametrize(
    ("name", "slice_"), [("NVIDIA H100 80GB HBM3", ""), ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "16 SM")]
)
def test_of_a_gpu_and_of_a_slice(name: str, slice_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu(monkeypatch, name)
    monkeypatch.delenv("PYTORCH_ALLOC_CONF", raising=False)
    own = Fingerprint("cuda", name, slice_, 2**33, "570.1", torch.__version__, "", 2, "bfloat16")
    assert fingerprint_here("cuda:1", 2, "bfloat16") == own
    assert fingerprint_here("cuda", 2, "bfloat16", "mine") == replace(own, name="mine")


def test_settings_of_the_allocator_make_another_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu(monkeypatch, "NVIDIA L4")
    monkeypatch.delenv("PYTORCH_ALLOC_CONF", raising=False)
    plain = fingerprint_here("cuda", 1, "bfloat16")
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    monkeypatch.setenv("PYTORCH_NO_CUDA_MEMORY_CACHING", "1")
    found = fingerprint_here("cuda", 1, "bfloat16")
    settings = "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True PYTORCH_NO_CUDA_MEMORY_CACHING=1"
    assert found == replace(plain, allocator=settings)


@pytest.mark.gpu
def test_of_this_gpu() -> None:
    found = fingerprint_here("cuda", 1, "bfloat16")
    properties = torch.cuda.get_device_properties(0)
    assert (found.backend, found.name, found.memory_bytes) == ("cuda", properties.name, properties.total_memory)
    assert found.driver
