"""`nas forecast`, as a user asks: here, and for a GPU that is not here."""

import contextlib
import re
from typing import Any

import pytest
import torch

from nas.adapters.sql.store import open_store
from nas.calibration import LISTED_TIME_ERROR, estimated
from nas.catalogue import find_device, listed_devices
from tests.services import schema
from tests.services.driving import PROFILE, Place

LISTED = "rtx-4090"
TOPICS = ["corpus", "tokenizers", "device", "space", "dial", "largest", "epochs", "budget"]


def told(place: Place, *arguments: str, **lines: str) -> Any:
    """The JSON of a forecast, which leaves no search behind."""
    done = place.run("forecast", place.write_spec(**lines).name, *arguments, "-o", "json")
    assert done.code == 0, done.err
    assert schema.conforms(done.json, schema.FORECAST) == []
    assert place.run("ls", "-o", "json").json["searches"] == []
    return done.json


def shown(place: Place, *arguments: str, **lines: str) -> list[tuple[str, str]]:
    """Topics and lines."""
    done = place.run("forecast", place.write_spec(**lines).name, *arguments)
    assert (done.code, done.err) == (0, "")
    assert all(re.match(r"[a-z ]{11}\S", line) for line in done.out.splitlines()), "the lines are aligned"
    return [(line[:11].strip(), line[11:]) for line in done.out.splitlines()]


def test_a_forecast_is_what_a_run_says_before_it_begins(place: Place) -> None:
    run = place.run("run", "tiny.yaml", "--engine", "inline", "-o", "id")
    began = run.err.partition("\nsearch ")[0].splitlines()
    forecast = place.run("forecast", "tiny.yaml").out.splitlines()
    assert run.code == 0 and [line.split()[0] for line in forecast] == TOPICS
    assert forecast[:-1] == began[:-1]
    assert forecast[-1].rpartition(", ")[0] == began[-1].rpartition(", ")[0], "but for the time of day"


def test_here_it_goes_by_the_profile_that_is_known(place: Place) -> None:
    found = told(place)
    assert (found["device"], found["fingerprint"]) == (PROFILE.fingerprint.name, PROFILE.fingerprint.key)
    assert (found["estimated"], found["binding"]) == (False, "compute")
    assert found["full_trainings"]["predicted"] > 1 and found["seconds"]["predicted"] > 0
    assert [found[name][end] for name in ("full_trainings", "seconds") for end in ("low", "high")] == [None] * 4
    assert found["dial"]["depth"] in (1, 2) and found["largest"]["width"] in (16, 32)
    assert found["dial_plan"]["precision"] == "float32"


def test_json_leaves_the_lines_to_people(place: Place) -> None:
    done = place.run("forecast", "tiny.yaml", "-o", "json")
    assert [line.split()[0] for line in done.err.splitlines()] == TOPICS


@pytest.mark.parametrize("name", [LISTED, "RTX-4090", "NVIDIA GeForce RTX 4090"])
@pytest.mark.parametrize("by_option", [True, False], ids=["by option", "by spec"])
def test_a_listed_device(place: Place, name: str, by_option: bool) -> None:
    found = told(place, *(["--device", name] if by_option else []), device=f"device: {'cpu' if by_option else name}")
    profile = estimated(find_device(LISTED), str(torch.__version__))
    assert (found["device"], found["estimated"]) == (listed_devices()[LISTED].name, True)
    assert found["fingerprint"] == profile.fingerprint.key
    assert (found["binding"], found["dial_plan"]["precision"]) == ("compute", "bfloat16")


def test_all_of_a_listed_device_is_called_estimated(place: Place) -> None:
    lines = shown(place, "--device", LISTED)
    assert [topic for topic, _ in lines] == [*TOPICS, "estimated"]
    said, name = dict(lines), listed_devices()[LISTED].name
    assert said["device"] == (
        f"cuda ({name}), 4 threads a worker; estimated from its data sheet: memory within 15%, time within 60%"
    )
    assert re.fullmatch(
        r"compute binds: it pays for [\d.]+ full trainings and ends in about [\d.]+ m?s \([\d.]+ m?s to [\d.]+ m?s\)",
        said["budget"],
    )
    assert said["estimated"] == f"all of this is from the data sheet of {name}; nothing was measured"


def test_nothing_of_a_listed_device_is_kept(place: Place) -> None:
    found = told(place, "--device", LISTED)
    with contextlib.closing(open_store(f"sqlite:///{place.home / 'nas.db'}")) as store:
        assert store.device_profile(found["fingerprint"]) is None
        assert store.device_profile(PROFILE.fingerprint.key) is not None


def test_what_compute_binds_takes_as_long_as_the_device_is_slow(place: Place) -> None:
    found = told(place, "--device", LISTED)
    trainings, seconds = found["full_trainings"], found["seconds"]
    assert trainings["low"] == trainings["predicted"] == trainings["high"]
    assert seconds["low"] == pytest.approx((1 - LISTED_TIME_ERROR) * seconds["predicted"])
    assert seconds["high"] == pytest.approx((1 + LISTED_TIME_ERROR) * seconds["predicted"])


def test_what_time_binds_trains_as_much_as_the_device_is_fast(place: Place) -> None:
    run = told(place, "--device", LISTED)["dial_plan"]["seconds"]
    lines = {
        "total": f"  total: {{compute: 900GFLOP, time: {10 * run / 0.7} }}",
        "candidate": "  candidate: {compute: 200MFLOP}",
    }
    found = told(place, "--device", LISTED, **lines)
    trainings = found["full_trainings"]
    assert found["binding"] == "time" and trainings["predicted"] == pytest.approx(10)
    assert trainings["low"] == pytest.approx(10 / (1 + LISTED_TIME_ERROR))
    assert trainings["high"] == pytest.approx(10 / (1 - LISTED_TIME_ERROR))
    (line,) = [line for topic, line in shown(place, "--device", LISTED, **lines) if topic == "budget"]
    assert re.match(r"time binds: it pays for 10\.0 \(6\.[23] to 25\.0\) full trainings and ends in about ", line)
    assert found["seconds"]["high"] <= 10 * run / 0.7, "no more than the budget"


def test_a_search_that_a_slow_device_would_refuse(place: Place) -> None:
    run = told(place, "--device", LISTED)["dial_plan"]["seconds"]
    lines = {
        "total": f"  total: {{compute: 900GFLOP, time: {1.2 * run / 0.7} }}",
        "candidate": "  candidate: {compute: 200MFLOP}",
    }
    found = told(place, "--device", LISTED, **lines)
    assert (found["binding"], found["full_trainings"]["low"]) == ("time", 0.0)
    said = dict(shown(place, "--device", LISTED, **lines))
    assert said["warning"].startswith("within the estimate the search may also be refused: not one candidate can be")


def test_many_epochs_are_a_warning_and_need_no_consent(place: Place) -> None:
    lines = {"total": "  total: {compute: 1TFLOP}", "candidate": "  candidate: {compute: 60GFLOP}"}
    said = dict(shown(place, limits="limits: {params: 9k}", **lines))
    assert "epochs over the corpus; beyond 4, repeated text teaches less" in said["warning"]


@pytest.mark.parametrize(
    ("arguments", "lines", "code", "said"),
    [
        (("--device", "rtx-409"), {}, 5, "nas: device: must be listed by key or CUDA name; nearest are rtx-4090"),
        (
            (),
            {"device": "device: rtx-409"},
            5,
            "nas: tiny.yaml:11: device: must be listed by key or CUDA name; nearest",
        ),
        (("--device", "tpu"), {}, 5, "nas: device: must be listed by key or CUDA name; "),
        ((), {"corpus": "corpus: none/*.txt"}, 2, "nas: tiny.yaml:2: corpus.train: must match a file below "),
        ((), {"total": "  total: {compute: 300MFLOP}"}, 3, "nas: tiny.yaml:12: budget: not one candidate can be"),
        (("--device", LISTED), {"limits": "limits: {params: 5k}"}, 3, "nas: tiny.yaml:12: budget: no candidate of "),
        ((), {"limits": "limits: {parms: 1M}"}, 2, "nas: tiny.yaml:16: limits.parms: is not known here"),
    ],
)
def test_what_cannot_be_foreseen(
    place: Place, arguments: tuple[str, ...], lines: dict[str, str], code: int, said: str
) -> None:
    done = place.run("forecast", place.write_spec(**lines).name, *arguments)
    assert done.code == code
    assert done.err.splitlines()[-1].startswith(said)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(("by_option", "where"), [(True, ""), (False, "tiny.yaml:11: ")])
def test_a_kind_of_device_that_is_not_there(place: Place, by_option: bool, where: str) -> None:
    place.write_spec(device=f"device: {'cpu' if by_option else 'cuda'}")
    done = place.run("forecast", "tiny.yaml", *(["--device", "cuda"] if by_option else []))
    rule = "must be auto, cpu, or cuda on a machine with a GPU"
    assert (done.code, done.out, done.err) == (2, "", f"nas: {where}device: {rule}, found 'cuda'\n")
