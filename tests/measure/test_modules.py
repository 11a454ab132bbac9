"""The table of modules against tables written by hand, and its sums against the closed forms."""

import random
from dataclasses import replace
from functools import cache

import pytest
import torch
import torch.nn.functional as F

from nas.candidate import Architecture, Candidate, Deviation, Recipe
from nas.cost import forward_flops, params
from nas.errors import ProfileError
from nas.measure import modules
from nas.measure.modules import ModuleRow, module_table
from nas.space import Space, load_space

SAMPLES = 42
T, D, E, V = 16, 8, 4, 256  # context, width, head size, vocabulary
PLAIN = Architecture(
    depth=1, width=D, heads=2, head_size=E, kv_heads=2, mlp_width=12, vocabulary=V, context=T, qk_norm=False
)
NORM = ("RMSNorm", D, 0, 4 * T * D)
ROTARY = 3.5  # FLOPs for each number: two products and a sum, and a sign for every second
Row = tuple[str, int, int, float]  # kind, parameters, FLOPs, other FLOPs; in what is more than one module: its own


def table(architecture: Architecture) -> list[ModuleRow]:
    return module_table(Candidate(architecture, Recipe(architecture.context)))


def own(rows: list[ModuleRow]) -> dict[str, tuple[str, int, int, int]]:
    """Each row by name, less what its children have."""
    found = {}
    for row in rows:
        below = [child for child in rows if child.depth == row.depth + 1 and is_within(child, row)]
        found[row.name] = (
            row.kind,
            row.params - sum(child.params for child in below),
            row.flops - sum(child.flops for child in below),
            row.other_flops - sum(child.other_flops for child in below),
        )
    return found


def is_within(child: ModuleRow, row: ModuleRow) -> bool:
    return row.name == "" or child.name.startswith(f"{row.name}.")


def by_hand(*blocks: dict[str, Row]) -> dict[str, Row]:
    """The whole model of these blocks, tied: its own FLOPs are the head's."""
    whole: dict[str, Row] = {"": ("Transformer", 0, 2 * T * D * V, 0), "embedding": ("Embedding", V * D, 0, 0)}
    whole["blocks"] = ("ModuleList", 0, 0, 0)
    for index, block in enumerate(blocks):
        whole |= {f"blocks.{index}{name}": row for name, row in block.items()}
    return whole | {"norm": NORM}


BLOCK: dict[str, Row] = {
    "": ("Block", 0, 0, 2 * T * D),  # added twice to the stream
    ".attention_norm": NORM,
    ".attention": ("Attention", 0, 4 * T * T * 8, ROTARY * T * (8 + 8) + 5 * 2 * T * T),
    ".attention.qkv": ("Linear", 8 * (8 + 8 + 8), 2 * T * 8 * (8 + 8 + 8), 0),
    ".attention.out": ("Linear", 8 * 8, 2 * T * 8 * 8, 0),
    ".mlp_norm": NORM,
    ".mlp": ("MLP", 0, 0, 5 * T * 12),  # activation and product
    ".mlp.gate_up": ("Linear", 8 * 24, 2 * T * 8 * 24, 0),
    ".mlp.down": ("Linear", 12 * 8, 2 * T * 12 * 8, 0),
}
GROUPED = BLOCK | {  # one key/value head for two of queries
    ".attention": ("Attention", 0, 4 * T * T * 8, ROTARY * T * (8 + 4) + 5 * 2 * T * T),
    ".attention.qkv": ("Linear", 8 * (8 + 4 + 4), 2 * T * 8 * (8 + 4 + 4), 0),
}
SHORT = BLOCK | {  # a window of 2: four keys for each query
    ".attention": ("Attention", 0, 4 * T * 4 * 8, ROTARY * T * (8 + 8) + 5 * 2 * T * 4),
}
NORMED = BLOCK | {
    ".attention.query_norm": ("RMSNorm", 4, 0, 4 * T * 8),
    ".attention.key_norm": ("RMSNorm", 4, 0, 4 * T * 8),
}
DEVIATING = BLOCK | {  # three heads, one key/value head, hidden size 20
    ".attention": ("Attention", 0, 4 * T * T * 12, ROTARY * T * (12 + 4) + 5 * 3 * T * T),
    ".attention.qkv": ("Linear", 8 * (12 + 4 + 4), 2 * T * 8 * (12 + 4 + 4), 0),
    ".attention.out": ("Linear", 12 * 8, 2 * T * 12 * 8, 0),
    ".mlp": ("MLP", 0, 0, 5 * T * 20),
    ".mlp.gate_up": ("Linear", 8 * 40, 2 * T * 8 * 40, 0),
    ".mlp.down": ("Linear", 20 * 8, 2 * T * 20 * 8, 0),
}
SQUARED = {name: row for name, row in BLOCK.items() if name != ".mlp.gate_up"} | {
    ".mlp": ("SquaredMLP", 0, 0, 2 * T * 12),  # what is positive, its square
    ".mlp.up": ("Linear", 8 * 12, 2 * T * 8 * 12, 0),
}
EMBEDDED = BLOCK | {
    ".attention": ("Attention", 0, 4 * T * T * 8, ROTARY * T * (8 + 8) + 5 * 2 * T * T + T * 8),  # added to values
    ".value_embedding": ("ValueEmbedding", 2, 0, T * 8),  # a scale for each head
    ".value_embedding.table": ("Embedding", V * 8, 0, 0),
}
MIXED = BLOCK | {".mixture": ("Mixture", 2, 0, 3 * T * D)}
SHORTCUT = by_hand(MIXED, MIXED) | {"x0_norm": NORM}
CAPPED = by_hand(BLOCK) | {"": ("Transformer", 0, 2 * T * D * V, 3 * T * V)}
UNTIED = by_hand(BLOCK) | {"": ("Transformer", 0, 0, 0), "head": ("Linear", V * D, 2 * T * D * V, 0)}
THREE_HEADS = Deviation(1, heads=3, kv_heads=1, mlp_width=20)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, by_hand(BLOCK)),
        ({"tied": False}, UNTIED),
        ({"kv_heads": 1}, by_hand(GROUPED)),
        ({"depth": 2, "window": 2, "window_pattern": "S"}, by_hand(SHORT, BLOCK)),
        ({"qk_norm": True}, by_hand(NORMED)),
        ({"depth": 3, "deviations": (THREE_HEADS,)}, by_hand(BLOCK, DEVIATING, BLOCK)),
        ({"activation": "relu2"}, by_hand(SQUARED)),
        ({"depth": 2, "value_embeddings": "alternate"}, by_hand(BLOCK, EMBEDDED)),
        ({"value_embeddings": "all"}, by_hand(EMBEDDED)),
        ({"depth": 2, "x0_shortcut": True}, SHORTCUT),
        ({"softcap": 15.0}, CAPPED),
    ],
    ids=[
        *("plain", "untied", "grouped", "window", "qk_norm", "deviating"),
        *("squared ReLU", "alternate value embeddings", "value embeddings", "shortcut", "softcap"),
    ],
)
def test_each_row_by_hand(changes: dict[str, object], expected: dict[str, Row]) -> None:
    assert own(table(replace(PLAIN, **changes))) == expected  # type: ignore[arg-type]


def test_a_row_has_all_that_is_in_it() -> None:
    rows = {row.name: row for row in table(PLAIN)}
    attention = 8 * 24 + 8 * 8
    assert rows["blocks.0.attention"] == ModuleRow(
        name="blocks.0.attention",
        kind="Attention",
        depth=3,
        params=attention,
        flops=2 * T * attention + 4 * T * T * 8,
        other_flops=56 * T + 10 * T * T,
    )
    assert list(rows)[:5] == ["", "embedding", "blocks", "blocks.0", "blocks.0.attention_norm"]
    assert [rows[name].depth for name in ("", "blocks", "blocks.0", "blocks.0.mlp", "blocks.0.mlp.down")] == [*range(5)]
    assert rows["blocks"].flops == rows["blocks.0"].flops == forward_flops(PLAIN) - 2 * T * D * V


@cache
def llama_tiny() -> Space:
    return load_space("llama-tiny")


def sampled(index: int) -> Candidate:
    """A candidate of llama-tiny, some with deviations or a vocabulary of bytes."""
    rng, space = random.Random(index), llama_tiny()
    knobs = space.sample(rng)
    if index % 7 == 3:
        knobs["vocabulary"] = 256
    candidate = space.decode(knobs)
    if index % 5 == 1:
        kv_heads = rng.randint(1, 4)
        layer = rng.randrange(candidate.architecture.depth)
        deviation = Deviation(layer, heads=kv_heads * rng.randint(1, 3), kv_heads=kv_heads, mlp_width=40)
        candidate = replace(candidate, architecture=replace(candidate.architecture, deviations=(deviation,)))
    return candidate


@pytest.mark.parametrize("group", range(6))
def test_sums_are_the_closed_forms(group: int) -> None:
    for index in range(group, SAMPLES, 6):
        candidate = sampled(index)
        architecture = candidate.architecture
        rows = module_table(candidate)
        assert (rows[0].params, rows[0].flops) == (params(architecture), forward_flops(architecture))
        assert rows[0].other_flops > 0
        layers = architecture.layers()
        attention = {
            f"blocks.{i}.attention": 4 * architecture.context * keys * layer.heads * architecture.head_size
            for i, layer in enumerate(layers)
            for keys in [2 * layer.window or architecture.context]
        }
        head = 2 * architecture.context * architecture.width * architecture.vocabulary
        leaves = {"RMSNorm", "Linear", "Embedding"}
        containers = {name: row for name, row in own(rows).items() if row[0] not in leaves}
        assert {name: row[2] for name, row in containers.items() if row[2]} == attention | (
            {"": head} if architecture.tied else {}
        )
        assert not any(row[1] for row in containers.values())


def test_the_samples_are_of_all_kinds() -> None:
    architectures = [sampled(index).architecture for index in range(SAMPLES)]
    kinds = {
        "windows": [any(layer.window for layer in a.layers()) for a in architectures],
        "grouped": [a.heads != a.kv_heads for a in architectures],
        "tied": [a.tied for a in architectures],
        "qk_norm": [a.qk_norm for a in architectures],
        "deviating": [bool(a.deviations) for a in architectures],
        "deep": [a.depth > 2 for a in architectures],
    }
    for kind, found in kinds.items():
        assert 5 <= sum(found) <= SAMPLES - 5, kind


# --- nothing is free, nothing is a footnote ---


@pytest.mark.parametrize("operator", ["silu", "rms_norm", "neg"])
def test_an_operator_without_a_formula_is_an_error(operator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(modules.ELEMENTWISE, operator)
    with pytest.raises(ProfileError, match=rf"no formula for the FLOPs of aten::{operator}$"):
        table(PLAIN)


def test_attention_without_a_formula_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers = modules._handlers()
    del handlers["aten::scaled_dot_product_attention"]
    monkeypatch.setattr(modules, "_handlers", lambda: handlers)
    with pytest.raises(ProfileError, match=r"no formula for the FLOPs of aten::scaled_dot_product_attention$"):
        table(PLAIN)


def test_an_operator_that_is_new_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "silu", torch.erf)
    with pytest.raises(ProfileError, match=r"no formula for the FLOPs of aten::erf$"):
        table(PLAIN)


@pytest.mark.parametrize(("form", "what"), [("params", "parameters"), ("forward_flops", "forward FLOPs")])
def test_a_sum_that_differs_is_an_error(form: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = getattr(modules, form)(PLAIN)
    monkeypatch.setattr(modules, form, lambda architecture: exact + 1)
    with pytest.raises(ProfileError, match=rf"{what}.*: fvcore counts {exact:,}, the closed form {exact + 1:,}$"):
        table(PLAIN)
