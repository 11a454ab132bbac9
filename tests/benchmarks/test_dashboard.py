"""How quickly the dashboard shows what changes: the benchmark itself, in small."""

import re
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.dashboard.chromium import NAMES
from benchmarks.dashboard.filling import OBJECTIVES, fill
from benchmarks.dashboard.main import main, unlike
from benchmarks.dashboard.pictures import take
from benchmarks.service.main import serving
from nas.adapters.sql.store import open_store
from nas.records import CandidateState, SearchState
from tests.programs import program


def test_a_search_is_filled_as_asked() -> None:
    store = open_store("sqlite://")
    own = fill(store, 200)
    search, candidates = store.search(own), store.candidates(own)
    assert search.state is SearchState.RUNNING and search.spec["minimize"] == OBJECTIVES
    states = Counter(one.state for one in candidates)
    assert states.total() == 200 and states[CandidateState.TRAINING] == 1 and states[CandidateState.COMPLETED] > 60
    for one in candidates:
        assert (one.val_bpb is not None) == (one.state is CandidateState.COMPLETED)
        assert set(OBJECTIVES[1:]) <= set(one.costs)
    store.close()


def test_questions_are_asked_once_whatever_their_revision() -> None:
    asked = ["/a?since_revision=3", "/b", "/a?since_revision=4", "/a?since_revision=4&x=1"]
    assert unlike(asked) == ["/a?since_revision=", "/b", "/a?since_revision=&x=1"]


def test_the_whole_command(tmp_path: Path) -> None:
    program(*NAMES)
    main(["--quick", "--out", str(tmp_path / "dashboard.md")])
    text = (tmp_path / "dashboard.md").read_text()
    asked = re.findall(r"^\| `(/api/v1/searches/[^`]+)` \| [\d.]+ ms \| [\d.]+ ms \| \S+ \S+ \|$", text, re.M)
    assert "/api/v1/searches/search-of-300/columns?since_revision=" in asked
    assert re.search(r"^\| all of them \| [\d.]+ ms \| [\d.]+ ms \| \S+ \S+ \|$", text, re.M)
    for name, times in (("shown", 1), ("moved", 4)):
        assert re.search(rf"^\| {name} \| {times} \| [1-9]\d* ms \| [1-9]\d* ms \|", text, re.M), text
    assert re.search(r"^The page weighs \S+ MiB as sent, in \d+ answers: `plotly.min.js` 1", text, re.M)
    assert str(tmp_path) not in text and "Command: `python -m benchmarks.dashboard --quick`" in text


def test_pictures(tmp_path: Path) -> None:
    program(*NAMES)
    database = f"sqlite:///{tmp_path}/nas.db"
    store = open_store(database)
    fill(store, 60)
    store.close()
    with serving(tmp_path, database) as (server, _):
        made = list(take(server, tmp_path / "pictures", schemes=["dark"], sizes={390: 500}))
    assert sorted(made) == sorted((tmp_path / "pictures").iterdir())
    names = {"searches", "new", "devices", "login", "search", "compare", "candidate-completed", "candidate-rejected"}
    assert {f"{name}-390-dark.png" for name in names} <= {path.name for path in made}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in made)


def test_a_folder_without_a_server_is_refused() -> None:
    with pytest.raises(SystemExit):
        main(["--pictures", "pictures"])
