"""`nas profile`, as a user asks."""

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest

from nas.adapters.sql.store import open_store
from nas.calibration import DeviceProfile
from nas.candidate import Architecture, Candidate, Recipe
from nas.catalogue import listed_devices
from nas.cost import forward_flops, params
from nas.measure.fingerprint import fingerprint_here
from nas.plan import Compiles, step_flops
from services.profiles import keep
from services.single import write_candidate
from tests.services import schema
from tests.services.driving import PROFILE, Place, make_place

CANDIDATE = Candidate(Architecture(2, 32, 4, 8, 2, 96, 256, 64), Recipe(batch_tokens=256))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    made = make_place(tmp_path_factory.mktemp("profile"), size=20_000)
    write_candidate(CANDIDATE, made.folder / "candidate.yaml")
    return made


def test_a_candidate_of_a_file(place: Place) -> None:
    done = place.run("profile", "candidate", "candidate.yaml", "--corpus", "texts/*.txt", "-o", "json")
    assert (done.code, done.err) == (0, "")
    assert schema.conforms(done.json, schema.PROFILED) == []
    assert done.json["params"] == params(CANDIDATE.architecture)
    assert done.json["train_flops_per_token"] == step_flops(CANDIDATE) / 256
    assert done.json["flops_per_byte"] == forward_flops(CANDIDATE.architecture) / 64, "a token is a byte"
    memory = done.json["peak_memory_bytes"]
    assert memory["low"] < memory["predicted"] < memory["high"] and memory["method"] == "traced"
    assert (memory["measured"], done.json["energy_joules"], done.json["estimated"]) == (None, None, False)
    assert done.json["fingerprint"] == PROFILE.fingerprint.key


def test_real_steps(place: Place) -> None:
    told = place.run("profile", "candidate", "candidate.yaml", "--corpus", "texts/*.txt", "--measure", "-o", "json")
    memory = told.json["peak_memory_bytes"]
    assert memory["measured"] == pytest.approx(memory["predicted"], rel=0.1)
    assert told.json["step_seconds"]["measured"] > 0
    assert told.json["latency_ms_per_kb"]["measured"] > 0
    shown = place.run("profile", "candidate", "candidate.yaml", "--corpus", "texts/*.txt", "--measure")
    lines = dict(line.split(maxsplit=1) for line in shown.out.splitlines())
    assert list(lines) == ["candidate", "parameters", "training", "use", "memory", "step", "latency", "device"]
    for name in ("memory", "step", "latency"):
        assert "predicted" in lines[name] and "measured" in lines[name]


def test_passes_of_a_sequence_take_less(place: Place) -> None:
    whole, each = (
        place.run("profile", "candidate", "candidate.yaml", "--corpus", "texts/*.txt", *more, "-o", "json").json
        for more in ((), ("--batch", "1"))
    )
    assert (whole["micro_batch"], each["micro_batch"]) == (4, 1)
    assert each["peak_memory_bytes"]["predicted"] < whole["peak_memory_bytes"]["predicted"]


def test_a_device_of_the_catalogue_is_estimated(place: Place) -> None:
    arguments = ("profile", "candidate", "candidate.yaml", "--corpus", "texts/*.txt", "--device", "rtx-4090")
    told = place.run(*arguments, "-o", "json").json
    assert schema.conforms(told, schema.PROFILED) == []
    assert (told["estimated"], told["device"]) == (True, listed_devices()["rtx-4090"].name)
    assert {told[name]["method"] for name in ("peak_memory_bytes", "step_seconds", "latency_ms_per_kb")} == {"listed"}
    shown = place.run(*arguments).out
    assert "estimated from its data sheet" in shown and "predicted" not in shown


def test_modules(place: Place) -> None:
    arguments = ("profile", "candidate", "candidate.yaml", "--corpus", "texts/*.txt", "--by", "module")
    rows = place.run(*arguments, "-o", "json").json["modules"]
    assert (rows[0]["name"], rows[0]["params"]) == ("", params(CANDIDATE.architecture))
    assert rows[0]["forward_flops"] == forward_flops(CANDIDATE.architecture)
    shown = place.run(*arguments).out.splitlines()
    assert len(shown) == 1 + len(rows) and shown[0].split() == ["module", "parameters", "forward", "beside"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--batch", "3"), 2, "nas: --batch: must divide the 4 sequences of the batch, found 3"),
        (("--device", "rtx-409"), 5, "nearest are rtx-4090"),
        (
            ("--device", "rtx-4090", "--measure"),
            2,
            "nas: --measure: must name a device that is here: auto, cpu or cuda, found 'rtx-4090'",
        ),
        (("--corpus", "nowhere/*.txt"), 2, "nowhere"),
    ],
)
def test_what_cannot_be_told(place: Place, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = place.run("profile", "candidate", "candidate.yaml", "--corpus", "texts/*.txt", *arguments)
    assert (done.code, done.out) == (code, "")
    assert said in done.err


@pytest.mark.parametrize("which", ["nothing.yaml", "nobody/3"])
def test_candidates_that_are_not_there(place: Place, which: str) -> None:
    done = place.run("profile", "candidate", which)
    assert done.code in (2, 5) and which.split("/")[0].split(".")[0] in done.err


def test_a_device_that_is_known_is_not_probed_again(place: Place, tmp_path: Path) -> None:
    own = make_place(tmp_path / "own", cache_of=place)
    known = replace(
        PROFILE,
        fingerprint=fingerprint_here("cpu", 1, "float32"),
        compiled=PROFILE.eager,
        compiles=Compiles(seconds=30.0, speedup=1.25),
    )
    with contextlib.closing(open_store(f"sqlite:///{own.home / 'nas.db'}")) as store:
        keep(store, known)
    done = own.run("profile", "device", "-o", "json")
    assert (done.code, done.err) == (0, "")
    raw = {name: value for name, value in done.json.items() if name not in ("schema_version", "key")}
    assert (DeviceProfile.from_dict(raw), done.json["key"]) == (known, known.fingerprint.key)
    shown = own.run("profile", "device").out
    assert "compiling   takes 30 s, then 1.25 times as fast" in shown
