"""The candidate as a module: a decoder-only transformer of the Llama/Qwen3 family.

Shape legend: B batch, T tokens, D width, H query heads, K key/value heads, E head size, M MLP width, V vocabulary,
W window. Parameters and the residual stream are float32; products are made in the
precision that the plan names.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from nas.candidate import Architecture, Layer
from nas.cost import LOGITS_CHUNK
from nas.train.backend import backend_of
from nas.train.fused import attention, dropout, rms_norm
from nas.train.loss import capped, linear_cross_entropy
from nas.train.products import linear

ROPE_THETA = 10_000.0
NORM_EPSILON = 1e-6


class RMSNorm(nn.Module):
    """x / rms(x) * weight over the last dimension (Zhang & Sennrich, arXiv 1910.07467, eq. 4)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.to(x.dtype)
        if backend_of(x) == "cpu" and not torch.compiler.is_compiling():
            y: Tensor = _RMSNorm.apply(x, weight)  # type: ignore[no-untyped-call]
            return y
        return rms_norm(x, weight, NORM_EPSILON)


class _RMSNorm(torch.autograd.Function):
    """Few passes through memory: torch has no kernel of its own for the CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        mean_square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1])
        scale = mean_square.add_(NORM_EPSILON).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        y: Tensor = (x * scale).mul_(weight)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, weight, scale = ctx.saved_tensors
        products = (grad * x).flatten(0, -2)
        grad_weight = torch.mv(products.t(), scale.flatten())
        along = torch.mv(products, weight).view_as(scale)
        grad_x = (grad * weight).mul_(scale)
        return grad_x.addcmul_(x, along.mul_(scale.pow(3)), value=-1 / x.shape[-1]), grad_weight


class Attention(nn.Module):
    """Grouped-query attention with rotary positions; query, key and value projections are one matrix."""

    def __init__(self, architecture: Architecture, layer: Layer) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.window = layer.heads, layer.kv_heads, layer.window
        self.head_size = architecture.head_size
        width, query, key = architecture.width, layer.heads * self.head_size, layer.kv_heads * self.head_size
        self.sizes = (query, key, key)
        self.qkv = nn.Linear(width, query + 2 * key, bias=False)
        self.out = nn.Linear(query, width, bias=False)
        self.query_norm = RMSNorm(self.head_size) if architecture.qk_norm else None
        self.key_norm = RMSNorm(self.head_size) if architecture.qk_norm else None

    def forward(self, x_BTD: Tensor, cos_TE: Tensor, sin_TE: Tensor, added_BTKE: Tensor | None = None) -> Tensor:
        q_BHTE, k_BKTE, v_BKTE = self.project(x_BTD, cos_TE, sin_TE, added_BTKE)
        return self.merge(attend(q_BHTE, k_BKTE, v_BKTE, self.window))

    def project(
        self, x_BTD: Tensor, cos_TE: Tensor, sin_TE: Tensor, added_BTKE: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, H, T, E), keys and values (B, K, T, E), normed and turned; ``added`` goes to the values."""
        B, T, _ = x_BTD.shape
        H, K, E = self.heads, self.kv_heads, self.head_size
        q, k, v = torch.split(linear(x_BTD, self.qkv.weight), list(self.sizes), dim=-1)
        q_BTHE, k_BTKE, v_BTKE = q.view(B, T, H, E), k.view(B, T, K, E), v.view(B, T, K, E)
        if self.query_norm is not None and self.key_norm is not None:
            q_BTHE, k_BTKE = self.query_norm(q_BTHE), self.key_norm(k_BTKE)
        q_BHTE = rotate(q_BTHE, cos_TE, sin_TE).transpose(1, 2)
        k_BKTE = rotate(k_BTKE, cos_TE, sin_TE).transpose(1, 2)
        if added_BTKE is not None:
            v_BTKE = v_BTKE + added_BTKE.to(v_BTKE.dtype)
        return q_BHTE, k_BKTE, v_BTKE.transpose(1, 2)

    def merge(self, y_BHTE: Tensor) -> Tensor:
        """What the heads found, into the residual stream, (B, T, D)."""
        return linear(y_BHTE.transpose(1, 2).flatten(2), self.out.weight)


def rotate(x_BTHE: Tensor, cos_TE: Tensor, sin_TE: Tensor) -> Tensor:
    """Rotary positions (Su et al., arXiv 2104.09864), the half-split layout that Llama checkpoints use."""
    cos, sin = cos_TE[:, None, :].to(x_BTHE.dtype), sin_TE[:, None, :].to(x_BTHE.dtype)
    first, second = x_BTHE.chunk(2, dim=-1)
    return x_BTHE * cos + torch.cat((-second, first), dim=-1) * sin


def attend(q_BHTE: Tensor, k_BKTE: Tensor, v_BKTE: Tensor, window: int) -> Tensor:
    """Causal attention; with a window W each token sees itself and the W - 1 tokens before it.

    Windows are computed in blocks of W queries against 2W keys, so that their saving is real on every backend:
    2 x 2 x T x 2W x E multiply-adds a head in place of 2 x 2 x T x T x E.
    """
    B, H, T, E = q_BHTE.shape
    if not window or window >= T:
        return attention(q_BHTE, k_BKTE, v_BKTE, causal=True)
    if T % window:  # whole blocks; what is added stands behind and is not seen
        rest = (0, 0, 0, -T % window)
        return attend(F.pad(q_BHTE, rest), F.pad(k_BKTE, rest), F.pad(v_BKTE, rest), window)[:, :, :T]
    blocks = T // window
    q = q_BHTE.view(B, H, blocks, window, E).transpose(1, 2).reshape(B * blocks, H, window, E)
    k, v = _with_previous_block(k_BKTE, window), _with_previous_block(v_BKTE, window)
    mask = window_mask(blocks, window, q.device).repeat(B, 1, 1)[:, None]
    y = attention(q, k, v, mask)
    return y.view(B, blocks, H, window, E).transpose(1, 2).reshape(B, H, T, E)


def _with_previous_block(x_BHTE: Tensor, window: int) -> Tensor:
    """(B, H, T, E) to (B * T / W, H, 2W, E): each block of W tokens preceded by the block before it."""
    B, H, T, E = x_BHTE.shape
    padded = F.pad(x_BHTE, (0, 0, window, 0)).unfold(2, 2 * window, window)  # (B, H, T / W, E, 2W)
    return padded.permute(0, 2, 1, 4, 3).reshape(B * (T // window), H, 2 * window, E)


def window_mask(blocks: int, window: int, device: torch.device) -> Tensor:
    """(blocks, W, 2W), true where query i of a block may see key j of the previous and its own block."""
    query = torch.arange(window, device=device)[:, None] + window
    key = torch.arange(2 * window, device=device)[None, :]
    mask = ((key <= query) & (key > query - window)).repeat(blocks, 1, 1)
    mask[0, :, :window] = False  # nothing stands before the first block
    return mask


class MLP(nn.Module):
    """Gated SiLU (Shazeer, arXiv 2002.05202); gate and up projections are one matrix."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = linear(x, self.gate_up.weight).chunk(2, dim=-1)
        return linear(F.silu(gate) * up, self.down.weight)


class SquaredMLP(nn.Module):
    """max(0, x)^2 between two matrices (So et al., "Primer", arXiv 2109.08668, section 4)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return linear(F.relu(linear(x, self.up.weight)).square(), self.down.weight)


MLPS: dict[str, type[MLP | SquaredMLP]] = {"swiglu": MLP, "relu2": SquaredMLP}


class ValueEmbedding(nn.Module):
    """A row for each token, of the size of all key/value heads, with a learned scale for each head.

    Zhou et al., arXiv 2410.17897, add the first layer's values to those of later ones; tables of their own in place of
    that are modded-nanogpt's (its records 13 to 15).
    """

    def __init__(self, vocabulary: int, kv_heads: int, head_size: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, kv_heads * head_size)
        self.scale = nn.Parameter(torch.ones(kv_heads))

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """What is added to the values, (B, T, K, E)."""
        rows_BTF: Tensor = self.table(tokens_BT)
        return rows_BTF.view(*tokens_BT.shape, len(self.scale), -1) * self.scale[:, None]


class Mixture(nn.Module):
    """The residual stream and the normed embedding x0, each with a learned scalar; at first the stream alone."""

    def __init__(self) -> None:
        super().__init__()
        self.shares = nn.Parameter(torch.tensor([1.0, 0.0]))

    def forward(self, x_BTD: Tensor, x0_BTD: Tensor) -> Tensor:
        return x_BTD * self.shares[0] + x0_BTD * self.shares[1]


class Block(nn.Module):
    """Pre-norm attention and MLP in ``dtype``, each added to the residual stream."""

    def __init__(self, architecture: Architecture, layer: Layer, dropout: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(architecture.width)
        self.attention = Attention(architecture, layer)
        self.mlp_norm = RMSNorm(architecture.width)
        self.mlp: MLP | SquaredMLP = MLPS[architecture.activation](architecture.width, layer.mlp_width)
        self.mixture = Mixture() if architecture.x0_shortcut else None
        table = (architecture.vocabulary, layer.kv_heads, architecture.head_size)
        self.value_embedding = ValueEmbedding(*table) if layer.value_embedding else None
        self.dropout, self.dtype = dropout, dtype

    def forward(
        self, x_BTD: Tensor, cos_TE: Tensor, sin_TE: Tensor, tokens_BT: Tensor, x0_BTD: Tensor | None
    ) -> Tensor:
        x_BTD = self.mixed(x_BTD, x0_BTD)
        normed = self.attention_norm(x_BTD).to(self.dtype)
        attended = self.attention(normed, cos_TE, sin_TE, self.added(tokens_BT))
        x_BTD = x_BTD + self._drop(attended)
        return x_BTD + self._drop(self.mlp(self.mlp_norm(x_BTD).to(self.dtype)))

    def mixed(self, x_BTD: Tensor, x0_BTD: Tensor | None) -> Tensor:
        """What the layer reads: the residual stream, with a shortcut from the embedding where it has one."""
        if self.mixture is None:
            return x_BTD
        mixed: Tensor = self.mixture(x_BTD, x0_BTD)
        return mixed

    def added(self, tokens_BT: Tensor) -> Tensor | None:
        """What the tokens themselves add to the values, (B, T, K, E)."""
        return self.value_embedding(tokens_BT) if self.value_embedding is not None else None

    def _drop(self, x: Tensor) -> Tensor:
        return dropout(x, self.dropout) if self.dropout and self.training else x


class Transformer(nn.Module):
    """Tokens in, mean loss or logits out.

    ``recompute`` trades FLOPs for memory: the blocks' activations are computed again in the backward pass.
    ``precision`` is that of matrix products and attention: float32 or bfloat16. ``logits_chunk`` logits are made at
    once.
    """

    cos_TE: Tensor
    sin_TE: Tensor

    def __init__(
        self,
        architecture: Architecture,
        dropout: float = 0.0,
        *,
        recompute: bool = False,
        precision: str = "float32",
        logits_chunk: int = LOGITS_CHUNK,
    ) -> None:
        super().__init__()
        self.architecture, self.recompute, self.logits_chunk = architecture, recompute, logits_chunk
        self.dtype: torch.dtype = getattr(torch, precision)
        self.embedding = nn.Embedding(architecture.vocabulary, architecture.width)
        self.blocks = nn.ModuleList(Block(architecture, layer, dropout, self.dtype) for layer in architecture.layers())
        self.norm = RMSNorm(architecture.width)
        self.x0_norm = RMSNorm(architecture.width) if architecture.x0_shortcut else None
        self.head = None if architecture.tied else nn.Linear(architecture.width, architecture.vocabulary, bias=False)
        cos, sin = rotary_table(architecture.context, architecture.head_size)
        self.register_buffer("cos_TE", cos, persistent=False)
        self.register_buffer("sin_TE", sin, persistent=False)

    @property
    def head_weight(self) -> Tensor:
        """(V, D), the embedding itself when tied."""
        return self.embedding.weight if self.head is None else self.head.weight

    def hidden(self, tokens_BT: Tensor) -> Tensor:
        """The normalised residual stream that the head reads, (B, T, D), in the model's precision."""
        T = tokens_BT.shape[1]
        cos, sin = self.cos_TE[:T], self.sin_TE[:T]
        x_BTD = self.embedding(tokens_BT)
        x0_BTD = self.x0(x_BTD)
        for block in self.blocks:
            if self.recompute and self.training:
                x_BTD = checkpoint(block, x_BTD, cos, sin, tokens_BT, x0_BTD, use_reentrant=False)
            else:
                x_BTD = block(x_BTD, cos, sin, tokens_BT, x0_BTD)
        y: Tensor = self.norm(x_BTD).to(self.dtype)
        return y

    def x0(self, embedded_BTD: Tensor) -> Tensor | None:
        """The normed embedding, where layers have a shortcut from it."""
        return self.x0_norm(embedded_BTD) if self.x0_norm is not None else None

    def forward(self, tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """Mean negative log-likelihood in nats per token."""
        hidden, softcap = self.hidden(tokens_BT).flatten(0, 1), self.architecture.softcap
        return linear_cross_entropy(hidden, self.head_weight, targets_BT.flatten(), self.logits_chunk, softcap)

    def logits(self, tokens_BT: Tensor) -> Tensor:
        """(B, T, V)."""
        return self.read_out(self.hidden(tokens_BT))

    def read_out(self, hidden_ND: Tensor) -> Tensor:
        """The head's logits, (..., V) in float32, of what it reads, (..., D)."""
        return capped(F.linear(hidden_ND, self.head_weight.to(self.dtype)).float(), self.architecture.softcap)

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Weights as a pure function of (architecture, seed), drawn on the CPU: the same on every device.

        Matrices are normal with standard deviation 1 / sqrt(fan in), projections into the residual stream are zero
        (so that each block starts as the identity), and so is a head of its own. An embedding of its own has
        deviation 1, a shared one 1 / sqrt(D): its first logits are of order 1, but sqrt(D) for the token just read.
        Value embeddings are small beside the values, which are of order 1; a mixture begins with the stream alone.
        """
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if name.endswith("mixture.shares"):
                parameter.copy_(torch.tensor([1.0, 0.0]))
            elif parameter.ndim == 1:
                parameter.fill_(1.0)
            elif name.endswith(("out.weight", "down.weight", "head.weight")):
                parameter.zero_()
            else:
                untied = name == "embedding.weight" and self.head is not None
                deviation = 1.0 if untied else parameter.shape[1] ** -0.5
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * deviation)


def rotary_table(context: int, head_size: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines (T, E), in float32 and in the order of operations of transformers: exported models then give
    the same logits to the last bit, which attention that is sharp would otherwise magnify."""
    frequency = 1.0 / ROPE_THETA ** (torch.arange(0, head_size, 2).float() / head_size)
    angle = torch.arange(context).float()[:, None] * frequency
    angle = torch.cat((angle, angle), dim=-1)
    return angle.cos(), angle.sin()
