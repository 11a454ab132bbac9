"""The pieces of the command line that have an answer of their own."""

import io
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nas.adapters.sql.store import open_store
from nas.data.depot import Depot
from nas.errors import CancelledError, CorpusError, SpecError
from nas.forecast import Forecast
from nas.records import CandidateState, Origin
from nas.spec import load_spec, parse_spec
from nas.train.artifact import FILES, publish_artifact
from services.cli.ahead import agree
from services.cli.output import Format, emit_json
from services.cli.progress import summary
from services.cpus import cores
from services.device import kind_of, precision_for, resolve_device, threads_for
from services.foreground import begin
from services.ground import survey_again
from services.home import Home, home
from services.profiles import Profiles, profiles_of
from services.worker import beginning
from services.worker.driver import best_of
from services.worker.writing import weights_of
from tests.contracts.samples import CANDIDATE, POINT, SEARCH
from tests.services.driving import Place

FORECAST = Forecast(
    binding="time",
    full_trainings=12.34,
    admitted_share=0.5,
    dial={"depth": 3, "width": 64, "vocabulary": 4096, "matrix_rate": 1.0},
    largest=None,
    dial_plan=None,
    epochs=0.5,
    final_epochs=2.25,
    seconds=3600.0,
    reference=(4.0, 1.0),
)


@pytest.mark.parametrize(
    ("limit", "device", "parallel", "threads"),
    [
        (None, "cpu", 1, cores()),
        ("", "cpu", 1, cores()),
        ("nonsense", "cpu", 1, cores()),
        ("0", "cpu", 1, cores()),
        ("1", "cpu", 1, 1),
        ("1,2", "cpu", 1, 1),
        ("999", "cpu", 1, cores()),
        (None, "cpu", 999, 1),
        (None, "cuda", 1, min(4, cores())),
        ("1", "cuda:1", 1, 1),
    ],
)
def test_threads(monkeypatch: pytest.MonkeyPatch, limit: str | None, device: str, parallel: int, threads: int) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if limit is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert threads_for(device, parallel) == threads


def test_devices() -> None:
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") in ("cpu", "cuda")
    assert [precision_for(name) for name in ("cpu", "cuda", "cuda:1")] == ["float32", "bfloat16", "bfloat16"]
    with pytest.raises(SpecError, match=r"^device: must be auto, cpu, or cuda on a machine with a GPU, found 'tpu'$"):
        resolve_device("tpu")


HERE = "NVIDIA GeForce RTX 4090"


@pytest.mark.parametrize(
    ("name", "gpu", "kind"),
    [
        ("auto", "", "cpu"),
        ("auto", HERE, "cuda"),
        ("cpu", "", "cpu"),
        ("cpu", HERE, "cpu"),
        ("cuda", "", None),
        ("cuda", HERE, "cuda"),
        ("cuda:1", "", None),
        ("cuda:1", HERE, "cuda:1"),
        ("rtx-4090", "", None),
        ("rtx-4090", HERE, "cuda"),
        ("RTX-4090", HERE, "cuda"),
        (HERE, HERE, "cuda"),
        ("rtx-3090", HERE, None),
        ("tpu", HERE, None),
    ],
)
def test_what_a_device_is_to_torch(name: str, gpu: str, kind: str | None) -> None:
    """By the GPU that is there, if one is."""
    assert kind_of(name, gpu) == kind


def test_a_home_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAS_HOME", "here")
    monkeypatch.delenv("NAS_DATABASE", raising=False)
    assert home() == Home(tmp_path / "here", f"sqlite:///{tmp_path}/here/nas.db")
    monkeypatch.setenv("NAS_DATABASE", "postgresql://host/nas")
    assert home().database == "postgresql://host/nas"
    monkeypatch.delenv("NAS_HOME")
    assert home().root.is_absolute()


def test_a_model_that_another_machine_has_finished(tmp_path: Path) -> None:
    """It was begun here, so its folder is here, without the weights."""
    where = Home(tmp_path / "here", "sqlite://", str(tmp_path / "shared"))
    here, there = where.artifacts / "s/0", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir(parents=True)
    for name in FILES:
        (there / name).write_text(f"{name} from there")
    publish_artifact(there, Depot(where.storage), "s/0")
    assert weights_of(where, replace(CANDIDATE, artifact="s/0")) == here
    assert {own.name: own.read_text() for own in here.iterdir()} == {name: f"{name} from there" for name in FILES}


def test_progress_in_a_line() -> None:
    store = open_store("sqlite://")
    store.add_search(SEARCH)
    assert summary(store, "s") == "0 FLOP spent"
    done = replace(
        CANDIDATE, state=CandidateState.COMPLETED, val_bpb=2.34567, train_flops_spent=10**9, eval_flops=10**8
    )
    store.add_candidate(done)
    store.add_candidate(replace(CANDIDATE, number=1, state=CandidateState.REJECTED))
    store.add_candidate(replace(CANDIDATE, number=2, state=CandidateState.TRAINING))
    store.add_candidate(replace(CANDIDATE, number=3, state=CandidateState.TRAINING))
    store.add_points([replace(POINT, number=2, progress=0.25), replace(POINT, number=2, step=200, progress=0.5)])
    line = "1 completed · 1 rejected · 2 at 50% · 3 at 0% · 1.1 GFLOP spent · best 2.346 bits per byte"
    assert summary(store, "s") == line
    store.close()


def test_the_forecast_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    agree(FORECAST, yes=False)
    out, err = capsys.readouterr()
    *lines, ending = err.splitlines()
    assert out == ""
    assert lines == [
        "space      50% of it passes the gate",
        "dial       depth 3, width 64, vocabulary 4096 (what scaling rules choose, without search)",
        "largest    none (the largest that keeps the limits)",
        "epochs     0.5 over the corpus for a candidate, 2.2 for the final run",
    ]
    assert ending.startswith("budget     time binds: it pays for 12.3 full trainings and ends in about 1 h, ")


class Typed(io.StringIO):
    """What a person types."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("answer", "goes_on"), [("y\n", True), ("Yes\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_consent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str, goes_on: bool
) -> None:
    monkeypatch.setattr(sys, "stdin", Typed(answer))
    many = replace(FORECAST, final_epochs=40.0)
    if goes_on:
        agree(many, yes=False)
    else:
        with pytest.raises(CancelledError, match=r"^not started$"):
            agree(many, yes=False)
    said = capsys.readouterr().err
    assert "warning    40 epochs over the corpus; beyond 4, repeated text teaches less\n" in said
    assert said.endswith("40 epochs over the corpus: go on? [y/N] ")


def test_consent_beforehand_and_a_mere_warning(capsys: pytest.CaptureFixture[str]) -> None:
    agree(replace(FORECAST, final_epochs=40.0), yes=True)
    agree(replace(FORECAST, final_epochs=5.0), yes=False)
    said = capsys.readouterr().err
    assert said.count("warning    ") == 2
    assert "[y/N]" not in said


@pytest.mark.parametrize(
    ("final", "error", "best"),
    [(2.0, 0.01, 2), (2.1, 0.01, 2), (2.105, 0.01, 2), (2.2, 0.01, 1), (2.2, 0.2, 2), (2.11, None, 1), (None, None, 1)],
)
def test_the_result_is_the_final_run_unless_it_came_out_worse(
    final: float | None, error: float | None, best: int
) -> None:
    done = replace(CANDIDATE, state=CandidateState.COMPLETED, val_bpb=2.3)
    completed = [done, replace(done, number=1, val_bpb=2.1, val_error=0.01)]
    if final is not None:
        completed.append(replace(done, number=2, origin=Origin.FINAL, val_bpb=final, val_error=error))
    assert best_of(completed).number == best


def test_json_has_no_infinities(capsys: pytest.CaptureFixture[str]) -> None:
    emit_json({"a": float("inf"), "b": [float("nan"), 1.5], "c": (1,), "d": {"e": True}})
    lines = "".join(capsys.readouterr().out.split())
    assert lines == '{"schema_version":1,"a":null,"b":[null,1.5],"c":[1],"d":{"e":true}}'
    assert [str(own) for own in Format] == ["table", "json", "id"]


def test_a_search_goes_on_with_the_text_it_began_with(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as many as the profile that is known has, on any machine
    where = Home(place.home, f"sqlite:///{place.home}/nas.db")
    store = open_store(where.database)
    said: list[str] = []
    spec = load_spec(place.folder / "tiny.yaml")
    record, ground = begin(
        where, store, spec, place.folder, lambda topic, line: said.append(topic), lambda found: said.append("agreed")
    )
    assert said == ["corpus", "tokenizers", "device", "agreed"]
    assert (record.state, store.search(record.id).spec) == ("queued", spec.to_dict())
    assert ground.threads <= ground.all_threads
    later = replace(parse_spec(record.spec), space="a-file-that-has-gone.yaml")
    again = survey_again(later, record.setting, where, lambda *_: None)
    assert (again.spec, again.space) == (spec, ground.space)

    with (place.folder / "texts" / "0.txt").open("a") as file:
        file.write("One more sentence.")
    with pytest.raises(
        CorpusError, match=r"^corpus texts/\*\.txt: must be the text that the search began with \(sha256"
    ):
        survey_again(parse_spec(record.spec), record.setting, where, lambda *_: None)
    store.close()
    done = place.run("resume", record.id)
    assert (done.code, done.out) == (2, "")
    assert "restore it, or begin another search" in done.err
    assert place.run("status", record.id).out.startswith(f"{record.id}: queued\n")


def test_a_search_that_trains_nothing_has_failed(place: Place) -> None:
    lines = place.write_spec(total="  total: {compute: 3GFLOP, candidates: 2}").read_text()
    lines = lines.replace("    batch_tokens: [64, 128]", "    batch_tokens: [64, 128]\n    embedding_rate: [1e30]")
    (place.folder / "tiny.yaml").write_text(lines)
    done = place.run("run", "tiny.yaml", "--engine", "inline", "-o", "json")
    assert done.code == 3, done.err
    assert (done.json["state"], done.json["result"]) == ("failed", None)
    said = "no candidate was trained to the end (2 diverged): allow a larger budget, or a space of smaller candidates"
    assert done.err.splitlines()[-1] == f"nas: {said}"
    assert place.run("ls", "-o", "json").json["searches"][0]["reason"] == said
    no_result = place.run("export", done.json["id"])
    assert no_result.code == 5
    assert (
        no_result.err
        == f"nas: search {done.json['id']} has no result yet; name a candidate, e.g. {done.json['id']}/0\n"
    )


def test_what_a_profile_takes_is_not_of_the_search_s_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes a second for each look, and an hour for a profile."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # of which the profile is known
    moment = 0.0

    def monotonic() -> float:
        nonlocal moment
        moment += 1
        return moment

    def slowly(*given: Any) -> Profiles:
        nonlocal moment
        moment += 3600
        return profiles_of(*given)

    monkeypatch.setattr(beginning, "time", SimpleNamespace(monotonic=monotonic, time=time.time))
    monkeypatch.setattr(beginning, "profiles_of", slowly)
    home = Home(place.home, f"sqlite:///{place.home}/nas.db")
    store = open_store(home.database)
    spec = load_spec(place.folder / "tiny.yaml")
    record, _ = begin(home, store, spec, place.folder, lambda *_: None, lambda _: None)
    store.close()
    assert 0 < record.setting["elapsed"] < 10
