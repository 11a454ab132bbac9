"""Commands that need no search of their own: plan, train, spaces, validate, and `fit`, which writes its own spec."""

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from nas.adapters.sql.store import open_store
from nas.candidate import Candidate
from nas.records import Origin
from nas.space import load_space, space_names
from services.single import read_candidate
from tests.services import schema
from tests.services.driving import SPEC, Place

TEXTS = ("--corpus", "texts/*.txt")


@pytest.fixture
def place(place: Place) -> Place:
    """With the spec's space in a file."""
    knobs = YAML(typ="safe").load(SPEC)["space"]["knobs"]
    with (place.folder / "space.yaml").open("w") as file:
        YAML().dump({"knobs": knobs}, file)
    return place


def change(path: Path, part: str, **fields: Any) -> None:
    """Fields of a candidate's file; ``None`` takes one out."""
    raw = YAML(typ="safe").load(path)
    raw[part] = {name: value for name, value in {**raw[part], **fields}.items() if value is not None}
    YAML().dump(raw, path)


def test_plan_and_train(place: Place) -> None:
    plan = ("plan", "--compute", "400MFLOP", "--space", "space.yaml", *TEXTS)
    table = place.run(*plan, "--out", "candidate.yaml")
    planned = place.run(*plan, "-o", "json").json
    assert (table.code, table.err) == (0, "wrote candidate.yaml\n")
    assert [line[:16].rstrip() for line in table.out.splitlines()[1:]] == [
        "parameters",
        "training",
        "evaluation",
        "memory, at most",
        "use",
    ]
    assert schema.conforms(planned, schema.DIAL) == []
    assert place.run(*plan, "-o", "id").out == f"{planned['id']}\n"
    assert read_candidate(place.folder / "candidate.yaml") == Candidate.from_dict(planned["candidate"])

    done = place.run(
        "train", "candidate.yaml", "--compute", "400MFLOP", *TEXTS, "--test", "--out", "trained", "--seed", 3
    )
    assert done.code == 0, done.err
    result = done.json
    assert schema.conforms(result, schema.TRAINED) == []
    assert (result["id"], result["state"]) == (planned["id"], "completed")
    assert result["costs"] == planned["costs"]
    assert (
        result["train_flops_spent"]
        == result["train_flops_planned"]
        == planned["plan"]["steps"] * result["costs"]["step_flops"]
    )
    assert result["flop_convention"] == "model_flops_v1"
    assert 1 < result["test_bpb"] < 8
    assert "steps, " in done.err
    assert "bits per byte" in done.err
    kept = {path.name for path in (place.folder / "trained").iterdir()}
    assert kept == {"weights.safetensors", "tokenizer.json", "candidate.json"}
    assert json.loads((place.folder / "trained" / "candidate.json").read_text()) == result["candidate"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--compute", "10MFLOP"), "is rejected: compute: needs "),
        (("--compute", "1GFLOP", "--memory", "10kB"), "is rejected: memory: needs "),
        (("--compute", "1GFLOP", "--time", "1ms"), ": the time allows not one step"),
    ],
)
def test_train_refuses_what_does_not_fit(place: Place, options: tuple[str, ...], said: str) -> None:
    place.run("plan", "--compute", "1GFLOP", "--space", "space.yaml", *TEXTS, "--out", "candidate.yaml")
    done = place.run("train", "candidate.yaml", *options, *TEXTS, "--out", "trained")
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("nas: candidate ")
    assert said in done.err
    assert not (place.folder / "trained").exists()


@pytest.mark.parametrize(
    ("part", "fields", "line", "said"),
    [
        ("architecture", {"width": "wide"}, 3, "architecture.width: must be a whole number, found 'wide'"),
        ("architecture", {"width": None}, 1, "architecture.width: is required"),
        ("architecture", {"widht": 16}, None, "candidate.architecture.widht: "),
        ("recipe", {"optimizer": "sgd"}, None, "recipe.optimizer: must be muon or adamw, found 'sgd'"),
        ("recipe", {"batch_tokens": 7}, None, "batch_tokens: must be a multiple of context"),
    ],
)
def test_a_candidate_that_breaks_a_rule(
    place: Place, part: str, fields: dict[str, Any], line: int | None, said: str
) -> None:
    place.run("plan", "--compute", "1GFLOP", "--space", "space.yaml", *TEXTS, "--out", "candidate.yaml")
    change(place.folder / "candidate.yaml", part, **fields)
    done = place.run("train", "candidate.yaml", "--compute", "1GFLOP", *TEXTS)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"nas: candidate.yaml:{line or ''}")
    assert said.removeprefix("candidate.") in done.err


def test_a_plan_for_which_there_is_no_candidate(place: Place) -> None:
    done = place.run("plan", "--compute", "10MFLOP", "--space", "space.yaml", *TEXTS)
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("nas: no candidate of space fits; the cheapest (1 layer")
    assert " breaks compute: needs " in done.err
    assert ", allowed 10 MFLOP (+" in done.err


def test_spaces(place: Place) -> None:
    found = place.run("spaces", "-o", "json").json
    assert place.run("spaces", "-o", "id").out.split() == space_names() == [own["name"] for own in found["spaces"]]
    assert [load_space({"knobs": own["knobs"]}).knobs for own in found["spaces"]] == [
        load_space(name).knobs for name in space_names()
    ]
    assert all(own["about"] in place.run("spaces").out for own in found["spaces"])


def test_validate(place: Place) -> None:
    before = sorted(place.home.rglob("*"))
    done = place.run("validate", "tiny.yaml")
    said = "tiny.yaml is valid: search tiny, 6 knobs of space inline, corpus texts/*.txt\n"
    assert (done.code, done.out, done.err) == (0, said, "")
    assert sorted(place.home.rglob("*")) == before, "nothing is written"


def test_fit_ends_in_time(place: Place) -> None:
    began = time.monotonic()
    texts = sorted(str(path.relative_to(place.folder)) for path in (place.folder / "texts").iterdir())
    options = ("--time", "20s", "--space", "space.yaml", "--yes", "--engine", "inline", "-o", "json")
    done = place.run("fit", *texts, *options)
    took = time.monotonic() - began
    assert done.code == 0, done.err
    result = done.json["result"]
    assert 8 < result["search_seconds"] < 30, "the time binds, and is kept"
    assert took < 60
    assert "time binds" in done.err
    assert result["val_bpb"] < 3
    store = open_store(f"sqlite:///{place.home / 'nas.db'}")
    search, candidates = store.search(done.json["id"]), store.candidates(done.json["id"])
    store.close()
    assert search.spec["corpus"] == {"train": texts}
    assert search.spec["budget"]["total"]["time"] == 20
    assert candidates[-1].origin is Origin.FINAL
    assert math.isfinite(candidates[-1].val_bpb or math.nan)
    assert math.isfinite(candidates[-1].test_bpb or math.nan), "read once, for the final run"
    assert place.run("generate", done.json["id"], "The", "--tokens", 5).code == 0


def test_fit_leaves_out_vocabularies_that_the_text_is_too_short_for(place: Place) -> None:
    knobs = YAML(typ="safe").load(place.folder / "space.yaml")["knobs"]
    for vocabulary in ([256, 320, 30_000], {"values": [320, 30_000], "default": 320}):
        YAML().dump({"name": "own", "knobs": {**knobs, "vocabulary": vocabulary}}, place.folder / "own.yaml")
        done = place.run("fit", "texts/*.txt", "--time", "100ms", "--space", "own.yaml")
        assert "space      own without vocabularies of 30000: there is too little text for them" in done.err
        assert done.code == 3, "a tenth of a second is not enough"
    YAML().dump({"knobs": {**knobs, "vocabulary": [30_000]}}, place.folder / "own.yaml")
    done = place.run("fit", "texts/*.txt", "--time", "1s", "--space", "own.yaml")
    assert done.code == 2
    assert "give a vocabulary of " in done.err
