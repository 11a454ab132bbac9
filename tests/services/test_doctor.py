"""The examination, whose checks are independent, and the command that shows what it finds."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas.adapters.sql.store import open_store
from services.doctor import Finding, checks, examine
from services.home import Home
from tests.services.doctor.facts import ERROR, OK, write
from tests.services.driving import Place

TOPICS = list(checks(Home(Path(), "")))


def test_a_check_that_fails_is_a_finding_and_the_others_go_on() -> None:
    def halfway() -> Iterator[Finding]:
        yield Finding("first", OK, "one")
        raise ZeroDivisionError("a\nb")

    def absent() -> Iterator[Finding]:
        import a_package_that_is_not_there  # type: ignore[import-not-found]

        yield a_package_that_is_not_there

    made = {"first": halfway, "second": absent, "third": lambda: [Finding("third", OK, "three")]}
    first, failed, broken, third = examine(made)
    assert (first.found, third.found) == ("one", "three")
    assert (failed.topic, failed.level, failed.found) == (
        "first",
        ERROR,
        "cannot be looked at: ZeroDivisionError: a b",
    )
    assert (broken.topic, broken.level, broken.advice) == ("second", ERROR, "install the package again")


def test_a_long_complaint_is_cut() -> None:
    def fail() -> Iterator[Finding]:
        raise ValueError("x" * 10_000)

    (found,) = examine({"t": fail})
    assert len(found.found) < 500


def test_the_whole_command(tmp_path: Path) -> None:
    place = Place(tmp_path)
    done = place.run("doctor")
    assert done.err == ""
    *rows, ending = done.out.splitlines()
    wide = max(map(len, TOPICS))
    found = [re.fullmatch(rf"([✓!✗]) (.{{{wide}}})  (\S.*)|( {{{wide + 4}}})→ \S.*", row) for row in rows]
    assert all(found)
    marks = [own[1] for own in found if own and own[1]]
    topics = [own[2].strip() for own in found if own and own[1]]
    assert list(dict.fromkeys(topics)) == TOPICS
    counts = [marks.count(mark) for mark in "✓!✗"]
    assert [int(own) for own in re.fullmatch(r"(\d+) fine, (\d+) warnings?, (\d+) errors?", ending).groups()] == counts  # type: ignore[union-attr]
    assert done.code == (1 if counts[2] else 0)
    assert "cannot be looked at" not in done.out
    store = open_store(f"sqlite:///{place.home}/nas.db")
    assert store.searches() == []
    store.close()
    assert sorted(path.name for path in place.home.iterdir()) == ["nas.db"]


def test_the_json_contract(tmp_path: Path) -> None:
    done = Place(tmp_path).run("doctor", "-o", "json")
    assert set(done.json) == {"schema_version", "findings", "counts"}
    assert done.json["schema_version"] == 1
    findings = done.json["findings"]
    assert all(set(own) == {"topic", "level", "found", "advice"} for own in findings)
    assert list(dict.fromkeys(own["topic"] for own in findings)) == TOPICS
    levels = [own["level"] for own in findings]
    assert done.json["counts"] == {level: levels.count(level) for level in ("ok", "warning", "error")}


def errors_of(place: Place, *arguments: str, **environment: str) -> dict[str, tuple[str, str]]:
    """By topic, the last error of a doctor that found some."""
    done = place.run("doctor", "-o", "json", *arguments, **environment)
    assert done.code == 1
    assert "secret" not in done.out + done.err
    return {own["topic"]: (own["found"], own["advice"]) for own in done.json["findings"] if own["level"] == "error"}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://me:secret@host/nas", "must be sqlite:///path/to/file or postgresql://"),
        ("postgresql://me:secret@127.0.0.1:1/nas", "the server cannot be reached or refuses the login"),
        ("postgresql://me:secret@host:port/nas", "must be sqlite:///path/to/file or postgresql://"),
        ("sqlite:////proc/nas.db", "database sqlite:////proc/nas.db: "),
    ],
)
def test_a_broken_database(tmp_path: Path, url: str, said: str) -> None:
    found = errors_of(Place(tmp_path), NAS_DATABASE=url)
    assert list(found) == ["database"]
    assert said in found["database"][0]
    assert "NAS_DATABASE" in found["database"][1]


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    write(tmp_path / "home", nas__db="no database " * 100)
    found = errors_of(Place(tmp_path))
    assert "no SQLite database" in found["database"][0]


def test_a_home_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    found = errors_of(Place(tmp_path))
    assert list(found) == ["disk", "database"]
    assert found["disk"] == (
        f"home {tmp_path}/home: cannot be written (File exists)",
        "make it a folder that can be written, or name another folder with NAS_HOME",
    )


def test_the_address_of_a_cluster_is_looked_at(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    found = errors_of(Place(tmp_path), "--ray", "127.0.0.1:1", RAY_ADDRESS="elsewhere:1")
    assert found["ray"][0] == "127.0.0.1:1: cannot be reached: Connection refused"


def test_another_form_of_output_is_refused(tmp_path: Path) -> None:
    done = Place(tmp_path).run("doctor", "-o", "id")
    assert (done.code, done.out) == (2, "")
    assert not (tmp_path / "home").exists()
