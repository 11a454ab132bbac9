"""How quickly a server answers: the benchmark itself, in small."""

import re
from pathlib import Path

import pytest

from benchmarks.service import first_step
from benchmarks.service.filling import POINTS, Size, fill
from benchmarks.service.first_step import Begun, Trial, first_steps, submitted, write_up
from benchmarks.service.main import ANSWERS, FIRST_STEP, TITLE, joined, main
from benchmarks.service.serving import serving
from nas.adapters.sql.reader import Reader, Wanted
from nas.adapters.sql.store import open_store
from nas.client.client import Client
from tests.services.driving import knows_this_machine


def test_the_answers(tmp_path: Path) -> None:
    main(["--quick", "--parts", "answers", "--out", str(tmp_path / "service.md")])
    text = (tmp_path / "service.md").read_text()
    rows = [line.split(" | ") for line in text.splitlines() if re.match(r"\| \w.* ms \|", line)]
    answers = {row[0].removeprefix("| "): row[1] for row in rows}
    assert len(answers) == 10
    for asked, found in answers.items():
        assert found.endswith(" x 304" if asked.startswith("unchanged") else " x 200"), asked
    statuses = {int(own) for own in re.findall(r"\d+ x (\d+)[, ]", text.partition("clients at once")[2])}
    assert statuses <= {200, 201, 202, 422, 429}, "documented answers only"


def test_a_database_is_filled_as_asked() -> None:
    store = open_store("sqlite://")
    ids = fill(store, Size(searches=3, candidates=70, largest=30))
    counts = [len(store.candidates(own)) for own in ids]
    assert counts == [30, 20, 20]
    assert len(store.points(ids[0])) == 30 * POINTS
    reader = Reader(store)
    changed = reader.candidates(ids[0], Wanted(since=27))
    assert [own.number for own, _ in changed] == [28, 29]
    store.close()


# --- from submit to the first step ---


@pytest.mark.timeout(900)  # a server and two searches, also on a machine that others use
def test_first_steps_of_a_server_with_a_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The profile is there, so that this takes no minutes; else all of it is as it is measured."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    database = f"sqlite:///{tmp_path}/nas.db"
    knows_this_machine(database)
    found = first_steps(tmp_path, database, first_step.QUICK)
    assert len(found) == 2
    for own in found:
        assert 0 < own.running <= own.point < own.over and 0 < own.trained < own.point
    store = open_store(database)
    assert [own.state for own in store.searches()] == ["completed"] * 2
    assert [own.spec["method"]["seed"] for own in store.searches()] == [0, 1]
    store.close()


def test_a_search_that_does_not_complete_is_no_result(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/nas.db"
    with serving(tmp_path, database, "--ray", "none") as (server, _), Client(server) as client:
        store = open_store(database)

        class Submitting(Client):
            """Whose searches are cancelled as soon as they are there."""

            def submit(self, *arguments: object, **named: object) -> object:  # type: ignore[override]
                made = super().submit(*arguments, **named)  # type: ignore[arg-type]
                store.add_event(made.id, "cancelled", "cancelled", at=0.0)
                store.update_search(made.id, state="cancelled", reason="not wanted")
                return made

        with Submitting(server) as own, pytest.raises(RuntimeError, match=r"is cancelled: not wanted"):
            submitted(own, Trial().spec(0))
        assert [found.state for found in client.searches()] == ["cancelled"]
        store.close()


def test_the_table_of_first_steps() -> None:
    """The first search made the profile, and is in no row; the median is of each column by itself."""
    found = [Begun(30.0, 60.0, 9.0, 90.0), Begun(1.0, 4.0, 0.5, 20.0), Begun(3.0, 5.0, 0.1, 21.0), Begun(2, 6, 0.3, 22)]
    text = write_up(Trial(), found)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows[2:] == [
        "| 1 | 1.00 s | 4.00 s | 0.50 s | 20.0 s |",
        "| 2 | 3.00 s | 5.00 s | 0.10 s | 21.0 s |",
        "| 3 | 2.00 s | 6.00 s | 0.30 s | 22.0 s |",
        "| median | 2.00 s | 5.00 s | 0.30 s | 21.0 s |",
    ]
    assert "the first search was over after 90 s" in text and text.startswith(first_step.HEAD)


def test_a_part_that_is_made_anew_leaves_the_other_as_it_was() -> None:
    one, other = f"{TITLE}\n\nold answers", f"{first_step.HEAD}\n\nold steps"
    new = {ANSWERS: f"{TITLE}\n\nnew answers", FIRST_STEP: f"{first_step.HEAD}\n\nnew steps"}
    assert joined(f"{one}\n", {FIRST_STEP: other}) == f"{one}\n\n{other}"
    assert joined(f"{one}\n\n{other}\n", {ANSWERS: new[ANSWERS]}) == f"{new[ANSWERS]}\n\n{other}"
    assert joined(f"{one}\n\n{other}\n", {FIRST_STEP: new[FIRST_STEP]}) == f"{one}\n\n{new[FIRST_STEP]}"
    assert joined(f"{one}\n\n{other}\n", new) == f"{new[ANSWERS]}\n\n{new[FIRST_STEP]}"
    assert joined("", {FIRST_STEP: other}) == f"{TITLE}\n\n{other}"
    assert joined("", {ANSWERS: one}) == one
