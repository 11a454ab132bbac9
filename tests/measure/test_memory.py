"""What torch's profiler says of the allocator; the arithmetic of the peak is tested with the closed forms."""

import os

import pytest
import torch

from nas.measure.memory import peak_bytes


def test_the_profiler_s_own_lines_are_not_seen_and_ours_are_again_afterwards(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def work() -> None:
        os.write(2, b"a library's line\n")  # as C++ does, past Python
        torch.empty(2**20)

    assert peak_bytes(work) >= 2**22
    os.write(2, b"ours\n")
    assert capfd.readouterr().err == "ours\n"


def test_it_is_heard_again_after_an_error_and_nothing_is_left_open(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ValueError("mine")

    before = len(os.listdir("/dev/fd"))
    for _ in range(3):
        with pytest.raises(ValueError, match="mine"):
            peak_bytes(fail)
    assert len(os.listdir("/dev/fd")) == before
    os.write(2, b"ours\n")
    assert capfd.readouterr().err == "ours\n"
