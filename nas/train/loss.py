"""Cross-entropy of a linear head without its logits in memory.

The head's logits (N x V) are by far the largest tensor of a small model. They are made one chunk of rows at a time,
and the gradients of the chunk are taken at once, so that a chunk's logits live in cache and are never made twice:
the same three matrix products as the plain loss, N x V in place of N x V x 3 bytes moved through memory.
"""

from typing import Any

import torch
from torch import Tensor

from nas.cost import LOGITS_CHUNK
from nas.train.backend import alike
from nas.train.products import rows_by_rows


def chunk_rows(rows: int, vocabulary: int, chunk: int) -> int:
    """Rows whose logits are made at once, ``chunk`` of them and at least one row."""
    return max(1, min(rows, chunk // vocabulary))


def capped(logits: Tensor, softcap: float) -> Tensor:
    """softcap * tanh(logits / softcap), the logits themselves for a cap of 0 (Gemma 2, arXiv 2408.00118, section 2)."""
    return torch.tanh(logits / softcap) * softcap if softcap else logits


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, chunk: int, softcap: float
    ) -> Tensor:
        rows = hidden_ND.shape[0]
        step = chunk_rows(rows, weight_VD.shape[0], chunk)
        weight = weight_VD.to(hidden_ND.dtype)
        grad_hidden = torch.empty_like(hidden_ND)
        grad_weight_DV = weight_VD.new_zeros(weight_VD.shape[::-1])
        total = hidden_ND.new_zeros((), dtype=torch.float32)
        for first in alike(range(0, rows, step)):
            hidden, targets = hidden_ND[first : first + step], targets_N[first : first + step, None]
            logits = rows_by_rows(hidden, weight).float()
            if softcap:  # in place, as all that is done to a chunk
                logits.div_(softcap).tanh_().mul_(softcap)
            # softmax is one pass through the logits; the normaliser is had from it, its largest value is exp(0) / sum
            largest, picked = logits.amax(dim=-1, keepdim=True), logits.gather(1, targets)
            gradient = torch.softmax(logits, dim=-1)
            total += (largest - picked - gradient.amax(dim=-1, keepdim=True).log()).sum()
            gradient.scatter_add_(1, targets, gradient.new_full(targets.shape, -1.0))
            if softcap:  # the slope of the cap is 1 - tanh^2
                gradient.addcmul_(gradient, logits.div_(softcap).square_(), value=-1)
            gradient = gradient.to(hidden.dtype)
            grad_hidden[first : first + step] = rows_by_rows(gradient, weight.t())
            grad_weight_DV += rows_by_rows(hidden.t(), gradient.t())
        ctx.save_for_backward(grad_hidden, grad_weight_DV)
        return total / rows

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        grad_hidden, grad_weight_DV = ctx.saved_tensors
        share = grad / grad_hidden.shape[0]
        return grad_hidden * share, (grad_weight_DV * share).t(), None, None, None


def linear_cross_entropy(
    hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, chunk: int = LOGITS_CHUNK, softcap: float = 0.0
) -> Tensor:
    """Mean of -log softmax(hidden @ weight.T)[target] over the N rows, in nats; ``chunk`` logits are made at once and
    `capped`."""
    if torch.is_grad_enabled():
        loss: Tensor = _LinearCrossEntropy.apply(hidden_ND, weight_VD, targets_N, chunk, softcap)  # type: ignore[no-untyped-call]
        return loss
    return token_losses(hidden_ND, weight_VD, targets_N, chunk, softcap).mean()


def token_losses(
    hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, chunk: int = LOGITS_CHUNK, softcap: float = 0.0
) -> Tensor:
    """-log softmax(hidden @ weight.T)[target] for each of the N rows in float32, by chunks, without gradients."""
    step = chunk_rows(hidden_ND.shape[0], weight_VD.shape[0], chunk)
    losses = []
    for first in range(0, hidden_ND.shape[0], step):
        logits = capped(rows_by_rows(hidden_ND[first : first + step], weight_VD.to(hidden_ND.dtype)).float(), softcap)
        picked = logits.gather(1, targets_N[first : first + step, None])[:, 0]
        losses.append(logits.logsumexp(dim=-1) - picked)
    return torch.cat(losses)
