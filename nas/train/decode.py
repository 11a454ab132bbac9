"""A model used: one sequence, token by token, with the keys and values of what was read kept.

Shapes by the legend of `nas.train.model`; B is 1.
"""

import torch
from torch import Tensor

from nas.train.fused import attention
from nas.train.loss import capped
from nas.train.model import Attention, Block, Transformer, attend


class Decoder:
    """Reads up to a context of tokens.

    The cache of a layer holds all positions; of one with a window only the last W are looked at.
    """

    def __init__(self, model: Transformer) -> None:
        self._model = model
        self._blocks = [block for block in model.blocks if isinstance(block, Block)]
        self._caches = [_Cache(block.attention, model) for block in self._blocks]
        self._position = 0

    @property
    def full(self) -> bool:
        """No further token fits the context."""
        return self._position == self._model.architecture.context

    @torch.no_grad()
    def read(self, tokens_T: Tensor) -> Tensor:
        """Reads the next tokens, any number at first and then one at a time; logits (V) of what follows the last."""
        model, first = self._model, self._position
        last = first + len(tokens_T)
        cos_TE, sin_TE = model.cos_TE[first:last], model.sin_TE[first:last]
        x_BTD = model.embedding(tokens_T[None])
        x0_BTD = model.x0(x_BTD)
        for block, cache in zip(self._blocks, self._caches, strict=True):
            own, x_BTD = block.attention, block.mixed(x_BTD, x0_BTD)
            normed, added = block.attention_norm(x_BTD).to(model.dtype), block.added(tokens_T[None])
            q_BHTE, k_BKTE, v_BKTE = own.project(normed, cos_TE, sin_TE, added)
            x_BTD = x_BTD + own.merge(cache.attend(q_BHTE, k_BKTE, v_BKTE, first))
            x_BTD = x_BTD + block.mlp(block.mlp_norm(x_BTD).to(model.dtype))
        self._position = last
        hidden_D = model.norm(x_BTD[0, -1]).to(model.dtype)
        logits_V: Tensor = (model.head_weight.to(model.dtype) @ hidden_D).float()
        return capped(logits_V, model.architecture.softcap)


class _Cache:
    def __init__(self, layer: Attention, model: Transformer) -> None:
        shape = (1, layer.kv_heads, model.architecture.context, layer.head_size)
        self._window = layer.window
        self._keys, self._values = (model.cos_TE.new_zeros(shape, dtype=model.dtype) for _ in range(2))

    def attend(self, q_BHTE: Tensor, k_BKTE: Tensor, v_BKTE: Tensor, first: int) -> Tensor:
        """Of tokens from position ``first`` on to themselves and those before them."""
        last = first + q_BHTE.shape[2]
        self._keys[:, :, first:last], self._values[:, :, first:last] = k_BKTE, v_BKTE
        if not first:
            return attend(q_BHTE, k_BKTE, v_BKTE, self._window)
        seen = slice(max(0, last - self._window) if self._window else 0, last)
        return attention(q_BHTE, self._keys[:, :, seen], self._values[:, :, seen])
