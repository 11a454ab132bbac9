"""Optimizers: Muon for the matrices, AdamW for embeddings, head, norms and scalars, or AdamW for everything.

Rates and decay are set from outside before each step (`nas.plan`), because they are functions of progress.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, nn

from nas.cost import NEWTON_SCHULZ_STEPS
from nas.plan import Rates
from nas.train.backend import backend_of
from nas.train.model import MLP, Attention, SquaredMLP, Transformer, ValueEmbedding
from nas.train.products import by_onednn, rows_by_rows

# Coefficients of the quintic iteration of Jordan et al., "Muon" (2024): steep at zero, singular values end in
# about [0.7, 1.2], which is as good as exact orthogonality for an update.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
LARGE = 128  # smaller side from which oneDNN's products, one by one, are faster than a batch of MKL's
ADAM_BETAS = (0.9, 0.95)
ADAM_EPSILON = 1e-10
MUON_MOMENTUM = 0.95


@dataclass(frozen=True)
class Matrix:
    """Rows ``first`` to ``last`` of a parameter: one matrix of the model (query, key and value share a parameter)."""

    parameter: Tensor
    first: int
    last: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.last - self.first, self.parameter.shape[1]

    def of(self, tensor: Tensor) -> Tensor:
        return tensor[self.first : self.last]


def matrices(model: Transformer) -> list[Matrix]:
    """The hidden matrices of the model, fused projections taken apart."""
    parts = []
    for module in model.blocks.modules():
        if isinstance(module, Attention):
            parts += _stacked(module.qkv, module.sizes) + _stacked(module.out, (module.out.out_features,))
        elif isinstance(module, MLP):
            hidden = module.down.in_features
            parts += _stacked(module.gate_up, (hidden, hidden)) + _stacked(module.down, (module.down.out_features,))
        elif isinstance(module, SquaredMLP):
            parts += _stacked(module.up, (module.up.out_features,)) + _stacked(module.down, (module.down.out_features,))
    return parts


def value_embeddings(model: Transformer) -> list[Tensor]:
    """The tables of the layers, and their scales."""
    found = [module for module in model.blocks.modules() if isinstance(module, ValueEmbedding)]
    return [parameter for module in found for parameter in module.parameters()]


def _stacked(linear: nn.Linear, rows: Iterable[int]) -> list[Matrix]:
    """The matrices of the given rows that stand one above the other in a layer's weight."""
    return [Matrix(linear.weight, first, last) for first, last in pairwise(accumulate(rows, initial=0))]


def _parameters(parts: Iterable[Matrix]) -> list[Tensor]:
    """The parameters that hold the matrices, each once."""
    return list({id(part.parameter): part.parameter for part in parts}.values())


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised (Jordan et al. 2024), matrices of one shape in one batch.

    The update is scaled by sqrt(max(1, rows / columns)), so that its effect on the output's RMS, and with it the
    best rate, does not depend on the width (Bernstein, arXiv 2410.21265, section 3).
    """

    def __init__(self, parts: Iterable[Matrix]) -> None:
        parts = list(parts)
        super().__init__(_parameters(parts), {"lr": 0.0, "weight_decay": 0.0})
        by_shape: dict[tuple[int, int], list[Matrix]] = defaultdict(list)
        for part in parts:
            by_shape[part.shape].append(part)
        self._batches = list(by_shape.values())

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        group = self.param_groups[0]
        rate, decay = group["lr"], group["weight_decay"]
        parameters = group["params"]
        for parameter in parameters:
            if "momentum" not in self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        momenta = [self.state[parameter]["momentum"] for parameter in parameters]
        gradients = [parameter.grad for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - MUON_MOMENTUM)
        torch._foreach_lerp_(gradients, momenta, MUON_MOMENTUM)  # Nesterov
        if decay:
            torch._foreach_mul_(parameters, 1 - rate * decay)
        for batch in self._batches:
            update = orthogonalise(torch.stack([part.of(part.parameter.grad) for part in batch]))  # type: ignore[arg-type]
            rows, columns = batch[0].shape
            targets = [part.of(part.parameter) for part in batch]
            torch._foreach_add_(targets, list(update.unbind()), alpha=-rate * max(1.0, rows / columns) ** 0.5)


def orthogonalise(x_NRC: Tensor) -> Tensor:
    """Each of the N matrices (rows x columns) with its singular values pushed to about 1 by Newton-Schulz.

    Runs in float32 on the CPU and in bfloat16 on CUDA, where that is several times faster and as good.
    """
    x = x_NRC.bfloat16() if backend_of(x_NRC) == "cuda" else x_NRC
    wide = x.shape[1] <= x.shape[2]
    x = x if wide else x.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    if x.shape[1] >= LARGE and by_onednn(x):
        x = torch.stack([_newton_schulz(matrix) for matrix in x])
    else:
        x = _newton_schulz_batch(x)
    return (x if wide else x.mT).to(x_NRC.dtype)


def _newton_schulz_batch(x_NRC: Tensor) -> Tensor:
    a, b, c = NEWTON_SCHULZ
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = torch.bmm(x_NRC, x_NRC.mT)
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x_NRC = torch.baddbmm(x_NRC, polynomial, x_NRC, beta=a)
    return x_NRC


def _newton_schulz(x_RC: Tensor) -> Tensor:
    a, b, c = NEWTON_SCHULZ
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = rows_by_rows(x_RC, x_RC)
        polynomial = rows_by_rows(gram, gram).mul_(c).add_(gram, alpha=b)  # gram is its own transpose
        x_RC = rows_by_rows(polynomial, x_RC.t()).add_(x_RC, alpha=a)
    return x_RC


class Optimizers:
    """The optimizers of one model behind one face."""

    def __init__(self, model: Transformer, kind: str) -> None:
        parts, looked_up = matrices(model), value_embeddings(model)
        apart = set(map(id, looked_up))
        roles: dict[str, list[Tensor]] = {
            "embedding": [model.embedding.weight, *looked_up],
            "head": [model.head.weight] if model.head is not None else [],
            "matrix": _parameters(parts) if kind == "adamw" else [],
            "vector": [own for own in model.parameters() if own.ndim == 1 and id(own) not in apart],
        }
        self.adam = torch.optim.AdamW(
            [{"params": parameters, "role": role} for role, parameters in roles.items() if parameters],
            lr=0.0,
            betas=ADAM_BETAS,
            eps=ADAM_EPSILON,
            weight_decay=0.0,
            fused=next(model.parameters()).device.type in ("cpu", "cuda"),
        )
        self.muon = Muon(parts) if kind == "muon" else None

    @property
    def all(self) -> dict[str, torch.optim.Optimizer]:
        return {"adam": self.adam, **({"muon": self.muon} if self.muon is not None else {})}

    def step(self, rates: Rates) -> None:
        """One update with the rates of this step; gradients are freed."""
        for group in self.adam.param_groups:
            group["lr"] = getattr(rates, group["role"])
            group["weight_decay"] = rates.decay if group["role"] == "matrix" else 0.0
        if self.muon is not None:
            self.muon.param_groups[0].update(lr=rates.matrix, weight_decay=rates.decay)
        for optimizer in self.all.values():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        return {name: optimizer.state_dict() for name, optimizer in self.all.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, optimizer in self.all.items():
            optimizer.load_state_dict(state[name])
