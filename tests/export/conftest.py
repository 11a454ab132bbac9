"""Models whose every weight matters, and a tokenizer of each kind."""

from collections.abc import Callable

import pytest
import torch

from nas.candidate import Architecture
from nas.data.documents import Corpus, Document
from nas.data.tokenizer import Tokenizer, raw_bytes, train_tokenizer
from nas.train.model import Transformer

BPE_VOCABULARY = 320


@pytest.fixture(scope="module")
def tokenizers() -> dict[int, Tokenizer]:
    """By vocabulary: raw bytes and byte-level BPE."""
    text = "the quick brown fox jumps over the lazy dog; it's naïve, déjà vu and 日本語 again and again\n" * 40
    corpus = Corpus("fox", (Document("a", text),), (Document("b", "the dog"),), (Document("c", "the fox"),))
    return {256: raw_bytes(), BPE_VOCABULARY: train_tokenizer(corpus, BPE_VOCABULARY)}


@pytest.fixture(scope="module")
def random_model() -> Callable[[Architecture], Transformer]:
    """`Transformer.initialise` leaves output projections at zero, which would hide what the blocks compute."""

    def build(architecture: Architecture) -> Transformer:
        model = Transformer(architecture)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                offset = 1.0 if parameter.ndim == 1 else 0.0
                parameter.copy_(offset + 0.05 * torch.randn(parameter.shape, generator=generator))
        return model.eval()

    return build
