from dataclasses import replace

import pytest

from nas.candidate import Architecture, Deviation
from nas.native import native_family, not_native_because

PLAIN = Architecture(
    depth=4, width=64, heads=4, head_size=16, kv_heads=2, mlp_width=96, vocabulary=256, context=64, qk_norm=False
)
EVERY_LAYER = tuple(Deviation(layer, heads=6) for layer in range(4))


@pytest.mark.parametrize(
    ("changes", "family"),
    [
        ({}, "llama"),
        ({"tied": False, "kv_heads": 1}, "llama"),
        ({"heads": 6}, "mistral"),  # llama wants 64 to be a multiple of heads
        ({"window": 16, "window_pattern": "SL"}, "ministral"),
        ({"window": 16, "window_pattern": "SL", "heads": 6}, "ministral"),
        ({"window": 16, "window_pattern": "LLLS"}, "llama"),  # the last layer is always long
        ({"qk_norm": True}, "qwen3"),
        ({"qk_norm": True, "heads": 6}, "qwen3"),
        ({"qk_norm": True, "window": 16, "window_pattern": "SSL"}, "qwen3"),
        ({"deviations": (Deviation(1, heads=4, mlp_width=96),)}, "llama"),  # says what is shared anyway
        ({"deviations": EVERY_LAYER}, "mistral"),  # one shape, though not the shared one
        ({"activation": "relu2"}, "arcee"),
        ({"activation": "relu2", "tied": False, "kv_heads": 1}, "arcee"),
    ],
)
def test_family(changes: dict[str, object], family: str) -> None:
    architecture = replace(PLAIN, **changes)  # type: ignore[arg-type]

    assert native_family(architecture) == family
    assert not_native_because(architecture) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"value_embeddings": "all"}, "value embeddings"),
        ({"value_embeddings": "alternate"}, "value embeddings"),
        ({"x0_shortcut": True}, "shortcuts from the embedding"),
        ({"softcap": 15.0}, "caps its logits (softcap 15)"),
        ({"activation": "relu2", "qk_norm": True}, "squared ReLU with norms of queries and keys"),
        ({"activation": "relu2", "window": 16, "window_pattern": "SL"}, "squared ReLU with windows"),
        ({"activation": "relu2", "heads": 6}, "a multiple of 6 heads, found 64"),
    ],
)
def test_knobs_of_speedruns_are_not_native(changes: dict[str, object], words: str) -> None:
    architecture = replace(PLAIN, **changes)  # type: ignore[arg-type]

    assert native_family(architecture) is None
    assert words in str(not_native_because(architecture))


@pytest.mark.parametrize(
    ("deviation", "words"),
    [
        (Deviation(2, mlp_width=128), "layer 2 differs from layer 0: mlp_width 128 against 96"),
        (Deviation(1, heads=8, kv_heads=4), "layer 1 differs from layer 0: heads 8 against 4, kv_heads 4 against 2"),
        (Deviation(0, mlp_width=128), "layer 1 differs from layer 0: mlp_width 96 against 128"),
    ],
)
def test_layers_of_two_shapes_are_not_native(deviation: Deviation, words: str) -> None:
    architecture = replace(PLAIN, deviations=(deviation,))

    assert native_family(architecture) is None
    assert words in str(not_native_because(architecture))
