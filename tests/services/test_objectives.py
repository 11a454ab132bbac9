"""A search for models that are good, small, quickly trained and quick to use, as a user begins it: really measured."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from nas.adapters.sql.store import SqlStore, open_store
from nas.calibration import Calibration, DecodeFit, DeviceProfile, Fingerprint
from nas.forecast import allowance
from nas.measure import fingerprint
from nas.measure.fingerprint import fingerprint_here
from nas.outcome import objectives
from nas.pareto import front_mask
from nas.records import CandidateRecord, CandidateState, Origin, SearchRecord, measured_cost, predicted_cost
from nas.spec import LATENCY, PEAK_MEMORY, TRAIN_SECONDS, load_spec
from services import device as device_module
from services import profiles
from services.foreground import begin
from services.ground import Ground
from services.home import Home
from services.profiles import Profiles, find, keep
from tests.services import schema
from tests.services.driving import PROFILE, Done, Place, make_place

MINIMIZE = ("val_bpb", LATENCY, PEAK_MEMORY, TRAIN_SECONDS)
LIMITS = "limits: {params: 1M, latency_ms_per_kb: 100000, peak_memory: 512MiB, train_seconds: 5min}"


@dataclass(frozen=True)
class Found:
    place: Place
    done: Done
    candidates: list[CandidateRecord]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    place = make_place(tmp_path_factory.mktemp("objectives"))
    place.write_spec(
        total="  total: {compute: 3GFLOP, candidates: 3}",
        limits=LIMITS,
        minimize=f"minimize: [{', '.join(MINIMIZE)}]",
        method="method: {policy: none}",
    )
    done = place.run("run", "tiny.yaml", "--engine", "inline", "--yes", "-o", "json")
    assert done.code == 0, done.err
    with opened(place) as store:
        return Found(place, done, store.candidates(done.json["id"]))


@contextlib.contextmanager
def opened(place: Place) -> Iterator[SqlStore]:
    with contextlib.closing(open_store(f"sqlite:///{place.home / 'nas.db'}")) as store:
        yield store


def test_what_is_completed_was_measured(found: Found) -> None:
    completed = [own for own in found.candidates if own.state is CandidateState.COMPLETED]
    assert [own.origin for own in completed][-1] is Origin.FINAL and len(completed) == 4
    for own in completed:
        latency, memory = (measured_cost(own.costs, name) for name in (LATENCY, PEAK_MEMORY))
        assert latency is not None and 0 < latency < 100_000
        assert memory == pytest.approx(predicted_cost(own.costs, PEAK_MEMORY) - PROFILE.eager.memory.base, rel=0.05)
        assert predicted_cost(own.costs, PEAK_MEMORY) == own.plan["memory_bytes"]
        assert measured_cost(own.costs, TRAIN_SECONDS) is None
        assert own.costs[TRAIN_SECONDS] > 0


def test_the_front_is_of_what_was_measured(found: Found) -> None:
    searched = [own for own in found.candidates if own.origin is not Origin.FINAL and own.val_bpb is not None]
    points = [objectives(MINIMIZE, own) for own in searched]
    expected = {own.number for own, kept in zip(searched, front_mask(points), strict=True) if kept}
    told = found.place.run("front", found.done.json["id"], "-o", "json")
    assert schema.conforms(told.json, schema.FRONT) == []
    assert {own["number"] for own in told.json["front"]} == expected
    table = found.place.run("candidates", found.done.json["id"])
    assert table.code == 0 and "ms" in table.out


def test_a_limit_that_its_measurement_breaks_rejects_and_says_so(tmp_path: Path, found: Found) -> None:
    """The profile hopes; all real models are slower. Nothing is trained, and the search says so."""
    place = make_place(tmp_path / "own", cache_of=found.place)
    with opened(place) as store:
        keep(store, replace(PROFILE, decode=DecodeFit(0.0, 1e-15)))
    place.write_spec(
        candidate="  candidate: {compute: 400MFLOP, memory: 1GiB}",
        depth="    depth: 1",
        head_size="    head_size: 8",
        vocabulary="    vocabulary: 256",
        context="    context: 32",
        batch_tokens="    batch_tokens: 64",
        limits="limits: {params: 1M, latency_ms_per_kb: 0.001}",
        method="method: {policy: none}",
    )
    done = place.run("run", "tiny.yaml", "--engine", "inline", "-o", "json")
    assert done.code == 3 and "no candidate was trained to the end (2 rejected)" in done.err
    with opened(place) as store:
        candidates = store.candidates(done.json["id"])
    assert [own.state for own in candidates] == 2 * [CandidateState.REJECTED]
    for own in candidates:
        measured = measured_cost(own.costs, LATENCY)
        assert measured is not None and measured > 0.001 > predicted_cost(own.costs, LATENCY)
        assert own.reason == f"latency_ms_per_kb: {measured:.3g} ms measured, 0.001 ms allowed"
        assert (own.train_flops_spent, own.eval_flops) == (0, 3 * own.plan["step_flops"])


# --- several devices in one database ---


@pytest.fixture
def place(tmp_path: Path, found: Found, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    made = make_place(tmp_path / "place", cache_of=found.place)
    made.write_spec(limits=LIMITS, minimize=f"minimize: [{', '.join(MINIMIZE)}]")
    return made


def begun(place: Place) -> tuple[SearchRecord, Ground, list[str]]:
    """A search that is queued, and the topics that were spoken of."""
    topics: list[str] = []
    home = Home(place.home, f"sqlite:///{place.home}/nas.db")
    with opened(place) as store:
        spec = load_spec(place.folder / "tiny.yaml")
        record, ground = begin(home, store, spec, place.folder, lambda topic, _: topics.append(topic), lambda _: None)
    return record, ground, topics


def profile_in(record: SearchRecord) -> DeviceProfile:
    return Profiles.from_dict(record.setting["devices"][0]).shared


def test_searches_of_one_database_are_planned_each_by_its_device(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """One takes three times as long and half as much memory again; both are known, and neither is made anew."""
    fast, slow = (replace(PROFILE, fingerprint=fingerprint_here("cpu", 1, "float32", own)) for own in ("fast", "slow"))
    eager = Calibration(replace(fast.eager.memory, factor=1.5), fast.eager.time.scaled(3.0))
    slow = replace(slow, eager=eager, speed=fast.speed.scaled(3.0), decode=DecodeFit(9e-6, 3e-10, 0.2))
    with opened(place) as store:
        keep(store, fast)
        keep(store, slow)
    plans, costs, records = [], [], []
    for name, profile in (("fast", fast), ("slow", slow)):
        monkeypatch.setattr(device_module, "processor", lambda name=name: name)
        record, ground, topics = begun(place)
        assert "profile" not in topics and record.setting["device_name"] == name
        assert profile_in(record) == profile
        appraiser = ground.appraiser(Profiles.from_dict(record.setting["devices"][0]))
        candidate = ground.space.decode(ground.space.defaults)
        plan = appraiser.plan(candidate, allowance(ground.spec))
        plans.append(plan)
        costs.append(appraiser.costs(candidate, plan))
        records.append(record)
    assert plans[1].seconds == pytest.approx(3 * plans[0].seconds)
    assert costs[1][TRAIN_SECONDS] == pytest.approx(3 * costs[0][TRAIN_SECONDS])
    assert costs[1][LATENCY] == pytest.approx(3 * costs[0][LATENCY])
    assert costs[0][PEAK_MEMORY] < costs[1][PEAK_MEMORY] <= 1.5 * costs[0][PEAK_MEMORY]
    assert fast.fingerprint.key != slow.fingerprint.key
    with opened(place) as store:
        assert [find(store, own.fingerprint) for own in (fast, slow)] == [fast, slow]
        assert {own.id for own in store.searches()} == {own.id for own in records}


def test_a_profile_made_with_another_torch_is_left_and_another_made(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Fingerprint] = []

    def profile_device(kind: str, own: Fingerprint, *, short: bool, tell: Callable[[str], None]) -> DeviceProfile:
        assert short
        made.append(own)
        return replace(PROFILE, fingerprint=own)

    monkeypatch.setattr(profiles, "profile_device", profile_device)
    first, _, topics = begun(place)
    assert made == [] and "profile" not in topics
    monkeypatch.setattr(fingerprint, "torch", SimpleNamespace(__version__="99.1.0+cpu"))
    second, _, topics = begun(place)
    assert [own.torch for own in made] == ["99.1.0+cpu"] and topics.count("profile") == 2
    assert profile_in(second).fingerprint == made[0] != profile_in(first).fingerprint
    monkeypatch.undo()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    third, _, _ = begun(place)
    assert profile_in(third) == profile_in(first), "the former is there again"
    with opened(place) as store:
        assert find(store, made[0]) == profile_in(second)
