"""Our weights by the names that the families of `transformers` give them (the same names in all of them), and those
that `nas.export.remote.modeling_nas` gives to what no family has."""

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor

from nas.train.model import MLP, Block, RMSNorm, SquaredMLP, Transformer, ValueEmbedding


def to_huggingface(model: Transformer) -> dict[str, Tensor]:
    """The weights as float32 on the CPU, fused matrices split, each tensor in memory of its own.

    A tied head has no tensor.
    """
    return {
        name: tensor.detach().to("cpu", torch.float32).clone(memory_format=torch.contiguous_format)
        for name, tensor in _named(model)
    }


def _named(model: Transformer) -> Iterator[tuple[str, Tensor]]:
    yield "model.embed_tokens.weight", model.embedding.weight
    if model.x0_norm is not None:
        yield "model.x0_norm.weight", model.x0_norm.weight
    for index, block in enumerate(model.blocks):
        for name, tensor in _layer(cast(Block, block)):
            yield f"model.layers.{index}.{name}", tensor
    yield "model.norm.weight", model.norm.weight
    if model.head is not None:
        yield "lm_head.weight", model.head.weight


def _layer(block: Block) -> Iterator[tuple[str, Tensor]]:
    attention = block.attention
    query, key, value = torch.split(attention.qkv.weight, list(attention.sizes))
    if block.mixture is not None:
        yield "shares", block.mixture.shares
    yield "input_layernorm.weight", block.attention_norm.weight
    yield "self_attn.q_proj.weight", query
    yield "self_attn.k_proj.weight", key
    yield "self_attn.v_proj.weight", value
    yield "self_attn.o_proj.weight", attention.out.weight
    yield from _norms(attention.query_norm, attention.key_norm)
    yield from _value_embedding(block.value_embedding)
    yield "post_attention_layernorm.weight", block.mlp_norm.weight
    yield from _mlp(block.mlp)


def _norms(query: RMSNorm | None, key: RMSNorm | None) -> Iterator[tuple[str, Tensor]]:
    if query is not None and key is not None:
        yield "self_attn.q_norm.weight", query.weight
        yield "self_attn.k_norm.weight", key.weight


def _value_embedding(own: ValueEmbedding | None) -> Iterator[tuple[str, Tensor]]:
    if own is not None:
        yield "self_attn.value_table.weight", own.table.weight
        yield "self_attn.value_scale", own.scale


def _mlp(mlp: MLP | SquaredMLP) -> Iterator[tuple[str, Tensor]]:
    if isinstance(mlp, MLP):
        gate, up = mlp.gate_up.weight.chunk(2)
        yield "mlp.gate_proj.weight", gate
    else:
        up = mlp.up.weight
    yield "mlp.up_proj.weight", up
    yield "mlp.down_proj.weight", mlp.down.weight
