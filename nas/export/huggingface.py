"""A trained candidate as a folder that `transformers` loads without `nas`.

The files are written by hand, so that exporting does not need `transformers`; when it is installed, it has to read
them back and compute the same before the folder appears. A candidate that no family computes takes the code that does
(`nas.export.remote`) with it.
"""

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import safetensors.torch

from nas.candidate import Architecture
from nas.data.storage import atomic_file
from nas.data.tokenizer import SEPARATOR, SEPARATOR_TEXT, Tokenizer
from nas.errors import ExportError, StorageError
from nas.export.parity import Parity, check_parity
from nas.export.weights import to_huggingface
from nas.native import native_family
from nas.train.model import NORM_EPSILON, ROPE_THETA, Transformer

FILES = (
    "README.md",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
)
CODE = ("configuration_nas.py", "modeling_nas.py")
"""Further files of a candidate that no family computes."""

_CLASSES = {
    "arcee": "ArceeForCausalLM",
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "ministral": "MinistralForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}


def export_candidate(
    model: Transformer, tokenizer: Tokenizer, folder: Path, card: str, *, force: bool = False
) -> Parity:
    """Writes ``folder``, whole and compared with ``model`` or not at all.

    Args:
        card: the text of ``README.md``.
        force: replace a folder that holds an earlier export (and nothing else).

    Raises:
        ExportError: a tokenizer of another vocabulary, a folder that is in use, or an export that transformers reads
            differently.
        DiskFullError, StorageError: a disk that refuses.
    """
    folder = folder.resolve()
    _require_vocabulary(model.architecture, tokenizer)
    with _storage_errors(folder):
        _require_free(folder, force)
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    try:
        for name, content in _contents(model, tokenizer, card).items():
            with atomic_file(temporary / name) as file:
                file.write(content)
        parity = check_parity(model, tokenizer, temporary)
        with _storage_errors(folder):
            _move(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return parity


def config(architecture: Architecture) -> dict[str, Any]:
    """``config.json``."""
    family = native_family(architecture)
    return {
        "vocab_size": architecture.vocabulary,
        "hidden_size": architecture.width,
        "num_hidden_layers": architecture.depth,
        "head_dim": architecture.head_size,
        "max_position_embeddings": architecture.context,
        "rms_norm_eps": NORM_EPSILON,
        "rope_theta": ROPE_THETA,  # where transformers 4 looks for it
        "tie_word_embeddings": architecture.tied,
        "bos_token_id": SEPARATOR,
        "eos_token_id": SEPARATOR,
        "dtype": "float32",
    } | (_own_fields(architecture) if family is None else _native_fields(family, architecture))


def _native_fields(family: str, architecture: Architecture) -> dict[str, Any]:
    layer = architecture.layers()[0]
    return {
        "architectures": [_CLASSES[family]],
        "model_type": family,
        "intermediate_size": layer.mlp_width,
        "num_attention_heads": layer.heads,
        "num_key_value_heads": layer.kv_heads,
        "hidden_act": "relu2" if family == "arcee" else "silu",
        "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA},
    } | _family_fields(family, architecture)


def _own_fields(architecture: Architecture) -> dict[str, Any]:
    """For the code that goes with the model."""
    return {
        "architectures": ["NasForCausalLM"],
        "model_type": "nas",
        "auto_map": {
            "AutoConfig": "configuration_nas.NasConfig",
            "AutoModelForCausalLM": "modeling_nas.NasForCausalLM",
        },
        "layers": [asdict(layer) for layer in architecture.layers()],
        **{name: getattr(architecture, name) for name in ("activation", "qk_norm", "x0_shortcut", "softcap")},
    }


def _family_fields(family: str, architecture: Architecture) -> dict[str, Any]:
    """What only this family has, or has at another default."""
    # Both sides count a token itself: window W is W tokens, the W - 1 before it among them.
    windowed = any(layer.window for layer in architecture.layers())
    windows: dict[str, Any] = {"sliding_window": architecture.window if windowed else None}
    if windowed:
        kinds = ("full_attention", "sliding_attention")
        windows["layer_types"] = [kinds[layer.window > 0] for layer in architecture.layers()]
    if family == "qwen3":
        return {"attention_bias": False, "use_sliding_window": windowed} | windows
    return {"attention_bias": False, "mlp_bias": False} if family in ("llama", "arcee") else windows


def _contents(model: Transformer, tokenizer: Tokenizer, card: str) -> dict[str, bytes]:
    """The files, by name."""
    code = () if native_family(model.architecture) else CODE
    return {
        "config.json": _json(config(model.architecture)),
        "README.md": card.encode(),
        # Padding is named here and not in config.json, where it would freeze the embedding of the separator.
        "generation_config.json": _json({f"{role}_token_id": SEPARATOR for role in ("bos", "eos", "pad")}),
        "model.safetensors": safetensors.torch.save(to_huggingface(model), metadata={"format": "pt"}),
        "tokenizer.json": tokenizer.to_json().encode(),
        "tokenizer_config.json": _json(_tokenizer_config(model.architecture)),
        **{name: (resources.files("nas.export.remote") / name).read_bytes() for name in code},
    }


def _tokenizer_config(architecture: Architecture) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": SEPARATOR_TEXT,
        "eos_token": SEPARATOR_TEXT,
        "pad_token": SEPARATOR_TEXT,
        "padding_side": "left",  # generation goes on at the right
        "model_max_length": architecture.context,
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
    }


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _require_vocabulary(architecture: Architecture, tokenizer: Tokenizer) -> None:
    if tokenizer.vocabulary != architecture.vocabulary:
        raise ExportError(
            f"tokenizer must have the model's vocabulary of {architecture.vocabulary}, found {tokenizer.vocabulary}"
        )


def _require_free(folder: Path, force: bool) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ExportError(f"{folder} is a file; an export is a folder")
    found = {path.name for path in folder.iterdir()}
    if found and not force:
        raise ExportError(f"{folder} is not empty; choose another folder or force its replacement")
    strangers = sorted(found - {*FILES, *CODE})
    if strangers:
        raise ExportError(f"{folder} holds {strangers[0]!r}, which is not of an export; choose another folder")


def _move(temporary: Path, folder: Path) -> None:
    """Puts ``temporary`` in the place of ``folder``, which is put back if that fails."""
    previous = temporary.with_suffix(".old")
    replaces = folder.exists()
    if replaces:
        folder.rename(previous)
    try:
        temporary.rename(folder)
    except OSError:
        if replaces:
            previous.rename(folder)
        raise
    shutil.rmtree(previous, ignore_errors=True)


@contextmanager
def _storage_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{folder}: must be a folder that can be written, found: {error.strerror}") from error
