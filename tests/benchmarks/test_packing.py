"""Searches with several candidates at a time are run and what went side by side is said; not how much that brings."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import packing
from benchmarks.chaos.subject import spec
from benchmarks.chaos.workers import Shift
from benchmarks.packing import Load, Packed, Run, load_of, peak, write_up
from nas.space import load_space
from nas.spec import parse_spec

GIB = 2**30


@pytest.fixture(autouse=True)
def _threads_stay() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.timeout(1200)])])
def test_a_quick_run_prints_its_tables_and_writes_them(
    device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results" / "packing.md"
    packing.main(["--quick", "--device", device, "--out", str(out)])
    printed = capsys.readouterr().out
    assert out.read_text() == printed
    assert f"torch {torch.__version__}" in printed
    assert "violation" not in printed and "At no moment did the caps" in printed
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in printed.splitlines() if line[:1] == "|"]
    most = "2" if device == "cpu" else "4"
    assert [row[0] for row in rows if row[0] in ("1", most)] == ["1", most] * 2
    assert not any("nothing was trained" in row for row in rows)
    assert float(next(row for row in rows if row[0] == most)[-1].split()[0]) > 0


# --- what goes side by side ---


@pytest.mark.parametrize(
    ("spans", "most"),
    [
        ([], 0),
        ([(0, 10, 3)], 3),
        ([(0, 10, 3), (10, 20, 4)], 4),  # one ends as the other begins
        ([(0, 10, 3), (9, 20, 4)], 7),
        ([(0, 10, 1), (1, 2, 1), (3, 4, 1), (3.5, 20, 1)], 3),
        ([(0, 1, 5), (2, 3, 1), (2, 3, 1)], 5),
    ],
)
def test_the_most_at_any_moment(spans: Sequence[tuple[float, float, float]], most: float) -> None:
    assert peak(spans) == most
    assert peak(spans[::-1]) == most


def packed(
    parallel: int, *runs: Run, in_use: tuple[int, int] | None = (GIB, 9 * GIB), found: Sequence[str] = ()
) -> Packed:
    shift = Shift(parallel, 360.0 / parallel, (30.0, 32.0), (1.0, 3.0), found)
    return Packed(shift, runs, 10 * GIB, in_use)


HALF = Run(0.0, 30.0, 0.5, 5 * GIB)


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (packed(4, HALF, HALF), []),
        (packed(4, HALF, HALF, replace(HALF, began=30.0, ended=60.0)), []),
        (packed(4, HALF, replace(HALF, capped=5 * GIB + 1)), ["caps of runs side by side come to 10 GiB"]),
        (packed(4, HALF, replace(HALF, share=0.51)), ["shares of runs side by side come to 1.01"]),
        (packed(2, replace(HALF, share=1.0), replace(HALF, share=1.0), in_use=None), []),  # on a CPU
        (packed(4, HALF, found=["left behind"]), ["left behind"]),
    ],
)
def test_what_must_not_go_side_by_side(own: Packed, said: Sequence[str]) -> None:
    assert len(own.violations) == len(said)
    assert all(part in line for part, line in zip(said, own.violations, strict=True))


GPU = replace(load_of("cpu", quick=False), device="cuda", threads={1: 2, 4: 2})


def test_what_was_measured_is_written_down() -> None:
    one = packed(1, HALF, replace(HALF, began=30.0, ended=60.0))
    text = write_up(GPU, [one, packed(4, HALF, replace(HALF, share=0.07))], "a machine")
    assert "| 1 | 2 | 1 | 20 (20-20) | 31.0 s | 1.00 (1.00-1.00) |" in text
    assert "| 4 | 2 | 2 | 80 (80-80) | 31.0 s | 4.00 (4.00-4.00) |" in text
    assert "| 4 | 0.07-0.50 | 0.57 | 10 GiB | 10 GiB | 9 GiB (1 GiB before) |" in text
    assert "Measured on a machine." in text and "At no moment did the caps" in text


def test_what_went_wrong_is_written_down_too() -> None:
    nothing = Packed(Shift(1, 0.0, (), (), ["it does not end"]), (), 0, None)
    text = write_up(GPU, [nothing, packed(4, HALF, HALF, HALF)], "a machine")
    assert "| 1 | 2 | nothing was trained | - | - | - |" in text
    assert "| 4 | 2 | 3 | 80 (80-80) | 31.0 s | - |" in text, "there is nothing to compare it with"
    assert "- violation: it does not end" in text
    assert "- violation: 4 at a time: caps of runs side by side come to 15 GiB, the device has 10 GiB" in text
    assert "At no moment" not in text


# --- what is searched ---


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_all_candidates_are_of_one_shape(device: str, quick: bool) -> None:
    load: Load = load_of(device, quick)
    asked = parse_spec(spec(device=device, space=load.space, memory=load.memory, params=load.params, final="0%"))
    space, rng = load_space(asked.space), random.Random(0)
    drawn = [space.decode(space.sample(rng)) for _ in range(5)]
    assert {own.architecture for own in drawn} == {load.shape.architecture}
    assert {own.recipe.batch_tokens for own in drawn} == {load.shape.recipe.batch_tokens}
    assert len({own.id for own in drawn}) == 5
    assert min(load.threads) == 1 and load.candidates >= 2
