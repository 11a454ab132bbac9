"""The benchmarks run and say what they measured; how fast anything is, is not asserted here."""

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import gate_rate, proposals, throughput
from benchmarks.chaos import kills, processes, sameness, workers
from benchmarks.chaos.main import PARTS
from benchmarks.chaos.main import main as chaos
from benchmarks.chaos.subject import spec
from benchmarks.chaos.verify import Records, differences, read, violations
from nas.data.texts import Texts
from nas.records import CandidateState, SearchState
from nas.spec import parse_spec
from tests.helpers import SMALL, Worlds, spec_of

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
        (proposals.main, ["| 10 |", "| 40 |"]),
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


# --- chaos: what it asks of the records; the kills are for those who run it ---


@pytest.fixture(scope="module")
def told(tiny_texts: Texts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Records]:
    """All that is known of a search that nothing disturbed."""
    worlds = Worlds(tiny_texts, tmp_path_factory.mktemp("told"))
    world = worlds(spec_of(budget=SMALL)).run()
    world.store.update_search("s", state=SearchState.COMPLETED, result={"number": 0})
    yield read(world.store, "s")
    worlds.close()


def test_nothing_is_wrong_with_a_search_that_nothing_disturbed(told: Records) -> None:
    assert violations(told) == []
    assert differences(told, told) == []


def _first(records: Sequence[Any], **changes: Any) -> list[Any]:
    return [replace(records[0], **changes), *records[1:]]


DAMAGE: dict[str, Callable[[Records], dict[str, Any]]] = {
    "the search is running": lambda r: {"search": replace(r.search, state=SearchState.RUNNING)},
    "candidate 0 is training": lambda r: {"candidates": _first(r.candidates, state=CandidateState.TRAINING)},
    "is there 2 times": lambda r: {"candidates": _first(r.candidates, id=r.candidates[1].id)},
    "was decided upon 2 times": lambda r: {"decisions": [*r.decisions, r.decisions[0]]},
    "has 2 points at step": lambda r: {"points": [r.points[0], *r.points]},
    "FLOPs at step": lambda r: {"points": _first(r.points, flops=r.points[0].flops + 1)},
    "eval_flops of its points goes backwards": lambda r: {"points": _first(r.points, eval_flops=10**15)},
    "has 2 reservations and 1 settlements": lambda r: {"ledger": [*r.ledger, _line(r, "reserve")]},
    "has 1 reservations and 2 settlements": lambda r: {"ledger": [*r.ledger, _line(r, "settle")]},
    "FLOPs spent of": lambda r: {"ledger": [*r.ledger, replace(_line(r, "settle"), number=None, flops=10**15)]},
    "candidate 0 lost 4 attempts": lambda r: {"attempts": [*r.attempts, *(_again(r, n, "lost") for n in (1, 2, 3, 4))]},
    "nobody ended attempt 1": lambda r: {"attempts": _first(r.attempts, finished_at=None)},
    "went on from step 0, though the one before had got to": lambda r: {
        "attempts": [*r.attempts, _again(r, 1, "completed")]
    },
    "its attempts say": lambda r: {"candidates": _first(r.candidates, repeated_flops=1)},
}


def _line(records: Records, kind: str) -> Any:
    return next(line for line in records.ledger if line.kind == kind)


def _again(records: Records, attempt: int, outcome: str) -> Any:
    """A further attempt of the first candidate, from scratch."""
    return replace(records.attempts[0], attempt=attempt, outcome=outcome)


@pytest.mark.parametrize("said", DAMAGE)
def test_damage_is_found(said: str, told: Records) -> None:
    found = violations(replace(told, **DAMAGE[said](told)))
    assert any(said in line for line in found), found


def test_another_fate_is_found(told: Records) -> None:
    other = replace(told, candidates=_first(told.candidates, val_bpb=9.0), points=told.points[1:])
    assert [line.partition(":")[0] for line in differences(told, other)] == ["candidate 0", "point of 0 at step 1"]


def test_kills_are_dealt_over_kinds_and_databases() -> None:
    assert sum(count for _, _, count in kills.shares(40)) == 40
    assert {(kind, database) for kind, database, _ in kills.shares(8)} == {
        (kind, database) for kind in kills.KINDS for database in ("SQLite", "PostgreSQL")
    }
    assert {kind for kind, _, _ in kills.shares(4)} == set(kills.KINDS)
    assert sorted(sameness.mixed(5, random.Random(0))) == ["command", "driver", "tree", "worker", "worker"]


def test_what_chaos_measures_is_written_down(told: Records) -> None:
    results = [kills.Ordeal("SQLite", "worker", 2, (5.0, 7.0), ()), kills.Ordeal("SQLite", "worker", 1, (9.0,), ("x",))]
    assert "| worker | SQLite | 3 | 2 | 1 | 7 s |" in kills.write_up(results)
    twin = sameness.Twin("SQLite", ("tree", "worker"), 120, (), ())
    assert "| SQLite | tree, worker | 120 | 0 |" in sameness.write_up([twin])
    shift = workers.measured(1, told, ())
    assert len(shift.idle) == len(shift.training) > 0
    shifts = [workers.Shift(n, 360.0 / n, (30.0, 32.0), (1.0, 3.0), ()) for n in (1, 2)]
    assert "| 2 | 40 (40-40) | 31 s | 2.0 s | 3.0 s |" in workers.write_up(shifts)
    assert "2.00 times as many" in workers.write_up(shifts)


def test_its_specs_are_specs() -> None:
    assert parse_spec(spec()).method.parallel == 2
    assert parse_spec(spec(space=workers.SPACE, final="0%")).budget.final == 0


def test_only_the_processes_of_a_session_are_killed() -> None:
    code = (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).wait()"
    )
    own, other = (subprocess.Popen([sys.executable, "-c", code], start_new_session=True) for _ in range(2))
    with processes.nothing_survives([own.pid, other.pid]):
        while not all(len(processes.named(each.pid, "sleep(60)")) == 2 for each in (own, other)):
            assert own.poll() is None
        assert processes.kill_session(own.pid)
        own.wait()
        assert processes.left_over([own.pid], "no folder", 0) == []
        assert len(processes.alive(other.pid)) == 2
    other.wait()
    assert os.getpid() in processes.alive(os.getsid(0))


def test_chaos_says_what_parts_it_has(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        chaos(["--parts", "none"])
    said = capsys.readouterr().err
    assert all(part in said for part in PARTS)
