"""Of torch and GPUs: what is made of facts, and what is seen of them here."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from services.doctor import Level
from services.doctor.devices import Gpu, Gpus, check_cuda, judge_cuda, judge_products, judge_torch, parse_smi
from services.doctor.findings import GIB
from tests.services.doctor.facts import OK, WARNING, script

GPU = Gpu("NVIDIA H200", 139 * GIB)


@pytest.mark.parametrize(
    ("capability", "machine", "level", "part"),
    [
        ("AVX512", "x86_64", OK, "use AVX-512"),
        ("AVX2", "x86_64", OK, "use AVX2"),
        ("DEFAULT", "x86_64", WARNING, "use no AVX2"),
        ("DEFAULT", "aarch64", OK, "use aarch64 (DEFAULT)"),
        ("SVE256", "aarch64", OK, "use aarch64 (SVE256)"),
    ],
)
def test_products(capability: str, machine: str, level: Level, part: str) -> None:
    judged = judge_products(capability, machine)
    assert (judged.level, part in judged.found) == (level, True)


def test_builds_of_torch() -> None:
    assert judge_torch("2.13.0+cpu", None, 1).found == "2.13.0+cpu, a CPU build; 1 thread"
    assert judge_torch("2.13.0", "CUDA 13.0", 2).found == "2.13.0, a build for CUDA 13.0; 2 threads"


UNSEEN = Gpus(installed=(GPU,), driver="550.1")


@pytest.mark.parametrize(
    ("gpus", "level", "found", "advice"),
    [
        (Gpus(), OK, "none; training on the CPU", ""),
        (Gpus(build="CUDA 13.0"), OK, "none; training on the CPU", ""),
        (Gpus((GPU,), (GPU,), "550.1", "CUDA 13.0"), OK, "cuda:0 is NVIDIA H200, 139 GiB; driver 550.1", ""),
        (Gpus((Gpu("AMD", 0),), build="ROCm 7"), OK, "cuda:0 is AMD", ""),
        (UNSEEN, WARNING, "there is NVIDIA H200, 139 GiB; driver 550.1, but torch", "install a CUDA build of torch"),
        (replace(UNSEEN, build="CUDA 13.0", said="too old"), WARNING, "does not see it (too old)", "update the driver"),
        (replace(UNSEEN, build="CUDA 13.0", visible=""), WARNING, "does not see it", "unset CUDA_VISIBLE_DEVICES"),
    ],
)
def test_gpus(gpus: Gpus, level: Level, found: str, advice: str) -> None:
    (judged,) = judge_cuda(gpus)
    assert judged.level is level
    assert found in judged.found
    assert advice in judged.advice
    assert bool(judged.advice) == bool(advice)


def test_every_gpu_is_named() -> None:
    assert [own.found for own in judge_cuda(Gpus((Gpu("A", 0), Gpu("B", 0))))] == ["cuda:0 is A", "cuda:1 is B"]


@pytest.mark.parametrize(
    ("text", "gpus", "driver"),
    [
        ("", (), ""),
        ("NVIDIA-SMI has failed\n", (), ""),
        ("NVIDIA H200, 142336, 550.1\n", (GPU,), "550.1"),
        ("NVIDIA GB10, [N/A], 580.2\nA, B, 1024, 580.2\n", (Gpu("NVIDIA GB10", 0), Gpu("A, B", GIB)), "580.2"),
    ],
)
def test_lines_of_nvidia_smi(text: str, gpus: tuple[Gpu, ...], driver: str) -> None:
    assert parse_smi(text) == (gpus, driver)


def test_a_gpu_that_torch_does_not_see(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script(tmp_path / "nvidia-smi", "echo NVIDIA H200, 142336, 550.1")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    found = list(check_cuda())
    assert all("driver 550.1" in own.found for own in found)
    assert {own.level for own in found} == {OK if torch.cuda.is_available() else WARNING}
    script(tmp_path / "nvidia-smi", "echo Failed, 1, 2; exit 9")
    assert all(own.level is OK for own in check_cuda())
