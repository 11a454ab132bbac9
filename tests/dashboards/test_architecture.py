"""Architectures as drawings: nothing is left out, and what is drawn is XML."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.architecture import WIDTH, Group, drawing, groups, in_words
from nas.candidate import Architecture, Candidate, Deviation, Layer
from tests.test_candidate import candidates

PLAIN = Architecture(6, 128, 8, 16, 4, 384, 4096, 256)
SVG = "{http://www.w3.org/2000/svg}"


def drawn(own: Architecture, name: str = "it", key: str = "k") -> ElementTree.Element:
    return ElementTree.fromstring(drawing(own, name, key))


def texts(own: Architecture) -> list[str]:
    return [each.text or "" for each in drawn(own).iter(f"{SVG}text")]


@given(candidates())
def test_every_layer_is_drawn_once(candidate: Candidate) -> None:
    own = candidate.architecture
    numbers = [int(number) for group in drawn(own).iter(f"{SVG}g") for number in group.attrib["data-layers"].split()]
    assert sorted(numbers) == list(range(own.depth))


@given(candidates())
def test_groups_are_the_layers(candidate: Candidate) -> None:
    layers = candidate.architecture.layers()
    found = groups(layers)
    assert tuple(layer for group in found for _ in range(group.times) for layer in group.pattern) == layers
    for group in found:
        for block in group.blocks():
            assert {layers[number] for number in block.numbers} == {block.layer}


@given(candidates())
def test_all_stays_within_the_drawing(candidate: Candidate) -> None:
    root = drawn(candidate.architecture)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    assert width == WIDTH
    for own in root.iter(f"{SVG}rect"):
        x, y, wide, high = (float(own.attrib[name]) for name in ("x", "y", "width", "height"))
        assert x >= 0 and x + wide <= WIDTH and y >= 0 and y + high <= height and wide > 0
    for own in root.iter(f"{SVG}text"):
        assert 0 <= float(own.attrib["x"]) <= WIDTH and 0 <= float(own.attrib["y"]) <= height


A, B, C = (Layer(8, 4, width, 0) for width in (1, 2, 3))


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([A], [(0, "A", 1)]),
        ([A, A, A], [(0, "A", 3)]),
        ([A, B, A, B], [(0, "AB", 2)]),
        ([A, A, B, A, A, B, A, C], [(0, "AAB", 2), (6, "A", 1), (7, "C", 1)]),  # the longest that repeats itself
        ([A, A, A, B, C], [(0, "A", 3), (3, "B", 1), (4, "C", 1)]),
    ],
)
def test_what_repeats_itself(layers: list[Layer], expected: list[tuple[int, str, int]]) -> None:
    names = {A: "A", B: "B", C: "C"}
    assert [(g.first, "".join(names[own] for own in g.pattern), g.times) for g in groups(layers)] == expected


def test_blocks_of_a_pattern() -> None:
    short, long = Group(1, (A, A, B), 2).blocks()
    assert (short.layer, short.row, short.numbers) == (A, 2, (1, 2, 4, 5))
    assert (long.layer, long.row, long.numbers) == (B, 1, (3, 6))


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, ["embedding", "4,096 tokens × 128", "Layers 1 to 6", "×6", "8 heads of 16, 4 KV, normed", "all 256"]),
        ({}, ["128 → 384 → 128", "SwiGLU, gated", "the embedding again (tied)"]),
        ({"tied": False}, ["128 × 4,096 tokens"]),
        ({"depth": 1}, ["Layer 1"]),
        ({"heads": 1, "kv_heads": 1, "qk_norm": False}, ["1 head of 16"]),
        ({"window": 64, "window_pattern": "SL"}, ["window 64", "all 256", "Layers 1, 3, 5", "×3"]),
        ({"activation": "relu2"}, ["squared ReLU"]),
        ({"value_embeddings": "all"}, ["+ value embedding 4,096 × 64"]),
        ({"x0_shortcut": True}, ["x0"]),
        ({"softcap": 15}, ["softcap", "15 tanh(logits / 15)"]),
        ({"deviations": (Deviation(2, mlp_width=512),)}, ["Layer 3", "differs: MLP 512, elsewhere 384", "×2", "×3"]),
    ],
)
def test_what_is_written_in_it(changes: dict[str, object], shown: list[str]) -> None:
    own = replace(PLAIN, **changes)  # type: ignore[arg-type]
    assert [text for text in shown if text not in texts(own)] == []


def test_what_is_not_there_is_not_drawn() -> None:
    told = " ".join(texts(PLAIN))
    assert not any(word in told for word in ("x0", "softcap", "value embedding", "window", "differs"))


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff")))
def test_names_are_escaped(name: str) -> None:
    root = drawn(PLAIN, name, '"><script>')
    assert [own.text or "" for own in root.iter(f"{SVG}title")] == [name]
    assert root.find(f".//{SVG}script") is None


def test_those_who_cannot_see_it_are_told() -> None:
    root = drawn(PLAIN, "Architecture of candidate 4", "a4")
    assert (root.attrib["role"], root.attrib["aria-labelledby"], root.attrib["aria-describedby"]) == (
        *("img", "a4-title", "a4-desc"),
    )
    assert [own.text for own in root.iter(f"{SVG}desc")] == [in_words(PLAIN)]
    assert in_words(replace(PLAIN, x0_shortcut=True, softcap=30, deviations=(Deviation(5, heads=4, kv_heads=4),))) == (
        "Tokens of a vocabulary of 4,096 are embedded in width 128. "
        "Each layer begins by mixing the embedding into its input (x0 shortcut). "
        "Layers 1 to 5: attention by 8 heads of 16, 4 KV over all 256 tokens, "
        "then an MLP of width 384 (SwiGLU, gated). "
        "Layer 6: attention by 4 heads of 16 over all 256 tokens, then an MLP of width 384 (SwiGLU, gated); "
        "heads 4, elsewhere 8. The head is the embedding again. Logits are capped softly at 30."
    )
