"""Which architectures a model family of `transformers` computes exactly, so that a result loads without our code.

All families here are the Llama block; they differ in what they let a configuration say:

    llama      the plain block; refuses a width that is no multiple of its heads
    mistral    the same block without that rule
    ministral  the same block with a window in chosen layers
    qwen3      the block with query and key norms, with or without windows
    arcee      the plain block with squared ReLU; refuses a width that is no multiple of its heads

None of them lets layers differ in shape, or has value embeddings, shortcuts from the embedding or a cap of the logits
with this block.
"""

from nas.candidate import Architecture, Layer


def native_family(architecture: Architecture) -> str | None:
    """The `model_type` that computes this architecture exactly; ``None`` when there is none."""
    if not_native_because(architecture) is not None:
        return None
    layers = architecture.layers()
    if architecture.activation == "relu2":
        return "arcee"
    if architecture.qk_norm:
        return "qwen3"
    if any(layer.window for layer in layers):
        return "ministral"
    return "llama" if architecture.width % layers[0].heads == 0 else "mistral"


def not_native_because(architecture: Architecture) -> str | None:
    """Why no family computes it, for people; ``None`` when one does."""
    return _extra(architecture) or _squared(architecture) or _deviating(architecture)


def _extra(architecture: Architecture) -> str | None:
    """What no family has."""
    if architecture.value_embeddings != "none":
        return "no family has value embeddings"
    if architecture.x0_shortcut:
        return "no family has shortcuts from the embedding"
    return f"no family caps its logits (softcap {architecture.softcap:g})" if architecture.softcap else None


def _squared(architecture: Architecture) -> str | None:
    """What does not go with squared ReLU."""
    if architecture.activation != "relu2":
        return None
    layers = architecture.layers()
    if architecture.qk_norm:
        return "no family has squared ReLU with norms of queries and keys"
    if any(layer.window for layer in layers):
        return "no family has squared ReLU with windows"
    if architecture.width % layers[0].heads:
        return f"squared ReLU wants a width that is a multiple of {layers[0].heads} heads, found {architecture.width}"
    return None


def _deviating(architecture: Architecture) -> str | None:
    if not architecture.deviations or architecture.uniform:
        return None
    first, *others = architecture.layers()
    index, other = next((i, layer) for i, layer in enumerate(others, start=1) if _shape(layer) != _shape(first))
    differences = ", ".join(
        f"{name} {theirs} against {ours}"
        for name, ours, theirs in zip(("heads", "kv_heads", "mlp_width"), _shape(first), _shape(other), strict=True)
        if ours != theirs
    )
    return f"layers must have one shape, but layer {index} differs from layer 0: {differences}"


def _shape(layer: Layer) -> tuple[int, int, int]:
    return layer.heads, layer.kv_heads, layer.mlp_width
