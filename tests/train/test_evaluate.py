import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from nas.candidate import Architecture
from nas.data.evaluation import standard_error
from nas.data.texts import Texts
from nas.train.evaluate import score
from nas.train.model import Transformer

Build = Callable[..., Transformer]
PLAIN = Architecture(depth=2, width=16, heads=4, head_size=4, kv_heads=2, mlp_width=24, vocabulary=320, context=32)


@pytest.mark.parametrize(("vocabulary", "context"), [(256, 16), (256, 64), (320, 16), (320, 64)])
def test_every_byte_is_scored_once(tiny_texts: Texts, vocabulary: int, context: int) -> None:
    """A model that knows nothing pays log2 V bits for each token: 8 bits for each byte when tokens are bytes."""
    model = Transformer(replace(PLAIN, vocabulary=vocabulary, context=context, tied=False))
    model.initialise(0)  # the head is zero
    evaluation = tiny_texts.evaluation("validation", vocabulary, context)
    shard = tiny_texts.shard("validation", vocabulary)
    tokens = len(shard.tokens) - shard.documents
    found = score(model, evaluation, 3)
    assert found.bpb == pytest.approx(tokens * math.log2(vocabulary) / shard.text_bytes, rel=1e-6)
    if vocabulary == 256:
        assert found.bpb == pytest.approx(8.0, rel=1e-6)


@pytest.mark.parametrize("changes", [{}, {"window": 8, "window_pattern": "SL"}])
def test_equals_scoring_token_by_token(tiny_texts: Texts, random_model: Build, changes: dict[str, object]) -> None:
    model = random_model(replace(PLAIN, **changes)).eval()  # type: ignore[arg-type]
    evaluation = tiny_texts.evaluation("validation", 320, 32)
    nats = np.zeros(len(evaluation.inputs))
    with torch.no_grad():
        for row, inputs in enumerate(evaluation.inputs):
            logits = model.logits(torch.from_numpy(inputs)[None])[0].double()
            for position in np.flatnonzero(evaluation.scored[row]):
                target = int(evaluation.targets[row, position])
                nats[row] -= float(logits[position].log_softmax(-1)[target])
    size = tiny_texts.corpus.split_bytes("validation")
    for at_once in (1, 5, 1000):
        found = score(model, evaluation, at_once)
        assert found.bpb == pytest.approx(nats.sum() / math.log(2) / size, rel=1e-5)
        assert found.error == pytest.approx(standard_error(nats, evaluation.window_bytes, evaluation.block), rel=1e-3)


def test_dropout_is_off_and_training_goes_on(tiny_texts: Texts, random_model: Build) -> None:
    evaluation = tiny_texts.evaluation("validation", 320, 32, rung=True)
    plain, dropping = random_model(PLAIN), random_model(PLAIN, 0.5).train()
    assert score(dropping, evaluation, 4) == score(plain, evaluation, 4)
    assert dropping.training
    assert all(parameter.grad is None for parameter in dropping.parameters())


def test_scoring_draws_no_random_numbers(tiny_texts: Texts, random_model: Build) -> None:
    model = random_model(PLAIN, 0.5)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    score(model, tiny_texts.evaluation("test", 320, 32), 4)
    assert torch.equal(torch.rand(1), expected)


def test_half_precision(tiny_texts: Texts, random_model: Build) -> None:
    evaluation = tiny_texts.evaluation("validation", 320, 32)
    half, full = (score(random_model(PLAIN, precision=own), evaluation, 8) for own in ("bfloat16", "float32"))
    assert half.bpb != full.bpb
    assert half.bpb == pytest.approx(full.bpb, rel=0.01)
