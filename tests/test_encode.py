import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.candidate import Candidate
from nas.encode import Encoding
from nas.space import Knobs, Space, load_space

SPACE = load_space(
    {
        "knobs": {
            "depth": [1, 2, 4],
            "width": [32, 64, 128],
            "vocabulary": 512,
            "head_size": 32,
            "qk_norm": [False, True],
            "optimizer": ["adamw", "muon"],
            "window_pattern": {"values": ["L", "SL", "SSSL"], "default": "SL", "when": {"qk_norm": True}},
            "window_ratio": {"values": ["1/8", "1/4", "1/2"], "default": "1/4", "when": {"window_pattern": ["SL"]}},
            "matrix_rate": {"min": 0.5, "max": 2, "log": True},
            "warmup": {"min": 0.1, "max": 0.3, "default": 0.2},
            "weight_decay": [0, 0.1, 0.4],
        },
        "deviations": {"mlp_ratio": ["1/2", 1, 2]},
    }
)
COLUMNS = (
    *("depth", "width", "qk_norm", "optimizer", "matrix_rate", "warmup", "weight_decay"),
    *("L", "SL", "SSSL", "window_ratio"),
    *("mlp_ratio@0", "mlp_ratio@1", "mlp_ratio@2", "mlp_ratio@3"),
    "law",
)
BASE: Knobs = {
    **{"depth": 1, "width": 32, "qk_norm": True, "optimizer": "adamw", "matrix_rate": 0.5, "warmup": 0.1},
    **{"weight_decay": 0.0, "window_pattern": "L", "mlp_ratio@0": 0.5},
}


def law(candidate: Candidate) -> float:
    """Of no candidate but by its width."""
    return float(candidate.architecture.width)


def encoding_of(*widths: int, space: Space = SPACE) -> Encoding:
    return Encoding(space, law, [space.decode({"width": width}) for width in widths])


ENCODE = encoding_of(32, 64, 128)


def row_of(knobs: Knobs, encode: Encoding = ENCODE) -> dict[str, float]:
    return dict(zip(COLUMNS, encode(knobs, SPACE.decode(knobs)).tolist(), strict=True))


# What a change of one knob makes of its columns.
#
#   knob            values                  columns
#   number          32  64  128             0  1/2  1          by the logarithm, unless 0 is among them
#   two-valued      False  True             0  1
#   several words   L  SL  SSSL             1 0 0  0 1 0  0 0 1
#   range, log      0.5  1  2               0  1/2  1
#   inactive        -                       that of the default
@pytest.mark.parametrize(
    ("changes", "columns"),
    [
        ({"depth": 1}, {"depth": 0.0}),
        ({"depth": 2}, {"depth": 0.5}),
        ({"depth": 4}, {"depth": 1.0}),
        ({"width": 64}, {"width": 0.5}),
        ({"width": 128}, {"width": 1.0}),
        ({"weight_decay": 0.0}, {"weight_decay": 0.0}),
        ({"weight_decay": 0.1}, {"weight_decay": 0.25}),
        ({"weight_decay": 0.4}, {"weight_decay": 1.0}),
        ({"qk_norm": False}, {"qk_norm": 0.0}),
        ({"qk_norm": True}, {"qk_norm": 1.0}),
        ({"optimizer": "adamw"}, {"optimizer": 0.0}),
        ({"optimizer": "muon"}, {"optimizer": 1.0}),
        ({"window_pattern": "L"}, {"L": 1.0, "SL": 0.0, "SSSL": 0.0}),
        ({"window_pattern": "SL", "window_ratio": 0.25}, {"L": 0.0, "SL": 1.0, "SSSL": 0.0}),
        ({"window_pattern": "SSSL"}, {"L": 0.0, "SL": 0.0, "SSSL": 1.0}),
        ({"matrix_rate": 0.5}, {"matrix_rate": 0.0}),
        ({"matrix_rate": 1.0}, {"matrix_rate": 0.5}),
        ({"matrix_rate": 2.0}, {"matrix_rate": 1.0}),
        ({"warmup": 0.15}, {"warmup": 0.25}),
        ({"window_pattern": "SL", "window_ratio": 0.125}, {"window_ratio": 0.0}),
        ({"window_pattern": "SL", "window_ratio": 0.5}, {"window_ratio": 1.0}),
        ({"window_pattern": "L"}, {"window_ratio": 0.5}),  # inactive
        ({"mlp_ratio@0": 0.5}, {"mlp_ratio@0": 0.0, "mlp_ratio@1": 0.5}),  # the layer that is not there is like others
        ({"mlp_ratio@0": 2.0}, {"mlp_ratio@0": 1.0, "mlp_ratio@3": 0.5}),
    ],
)
def test_columns(changes: Knobs, columns: dict[str, float]) -> None:
    found = row_of({**BASE, **changes})
    assert {name: found[name] for name in columns} == pytest.approx(columns)


def test_a_knob_changes_its_own_columns_alone() -> None:
    before, after = row_of(BASE), row_of({**BASE, "width": 64})
    assert {name for name in COLUMNS if before[name] != after[name]} == {"width", "law"}


def test_without_its_condition_a_knob_is_at_its_default() -> None:
    knobs = {name: value for name, value in BASE.items() if name != "window_pattern"}
    found = row_of({**knobs, "qk_norm": False})
    assert (found["L"], found["SL"], found["SSSL"], found["window_ratio"]) == (0.0, 1.0, 0.0, 0.5)


@pytest.mark.parametrize(
    ("drawn", "width", "column"),
    [
        ((32, 128), 32, 0.0),
        ((32, 128), 64, 0.5),
        ((32, 128), 128, 1.0),
        ((64, 128), 32, -0.5),  # beyond what was drawn, but not far
        ((32, 64), 128, 1.5),
        ((64, 64), 64, 0.0),  # all alike
    ],
)
def test_the_law_s_column_is_spread_over_what_was_drawn(drawn: tuple[int, ...], width: int, column: float) -> None:
    assert row_of({**BASE, "width": width}, encoding_of(*drawn))["law"] == pytest.approx(column)


def test_a_number_of_one_value_says_nothing() -> None:
    space = load_space({"knobs": {"depth": 2, "width": [32, 64], "vocabulary": 256}, "deviations": {"kv_ratio": [1]}})
    encode = encoding_of(32, 64, space=space)
    rows = [encode(knobs, space.decode(knobs)).tolist() for knobs in space.grid("width")]
    assert rows == [[0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 1.0]]


@pytest.mark.parametrize(
    "space", [SPACE, load_space("llama-tiny"), load_space("llama-small")], ids=lambda own: own.name
)
@given(seed=st.integers(0, 2**32))
def test_every_point_lies_in_the_cube(space: Space, seed: int) -> None:
    """But for what the law expects of it; and another point lies elsewhere."""
    rng = random.Random(seed)
    encode = encoding_of(*map(int, space.values("width")), space=space)
    one, other = (space.sample(rng) for _ in range(2))
    rows: list[Any] = [encode(knobs, space.decode(knobs)) for knobs in (one, other)]
    assert all(np.all((row[:-1] >= 0) & (row[:-1] <= 1)) and 0 <= row[-1] <= 1 for row in rows)
    shared = {name for name in one if name in other and one[name] != other[name]}
    assert not shared or np.abs(rows[0] - rows[1]).max() > 0
    assert rows[0].tolist() == encode(one, space.decode(one)).tolist()
    assert not math.isnan(sum(rows[0]))
