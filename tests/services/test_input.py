"""Bad input: the exit code, a message that names field, rule, value and line, and nothing left behind."""

import re
import sqlite3
from pathlib import Path

import pytest
import torch

from tests.services.driving import Done, Place

LINE = {
    "corpus": 2,
    "space": 3,
    "width": 6,
    "vocabulary": 8,
    "device": 11,
    "budget": 12,
    "total": 13,
    "candidate": 15,
    "limits": 16,
    "method": 18,
}
"""Where the fields stand in the spec."""


def refused(place: Place, done: Done) -> str:
    """The complaint of a run that left no search behind."""
    assert done.out == ""
    assert place.run("ls", "-o", "json").json["searches"] == []
    *_, complaint = done.err.splitlines()
    assert complaint.startswith("nas: ")
    return complaint.removeprefix("nas: ")


@pytest.mark.parametrize(
    ("field", "line", "said"),
    [
        ("limits", "limits: {parms: 1M}", "limits.parms: is not known here; known are export, flops_per_byte"),
        ("total", "  total: {compute: 3TB}", "budget.total.compute: must be FLOPs such as 5TFLOP"),
        ("total", "  total: {compute: 3GFLOP, time: 8m}", "budget.total.time: must be a duration such as 90s"),
        ("candidate", "  candidate: {compute: -5}", "budget.candidate.compute: must be FLOPs such as"),
        ("candidate", "  candidate: {memory: -1GiB}", "budget.candidate.memory: must be bytes such as"),
        (
            "candidate",
            "  candidate: {compute: 4GFLOP}",
            "budget.candidate.compute: must be at most what the search may",
        ),
        ("width", "    width: [16, wide]", "space.knobs.width: must be whole numbers of at least 1, found 'wide'"),
        ("vocabulary", "    vocabulary: [100]", "space.knobs.vocabulary: must be at least 256, the bytes, found 100"),
        ("width", "    widths: [16]", "space.knobs.widths: is not a knob; known are depth, width"),
        ("method", "method: {parallel: 0}", "method.parallel: must be a whole number of at least 1, found 0"),
    ],
)
@pytest.mark.parametrize("command", ["validate", "run"])
def test_a_spec_that_breaks_a_rule(place: Place, command: str, field: str, line: str, said: str) -> None:
    done = place.run(command, place.write_spec(**{field: line}).name)
    assert done.code == 2
    assert refused(place, done).startswith(f"tiny.yaml:{LINE[field]}: {said}")


def test_a_value_is_named(place: Place) -> None:
    place.write_spec(candidate="  candidate: {compute: 4GFLOP}")
    complaint = refused(place, place.run("run", "tiny.yaml"))
    assert complaint.endswith(
        "at most what the search may spend, 2.1 GFLOP (total less the final share), found '4 GFLOP'"
    )


@pytest.mark.parametrize("command", ["validate", "run"])
def test_a_spec_that_is_no_yaml(place: Place, command: str) -> None:
    (place.folder / "broken.yaml").write_text("name: x\ncorpus: [a\n")
    done = place.run(command, "broken.yaml")
    assert done.code == 2
    assert refused(place, done).startswith("broken.yaml:3: document: must be YAML 1.2:")


@pytest.mark.parametrize("command", ["validate", "run", "train"])
def test_a_file_that_is_not_there(place: Place, command: str) -> None:
    done = place.run(command, "nowhere.yaml", *(["--compute", "1GFLOP"] if command == "train" else []))
    assert done.code == 5
    assert refused(place, done) == "no file 'nowhere.yaml'"


@pytest.mark.parametrize("command", ["validate", "run"])
def test_a_space_that_is_not_there(place: Place, command: str) -> None:
    lines = place.write_spec().read_text().splitlines()
    (place.folder / "tiny.yaml").write_text("\n".join([*lines[:2], "space: llama-large", *lines[10:]]))
    done = place.run(command, "tiny.yaml")
    assert done.code == 5
    said = (
        "tiny.yaml:3: space: must be one of llama-small, llama-tiny, speedrun, a path or a mapping, found 'llama-large'"
    )
    assert refused(place, done) == said


@pytest.mark.parametrize(
    ("text", "corpus", "said"),
    [
        (b"", "own.txt", "corpus own.txt: split 'train' must hold text, found 0 bytes"),
        (b"a " * 50, "own.txt", "corpus own.txt: training text must be at least 128 bytes (2 x context 64), found"),
        (
            b"one two three " * 40,
            "own.txt",
            "corpus own.txt: 452 bytes of training text give a vocabulary of 267, not 320; use more text",
        ),
        (b"a\xff", "own.txt", "own.txt: text must be UTF-8, found byte 0xff at offset 1"),
        (b"a\0b", "own.txt", "own.txt: text must not hold NUL, which separates documents; found it at byte 1"),
        (b"a", "none/*.txt", "corpus.train: must match a file below "),
        (b"a", "{train: own.txt, tests: own.txt}", "corpus.tests: "),
        (b"a", "{train: 5}", "corpus.train: must be a path, a glob or a list of them, found 5"),
    ],
)
def test_a_corpus_that_does_not_do(place: Place, text: bytes, corpus: str, said: str) -> None:
    (place.folder / "own.txt").write_bytes(text)
    place.write_spec(corpus=f"corpus: {corpus}")
    done = place.run("run", "tiny.yaml")
    assert done.code == 2
    assert refused(place, done).startswith(f"tiny.yaml:2: {said}")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there(place: Place) -> None:
    done = place.run("run", place.write_spec(device="device: cuda").name)
    assert done.code == 2
    said = "tiny.yaml:11: device: must be auto, cpu, or cuda on a machine with a GPU, found 'cuda'"
    assert refused(place, done) == said


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["rtx-4090", "NVIDIA GeForce RTX 4090"])
def test_a_device_that_is_only_listed(place: Place, name: str) -> None:
    done = place.run("run", place.write_spec(device=f"device: {name}").name)
    assert done.code == 2
    rule = "must be auto, cpu, or cuda on a machine with a GPU"
    hint = "rtx-4090 is in the catalogue: it can be planned for with nas forecast"
    assert refused(place, done) == f"tiny.yaml:11: device: {rule}; {hint}, found {name!r}"


@pytest.mark.parametrize(
    ("field", "line", "said"),
    [
        ("candidate", "  candidate: {compute: 50MFLOP}", r"compute: needs [\d.]+ MFLOP, allowed 50 MFLOP \(\+\d+%\)"),
        ("candidate", "  candidate: {compute: 2GFLOP, memory: 90kB}", r"memory: needs \d+ KiB, allowed 87.9 KiB \(\+"),
        ("limits", "limits: {params: 5k}", r"params: needs [\d.]+k, allowed 5k \(\+\d+%\)"),
        ("limits", "limits: {flops_per_byte: 1kFLOP}", r"flops_per_byte: needs [\d.]+ kFLOP, allowed 1 kFLOP \(\+"),
    ],
)
def test_a_budget_that_no_candidate_fits(place: Place, field: str, line: str, said: str) -> None:
    done = place.run("run", place.write_spec(**{field: line}).name)
    assert done.code == 3
    nearest = r"the nearest \(1 layers? of width 16, vocabulary \d+, [\d.]+ MFLOP a step\) breaks "
    complaint = refused(place, done)
    assert re.match(rf"tiny.yaml:12: budget: no candidate of \d+ drawn from the space fits; {nearest}{said}", complaint)


def test_a_budget_that_pays_for_no_run(place: Place) -> None:
    done = place.run("run", place.write_spec(total="  total: {compute: 300MFLOP}").name)
    assert done.code == 3
    said = (
        r"tiny.yaml:12: budget: not one candidate can be trained: a run with its evaluations takes [\d.]+ MFLOP"
        r".*, the search has 210 MFLOP"
    )
    assert re.match(said, refused(place, done))


def test_many_epochs_need_consent(place: Place) -> None:
    place.write_spec(
        total="  total: {compute: 1TFLOP}", candidate="  candidate: {compute: 60GFLOP}", limits="limits: {params: 9k}"
    )
    done = place.run("run", "tiny.yaml")
    assert done.code == 2
    complaint = refused(place, done)
    assert complaint.startswith(
        "tiny.yaml:12: budget: must not repeat the corpus more than 16 times without --yes, found"
    )
    assert "warning    " in done.err
    assert "epochs over the corpus; beyond 4, repeated text teaches less" in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("fit", "texts/*.txt", "--time", "8m"),
            "--time: must be a duration such as 90s, 8min or 2h, above 0, found '8m'",
        ),
        (("fit", "nowhere/*.txt", "--time", "20s"), "corpus.train: must match a file below "),
        (
            ("train", "tiny.yaml", "--compute", "-1"),
            "--compute: must be FLOPs such as 5TFLOP, 1.5PFLOP or 2e12, at least 1",
        ),
        (
            ("plan", "--compute", "1GB"),
            "--compute: must be FLOPs such as 5TFLOP, 1.5PFLOP or 2e12, at least 1, found '1GB'",
        ),
        (("plan", "--compute", "1GFLOP", "--memory", "1Gi"), "--memory: must be bytes such as 1GiB, 500MB or 4096"),
    ],
)
def test_options_that_break_a_rule(place: Place, arguments: tuple[str, ...], said: str) -> None:
    done = place.run(*arguments)
    assert done.code == 2
    assert refused(place, done).startswith(said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("serch",), "No such command 'serch'."),
        (("run",), "Missing argument 'SPEC'."),
        (("run", "tiny.yaml", "--fast"), "No such option: --fast"),
        (("ls", "-o", "xml"), "Invalid value for '-o' / '--output': Value error, 'xml' is not one of 'table', 'json'"),
        (("fit", "texts/*.txt"), "Missing option '--time'."),
        (("fit", "texts/*.txt", "--time", "9s", "--parallel", "-1"), "Invalid value for '--parallel'"),
        (("generate", "tiny", "--tokens", "0"), "Invalid value for '--tokens'"),
        (("generate", "tiny", "--temperature", "-1"), "Invalid value for '--temperature'"),
    ],
)
def test_usage(place: Place, arguments: tuple[str, ...], said: str) -> None:
    done = place.run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Usage: nas ")
    assert f"Error: {said}" in done.err


def test_a_database_that_is_newer_than_the_code(place: Place) -> None:
    place.run("ls")
    with sqlite3.connect(place.home / "nas.db") as database:
        database.execute("UPDATE nas_schema_version SET version_num = '9999'")
    database.close()
    for arguments in (("ls",), ("run", "tiny.yaml"), ("status", "tiny")):
        done = place.run(*arguments)
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith(
            f"nas: database sqlite:///{place.home}/nas.db: its schema 9999 is newer than this version"
        )
        assert "upgrade nas, or use another database" in done.err


@pytest.mark.parametrize(
    ("database", "code", "said"),
    [
        ("sqlite:///{folder}/tiny.yaml", 1, "the file is no SQLite database, or a damaged one"),
        ("sqlite:///{folder}/tiny.yaml/nas.db", 1, "the file cannot be opened: check its path and permissions"),
        ("mysql://user:secret@localhost/nas", 2, "database: must be sqlite:///path/to/file or postgresql://"),
    ],
)
def test_a_database_that_does_not_do(place: Place, database: str, code: int, said: str) -> None:
    done = place.run("ls", NAS_DATABASE=database.format(folder=place.folder))
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert "secret" not in done.err


def test_a_home_that_is_a_file(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.home.write_text("")
    done = place.run("ls")
    assert done.code == 1
    assert done.err.startswith(f"nas: database sqlite:///{place.home}/nas.db: the file cannot be opened")
