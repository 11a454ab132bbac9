"""What a model found by architecture search looks like. Part of the model's folder; needs nothing but transformers."""

from typing import Any

from transformers import PretrainedConfig


class NasConfig(PretrainedConfig):
    """
    Attributes:
        layers: from input to output, each with ``heads``, ``kv_heads``, ``mlp_width``, ``window`` (the tokens that it
            sees, itself among them; 0 for all) and ``value_embedding`` (whether it adds a table to its values).
        activation: ``swiglu`` (gated) or ``relu2`` (squared).
        qk_norm: RMSNorm over each query and key head.
        x0_shortcut: before each layer the residual stream is mixed with the normed embedding.
        softcap: of the logits, 0 for none.
    """

    model_type = "nas"

    def __init__(
        self,
        vocab_size: int = 256,
        hidden_size: int = 64,
        head_dim: int = 16,
        layers: list[dict[str, Any]] | None = None,
        activation: str = "swiglu",
        qk_norm: bool = True,
        x0_shortcut: bool = False,
        softcap: float = 0.0,
        max_position_embeddings: int = 256,
        rms_norm_eps: float = 1e-6,
        rope_theta: float = 10_000.0,
        use_cache: bool = True,
        tie_word_embeddings: bool = True,
        **more: Any,
    ) -> None:
        self.vocab_size, self.hidden_size, self.head_dim = vocab_size, hidden_size, head_dim
        self.layers = layers or []
        self.num_hidden_layers = len(self.layers)
        self.num_attention_heads = max((layer["heads"] for layer in self.layers), default=0)
        self.num_key_value_heads = max((layer["kv_heads"] for layer in self.layers), default=0)
        self.activation, self.qk_norm, self.x0_shortcut, self.softcap = activation, qk_norm, x0_shortcut, softcap
        self.max_position_embeddings, self.rms_norm_eps = max_position_embeddings, rms_norm_eps
        self.rope_theta, self.use_cache = rope_theta, use_cache
        more["tie_word_embeddings"] = tie_word_embeddings
        super().__init__(**more)
