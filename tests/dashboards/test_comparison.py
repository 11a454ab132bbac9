"""Candidates beside each other."""

import json
from dataclasses import fields, replace

from dashboards.candidate import RECIPE
from dashboards.comparison import ARCHITECTURE, FrontLine, Line, compared, fronts_figure, volumes_figure
from nas.candidate import Architecture, Candidate, Deviation, Recipe
from nas.records import CandidateRecord, CandidateState, Origin

PLAIN = Architecture(6, 128, 8, 16, 4, 384, 4096, 256)
FIRST = CandidateRecord(
    "s", 1, "one", Origin.DIAL, CandidateState.COMPLETED, 0.0, Candidate(PLAIN, Recipe(1024)).to_dict(),
    costs={"params": 1000, "flops_per_byte": 2e6}, val_bpb=2.0, val_error=0.01, train_flops_spent=100, seconds=2.0,
)  # fmt: skip
CHANGED = replace(PLAIN, depth=4, tied=False, softcap=15, deviations=(Deviation(2, mlp_width=512),))
SECOND = replace(
    FIRST, number=2, origin=Origin.PROPOSED, candidate=Candidate(CHANGED, Recipe(2048)).to_dict(),
    costs={"params": 1500, "flops_per_byte": 2e6}, val_bpb=1.9,
)  # fmt: skip
REJECTED = replace(FIRST, number=3, state=CandidateState.REJECTED, costs={"params": 900}, val_bpb=None, seconds=0.0)


def lines(*records: CandidateRecord) -> dict[str, Line]:
    return {line.name: line for part in compared(records) for line in part.lines}


def test_what_differs_from_the_first() -> None:
    found = lines(FIRST, SECOND)
    assert {name for name, line in found.items() if line.differs} == {
        *("came from", "validation loss", "parameters", "layers", "head tied to the embedding", "softcap"),
        *("layers that differ", "tokens in a step"),
    }
    assert [cell.text for cell in found["layers that differ"].cells] == ["none", "3"]
    assert [cell.text for cell in found["head tied to the embedding"].cells] == ["yes", "no"]
    assert [cell.text for cell in found["softcap"].cells] == ["none", "15"]


def test_numbers_say_by_how_much_and_which_is_least() -> None:
    found = lines(FIRST, SECOND, REJECTED)
    assert [(c.text, c.note, c.least) for c in found["parameters"].cells] == [
        ("1k", "", False), ("1.5k", "+50.0%", False), ("900", "-10.0%", True)
    ]  # fmt: skip
    assert [(c.text, c.note, c.least) for c in found["validation loss"].cells] == [
        ("2.000 ± 0.010", "", False), ("1.900 ± 0.010", "-0.100", True), ("—", "", False)
    ]  # fmt: skip
    assert [c.least for c in found["worker time"].cells] == [False] * 3, "less is not better"
    assert [(c.text, c.other) for c in found["worker time"].cells][2] == ("—", True)


def test_equal_ones_mark_nothing() -> None:
    found = lines(FIRST, replace(FIRST, number=9))
    assert not any(line.differs for line in found.values())
    assert not any(cell.least or cell.note for line in found.values() for cell in line.cells)


def test_one_alone_and_one_that_cannot_be_read() -> None:
    alone = lines(FIRST)
    assert alone["layers"].cells[0].text == "6" and not any(line.differs for line in alone.values())
    strange = replace(SECOND, candidate={"architecture": {"warp": 9}, "recipe": {}})
    assert [cell.text for cell in lines(FIRST, strange)["layers"].cells] == ["6", "—"]
    assert "layers" not in lines(strange), "nothing is known of any"


def test_every_field_is_compared() -> None:
    assert list(ARCHITECTURE) != [] and set(ARCHITECTURE) == {own.name for own in fields(Architecture)}
    assert set(RECIPE) == {own.name for own in fields(Recipe)}


def test_figures_of_two_searches() -> None:
    front = FrontLine("A · <b>x</b>", (3, 1), (1e6, 2e6), (2.5, 2.0))
    figure = fronts_figure("params", [front, FrontLine("B", (), (), ())])
    assert figure is not None and [len(own["x"]) for own in figure["data"]] == [2, 0]
    assert figure["layout"]["xaxis"]["type"] == "log"
    json.dumps(figure, allow_nan=False)
    assert fronts_figure("params", [FrontLine("A", (), (), ())]) is None
    volumes = volumes_figure({"A": [(10, 1.5)], "B": []})
    assert [(own["x"], own["y"]) for own in volumes["data"]] == [([0, 10], [0, 1.5]), ([0], [0])]
