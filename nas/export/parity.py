"""Is what was written what was trained? `transformers` reads the folder and must compute the same."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nas.candidate import Architecture
from nas.data.tokenizer import Tokenizer
from nas.errors import ExportError, NasError
from nas.native import native_family
from nas.train.model import Transformer

TOLERANCE = 1e-4
SAMPLE = (
    "It's 12.5\N{NO-BREAK SPACE}% naïve — déjà vu!\n\n\tfor x in y:  # Ελληνικά, 日本語, العربية\r\n👩‍🚀 e\u0301 <|x|>"
)

_POSITIONS = 64  # at which logits are compared: all of them would take context x vocabulary floats, twice


@dataclass(frozen=True, slots=True)
class Parity:
    """Whether an export was compared with the model that it came from.

    Attributes:
        checked: `transformers` was there to compare with; an export that differs never gets this far.
        max_relative_error: largest difference of a logit, relative to the largest logit.
        reason: what was compared, or why nothing was.
    """

    checked: bool
    max_relative_error: float | None
    reason: str


def check_parity(model: Transformer, tokenizer: Tokenizer, folder: Path) -> Parity:
    """Compares an exported folder with its model, in float32 on the CPU.

    Raises `ExportError` when `transformers` cannot read the folder, splits `SAMPLE` otherwise than ``tokenizer``, or
    computes a logit that differs by more than `TOLERANCE` of the largest.
    """
    try:
        transformers: Any = importlib.import_module("transformers")
    except ImportError:
        return Parity(False, None, "transformers is not installed (extra: hf), so the export was not compared")
    with _foreign(transformers):
        their_tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        _compare_tokens(tokenizer, their_tokenizer)
        their_model = model_reader(transformers, model.architecture).from_pretrained(folder, local_files_only=True)
        error = _compare_logits(model, their_model, _inputs(model, tokenizer))
    return Parity(True, error, f"transformers {transformers.__version__} reads the same tokens and computes the same")


def model_reader(transformers: Any, architecture: Architecture) -> Any:
    """What reads the model: a family of transformers, or the code that the folder has a copy of. Were that loaded from
    the folder, transformers would leave another copy in the user's cache."""
    if native_family(architecture) is not None:
        return transformers.AutoModelForCausalLM
    return importlib.import_module("nas.export.remote.modeling_nas").NasForCausalLM


@contextmanager
def _foreign(transformers: Any) -> Iterator[None]:
    """No progress bars and no advice on stderr from the library, and its errors as `ExportError`."""
    log = transformers.utils.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    except NasError:
        raise
    except Exception as error:  # it lets through whatever its own dependencies raise
        raise ExportError(f"transformers {transformers.__version__} cannot use the export: {error}") from error
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()


def _compare_tokens(ours: Tokenizer, theirs: Any) -> None:
    expected, found = ours.encode(SAMPLE).tolist(), theirs(SAMPLE)["input_ids"]
    if found != expected:
        at = next((i for i, pair in enumerate(zip(expected, found, strict=False)) if pair[0] != pair[1]), "the end")
        raise ExportError(f"tokenizer differs after export: {len(found)} ids, not {len(expected)}; first at {at}")
    text = theirs.decode(found)
    if text != SAMPLE:
        raise ExportError(f"tokenizer differs after export: {SAMPLE!r} comes back as {text!r}")


def _inputs(model: Transformer, tokenizer: Tokenizer) -> Tensor:
    """Two sequences of full context: text, and ids spread over the whole vocabulary; shape (2, T)."""
    context, vocabulary = model.architecture.context, model.architecture.vocabulary
    text = torch.from_numpy(np.resize(tokenizer.encode(SAMPLE).astype(np.int64), context))
    return torch.stack((text, torch.arange(context) * vocabulary // context))


@torch.inference_mode()
def _compare_logits(model: Transformer, theirs: Any, tokens_BT: Tensor) -> float:
    """The largest difference relative to the largest logit; raises `ExportError` above `TOLERANCE`."""
    ours = Transformer(model.architecture)  # not the caller's, which may train on another device
    ours.load_state_dict(model.state_dict())
    ours.eval()
    length = tokens_BT.shape[1]
    kept = torch.linspace(0, length - 1, min(length, _POSITIONS)).long()
    expected = ours.read_out(ours.hidden(tokens_BT)[:, kept])
    found = theirs.eval()(input_ids=tokens_BT, logits_to_keep=kept, use_cache=False).logits
    difference, largest = (found - expected).abs().max().item(), expected.abs().max().item()
    if not difference <= TOLERANCE * largest:  # so written, not-a-number fails too
        raise ExportError(
            f"logits differ after export: by {difference:.3g}, with a largest logit of {largest:.3g}; "
            f"must be within {TOLERANCE:g} of it"
        )
    return difference / largest if largest else 0.0
