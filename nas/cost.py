"""What a candidate costs, in closed form: exact for parameters and FLOPs, an upper bound for memory.

The FLOP convention is ``model_flops_v1``: 2 FLOPs a multiply-add of the matrix products of forward, backward
(2 x forward) and optimizer; attention counts every key that its kernel computes (all T of a full layer, 2W of a
windowed one), causal or not; norms, activations, rotary positions, softmax and lookups count nothing. Recompute by
activation checkpointing is work of the machine and not of the model: it is in ``hardware_flops`` only.

Source of the terms: Kaplan et al., arXiv 2001.08361, table 1 (matrix products), with attention at its full T x T
as in PaLM, arXiv 2204.02311, appendix B. Known error against `torch.utils.flop_counter` on meta tensors: none
(a test compares them exactly).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nas.candidate import ACTIVATIONS, Architecture, Candidate, Layer

FLOP_CONVENTION = "model_flops_v1"
NEWTON_SCHULZ_STEPS = 5
FLOAT = 4  # bytes of a float32, the type of master weights, optimizer state and exported weights


@dataclass(frozen=True, slots=True)
class Cost:
    """What a candidate costs. Costs of use are per byte of text, because vocabulary is searched.

    Attributes:
        params: weights, a tied head counted once.
        flops_per_byte: forward FLOPs for a byte of text at full context.
        kv_bytes_per_byte: key/value cache for a byte of text, float32.
        weight_bytes: the weights as exported, float32.
        step_flops: one optimizer step by ``model_flops_v1``.
    """

    params: int
    flops_per_byte: float
    kv_bytes_per_byte: float
    weight_bytes: int
    step_flops: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "Cost":
        return cls(**raw)


def cost(candidate: Candidate, bytes_per_token: float) -> Cost:
    """All costs of a candidate; ``bytes_per_token`` is its tokenizer's mean on the training text."""
    architecture = candidate.architecture
    layers = architecture.layers()
    forward = forward_flops(architecture, layers)
    count = params(architecture, layers)
    return Cost(
        params=count,
        flops_per_byte=forward / (architecture.context * bytes_per_token),
        kv_bytes_per_byte=kv_bytes_per_token(architecture, layers) / bytes_per_token,
        weight_bytes=FLOAT * count,
        step_flops=3 * forward * candidate.sequences + optimizer_flops(candidate, layers),
    )


def params(architecture: Architecture, layers: tuple[Layer, ...] | None = None) -> int:
    """Weights of the model."""
    width, size = architecture.width, architecture.head_size
    norms = 2 * width + (2 * size if architecture.qk_norm else 0)
    layers = layers or architecture.layers()
    total = architecture.vocabulary * width * (1 if architecture.tied else 2) + width
    total += matrix_params(architecture, layers) + norms * len(layers)
    if architecture.x0_shortcut:
        total += width + 2 * len(layers)  # the norm of the embedding, and two scalars for each layer
    if architecture.value_embeddings != "none":
        total += table_params(architecture, layers) + sum(own.kv_heads for own in layers if own.value_embedding)
    return total


def params_by_part(architecture: Architecture) -> dict[str, int]:
    """Where the weights are, from input to output; they add up to `params`. A tied head has none of its own."""
    layers, width = architecture.layers(), architecture.width
    mlp = sum(ACTIVATIONS[architecture.activation] * width * layer.mlp_width for layer in layers)
    parts = {
        "embedding": architecture.vocabulary * width,
        "attention": matrix_params(architecture, layers) - mlp,
        "MLP": mlp,
        "value embeddings": table_params(architecture, layers),
        "head": 0 if architecture.tied else architecture.vocabulary * width,
    }
    rest = params(architecture, layers) - sum(parts.values())
    return {name: count for name, count in {**parts, "norms and scalars": rest}.items() if count}


def table_params(architecture: Architecture, layers: tuple[Layer, ...] | None = None) -> int:
    """Weights of the value embeddings' tables."""
    row = sum(own.kv_heads for own in layers or architecture.layers() if own.value_embedding) * architecture.head_size
    return architecture.vocabulary * row


def forward_flops(architecture: Architecture, layers: tuple[Layer, ...] | None = None) -> int:
    """Forward FLOPs of one sequence of full context, head included."""
    head = 2 * architecture.context * architecture.width * architecture.vocabulary
    return body_flops(architecture, layers) + head


def body_flops(architecture: Architecture, layers: tuple[Layer, ...] | None = None) -> int:
    """Forward FLOPs of one sequence of full context, without the head."""
    layers, context = layers or architecture.layers(), architecture.context
    attended = sum((2 * layer.window or context) * layer.heads * architecture.head_size for layer in layers)
    return 2 * context * matrix_params(architecture, layers) + 4 * context * attended


def optimizer_flops(candidate: Candidate, layers: tuple[Layer, ...] | None = None) -> int:
    """FLOPs of one optimizer step: Muon's Newton-Schulz products; AdamW has no matrix product.

    A matrix with sides m <= n takes, per iteration, 2 m^2 n (Gram matrix), 2 m^3 (its square) and 2 m^2 n (the
    update): Jordan et al., "Muon" (2024), the quintic iteration.
    """
    if candidate.recipe.optimizer != "muon":
        return 0
    architecture = candidate.architecture
    width, size = architecture.width, architecture.head_size
    total = 0
    for layer in layers or architecture.layers():
        query, key = layer.heads * size, layer.kv_heads * size
        total += 2 * _newton_schulz(width, query) + 2 * _newton_schulz(width, key)
        total += ACTIVATIONS[architecture.activation] * _newton_schulz(width, layer.mlp_width)
    return total


def _newton_schulz(rows: int, columns: int) -> int:
    small, large = (rows, columns) if rows <= columns else (columns, rows)
    return NEWTON_SCHULZ_STEPS * (4 * small * small * large + 2 * small**3)


def recompute_flops(candidate: Candidate) -> int:
    """Extra forward FLOPs of one step when the blocks' activations are computed again in the backward pass.

    A block's last product, out of the MLP, is not made again: nothing needs it but dropout, for its mask.
    """
    architecture = candidate.architecture
    flops = body_flops(architecture)
    if not candidate.recipe.dropout:
        flops -= sum(2 * architecture.context * architecture.width * layer.mlp_width for layer in architecture.layers())
    return candidate.sequences * flops


def kv_bytes_per_token(architecture: Architecture, layers: tuple[Layer, ...] | None = None) -> int:
    """Keys and values that a token leaves in the cache, float32."""
    kv_heads = sum(layer.kv_heads for layer in layers or architecture.layers())
    return 2 * FLOAT * architecture.head_size * kv_heads


def evaluation_flops(architecture: Architecture, windows: int, scored_tokens: int) -> int:
    """FLOPs of scoring text: the body over every window of full context, the head for scored tokens only."""
    return windows * body_flops(architecture) + scored_tokens * 2 * architecture.width * architecture.vocabulary


LOGITS_CHUNKS = {"cpu": (2**20, 2**18), "cuda": (2**26, 2**24, 2**22)}
"""Logits that the loss makes at once (`nas.train.loss`), the fastest first: on the CPU 4 MiB of them, about what a core
keeps close; on a GPU launches cost more than cache misses."""
LOGITS_CHUNK = LOGITS_CHUNKS["cpu"][0]
SMALL_TENSORS = 2**16  # bytes of rotary tables, masks, indices and what the allocator rounds up
SLACK = 1.05


@dataclass(frozen=True, slots=True)
class Footprint:
    """Floats that a training step holds at its peaks, whatever its layout.

    Attributes:
        resident: weights, gradients and optimizer state.
        stream: of the residual stream, for each token.
        kept, largest_kept: what all blocks, and the largest, keep for the backward pass, for each token.
        temporary: in flight in the block with the most, for each token.
        embedding: of the embedding's gradient.
        table: of the gradient of the largest value embedding.
        update: temporaries of the optimizer.
        context, vocabulary: of the architecture.
    """

    resident: int
    stream: int
    kept: int
    largest_kept: int
    temporary: int
    embedding: int
    table: int
    update: int
    context: int
    vocabulary: int

    def bytes(self, micro_batch: int, recompute: bool, logits_chunk: int = LOGITS_CHUNK) -> int:
        """Upper bound of the peak when a pass takes so many sequences and the loss makes so many logits at once."""
        tokens = micro_batch * self.context
        logits = min(max(logits_chunk, self.vocabulary), tokens * self.vocabulary)
        head = tokens * (self.stream + (0 if recompute else self.kept)) + 2 * self.embedding + 3 * logits
        block = self.stream + (self.largest_kept if recompute else self.kept) + self.temporary
        peak = max(head, tokens * block + self.embedding + self.table, self.update)
        return int(SLACK * FLOAT * (self.resident + peak)) + SMALL_TENSORS


def footprint(candidate: Candidate) -> Footprint:
    """What `memory_bound` needs to know of a candidate, for as many layouts as one likes."""
    architecture = candidate.architecture
    layers = architecture.layers()
    count = params(architecture, layers)
    muon = matrix_params(architecture, layers) if candidate.recipe.optimizer == "muon" else 0
    kept = [_kept(architecture, layer, candidate.recipe.dropout) for layer in layers]
    embedded = architecture.value_embeddings != "none"
    return Footprint(
        resident=2 * count + 2 * (count - muon) + muon,
        stream=architecture.width * (len(layers) + (6 if architecture.x0_shortcut else 3)),
        kept=sum(kept),
        largest_kept=max(kept),
        temporary=max(_temporary(architecture, layer) for layer in layers),
        embedding=architecture.vocabulary * architecture.width,
        table=max(table_params(architecture, (layer,)) for layer in layers) if embedded else 0,
        update=5 * muon,
        context=architecture.context,
        vocabulary=architecture.vocabulary,
    )


def memory_bound(
    candidate: Candidate, micro_batch: int, *, recompute: bool = False, logits_chunk: int = LOGITS_CHUNK
) -> int:
    """Upper bound of a training step's peak memory, in bytes above the process's baseline, float32.

    Weights, gradients and optimizer state, and the largest of three moments: the head (all kept activations, its
    gradient twice, chunks of logits), the backward pass through a block (all kept activations, the temporaries of
    the block, the gradient of a shared head that waits for the embedding's), and the optimizer step (temporaries of
    Muon). With ``recompute`` the head finds only the residual stream, a block that and its own activations. Known
    error: never below the measured peak, and at most twice it from 20 MiB on, over sampled candidates (a test
    compares with the allocator's events on the CPU).
    """
    return footprint(candidate).bytes(micro_batch, recompute, logits_chunk)


def matrix_params(architecture: Architecture, layers: tuple[Layer, ...] | None = None) -> int:
    """Weights of the hidden matrices, those that Muon trains."""
    width, size, mlp = architecture.width, architecture.head_size, ACTIVATIONS[architecture.activation]
    return sum(
        width * (2 * (layer.heads + layer.kv_heads) * size + mlp * layer.mlp_width)
        for layer in layers or architecture.layers()
    )


def _kept(architecture: Architecture, layer: Layer, dropout: float) -> int:
    """Floats that a block keeps for its backward pass, for each token."""
    width, query = architecture.width, layer.heads * architecture.head_size
    key = layer.kv_heads * architecture.head_size
    norms = 4 * width  # of each norm: the input scaled, and its product with the weight
    projected = query + 2 * key
    qk_norm = 2 * (query + key) if architecture.qk_norm else 0
    rotated = query + key
    repeated = 2 * query if layer.kv_heads != layer.heads else key
    blocks = 4 * query + 2 * layer.window if layer.window else 0  # keys and values twice, the mask
    attended = 2 * query + layer.heads
    mlp = _MLP_KEPT[architecture.activation] * layer.mlp_width
    dropped = 4 * width if dropout else 0
    embedded = 2 * key if layer.value_embedding else 0  # what was looked up, the sum
    mixed = width if architecture.x0_shortcut else 0
    return norms + projected + qk_norm + rotated + repeated + blocks + attended + mlp + dropped + embedded + mixed


_MLP_KEPT = {"swiglu": 5, "relu2": 3}  # gate and up, their activation, the product; up, what is positive, its square


def _temporary(architecture: Architecture, layer: Layer) -> int:
    """Floats in flight while one block runs forward or backward, for each token."""
    query = layer.heads * architecture.head_size
    return 2 * architecture.width + max(4 * layer.mlp_width, 8 * query)


def step_elements(candidate: Candidate) -> int:
    """Elements that pass through memory in a step, to the order that predicts time: activations and logits."""
    architecture = candidate.architecture
    layers = architecture.layers()
    per_token = 3 * architecture.vocabulary + 3 * sum(_kept(architecture, layer, 0.0) for layer in layers)
    return candidate.recipe.batch_tokens * per_token + 8 * params(architecture, layers)


def step_operations(candidate: Candidate, accumulation: int = 1) -> int:
    """Operators that a step launches, to the order that predicts time."""
    architecture = candidate.architecture
    per_layer = 90 + (30 if architecture.qk_norm else 0) + (30 if architecture.window else 0)
    per_layer += 10 if architecture.x0_shortcut else 0
    per_layer += {"none": 0, "alternate": 5, "all": 10}[architecture.value_embeddings]
    optimizer = 150 if candidate.recipe.optimizer == "muon" else 10
    return accumulation * (architecture.depth * per_layer + 60) + optimizer


# --- In use: a token at a time, with the keys and values of those before it kept (`nas.train.decode`) ---


def decode_bytes(architecture: Architecture) -> int:
    """Bytes that the next token reads, float32: weights, of the embedding the head's share alone and of tables nothing,
    and half of a full cache."""
    layers, size = architecture.layers(), architecture.head_size
    positions = architecture.context // 2
    cache = sum(2 * layer.kv_heads * size * min(layer.window or positions, positions) for layer in layers)
    looked_up = 0 if architecture.tied else architecture.vocabulary * architecture.width
    looked_up += table_params(architecture, layers)
    return FLOAT * (params(architecture, layers) - looked_up + cache)


def decode_operators(architecture: Architecture) -> int:
    """Operators that the next token launches, to the one on the CPU."""
    count = 9 + architecture.depth * (49 if architecture.qk_norm else 35) + (3 if architecture.softcap else 0)
    if architecture.x0_shortcut:
        count += 7 + 3 * architecture.depth  # the norm, and a mixture for each layer
    return count + 3 * sum(layer.value_embedding for layer in architecture.layers())


def latency_ms_per_kb(token_seconds: float, bytes_per_token: float) -> float:
    """Milliseconds for a thousand bytes of text."""
    return 1e6 * token_seconds / bytes_per_token
