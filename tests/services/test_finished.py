"""What one finished search looks like through every command."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nas.adapters.sql.store import open_store
from nas.records import SearchState
from nas.spec import parse_spec
from tests.services import schema
from tests.services.conftest import Finished
from tests.services.driving import Place

LOADS = """
import json, sys
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer, model = (kind.from_pretrained("model") for kind in (AutoTokenizer, AutoModelForCausalLM))
ids = tokenizer("The garden", return_tensors="pt").input_ids
out = model.generate(ids, max_new_tokens=5, do_sample=False)
ours = sorted(name for name in sys.modules if name.partition(".")[0] in ("nas", "services", "dashboards"))
print(json.dumps({"params": model.num_parameters(), "new": out.shape[1] - ids.shape[1], "ours": ours}))
"""


def test_run_says_what_will_happen_before_it_spends(finished: Finished) -> None:
    said = finished.done.err
    forecast, search = said.split("\nsearch ")
    topics = ["corpus", "tokenizers", "device", "space", "dial", "largest", "epochs", "budget"]
    assert [line.split()[0] for line in forecast.splitlines()] == topics
    assert all(re.match(r"[a-z ]{11}\S", line) for line in forecast.splitlines()), "the lines are aligned"
    assert re.search(r"^dial +depth \d, width \d+, vocabulary \d+, context \d+ \(", forecast, re.M)
    assert re.search(r"^largest +depth \d", forecast, re.M)
    assert re.search(r"^epochs +[\d.]+ over the corpus for a candidate, [\d.]+ for the final run$", forecast, re.M)
    ending = r"^budget +compute binds: it pays for [\d.]+ full trainings and ends in about .*, \w{3} \d\d:\d\d$"
    assert re.search(ending, forecast, re.M)
    assert search.split()[0] == finished.id


def test_run_ends_with_one_sentence(finished: Finished) -> None:
    result = finished.done.json["result"]
    sentence = finished.done.err.splitlines()[-1]
    assert sentence == result["sentence"]
    assert finished.done.err.count(sentence) == 1
    interval = f"{result['test_bpb']:.3f} ± {1.96 * result['test_error']:.3f} bits per byte on the test text (95%)"
    assert interval in sentence
    assert f"nas export {finished.id}/{result['number']} --out model" in sentence
    assert re.search(r"everything took [\d.]+ GFLOP of 8 GFLOP and [\d.]+ s\.", sentence)


def test_events_are_lines_off_a_terminal(finished: Finished) -> None:
    lines = finished.done.err.partition("\nsearch ")[2].splitlines()[1:-1]
    assert all(re.match(r" +\d+:\d\d  \S", line) for line in lines)
    assert sum("completed" in line for line in lines) == len(
        [own for own in finished.json("candidates")["candidates"] if own["state"] == "completed"]
    )


@pytest.mark.parametrize(
    ("command", "contract"),
    [("status", schema.STATUS), ("candidates", schema.CANDIDATES), ("front", schema.FRONT)],
)
def test_json_is_a_contract(finished: Finished, command: str, contract: Any) -> None:
    assert schema.conforms(finished.json(command), contract) == []


def test_json_of_run_and_ls(finished: Finished) -> None:
    listed = finished.place.run("ls", "-o", "json").json
    assert schema.conforms(finished.done.json, schema.RUN) == []
    assert schema.conforms(listed, schema.LS) == []
    assert finished.done.json["schema_version"] == listed["schema_version"] == 1
    (search,) = listed["searches"]
    assert (search["id"], search["name"], search["state"]) == (finished.id, "tiny", "completed")
    assert search["result"] == finished.done.json["result"]


def test_ids(finished: Finished) -> None:
    numbers = [own["number"] for own in finished.json("candidates")["candidates"]]
    front = [own["number"] for own in finished.json("front")["front"]]
    assert finished.place.run("ls", "-o", "id").out == f"{finished.id}\n"
    assert finished.run("status", "-o", "id").out == f"{finished.id}\n"
    assert finished.run("candidates", "-o", "id").out.split() == [f"{finished.id}/{number}" for number in numbers]
    assert finished.run("front", "-o", "id").out.split() == [f"{finished.id}/{number}" for number in front]


def test_the_front_agrees_with_the_candidates(finished: Finished) -> None:
    candidates, front = finished.json("candidates")["candidates"], finished.json("front")["front"]
    assert sorted(own["number"] for own in front) == [own["number"] for own in candidates if own["on_front"]]
    assert front
    assert {own["state"] for own in front} == {"completed"}
    completed = [own for own in candidates if own["state"] == "completed" and own["origin"] != "final"]
    least = min(own["val_bpb"] for own in completed)
    assert least in [own["val_bpb"] for own in front]


def test_nothing_is_spent_that_was_not_planned(finished: Finished) -> None:
    candidates = finished.json("candidates")["candidates"]
    assert all(own["train_flops_spent"] <= own["train_flops_planned"] for own in candidates)
    assert finished.done.json["result"]["search_flops"] <= 8 * 10**9
    assert [own["number"] for own in candidates if own["origin"] == "final"] == [finished.done.json["result"]["number"]]


def test_tables(finished: Finished) -> None:
    listed = finished.place.run("ls").out.splitlines()
    assert listed[0].split() == ["id", "state", "time", "bits", "per", "byte"]
    assert listed[1].startswith(f"{finished.id}  completed")
    status = finished.run("status").out
    assert status.startswith(f"{finished.id}: completed\nThe best affordable model is candidate ")
    assert "of worker time" in status
    candidates = finished.run("candidates").out.splitlines()
    assert len(candidates) == 2 + len(finished.json("candidates")["candidates"])
    front = finished.run("front").out
    assert "lowest loss" in front
    assert "★ final run" in front


def test_reading_writes_nothing_to_stderr(finished: Finished) -> None:
    for command in ("status", "candidates", "front"):
        assert finished.run(command).err == ""
    assert finished.place.run("ls").err == ""


@pytest.mark.parametrize("name", ["tiny", "tiny-", "whole"])
def test_a_search_is_found_by_name_and_by_the_beginning_of_its_id(finished: Finished, name: str) -> None:
    text = finished.id if name == "whole" else name
    assert finished.place.run("status", text, "-o", "id").out == f"{finished.id}\n"


def test_a_report_is_one_file(finished: Finished, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    done = finished.run("report", "--out", out)
    page = out.read_text()
    assert (done.code, done.out, done.err) == (0, "", f"wrote {out}\n")
    assert finished.id in page
    assert not re.search(r"""<(?:script|link|img|iframe)[^>]*(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_generate(finished: Finished) -> None:
    one = finished.place.run("generate", finished.id, "The garden", "--tokens", 20, "--seed", 1)
    same = finished.place.run("generate", finished.id, "The garden", "--tokens", 20, "--seed", 1)
    other = finished.place.run("generate", f"{finished.id}/0", "The garden", "--tokens", 20, "--temperature", 0)
    assert one == same
    assert one.out.startswith("The garden")
    assert other.out.startswith("The garden")
    assert (one.code, other.code, one.err) == (0, 0, "")


def test_an_export_loads_without_us(finished: Finished, tmp_path: Path) -> None:
    done = finished.run("export", "--out", tmp_path / "model")
    assert (done.code, done.out) == (0, ""), done.err
    assert re.fullmatch(
        rf"wrote {tmp_path}/model: transformers gives the same logits \(relative error \d.*\)\n", done.err
    )
    loaded = subprocess.run(
        [sys.executable, "-c", LOADS], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    found = json.loads(loaded.stdout)
    number = finished.done.json["result"]["number"]
    costs = finished.json("candidates")["candidates"][number]["costs"]
    assert found == {"params": costs["params"], "new": 5, "ours": []}
    again = finished.run("export", "--out", tmp_path / "model")
    assert (again.code, again.err) == (
        1,
        f"nas: {tmp_path}/model is not empty; choose another folder or force its replacement\n",
    )
    assert finished.run("export", "--out", tmp_path / "model", "--force").code == 0


def test_the_record_says_what_the_search_stood_on(finished: Finished) -> None:
    store = open_store(f"sqlite:///{finished.place.home / 'nas.db'}")
    record = store.search(finished.id)
    store.close()
    assert record.state is SearchState.COMPLETED
    assert parse_spec(record.spec).corpus == "texts/*.txt"
    assert record.setting["device"] == "cpu"
    assert record.setting["corpus"]["train_bytes"] > record.setting["corpus"]["test_bytes"] > 0
    assert record.setting["base"] == str(finished.place.folder)
    assert record.setting["elapsed"] == record.result["search_seconds"]  # type: ignore[index]


def test_a_finished_search_is_not_resumed(finished: Finished) -> None:
    done = finished.run("resume")
    assert (done.code, done.out) == (1, "")
    assert done.err == f"nas: search {finished.id} is completed; there is nothing to resume\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("status", "nobody"), 5, "no search 'nobody'; `nas ls` shows what there is"),
        (("candidates", "{id}/3"), 5, "no search '{id}/3'; did you mean {id}?"),
        (("front", "x{id}"), 5, "no search 'x{id}'; did you mean {id}?"),
        (("report", ""), 5, "no search ''; `nas ls` shows what there is"),
        (("generate", "{id}/99"), 5, "no candidate 99 in search {id}; `nas candidates {id}` lists them"),
        (("export", "{id}/x"), 2, "candidate: must be ID/N with a number N, found '{id}/x'"),
        (("generate", "{stopped}"), 1, "candidate {stopped} is stopped, only completed ones have weights; `nas front"),
        (("export", "{stopped}"), 1, "candidate {stopped} is stopped, only completed ones have weights; `nas front"),
    ],
)
def test_wrong_ids(finished: Finished, arguments: tuple[str, ...], code: int, said: str) -> None:
    candidates = finished.json("candidates")["candidates"]
    stopped = next(own["number"] for own in candidates if own["state"] == "stopped")
    names = {"id": finished.id, "stopped": f"{finished.id}/{stopped}"}
    done = finished.place.run(*(argument.format(**names) for argument in arguments))
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith(f"nas: {said.format(**names)}")


def test_a_home_without_searches(place: Place) -> None:
    assert place.run("ls").err == "no searches yet; begin one with: nas run search.yaml\n"
    assert place.run("ls", "-o", "json").json == {"schema_version": 1, "searches": []}
    assert place.run("ls", "-o", "id").out == ""
    done = place.run("status", "tiny")
    assert (done.code, done.err) == (
        5,
        "nas: no search 'tiny'; there are none yet, begin one with: nas run search.yaml\n",
    )
