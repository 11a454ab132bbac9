"""How quickly a server answers: the benchmark itself, in small."""

import re
from pathlib import Path

from benchmarks.service.filling import POINTS, Size, fill
from benchmarks.service.main import main
from nas.adapters.sql.reader import Reader, Wanted
from nas.adapters.sql.store import open_store


def test_the_whole_command(tmp_path: Path) -> None:
    main(["--quick", "--out", str(tmp_path / "service.md")])
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
