"""A decoder-only transformer whose layers may differ. Part of the model's folder; needs torch and transformers alone.

Shapes: B batch, T tokens, S tokens and those before them, D width, H query heads, K key/value heads, E head size,
V vocabulary.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from .configuration_nas import NasConfig


class RMSNorm(nn.Module):
    def __init__(self, size: int, epsilon: float) -> None:
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.ones(size)), epsilon

    def forward(self, x: Tensor) -> Tensor:
        scale = (x.float().square().mean(-1, keepdim=True) + self.epsilon).rsqrt()
        return (x.float() * scale).to(x.dtype) * self.weight


class Attention(nn.Module):
    """Grouped-query attention with rotary positions and, in some layers, a table that is added to the values."""

    def __init__(self, config: NasConfig, index: int) -> None:
        super().__init__()
        own = config.layers[index]
        self.index, self.window, self.head_dim = index, own["window"], config.head_dim
        self.heads, self.kv_heads = own["heads"], own["kv_heads"]
        query, key = self.heads * self.head_dim, self.kv_heads * self.head_dim
        self.q_proj = nn.Linear(config.hidden_size, query, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, key, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, key, bias=False)
        self.o_proj = nn.Linear(query, config.hidden_size, bias=False)
        self.q_norm = RMSNorm(self.head_dim, config.rms_norm_eps) if config.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(self.head_dim, config.rms_norm_eps) if config.qk_norm else nn.Identity()
        self.value_table = nn.Embedding(config.vocab_size, key) if own["value_embedding"] else None
        self.value_scale = nn.Parameter(torch.ones(self.kv_heads)) if own["value_embedding"] else None

    def forward(
        self, x_BTD: Tensor, tokens_BT: Tensor, rotation: tuple[Tensor, Tensor], seen_BTS: Tensor, cache: Cache | None
    ) -> Tensor:
        q_BHTE = rotate(self.q_norm(self._heads(self.q_proj(x_BTD))), *rotation)
        k_BKSE = rotate(self.k_norm(self._heads(self.k_proj(x_BTD))), *rotation)
        v_BKSE = self._heads(self.v_proj(x_BTD))
        if self.value_table is not None and self.value_scale is not None:
            v_BKSE = v_BKSE + self._heads(self.value_table(tokens_BT)) * self.value_scale[:, None, None]
        if cache is not None:
            k_BKSE, v_BKSE = cache.update(k_BKSE, v_BKSE, self.index)
        shared = self.heads // self.kv_heads
        k_BHSE, v_BHSE = k_BKSE.repeat_interleave(shared, 1), v_BKSE.repeat_interleave(shared, 1)
        y_BHTE = F.scaled_dot_product_attention(q_BHTE, k_BHSE, v_BHSE, attn_mask=seen_BTS[:, None])
        return self.o_proj(y_BHTE.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        """(B, T, heads x E) to (B, heads, T, E)."""
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)


def rotate(x_BHTE: Tensor, cos_BTE: Tensor, sin_BTE: Tensor) -> Tensor:
    first, second = x_BHTE.chunk(2, dim=-1)
    return x_BHTE * cos_BTE[:, None] + torch.cat((-second, first), dim=-1) * sin_BTE[:, None]


class MLP(nn.Module):
    def __init__(self, config: NasConfig, index: int) -> None:
        super().__init__()
        width, hidden = config.hidden_size, config.layers[index]["mlp_width"]
        self.gate_proj = nn.Linear(width, hidden, bias=False) if config.activation == "swiglu" else None
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.gate_proj is None:
            return self.down_proj(F.relu(self.up_proj(x)).square())
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, config: NasConfig, index: int) -> None:
        super().__init__()
        self.shares = nn.Parameter(torch.tensor([1.0, 0.0])) if config.x0_shortcut else None
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config, index)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = MLP(config, index)

    def forward(self, x_BTD: Tensor, x0_BTD: Tensor, *given: Any) -> Tensor:
        if self.shares is not None:
            x_BTD = x_BTD * self.shares[0] + x0_BTD * self.shares[1]
        x_BTD = x_BTD + self.self_attn(self.input_layernorm(x_BTD), *given)
        return x_BTD + self.mlp(self.post_attention_layernorm(x_BTD))


class NasPreTrainedModel(PreTrainedModel):
    config_class = NasConfig
    base_model_prefix = "model"


class NasModel(NasPreTrainedModel):
    def __init__(self, config: NasConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.x0_norm = RMSNorm(config.hidden_size, config.rms_norm_eps) if config.x0_shortcut else nn.Identity()
        self.layers = nn.ModuleList(Layer(config, index) for index in range(len(config.layers)))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        **more: Any,
    ) -> BaseModelOutputWithPast:
        if past_key_values is None and (self.config.use_cache if use_cache is None else use_cache):
            past_key_values = DynamicCache()
        past = past_key_values.get_seq_length() if past_key_values is not None else 0
        x_BTD = self.embed_tokens(input_ids)
        order_T = torch.arange(past, past + input_ids.shape[1], device=input_ids.device)
        rotation = self._rotation(order_T[None] if position_ids is None else position_ids, x_BTD.dtype)
        x0_BTD = self.x0_norm(x_BTD)
        for layer, own in zip(self.layers, self.config.layers, strict=True):
            seen_BTS = visible(order_T, own["window"], attention_mask)
            x_BTD = layer(x_BTD, x0_BTD, input_ids, rotation, seen_BTS, past_key_values)
        return BaseModelOutputWithPast(last_hidden_state=self.norm(x_BTD), past_key_values=past_key_values)

    def _rotation(self, positions_BT: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosines and sines, (B, T, E), in float32 before they are rounded."""
        pairs = torch.arange(0, self.config.head_dim, 2, device=positions_BT.device).float()
        angle = positions_BT[..., None].float() * (1.0 / self.config.rope_theta ** (pairs / self.config.head_dim))
        angle = torch.cat((angle, angle), dim=-1)
        return angle.cos().to(dtype), angle.sin().to(dtype)


def visible(order_T: Tensor, window: int, attention_mask: Tensor | None) -> Tensor:
    """(B or 1, T, S), true where a key may be seen: itself and what lies before, of a window only that, no padding.

    Padding sees itself, because a softmax over nothing is not a number.
    """
    key_S = torch.arange(int(order_T[-1]) + 1, device=order_T.device)
    own_TS = key_S == order_T[:, None]
    seen_TS = key_S <= order_T[:, None]
    if window:
        seen_TS = seen_TS & (key_S > order_T[:, None] - window)
    if attention_mask is None:
        return seen_TS[None]
    return seen_TS[None] & attention_mask.bool()[:, None, : len(key_S)] | own_TS[None]


class NasForCausalLM(NasPreTrainedModel, GenerationMixin):
    """A head of its own only if the embedding is not shared with it."""

    def __init__(self, config: NasConfig) -> None:
        super().__init__(config)
        self.model = NasModel(config)
        tied = config.tie_word_embeddings
        self.lm_head = None if tied else nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.model.embed_tokens

    def get_output_embeddings(self) -> nn.Module | None:
        return self.lm_head

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **more: Any,
    ) -> CausalLMOutputWithPast:
        read = self.model(input_ids, attention_mask, position_ids, past_key_values, use_cache)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        head = self.model.embed_tokens.weight if self.lm_head is None else self.lm_head.weight
        logits = F.linear(read.last_hidden_state[:, kept], head)
        if cap := self.config.softcap:
            logits = torch.tanh(logits / cap) * cap
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=read.past_key_values)
