"""Who may drive a search: one process at a time, and another one when that is dead."""

import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from nas.adapters.sql.store import SqlStore, open_store
from nas.errors import LeaseError
from nas.records import CandidateState, LeaseRecord, SearchState
from services.worker import lease as lease_module
from services.worker.lease import Lease, driving, elapsed, held, is_dead, is_driven, sweep, whoami
from tests.contracts.samples import ATTEMPT, CANDIDATE, SEARCH, contents

ELSEWHERE = "process 1 of elsewhere [00000000.1]"
WHO = "from services.worker.lease import whoami; print(whoami(), flush=True); input()"
HOLDS = """
import sys
from nas.adapters.sql.store import open_store
from services.worker.lease import held, whoami

with held(open_store(sys.argv[1]), "s"):
    print(whoami(), flush=True)
    input()
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    """A search that is said to run."""
    opened = open_store(f"sqlite:///{tmp_path}/nas.db")
    opened.add_search(replace(SEARCH, state=SearchState.RUNNING))
    yield opened
    opened.close()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases of a second, renewed all the time."""
    monkeypatch.setattr(lease_module, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(lease_module, "LEASE_SECONDS", 1.0)


@contextmanager
def child(code: str, *arguments: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A process, and the line that it says first."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code, *arguments], text=True, **pipes) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


def found(store: SqlStore, search_id: str = "s") -> LeaseRecord:
    lease = store.lease(search_id)
    assert lease is not None
    return lease


# --- who ---


def test_a_process_is_dead_once_it_has_ended() -> None:
    assert not is_dead(whoami())
    with child(WHO) as (name, process):
        assert name != whoami()
        assert not is_dead(name)
        process.kill()
        wait_for(lambda: is_dead(name))
        assert process.returncode is None, "nobody has asked for its end yet: it is a zombie"
        process.wait()
        assert is_dead(name)


@pytest.mark.parametrize(
    ("pattern", "other", "dead"),
    [
        (r"process \d+ ", "process 4194999 ", True),  # there is no such process
        (r"\.\d+\]$", ".7]", True),  # its number was given again, to one that started at another time
        (r"\[\w+\.", "[00000000.", False),  # nothing is known of other machines
        (r"process \d+ of .* \[\w+\.", "process 4194999 of elsewhere [00000000.", False),
        (r"process \d+ ", "process x ", False),
        (r"$", "!", False),
        (r"^", "!", False),
        (r"^.*$", "", False),
        (r"^.*$", "host:1", False),
    ],
)
def test_other_holders(pattern: str, other: str, dead: bool) -> None:
    assert is_dead(re.sub(pattern, other, whoami(), count=1)) is dead


# --- a lease that is held ---


@pytest.mark.usefixtures("hasty")
def test_a_lease_is_renewed_while_it_is_held_and_dropped_then(store: SqlStore) -> None:
    assert not is_driven(store, "s")
    with held(store, "s") as lease:
        first = found(store)
        assert (first.holder, first.token, lease.former) == (whoami(), 1, None)
        assert first.expires_at - first.renewed_at == pytest.approx(1.0, abs=1e-3)
        wait_for(lambda: found(store).renewed_at > first.expires_at)
        lease.check()
        assert driving(store, "s") == found(store)
        lease.store.update_search("s", reason="mine")
    dropped = found(store)
    assert (dropped.token, store.search("s").reason) == (1, "mine")
    assert dropped.expires_at <= store.now() and not is_driven(store, "s")
    time.sleep(0.2)
    assert found(store) == dropped, "nothing is renewed any more"
    with held(store, "s") as lease:
        assert (found(store).token, lease.former) == (2, dropped)


def test_of_two_in_a_process_one_drives(store: SqlStore) -> None:
    with held(store, "s") as lease:
        with pytest.raises(LeaseError, match=re.escape(f"search 's' is driven by '{whoami()}', whose lease")):
            held(store, "s").__enter__()
        lease.check()
        assert found(store).token == 1


def test_of_two_processes_one_drives_until_it_is_killed(store: SqlStore) -> None:
    with child(HOLDS, store.url) as (name, process):
        with pytest.raises(LeaseError, match=re.escape(f"is driven by '{name}'")):
            held(store, "s").__enter__()
        assert is_driven(store, "s") and sweep(store) == []
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert store.now() < found(store).expires_at and not is_driven(store, "s")
        told: list[str] = []
        began = time.monotonic()
        with held(store, "s", told.append) as lease:
            assert time.monotonic() - began < 5, "its lease would go on for half a minute"
            assert lease.former is not None and lease.former.holder == name
            assert (found(store).holder, told) == (whoami(), [])


def test_a_holder_on_another_machine_that_was_just_heard_of(store: SqlStore) -> None:
    store.take_lease("s", ELSEWHERE, 60)
    with pytest.raises(LeaseError, match=re.escape(f"is driven by '{ELSEWHERE}'")):
        held(store, "s").__enter__()


@pytest.mark.usefixtures("hasty")
def test_a_holder_on_another_machine_that_is_silent_is_waited_out(store: SqlStore) -> None:
    lease = store.take_lease("s", ELSEWHERE, 1.2)
    wait_for(lambda: store.now() > lease.renewed_at + 0.2)
    told: list[str] = []
    with held(store, "s", told.append) as own:
        assert found(store).renewed_at >= lease.expires_at
        assert own.former == lease
    (line,) = told
    assert re.fullmatch(rf"{re.escape(ELSEWHERE)} was last heard of \d s ago; its lease ends in [01] s", line)


@pytest.mark.usefixtures("hasty")
def test_a_lease_that_another_took_is_noticed(store: SqlStore) -> None:
    with held(store, "s") as lease:
        taken = store.take_lease("s", "another", 60, replacing=found(store))
        with pytest.raises(LeaseError, match="is driven by 'another'"):
            lease.store.update_search("s", reason="mine")

        def lost() -> bool:
            try:
                lease.check()
            except LeaseError as error:
                return "is driven by 'another' (lease 2), no more by" in str(error)
            return False

        wait_for(lost)
    assert (found(store), store.search("s").reason) == (taken, ""), "nor is it dropped"


@pytest.mark.usefixtures("hasty")
def test_renewals_go_on_when_the_database_refuses_for_a_while(store: SqlStore, tmp_path: Path) -> None:
    with held(store, "s") as lease:
        with _without_leases(tmp_path / "nas.db"):
            time.sleep(1.2)
        late = found(store)
        wait_for(lambda: found(store).renewed_at > late.expires_at)
        lease.check()
        assert found(store).token == 1


@contextmanager
def _without_leases(database: Path) -> Iterator[None]:
    """Whoever asks for a lease is refused."""
    with sqlite3.connect(database, timeout=30, isolation_level=None) as connection:
        connection.execute("ALTER TABLE leases RENAME TO away")
        yield
        connection.execute("ALTER TABLE away RENAME TO leases")
    connection.close()


def test_dropping_needs_no_database(store: SqlStore, tmp_path: Path) -> None:
    """The lease expires by itself."""
    lease = Lease(store, store.take_lease("s", whoami(), 60), None)
    with _without_leases(tmp_path / "nas.db"):
        lease.drop()
    assert store.now() < found(store).expires_at


# --- drivers that died ---


def _search(store: SqlStore, name: str, state: SearchState, *, holder: str = "", dropped: bool = False) -> None:
    """A search with one candidate in training, and who holds its lease."""
    setting = {"elapsed": 5.0, "since": store.now() - 2.0, "device": "cpu"}
    store.add_search(replace(SEARCH, id=name, state=state, setting=setting))
    store.add_candidate(replace(CANDIDATE, search_id=name, state=CandidateState.TRAINING))
    store.add_candidate(replace(CANDIDATE, search_id=name, number=1, state=CandidateState.COMPLETED))
    store.add_attempt(replace(ATTEMPT, search_id=name, attempt=0, finished_at=1.0, outcome="lost"))
    store.add_attempt(replace(ATTEMPT, search_id=name, attempt=1))
    if holder:
        lease = store.take_lease(name, holder, 60)
        if dropped:
            store.drop_lease(lease)


def test_a_search_whose_driver_died_is_put_into_order(store: SqlStore) -> None:
    dead = re.sub(r"\.\d+\]$", ".7]", whoami())
    _search(store, "dead", SearchState.RUNNING, holder=dead)
    before = found(store, "dead")
    assert sweep(store) == ["dead", "s"]
    record = store.search("dead")
    assert (record.state, record.reason) == (SearchState.PAUSED, f"its driver died ({dead})")
    assert record.setting["elapsed"] == pytest.approx(7.0, abs=0.5), "as far as it was heard of"
    assert record.setting["device"] == "cpu"
    assert [own.state for own in store.candidates("dead")] == [CandidateState.QUEUED, CandidateState.COMPLETED]
    attempts = [(own.outcome, own.finished_at) for own in store.attempts("dead")]
    assert attempts == [("lost", 1.0), ("abandoned", pytest.approx(store.now(), abs=30))]
    assert [(own.kind, own.number, own.level) for own in store.events("dead")] == [
        ("abandoned", 0, "warning"),
        ("paused", None, "warning"),
    ]
    assert store.events("dead")[1].message == record.reason
    after = found(store, "dead")
    assert (after.token, after.holder) == (before.token + 1, whoami()), "the dead one is fenced off, should it wake"
    assert after.expires_at <= store.now()
    assert (store.search("s").state, store.search("s").reason) == (SearchState.PAUSED, "its driver died")
    settled = contents(store, "dead")
    assert sweep(store) == [] and contents(store, "dead") == settled


def test_what_has_a_driver_or_needs_none_is_left_alone(store: SqlStore) -> None:
    store.update_search("s", state=SearchState.COMPLETED)
    _search(store, "here", SearchState.RUNNING, holder=whoami())
    _search(store, "there", SearchState.STOPPING, holder=ELSEWHERE)
    idle = [state for state in SearchState if state not in (SearchState.RUNNING, SearchState.STOPPING)]
    for state in idle:
        _search(store, str(state), state, holder=whoami(), dropped=True)
    names = [own.id for own in store.searches()]
    before = [contents(store, name) for name in names]
    assert len(names) == len(idle) + 3
    assert sweep(store) == []
    assert [contents(store, name) for name in names] == before
    _search(store, "left", SearchState.STOPPING, holder=whoami(), dropped=True)
    assert sweep(store) == ["left"], "a driver that let go without a word has died too"


@pytest.mark.parametrize(
    ("state", "setting", "renewed", "seconds"),
    [
        (SearchState.RUNNING, {"elapsed": 5.0, "since": 100.0}, 130.0, 35.0),
        (SearchState.STOPPING, {"elapsed": 5.0, "since": 100.0}, 130.0, 35.0),
        (SearchState.PAUSED, {"elapsed": 5.0, "since": 100.0}, 130.0, 5.0),  # it was written down at the end
        (SearchState.RUNNING, {"elapsed": 5.0, "since": 100.0}, 90.0, 5.0),  # died before its first renewal
        (SearchState.RUNNING, {"elapsed": 5.0, "since": 100.0}, None, 5.0),
        (SearchState.RUNNING, {"elapsed": 5.0}, 130.0, 5.0),
        (SearchState.QUEUED, {}, None, 0.0),
    ],
)
def test_the_time_that_a_search_was_driven(
    state: SearchState, setting: dict[str, float], renewed: float | None, seconds: float
) -> None:
    last = None if renewed is None else LeaseRecord("s", "host:1", 1, renewed, renewed + 30)
    assert elapsed(replace(SEARCH, state=state, setting=setting), last) == seconds
