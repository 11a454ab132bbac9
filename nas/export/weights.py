"""Our weights by the names that the families of `transformers` give them (the same names in all four)."""

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor

from nas.train.model import Block, RMSNorm, Transformer


def to_huggingface(model: Transformer) -> dict[str, Tensor]:
    """The weights as float32 on the CPU, fused matrices split, each tensor in memory of its own.

    A tied head has no tensor. The architecture must be native (`nas.native`).
    """
    return {
        name: tensor.detach().to("cpu", torch.float32).clone(memory_format=torch.contiguous_format)
        for name, tensor in _named(model)
    }


def _named(model: Transformer) -> Iterator[tuple[str, Tensor]]:
    yield "model.embed_tokens.weight", model.embedding.weight
    for index, block in enumerate(model.blocks):
        for name, tensor in _layer(cast(Block, block)):
            yield f"model.layers.{index}.{name}.weight", tensor
    yield "model.norm.weight", model.norm.weight
    if model.head is not None:
        yield "lm_head.weight", model.head.weight


def _layer(block: Block) -> Iterator[tuple[str, Tensor]]:
    attention = block.attention
    query, key, value = torch.split(attention.qkv.weight, list(attention.sizes))
    gate, up = block.mlp.gate_up.weight.chunk(2)
    yield "input_layernorm", block.attention_norm.weight
    yield "self_attn.q_proj", query
    yield "self_attn.k_proj", key
    yield "self_attn.v_proj", value
    yield "self_attn.o_proj", attention.out.weight
    yield from _norms(attention.query_norm, attention.key_norm)
    yield "post_attention_layernorm", block.mlp_norm.weight
    yield "mlp.gate_proj", gate
    yield "mlp.up_proj", up
    yield "mlp.down_proj", block.mlp.down.weight


def _norms(query: RMSNorm | None, key: RMSNorm | None) -> Iterator[tuple[str, Tensor]]:
    if query is not None and key is not None:
        yield "self_attn.q_norm", query.weight
        yield "self_attn.k_norm", key.weight
