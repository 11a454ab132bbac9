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
from tests.services.serving import serving

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


def test_a_server(tmp_path: Path) -> None:
    """Of each token that there is, and of none; what is wrong has the exit code that it has in other commands."""
    server, user = Place(tmp_path / "server"), Place(tmp_path / "user")
    for place in (server, user):
        place.folder.mkdir()
    secrets = {
        name: server.run("token", "create", name, "--scope", scope, *more).out.strip()
        for name, scope, *more in (("ann", "admin"), ("bob", "read", "--expires", "1h"))
    }
    with serving(server, "--auth", "token", "--ray", "none") as served:

        def examined(code: int, **environment: str) -> dict[str, tuple[str, str]]:
            done = served.by(user, "doctor", "-o", "json", **environment)
            assert (done.code, done.err) == (code, "")
            assert not any(secret in done.out for secret in secrets.values())
            return {own["topic"]: (own["level"], own["found"]) for own in done.json["findings"]}

        found = examined(0, NAS_TOKEN=secrets["ann"])
        topics = ["server", "version", "token", "clock", "ready", "database", "disk", "workers", "devices"]
        assert list(found) == topics
        assert found["server"][1].startswith(f"{served.url} answers, plain HTTP, ")
        assert found["version"][0] == "ok" and found["token"] == ("ok", "of ann, scope admin, never expires")
        assert found["clock"] == ("ok", "within 2 s of the server's")
        assert found["ready"] == ("ok", "database, searches, ray: ok")
        assert re.fullmatch(r"sqlite [\d.]+, schema \d+", found["database"][1])
        assert re.fullmatch(r"\S+ \w+ free of \S+ \w+", found["disk"][1])
        assert found["workers"] == ("warning", "0 machines alive, 0 CPUs, 0 GPUs: searches wait")
        assert not any(str(tmp_path) in said for _, said in found.values()), "no paths of the server"
        found = examined(0, NAS_TOKEN=secrets["bob"])
        assert re.fullmatch(r"of bob, scope read, expires in (59 min .*|1 h.*)", found["token"][1])
        assert found["token"][0] == "warning"
        assert found["database"][1] == "its kind, and the room on the disk, are told to administrators alone"
        assert "disk" not in found
        for token, said in (
            ("nas_wrong", "the token is not known to this server"),
            ("", "none is known here, and one"),
        ):
            found = examined(4, NAS_TOKEN=token)
            assert found["token"][0] == "error" and found["token"][1].startswith(said)
            assert "workers" not in found and found["ready"][0] == "ok"
        named = user.run("doctor", "--server", served.url, NAS_TOKEN=secrets["ann"])
        assert (named.code, named.err) == (0, "") and named.out.startswith(f"✓ server    {served.url} answers")
        assert named.out.splitlines()[-1] == "8 fine, 1 warning, 0 errors"
        refused = user.run("doctor", "--server", served.url, "--ray", "auto")
        assert refused.code == 2 and "--ray: must not be given with a server" in refused.err
    assert not user.home.exists(), "nothing is kept of it"
    gone = served.by(user, "doctor")
    assert gone.code == 7 and f"✗ server    {served.url} does not answer: " in gone.out


def test_who_is_logged_in_is_told_of_the_server(tmp_path: Path) -> None:
    place = Place(tmp_path)
    write(place.home, servers__json='{"current": "http://nas.lab:8470", "tokens": {}}')
    done = place.run("doctor", "-o", "json")
    assert done.err == "this was this machine; for the server: nas doctor --server http://nas.lab:8470\n"
    assert next(own["topic"] for own in done.json["findings"]) == "python"


def test_another_form_of_output_is_refused(tmp_path: Path) -> None:
    done = Place(tmp_path).run("doctor", "-o", "id")
    assert (done.code, done.out) == (2, "")
    assert not (tmp_path / "home").exists()
