"""The benchmarks run and print what they measured; their numbers are not asserted here."""

import sys
from pathlib import Path

import pytest

from benchmarks import gate_rate, throughput


def test_gate_rate_prints_and_writes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gate_rate", "--quick", "--out", str(tmp_path / "rate.md")])
    gate_rate.main()
    assert "| llama-tiny |" in capsys.readouterr().out
    assert "| llama-tiny |" in (tmp_path / "rate.md").read_text()


def test_both_sides_of_the_race_train() -> None:
    candidate = throughput.QUICK["1 x 32, vocabulary 512"]
    steps = {
        "ours": throughput.ours(candidate, compiled=False),
        "theirs": throughput.theirs(candidate, compiled=False),
    }
    result = throughput.race(steps, rounds=2)
    assert all(seconds > 0 for own in result.seconds.values() for seconds in own)
    assert float(result.ratio("theirs", "ours").split()[0]) > 0
