"""Small models whose every weight matters."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from nas.candidate import Architecture
from nas.train.model import Transformer


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def random_model() -> Callable[..., Transformer]:
    """`Transformer.initialise` leaves output projections at zero, which would hide what the blocks compute."""

    def build(architecture: Architecture, dropout: float = 0.0, **settings: Any) -> Transformer:
        model = Transformer(architecture, dropout, **settings)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                offset = 1.0 if parameter.ndim == 1 else 0.0
                parameter.copy_(offset + 0.2 * torch.randn(parameter.shape, generator=generator))
        return model

    return build
