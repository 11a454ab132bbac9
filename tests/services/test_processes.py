"""The command as a process: interrupted, killed, on a terminal, on a full disk, with a reader that has gone."""

import contextlib
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.disks import small_disk
from nas.adapters.sql.store import open_store
from nas.records import CandidateRecord, SearchRecord
from tests.services.conftest import Finished
from tests.services.driving import COMMAND, Place, ending, gone, group, interrupt, knows_this_machine, said_until
from tests.services.terminal import COLUMNS, Terminal, screen

HEAVY = ("torch", "ray", "optuna", "sqlalchemy", "alembic", "numpy", "transformers", "plotly", "pandas")


def search_of(place: Place) -> SearchRecord:
    """The one search of a home."""
    store = open_store(f"sqlite:///{place.home / 'nas.db'}")
    (search,) = store.searches()
    store.close()
    return search


def candidates_of(place: Place) -> list[CandidateRecord]:
    store = open_store(f"sqlite:///{place.home / 'nas.db'}")
    (search,) = store.searches()
    found = store.candidates(search.id)
    store.close()
    return found


def assert_completes(place: Place, search: str) -> None:
    """Resumed without Ray, the search ends as one that was never interrupted would: each candidate once."""
    done = place.run("resume", search, "--engine", "inline")
    assert done.code == 0, done.err
    (found,) = place.run("ls", "-o", "json").json["searches"]
    assert (found["id"], found["state"], found["reason"]) == (search, "completed", "")
    assert "★ final run" in done.out
    assert done.out.splitlines()[-1] == found["result"]["sentence"]
    candidates = place.run("candidates", search, "-o", "json").json["candidates"]
    assert len({own["id"] for own in candidates}) == len(candidates)
    assert {own["state"] for own in candidates} <= {"completed", "stopped", "rejected", "diverged"}
    assert found["result"]["number"] == candidates[-1]["number"]
    assert found["result"]["search_flops"] <= 3 * 10**9


def test_ctrl_c_on_a_terminal(place: Place) -> None:
    terminal = Terminal(place, "run", "tiny.yaml")
    with ending(terminal.process):
        terminal.read_until("candidate 2 (")
        search = search_of(place)
        assert place.run("status", search.id).err == "", "a process is at work on it"
        refused = place.run("resume", search.id)
        assert refused.code == 1
        said = rf"nas: search {search.id} is driven by process \d+ of .*; follow it with `nas watch`, or .*\n"
        assert re.fullmatch(said, refused.err)
        terminal.type("\x03")
        assert terminal.end() == 130
        assert gone(terminal.process.pid) == []

    assert re.search(r"\d:\d\d  (begins|.*\d [GM]?FLOP spent)", terminal.output), "the live line"
    lines = [line for line in terminal.screen() if line]
    assert lines[-1] == f"paused (interrupted); what was done is kept. Go on with: nas resume {search.id}"
    known = (
        r"(corpus|tokenizers|device|space|dial|largest|epochs|budget|search) +\S.*",
        r" +\d:\d\d  \S.*",
        r"\^C",
        "pausing: .*",
    )
    garbled = [line for line in lines[:-1] if not re.fullmatch("|".join(known), line)]
    assert garbled == []
    assert not any("spent" in line for line in lines), "the live line is gone when all is over"

    paused = search_of(place)
    assert (paused.state, paused.reason) == ("paused", "interrupted")
    said = place.run("status", search.id)
    assert said.out.startswith(f"{search.id}: paused (interrupted)\n")
    assert said.err == f"{search.id} is paused (interrupted); go on with: nas resume {search.id}\n"
    assert_completes(place, search.id)


def test_what_the_screen_of_the_tests_knows() -> None:
    assert screen("one\r\ntwo\r\x1b[2Kthree\r\n\x1b[1A\r\x1b[2K") == ["one", "", ""]
    assert screen("\x1b[?25l\x1b[1mab\x1b[0m\rc" + "x" * COLUMNS) == ["c" + "x" * (COLUMNS - 1), "x"]


def test_a_killed_search_goes_on(place: Place) -> None:
    with ending(place.start("run", "tiny.yaml")) as process:
        said_until(process, r"candidate 1 \(")
        process.kill()
        process.wait(60)
    killed = search_of(place)
    assert killed.state == "running"
    assert gone(process.pid) == [], "what it has started ends with it"
    assert re.search(
        rf"^{killed.id} is paused \(its driver died .*; go on with: nas resume {killed.id}$", place.run("ls").err
    )
    paused = search_of(place)
    assert paused.state == "paused"
    assert all(own.state != "training" for own in candidates_of(place))
    assert_completes(place, killed.id)
    completed = search_of(place)
    assert completed.started_at == killed.started_at
    assert completed.setting["elapsed"] > killed.setting["elapsed"]


def test_ctrl_c_ends_the_workers_too(place: Place) -> None:
    place.write_spec(method="method: {parallel: 2}")
    with ending(place.start("run", "tiny.yaml")) as process:
        ended = r"candidate {} (completed|stopped)"
        said_until(process, ended.format(0), ended.format(1))  # by one worker each
        assert len(group(process.pid)) >= 3
        interrupt(process)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert gone(process.pid) == []
    search = search_of(place)
    assert (out, search.state) == ("", "paused")
    assert err.splitlines()[-1] == f"paused (interrupted); what was done is kept. Go on with: nas resume {search.id}"
    assert "Traceback" not in err
    assert_completes(place, search.id)


def test_ctrl_c_before_the_search_began(place: Place) -> None:
    """While the machine, which is not known, is probed."""
    for path in place.home.glob("nas.db*"):
        path.unlink()
    with ending(place.start("run", "tiny.yaml")) as process:
        said_until(process, "^profile")
        interrupt(process)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.endswith("interrupted before the search began; nothing is kept\n")
    assert place.run("ls", "-o", "id").out == ""


def test_a_full_disk(place: Place) -> None:
    with small_disk(place.home, "8m") as mounted:
        knows_this_machine(f"sqlite:///{place.home / 'nas.db'}")
        run_out_of_disk(place, mounted)


def run_out_of_disk(place: Place, mounted: bool) -> None:
    with ending(place.start("run", "tiny.yaml")) as process:
        said_until(process, r"candidate 0 \(")
        if mounted:
            filler = place.home / "filler"
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass
        else:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4096, 4096))
        (*_, said) = said_until(process, "waiting: ")
        assert "full" in said and f"{place.home}" in said
        if mounted:
            filler.unlink()
        else:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (-1, -1))
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert "goes on after " in err and "Traceback" not in err
        assert "The best affordable model" in out


@pytest.mark.parametrize("arguments", [("candidates",), ("candidates", "-o", "json"), ("status", "-o", "id")])
def test_a_reader_that_has_gone(finished: Finished, arguments: tuple[str, ...]) -> None:
    command, *options = arguments
    with ending(finished.place.start(command, finished.id, *options)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) in (0, 1)


def test_head(finished: Finished) -> None:
    shell = shutil.which("bash")
    if shell is None:
        pytest.skip("there is no bash")
    pipe = f"'{sys.executable}' -m services.cli.main candidates {finished.id} | head -1"
    place = finished.place
    done = subprocess.run(
        [shell, "-c", pipe], env={**os.environ, **place.environment({})}, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split()[:3] == ["number", "origin", "state"]
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


def test_help_is_there_at_once(tmp_path: Path) -> None:
    """Nothing heavy is imported; how long it took is printed, and is no promise of this machine."""
    command = [sys.executable, "-X", "importtime", *COMMAND[1:], "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in imported
    assert sorted(imported & set(HEAVY)) == []
    began = time.monotonic()
    subprocess.run([*COMMAND, "--help"], capture_output=True, check=True, cwd=tmp_path)
    print(f"nas --help: {(time.monotonic() - began) * 1000:.0f} ms")
