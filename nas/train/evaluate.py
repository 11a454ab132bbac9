"""The loss of a model on an evaluation set, in bits per byte, every byte of text scored once."""

from dataclasses import dataclass

import numpy as np
import torch

from nas.cost import evaluation_flops
from nas.data.evaluation import EvaluationSet, bits_per_byte, standard_error
from nas.train.loss import token_losses
from nas.train.model import Transformer


@dataclass(frozen=True, slots=True)
class Score:
    """``error`` is the standard error over blocks of neighbouring text; ``flops`` what scoring cost."""

    bpb: float
    error: float
    flops: int


@torch.no_grad()
def score(model: Transformer, evaluation: EvaluationSet, at_once: int) -> Score:
    """Scores every window; the head is applied to scored tokens only. Leaves the model in training mode.

    ``at_once`` windows go through the model together: a micro-batch of them needs less memory than training on it.
    """
    device = next(model.parameters()).device
    window_nats = np.zeros(len(evaluation.inputs))
    model.eval()
    for first in range(0, len(evaluation.inputs), at_once):
        rows = slice(first, first + at_once)
        scored = torch.from_numpy(evaluation.scored[rows]).to(device)
        inputs = torch.from_numpy(evaluation.inputs[rows]).to(device)
        targets = torch.from_numpy(evaluation.targets[rows]).to(device)
        hidden, softcap = model.hidden(inputs)[scored], model.architecture.softcap
        losses = token_losses(hidden, model.head_weight, targets[scored], model.logits_chunk, softcap)
        window = scored.nonzero()[:, 0].cpu().numpy()
        np.add.at(window_nats[rows], window, losses.double().cpu().numpy())
    model.train()
    return Score(
        bpb=bits_per_byte(float(window_nats.sum()), evaluation.text_bytes),
        error=standard_error(window_nats, evaluation.window_bytes, evaluation.block),
        flops=evaluation_flops(model.architecture, len(evaluation.inputs), evaluation.scored_tokens),
    )
