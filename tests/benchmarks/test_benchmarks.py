"""The benchmarks run and say what they measured; how fast anything is, is not asserted here."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import gate_rate, throughput

Main = Callable[[Sequence[str]], None]


@pytest.fixture(autouse=True)
def _threads_stay() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("main", "rows"),
    [
        (throughput.main, ["| 1 x 32, 2/1 heads, V 512 tied, 128 tokens | eager |"]),
        (gate_rate.main, ["| llama-tiny |", "| llama-small |"]),
    ],
)
def test_a_quick_run_prints_its_table_and_writes_it(
    main: Main, rows: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results" / "table.md"
    main(["--quick", "--out", str(out)])
    printed = capsys.readouterr().out
    assert out.read_text() == printed
    assert f"torch {torch.__version__}" in printed
    assert all(row in printed for row in rows)


@pytest.mark.parametrize("candidate", [candidate for models in throughput.MODELS.values() for candidate in models[:1]])
def test_models_are_those_of_transformers(candidate: Any) -> None:
    assert type(throughput.their_model(candidate)).__name__ == "LlamaForCausalLM"


def test_a_model_that_does_other_work_is_not_raced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "LOGIT_TOLERANCE", -1.0)
    with pytest.raises(RuntimeError, match="must agree"):
        throughput.their_model(throughput.QUICK[0])


def test_compiling_pays_when_it_brings_something() -> None:
    assert throughput.break_even(30.0, 1.5) == "90 s of training"
    assert throughput.break_even(30.0, 0.9) == "never"
