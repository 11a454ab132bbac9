"""The commands for a search that is driven elsewhere, paused or over."""

import re
import shutil
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from nas.adapters.sql.store import SqlStore, open_store
from nas.records import LogLine, RequestKind, SearchState
from services.single import read_candidate, write_candidate
from services.worker.lease import held
from tests.contracts.samples import SEARCH, fill
from tests.services.driving import Done, Place, ending, make_place, said_until

LOG = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  (info   |warning)  \S.*"


def store_of(place: Place) -> SqlStore:
    return open_store(f"sqlite:///{place.home / 'nas.db'}")


@dataclass(frozen=True)
class Ended:
    """A search that nobody drives, and how the command ended that drove it last."""

    place: Place
    done: Done
    id: str

    def run(self, command: str, *arguments: object) -> Done:
        return self.place.run(command, self.id, *arguments)

    @property
    def state(self) -> str:
        store = store_of(self.place)
        try:
            return str(store.search(self.id).state)
        finally:
            store.close()


def pause_once_it_trains(place: Place, over: threading.Event) -> None:
    """Asks for a pause when the second candidate is in training, as another process would."""
    while not (place.home / "nas.db").exists() and not over.wait(0.05):
        pass
    store = store_of(place)
    while not over.wait(0.05):
        for search in store.searches():
            if len(store.candidates(search.id)) > 1:
                store.add_request(search.id, RequestKind.PAUSE, {}, at=time.time())
                over.set()
    store.close()


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A paused search; nothing of it is changed."""
    place = make_place(tmp_path_factory.mktemp("paused"))
    over = threading.Event()
    asking = threading.Thread(target=pause_once_it_trains, args=(place, over))
    asking.start()
    try:
        done = place.run("run", "tiny.yaml", "--engine", "inline", "-o", "json")
    finally:
        over.set()
        asking.join()
    return Ended(place, done, done.json["id"])


def copied(search: Ended, folder: Path) -> Ended:
    """The same in a home of its own."""
    shutil.copytree(search.place.folder, folder)
    return Ended(Place(folder), search.done, search.id)


@pytest.fixture
def paused(begun: Ended, tmp_path: Path) -> Ended:
    return copied(begun, tmp_path / "place")


@pytest.fixture(scope="module")
def over(begun: Ended, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A completed search; nothing of it is changed."""
    search = copied(begun, tmp_path_factory.mktemp("over") / "place")
    done = search.run("resume", "--engine", "inline", "-o", "json")
    assert done.code == 0, done.err
    return Ended(search.place, done, search.id)


def test_a_search_is_paused_from_elsewhere(begun: Ended) -> None:
    assert begun.done.code == 130
    assert begun.done.json["state"] == "paused"
    said = f"paused (asked to pause); what was done is kept. Go on with: nas resume {begun.id}"
    assert begun.done.err.splitlines()[-1] == said


# --- looking ---


def test_watching_what_is_over(over: Ended, begun: Ended) -> None:
    done = over.run("watch")
    *events, last = done.err.splitlines()
    assert (done.code, done.out, last) == (0, "", over.done.json["result"]["sentence"])
    assert 0 < len(events) <= 5 and all(re.match(r" +\d+:\d\d  \S", line) for line in events)
    paused = begun.run("watch")
    assert (paused.code, paused.err.splitlines()[-1]) == (0, "paused (asked to pause)")


def test_waiting_says_how_it_ended(over: Ended, begun: Ended) -> None:
    done = over.run("wait")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-1] == over.done.json["result"]["sentence"]
    assert over.run("wait", "-o", "id").out == f"{over.id}\n"
    paused = begun.run("wait", "-o", "json")
    assert (paused.code, paused.json["state"], paused.json["result"]) == (130, "paused", None)
    assert paused.err == f"paused (asked to pause); what was done is kept. Go on with: nas resume {begun.id}\n"


def test_there_is_nothing_to_wait_for_before_a_search_is_driven(place: Place) -> None:
    place.home.mkdir(exist_ok=True)
    store = store_of(place)
    store.add_search(SEARCH)
    store.close()
    done = place.run("wait", "s")
    assert (done.code, done.out) == (1, "")
    assert done.err == "nas: search s is queued, and nothing drives it; go on with: nas resume s\n"


def test_logs_are_all_that_happened(over: Ended) -> None:
    done = over.run("logs")
    lines = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert all(re.fullmatch(LOG, line) for line in lines)
    assert lines == sorted(lines, key=lambda line: line[:19])
    assert lines[-1].endswith(over.done.json["result"]["sentence"])
    store = store_of(over.place)
    messages = [event.message for event in store.events(over.id)]
    store.close()
    assert [line[30:] for line in lines] == messages
    assert over.run("logs", "-n", 3).out.splitlines() == lines[-3:]
    assert over.run("logs", "-n", 0).out == over.run("logs", "-n", 9999).out == done.out
    assert over.run("logs", "-f").out == done.out, "there is nothing to follow"


def test_logs_of_a_candidate(over: Ended) -> None:
    whole = over.run("logs").out.splitlines()
    own = over.place.run("logs", f"{over.id}/1")
    assert own.code == 0
    lines = own.out.splitlines()
    assert all(re.fullmatch(LOG, line) for line in lines)
    assert lines == sorted(lines, key=lambda line: line[:19])
    logged = [line for line in lines if line[30:].startswith("attempt ")]
    events = [line for line in lines if line not in logged]
    assert events and set(events) < set(whole)
    assert all(re.search(r"\bcandidate 1\b", line) for line in events)
    store = store_of(over.place)
    log, attempts = store.log(over.id, 1), store.attempts(over.id, 1)
    store.close()
    assert len(log) >= 2 * len(attempts) >= 2
    messages = [f"attempt {line.attempt + 1}: {line.message}" for line in log]
    said = [line[30:] for line in logged]
    assert said == [own for own in messages if own in said], "in their order"
    assert said[0].startswith("attempt 1: the attempt begins, ") and said[-1].endswith(f": {attempts[-1].outcome}")
    assert over.place.run("logs", f"{over.id}/1", "-f", "-n", 1).out.splitlines() == lines[-1:]


def test_what_a_worker_logged_is_told_once(tmp_path: Path) -> None:
    """A note is an event already; the further lines of a message begin below its first."""
    place = Place(tmp_path)
    place.home.mkdir(parents=True, exist_ok=True)
    store = store_of(place)
    fill(store)
    store.add_event("s", "note", "candidate 0: resumed at step 3", at=20.0, number=0)
    for at, level, message in ((19.0, "info", "resumed at step 3"), (30.0, "error", "it failed\nTraceback:\n  x")):
        store.add_log("s", 0, 0, [LogLine(at, level, "nas", message)])
    store.add_log("s", 0, 1, [LogLine(10.0, "info", "nas", "an earlier clock")])
    store.close()
    lines = [line[21:] for line in place.run("logs", "s/0").out.splitlines()]
    assert lines == [
        "warning  attempt 2: naïve 🦙:", "           File <a>, line 1", "info     attempt 2: an earlier clock",
        "info     candidate 0: resumed at step 3",
        "error    attempt 1: it failed", "         Traceback:", "           x",
    ]  # fmt: skip
    assert place.run("logs", "s/0", "-n", 1).out.splitlines()[0].endswith("attempt 1: it failed")


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("{id}/99", 5, "no candidate 99 in search '{id}'"),
        ("{id}/x", 2, "candidate: must be ID/N with a number N, found '{id}/x'"),
        ("{id}/", 2, "candidate: must be ID/N with a number N, found '{id}/'"),
        ("nobody/1", 5, "no search 'nobody'; `nas ls` shows what there is"),
        ("nobody", 5, "no search 'nobody'; `nas ls` shows what there is"),
    ],
)
def test_logs_of_what_is_not_there(over: Ended, text: str, code: int, said: str) -> None:
    done = over.place.run("logs", text.format(id=over.id))
    assert (done.code, done.out, done.err) == (code, "", f"nas: {said.format(id=over.id)}\n")


# --- asking ---


@pytest.mark.parametrize("command", ["pause", "stop", "cancel", "enqueue"])
def test_nothing_is_asked_of_a_search_that_is_over(over: Ended, tmp_path: Path, command: str) -> None:
    arguments = (plan_of(over.place, tmp_path / "candidate.yaml"),) if command == "enqueue" else ()
    done = over.run(command, *arguments)
    assert (done.code, done.out, done.err) == (1, "", f"nas: search {over.id} is completed\n")
    assert over.place.run(command, "nobody", *arguments).code == 5


def plan_of(place: Place, path: Path) -> Path:
    """A candidate in a file, which no point of the space is."""
    space = place.folder / "space.yaml"
    if not space.exists():
        text = (place.folder / "tiny.yaml").read_text()
        knobs = text[text.index("  knobs:") : text.index("device:")]
        space.write_text("name: own\n" + "\n".join(line[2:] for line in knobs.splitlines()) + "\n")
    options = ("--space", "space.yaml", "--corpus", "texts/*.txt", "--out", path)
    done = place.run("plan", "--compute", "200MFLOP", *options)
    assert done.code == 0, done.err
    candidate = read_candidate(path)
    write_candidate(replace(candidate, recipe=replace(candidate.recipe, matrix_rate=0.9)), path)
    return path


def test_a_pause_of_what_nobody_drives(paused: Ended) -> None:
    done = paused.run("pause")
    assert (done.code, done.out) == (1, "")
    assert done.err == f"nas: search {paused.id} is paused, nothing drives it\n"


def test_a_cancelled_search_is_over(paused: Ended) -> None:
    done = paused.run("cancel")
    assert (done.code, done.out, done.err) == (0, "", f"search {paused.id} is cancelled\n")
    assert paused.state == "cancelled"
    again = paused.run("cancel")
    assert (again.code, again.err) == (1, f"nas: search {paused.id} is cancelled\n")
    waited = paused.run("wait", "-o", "json")
    assert (waited.code, waited.json["state"]) == (9, "cancelled")
    assert waited.err == f"nas: search {paused.id} was cancelled\n"
    assert paused.run("watch").err.splitlines()[-1] == "cancelled (cancelled)"
    resumed = paused.run("resume", "--engine", "inline")
    assert (resumed.code, resumed.err) == (1, f"nas: search {paused.id} is cancelled; there is nothing to resume\n")
    candidates = paused.run("candidates", "-o", "json").json["candidates"]
    assert "queued" not in [own["state"] for own in candidates]


def test_what_is_asked_while_nobody_drives_is_done_by_the_next_driver(paused: Ended) -> None:
    path = plan_of(paused.place, paused.place.folder / "candidate.yaml")
    for command, *arguments in (("enqueue", path), ("stop",)):
        done = paused.run(command, *arguments)
        said = f"nothing drives search {paused.id}; it is done with: nas resume {paused.id}\n"
        assert (done.code, done.out, done.err) == (0, "", said)
    resumed = paused.run("resume", "--engine", "inline", "-o", "json")
    assert (resumed.code, resumed.json["state"]) == (0, "completed"), resumed.err
    *_, given, final = paused.run("candidates", "-o", "json").json["candidates"]
    assert (given["origin"], given["state"]) == ("given", "cancelled"), "it was stopped before its turn came"
    assert (final["origin"], final["state"], final["number"]) == ("final", "completed", given["number"] + 1)
    store = store_of(paused.place)
    answers = {str(own.kind): own.answer for own in store.requests(paused.id)}
    store.close()
    assert re.match(r"is candidate \d", answers["enqueue"]) and answers["stop"].startswith("stops: ")


def test_a_file_that_is_no_candidate(paused: Ended) -> None:
    before = paused.run("logs").out
    folder = paused.place.folder
    (folder / "bad.yaml").write_text("architecture: {depth: 1, widht: 3}\nrecipe: {}\n")
    (folder / "text.yaml").write_text("hello")
    for name, line in (("bad.yaml", ":1"), ("text.yaml", "")):
        done = paused.run("enqueue", name)
        assert (done.code, done.out) == (2, ""), done.err
        assert done.err.startswith(f"nas: {name}{line}")
    missing = paused.run("enqueue", "missing.yaml")
    assert missing.code in (2, 5) and "missing.yaml" in missing.err
    assert paused.run("logs").out == before
    store = store_of(paused.place)
    assert [own.kind for own in store.requests(paused.id)] == ["pause"]
    store.close()


def test_a_driver_s_answer_is_told(paused: Ended) -> None:
    """The driver here is this test: it holds the lease, and answers late."""
    store = store_of(paused.place)

    def answer() -> None:
        while not (waiting := store.requests(paused.id, unanswered=True)):
            time.sleep(0.05)
        time.sleep(0.3)
        store.answer_request(paused.id, waiting[0].sequence, "stops: soon", at=time.time())

    store.update_search(paused.id, state=SearchState.RUNNING)
    with held(store, paused.id):
        thread = threading.Thread(target=answer)
        thread.start()
        done = paused.run("stop")
        thread.join()
    store.close()
    assert (done.code, done.out, done.err) == (0, "", f"search {paused.id} stops: soon\n")


def test_an_answer_just_before_the_driver_leaves_is_told(paused: Ended) -> None:
    """The driver here is this test: it answers between two looks of the command, and has gone before the second."""
    store, drives = store_of(paused.place), threading.Event()

    def drive() -> None:
        with held(store, paused.id):
            drives.set()
            while not (waiting := store.requests(paused.id, unanswered=True)):
                time.sleep(0.01)
            time.sleep(0.1)
            store.answer_request(paused.id, waiting[0].sequence, "pauses", at=time.time())
            store.update_search(paused.id, state=SearchState.PAUSED)

    store.update_search(paused.id, state=SearchState.RUNNING)
    thread = threading.Thread(target=drive)
    thread.start()
    assert drives.wait(20)
    done = paused.run("pause")
    thread.join()
    store.close()
    said = f"search {paused.id} pauses\nsearch {paused.id} is paused; go on with: nas resume {paused.id}\n"
    assert (done.code, done.out, done.err) == (0, "", said)


def test_a_search_that_runs_in_another_process(place: Place) -> None:
    with ending(place.start("run", "tiny.yaml", "--engine", "inline")) as process:
        said_until(process, r"candidate 0 \(")
        (search,) = place.run("ls", "-o", "id").out.split()
        with ending(place.start("logs", search, "--follow")) as follower, ending(place.start("wait", search)) as waiter:
            assert follower.stdout is not None
            assert re.fullmatch(LOG, follower.stdout.readline().rstrip("\n"))
            paused = place.run("pause", search)
            assert (paused.code, paused.out) == (0, "")
            assert paused.err.splitlines()[-1] == f"search {search} is paused; go on with: nas resume {search}"
            followed, complaint = follower.communicate(timeout=60)
            assert (follower.returncode, complaint) == (0, "")
            assert followed.splitlines()[-1].endswith("  warning  asked to pause")
            waiter.communicate(timeout=60)
            assert waiter.returncode == 130
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130
        assert said.splitlines()[-1].startswith("paused (asked to pause); ")
    assert place.run("ls", "-o", "json").json["searches"][0]["state"] == "paused"
