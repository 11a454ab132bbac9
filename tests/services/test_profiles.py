"""Which profile a search goes by, and when one is made."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nas.adapters.sql.store import SqlStore, open_store
from nas.calibration import DeviceProfile, Fingerprint
from services.device import Device
from services.profiles import Profiles, find, full_profile_of, keep, profiles_of
from tests.profiles import FINGERPRINT, profile_of

DEVICE = Device("cpu", "a processor", threads=1, all_threads=4)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    opened = open_store(f"sqlite:///{tmp_path / 'nas.db'}")
    yield opened
    opened.close()


class Bench:
    """A machine that makes profiles in no time, and remembers which."""

    def __init__(self, torch: str = "2.13.0+cpu") -> None:
        self.torch = torch
        self.made: list[Fingerprint] = []

    def fingerprint(self, device: Device, threads: int) -> Fingerprint:
        return replace(FINGERPRINT, name=device.hardware, threads=threads, torch=self.torch)

    def profile(self, device: Device, fingerprint: Fingerprint, *, short: bool = True) -> DeviceProfile:
        self.made.append(fingerprint)
        made = replace(profile_of(), fingerprint=fingerprint)
        return made if short else replace(made, compiled=made.eager)


def told(store: SqlStore, bench: Bench, device: Device = DEVICE) -> tuple[Profiles, list[str]]:
    lines: list[str] = []
    return profiles_of(device, bench, store, lambda topic, line: lines.append(f"{topic}: {line}")), lines


def test_an_unknown_device_is_profiled_once_for_each_number_of_threads_and_says_so(store: SqlStore) -> None:
    bench = Bench()
    found, lines = told(store, bench)
    assert [own.threads for own in bench.made] == [1, 4]
    assert (found.shared.fingerprint.threads, found.alone.fingerprint.threads) == (1, 4)
    assert lines[0] == "profile: a processor with 1 thread is not known yet: a short profile is made"
    assert lines[2] == "profile: a processor with 4 threads is not known yet: a short profile is made"
    assert told(store, bench) == (found, []) and len(bench.made) == 2


def test_a_run_alone_goes_as_fast_where_threads_are_the_same(store: SqlStore) -> None:
    bench = Bench()
    found, _ = told(store, bench, replace(DEVICE, all_threads=1))
    assert found.shared is found.alone and len(bench.made) == 1


def test_a_profile_made_with_another_torch_is_not_used_and_stays(store: SqlStore) -> None:
    before, _ = told(store, Bench("2.11.0+cpu"))
    bench = Bench("2.13.0+cpu")
    after, _ = told(store, bench)
    assert len(bench.made) == 2 and after.shared.fingerprint.torch == "2.13.0+cpu"
    assert find(store, before.shared.fingerprint) == before.shared


def test_two_devices_of_one_database_have_their_own(store: SqlStore) -> None:
    bench = Bench()
    first, _ = told(store, bench)
    second, _ = told(store, bench, replace(DEVICE, hardware="another"))
    assert first.shared.fingerprint.key != second.shared.fingerprint.key and len(bench.made) == 4
    assert told(store, bench)[0] == first


@pytest.mark.parametrize("raw", [{}, {"fingerprint": {}}, {"speed": 3}])
def test_a_profile_of_another_version_is_made_again(store: SqlStore, raw: dict[str, object]) -> None:
    bench = Bench()
    key = bench.fingerprint(DEVICE, 1).key
    store.save_device_profile(key, raw, at=0.0)
    assert find(store, bench.fingerprint(DEVICE, 1)) is None
    found, _ = told(store, bench)
    assert find(store, bench.fingerprint(DEVICE, 1)) == found.shared


def test_what_is_kept_is_found(store: SqlStore) -> None:
    keep(store, profile_of())
    assert find(store, FINGERPRINT) == profile_of()
    assert Profiles.from_dict(Profiles(profile_of(), profile_of()).to_dict()) == Profiles(profile_of(), profile_of())


def test_what_is_estimated_is_in_no_record(store: SqlStore) -> None:
    guessed = replace(profile_of(), estimated=True)
    with pytest.raises(ValueError, match="must be measured"):
        keep(store, guessed)
    with pytest.raises(ValueError, match="must be measured"):
        Profiles(guessed, guessed).to_dict()
    assert find(store, guessed.fingerprint) is None


@pytest.mark.parametrize(
    ("there", "refit", "made"),
    [
        ("none", False, True),
        ("short", False, True),
        ("full", False, False),
        ("none", True, True),
        ("short", True, True),
        ("full", True, True),
    ],
)
def test_when_a_full_profile_is_made(store: SqlStore, there: str, refit: bool, made: bool) -> None:
    bench, lines = Bench(), list[str]()
    before = replace(profile_of(), fingerprint=bench.fingerprint(DEVICE, 1), probes=3)
    if there != "none":
        keep(store, replace(before, compiled=before.eager) if there == "full" else before)
    found = full_profile_of(DEVICE, bench, store, lambda topic, line: lines.append(line), refit=refit)
    assert found.compiled is not None and find(store, found.fingerprint) == found
    assert (bench.made == [found.fingerprint]) is made is (found.probes != 3)
    assert lines == (["probing a processor with 1 thread; this takes some minutes"] if made else [])
