"""Predictions are held against real steps, and what is found is said; how good they are, is not asserted here."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.profiling import gate, held_out, memory, modules, step_time
from benchmarks.profiling.errors import Errors, Target, above, milliseconds, percent, quantile
from benchmarks.profiling.held_out import Setting, drawn, laid_out, layouts
from benchmarks.profiling.main import PARTS
from benchmarks.profiling.main import main as profiling
from benchmarks.profiling.report import Part, ended_well, write_up
from nas.calibration import Calibration, DeviceProfile, Fingerprint, MemoryFit, Phase, TimeFit, Trace
from nas.cost import LOGITS_CHUNKS
from nas.errors import ProbeError, ProfileError
from nas.measure.calibrate import FULL, SHORT, Measured, shapes
from nas.measure.probe import Probe, ProbeRequest
from nas.plan import Speed
from tests.profiles import DECODE


@pytest.fixture(autouse=True)
def _threads_stay() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_quick_run_prints_its_tables_and_writes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "results" / "profiling.md"
    profiling(["--quick", "--out", str(out)])
    printed = capsys.readouterr().out
    assert out.read_text() == printed
    assert f"torch {torch.__version__}" in printed
    for row in (
        "| raw trace | 4 |",
        "| by the profile, eager | 4 |",
        "| by traces |",
        "| by closed forms |",
        "| accepted |",
        "| llama-tiny, cpu, float32 | by the tracer |",
        "| llama-small, cuda, bfloat16 | asked again |",
        "| llama-small | 3 | 3 |",
    ):
        assert row in printed
    assert printed.count("| ok |") + printed.count("| missed |") == 15


def test_it_says_what_parts_it_has(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        profiling(["--parts", "none"])
    said = capsys.readouterr().err
    assert all(part in said for part in PARTS)


# --- how far off ---


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [([7.0], 0.9, 7.0), ([1.0, 2.0], 0.5, 1.5), ([0.0, 10.0, 20.0, 30.0, 40.0], 0.9, 36.0), ([3.0, 1.0], 1.0, 3.0)],
)
def test_quantiles(values: Sequence[float], q: float, expected: float) -> None:
    assert quantile(values, q) == pytest.approx(expected)


def test_errors_are_relative_to_what_was_measured() -> None:
    errors = Errors.of([(110.0, 100.0), (70.0, 100.0), (2.0, 2.0)])
    assert errors.mean == pytest.approx(0.4 / 3)
    assert errors.p90 == pytest.approx(0.1 + 0.8 * 0.2)
    assert errors.p95 == pytest.approx(0.1 + 0.9 * 0.2)
    assert errors.worst == pytest.approx(-0.3)
    assert errors.largest == pytest.approx(0.3)
    assert errors.cells() == ["13.33%", "26.00%", "28.00%", "-30.00%"]


def test_what_lies_above_is_counted() -> None:
    assert above([(1.0, 2.0), (2.0, 2.0), (3.0, 2.0)]) == 1


def test_a_target_is_kept_up_to_its_limit() -> None:
    assert Target("a", 0.02, 0.02, percent).cells() == ["a", "2.00%", "2.00%", "ok"]
    assert Target("b", 0.0201, 0.02, percent).cells() == ["b", "2.01%", "2.00%", "missed"]
    assert Target("c", 2, 1).cells() == ["c", "2", "1", "missed"]


def test_short_and_long_times() -> None:
    assert [milliseconds(value) for value in (0.000256, 0.2, 1.5)] == ["0.256 ms", "200 ms", "1.5 s"]


def test_verdicts_of_the_gate() -> None:
    pairs = [
        (90.0, 89.0),  # accepted, rightly
        (100.0, 101.0),  # accepted at the limit, wrongly
        (101.0, 94.0),  # rejected, though far below
        (101.0, 95.0),  # rejected, and not so far below
        (120.0, 119.0),  # rejected, rightly
    ]
    assert gate.Judged.of(pairs, 100.0) == gate.Judged(accepted=2, wrong=1, rejected=3, lost=1)
    assert gate.Judged.of(pairs, 100.0).lost_share == pytest.approx(0.2)


def test_targets_come_before_the_parts() -> None:
    part = Part("Memory", "what  was\nasked", "| found |", [Target("peak", 3, 2)])
    lines = write_up([part]).splitlines()
    assert lines.index("| peak | 3 | 2 | missed |") < lines.index("## Memory") < lines.index("what was asked")
    assert ended_well(3, 3) == ""
    assert "1 of them" in ended_well(2, 3)


# --- what is drawn ---


def test_candidates_are_not_those_of_a_profile() -> None:
    setting = Setting()
    known = {own.candidate.architecture for n in (SHORT, FULL) for own in shapes("cpu", setting.fingerprint, n)}
    for part in held_out.FIRST_SEEDS:
        own = [candidate.architecture for candidate, _ in itertools.islice(drawn(setting, part), 200)]
        assert not known & set(own)


def test_runs_and_parts_draw_their_own() -> None:
    def ids(part: str, seed: int) -> list[str]:
        return [candidate.id for candidate, _ in itertools.islice(drawn(Setting(seed=seed), part), 20)]

    assert ids("memory", 0) == ids("memory", 0)
    assert not set(ids("memory", 0)) & set(ids("memory", 1) + ids("time", 0))


def test_batches_are_of_one_or_two_passes() -> None:
    laid = [(own, laid_out(own, rng)) for own, rng in itertools.islice(drawn(Setting(), "time"), 300)]
    for own, (candidate, layout) in laid:
        assert own.sequences % layout.micro_batch == 0
        assert candidate.sequences in (layout.micro_batch, 2 * layout.micro_batch)
        assert candidate.architecture == own.architecture
    assert 0.2 < sum(layout.recompute for _, (_, layout) in laid) / len(laid) < 0.4


@pytest.mark.parametrize("backend", LOGITS_CHUNKS)
def test_all_chunks_of_logits_are_drawn(backend: str) -> None:
    laid = [laid_out(own, rng, backend) for own, rng in itertools.islice(drawn(Setting(), "time"), 100)]
    assert {layout.logits_chunk for _, layout in laid} == set(LOGITS_CHUNKS[backend])


def test_few_is_enough_of_everything() -> None:
    assert [Setting(share=share).count(40) for share in (1.0, 0.1, 0.001)] == [40, 4, 3]


def test_only_what_fits_is_taken() -> None:
    setting = Setting()
    taken = layouts(setting, "time", 20, lambda draw: step_time.fits(setting, draw))
    assert len(taken) == 20
    assert all(2e7 <= step_time.step_flops(candidate) <= 4e9 for candidate, _ in taken)


# --- a device that is not there ---

GPU = Fingerprint("cuda", "a GPU", "", 80 * 10**9, "", "", "", 1, "bfloat16")
PROFILE = DeviceProfile(
    fingerprint=GPU,
    speed=Speed(1e-9, 0.0, 0.0),
    eager=Calibration(MemoryFit(0.0, 2.0, 0.1), TimeFit(per_flop=2e-9, error=0.5)),
    decode=DECODE,
    compiled=Calibration(MemoryFit(0.0, 4.0, 0.1), TimeFit(per_flop=1e-9)),
    context_bytes=100,
)
TRACE = Trace(0, Phase(1000, 10), Phase(900, 20), Phase())


def _measured(*, compile: bool = False, peak: int = 1000, reserved: int = 2000, seconds: float = 60e-9) -> Measured:
    candidate, rng = next(drawn(Setting(), "memory"))
    request = ProbeRequest(*laid_out(candidate, rng, "cuda"), compile, "cuda")
    return Measured(request, TRACE, Probe(peak, reserved, 100, seconds, 0.0, None, None, 3, 0))


def test_memory_on_a_gpu_is_that_of_the_process() -> None:
    eager = [_measured(peak=800), _measured(reserved=2300)]
    raw, predicted, compiled = memory.rows(eager, [_measured(compile=True, reserved=4400)], PROFILE)
    assert raw.values == [(1000.0, 800.0), (1000.0, 1000.0)] and not raw.held
    assert predicted.values == [(2100.0, 2100.0), (2100.0, 2400.0)]
    assert predicted.highs == [(pytest.approx(2300.0), 2100.0), (pytest.approx(2300.0), 2400.0)]
    assert predicted.cells()[-1] == "1 of 2"
    assert compiled.values == [(4100.0, 4500.0)]
    claimed = memory.targets([raw, predicted, compiled], "cuda")
    assert [target.most for target in claimed] == [0.03, 0.06] * 2
    on_cpu = memory.targets([replace(raw, held=True)], "cpu")
    assert [(target.measured, target.kept) for target in on_cpu] == [(0.125, False), (0.25, False)]


def test_time_by_traces_and_by_closed_forms() -> None:
    own = _measured(seconds=100e-9)
    traced, highs, closed = step_time.pairs([own], PROFILE)
    assert traced == [(pytest.approx(60e-9), 100e-9)]
    assert highs == [(pytest.approx(90e-9), 100e-9)]
    request = own.request
    passes = request.candidate.sequences // request.layout.micro_batch
    told = PROFILE.speed.step_seconds(request.candidate, passes, recompute=request.layout.recompute)
    assert closed == [(told, 100e-9)]


class _Gpu(Setting):
    fingerprint = GPU  # type: ignore[assignment]
    profile = PROFILE  # type: ignore[assignment]


def test_a_gpu_is_measured_eager_and_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[ProbeRequest] = []

    def probe(request: ProbeRequest) -> Probe:
        asked.append(request)
        return _measured().probe

    monkeypatch.setattr(held_out, "probe", probe)
    part = memory.measure(_Gpu("cuda", share=0.001))
    assert [request.compile for request in asked] == [False] * 3 + [True]
    assert {(request.device, request.precision, request.timed) for request in asked} == {("cuda", "bfloat16", 1)}
    assert "| by the profile, compiled | 1 |" in part.text()


def test_a_probe_that_fails_is_left_out_and_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter([_measured().probe, ProbeError("died", "its process ended"), ProbeError("hung", "not over")])

    def probe(request: ProbeRequest) -> Probe:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(held_out, "probe", probe)
    requests = [_measured().request] * 2
    assert len(held_out.probed(_Gpu("cuda"), "memory", requests)) == 1
    assert "its process ended" in capsys.readouterr().err
    with pytest.raises(RuntimeError, match="not one of 1"):
        held_out.probed(_Gpu("cuda"), "memory", requests[:1])


def test_modules_that_are_counted_otherwise_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    candidates = [candidate for candidate, _ in itertools.islice(drawn(Setting(), "modules"), 2)]

    def module_table(candidate: Any) -> None:
        if candidate is candidates[1]:
            raise ProfileError("fvcore counts 1, the closed form 2")

    monkeypatch.setattr(modules, "module_table", module_table)
    assert modules.equal(candidates) == 1
    assert f"{candidates[1].id}: fvcore counts 1" in capsys.readouterr().err
