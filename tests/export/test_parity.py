"""What transformers computes from an export, against what our model computes."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas.candidate import Architecture, Candidate, Deviation, Recipe
from nas.data.tokenizer import SEPARATOR, Tokenizer
from nas.errors import ExportError
from nas.export import huggingface
from nas.export.card import model_card
from nas.export.huggingface import config, export_candidate
from nas.export.parity import SAMPLE, TOLERANCE, Parity, model_reader
from nas.export.weights import to_huggingface
from nas.records import CandidateRecord, CandidateState, Origin
from nas.train.model import Transformer

transformers = pytest.importorskip("transformers")

PLAIN = Architecture(
    depth=4, width=64, heads=4, head_size=16, kv_heads=2, mlp_width=96, vocabulary=256, context=64, qk_norm=False
)
NORMED = replace(PLAIN, qk_norm=True)
FAMILIES = {
    "llama": PLAIN,
    "llama, untied, all heads, BPE": replace(PLAIN, tied=False, kv_heads=4, vocabulary=320),
    "llama, large head": replace(PLAIN, head_size=32, kv_heads=1),
    "mistral": replace(PLAIN, heads=6),
    "ministral": replace(PLAIN, window=16, window_pattern="SSL", tied=False),
    "qwen3": NORMED,
    "qwen3, untied, BPE": replace(NORMED, tied=False, vocabulary=320),
    "qwen3, windows": replace(NORMED, window=8, window_pattern="SSL", heads=6),
    "arcee": replace(PLAIN, activation="relu2"),
    "nas, squared ReLU": replace(NORMED, activation="relu2", window=8, window_pattern="SSL", heads=6),
    "nas, value embeddings": replace(NORMED, value_embeddings="alternate", depth=3, kv_heads=4),
    "nas, shortcut": replace(PLAIN, x0_shortcut=True),
    "nas, softcap": replace(NORMED, softcap=1.0, tied=False),
    "nas, deviations": replace(
        NORMED,
        deviations=(Deviation(0, heads=3, kv_heads=3), Deviation(2, mlp_width=32)),
        window=16,
        window_pattern="SL",
    ),
    "nas, everything": replace(
        NORMED,
        activation="relu2",
        value_embeddings="all",
        x0_shortcut=True,
        softcap=2.0,
        window=16,
        window_pattern="SSL",
        tied=False,
        vocabulary=320,
        deviations=(Deviation(1, heads=6, kv_heads=1, mlp_width=40),),
    ),
}
OWN = [name for name in FAMILIES if name.startswith("nas")]


@dataclass(frozen=True)
class Exported:
    ours: Transformer
    theirs: Any
    tokenizer: Any
    folder: Path
    parity: Parity


@pytest.fixture(scope="module")
def exports(
    tokenizers: dict[int, Tokenizer],
    random_model: Callable[[Architecture], Transformer],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Exported]:
    made = {}
    for name, architecture in FAMILIES.items():
        folder = tmp_path_factory.mktemp("exports") / name
        model = random_model(architecture)
        parity = export_candidate(model, tokenizers[architecture.vocabulary], folder, _card(architecture))
        theirs = model_reader(transformers, architecture).from_pretrained(folder, local_files_only=True).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        made[name] = Exported(model, theirs, tokenizer, folder, parity)
    return made


def _card(architecture: Architecture) -> str:
    candidate = Candidate(architecture, Recipe(batch_tokens=architecture.context))
    record = CandidateRecord(
        "s", 0, candidate.id, Origin.FINAL, CandidateState.COMPLETED, 0.0, candidate.to_dict(), test_bpb=2.0
    )
    return model_card(record, search_name="s", corpus="fox", limits={}, device="cpu", seed=0)


def _tokens(architecture: Architecture) -> torch.Tensor:
    return torch.randint(architecture.vocabulary, (2, architecture.context), generator=torch.Generator().manual_seed(2))


def _relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("name", FAMILIES)
def test_the_library_reads_the_family_that_we_named(exports: dict[str, Exported], name: str) -> None:
    assert exports[name].theirs.config.model_type == name.partition(",")[0]
    assert exports[name].theirs.dtype == torch.float32


@pytest.mark.parametrize("name", FAMILIES)
def test_an_export_is_checked(exports: dict[str, Exported], name: str) -> None:
    parity = exports[name].parity
    assert parity.checked
    assert parity.max_relative_error is not None
    assert parity.max_relative_error < 1e-5
    assert transformers.__version__ in parity.reason


@pytest.mark.parametrize("name", FAMILIES)
@torch.inference_mode()
def test_logits_agree_at_every_length(exports: dict[str, Exported], name: str) -> None:
    export = exports[name]
    tokens = _tokens(export.ours.architecture)
    expected = export.ours.logits(tokens)

    for length in (1, 7, 8, 9, 16, 17, 33, export.ours.architecture.context):  # causal: a prefix is a shorter input
        found = export.theirs(input_ids=tokens[:, :length]).logits
        assert _relative_error(found, expected[:, :length]) < TOLERANCE / 10


@pytest.mark.parametrize("name", FAMILIES)
@torch.inference_mode()
def test_generation_continues_as_our_model_would(exports: dict[str, Exported], name: str) -> None:
    export = exports[name]
    context = export.ours.architecture.context
    prompt = export.tokenizer("the quick", return_tensors="pt")
    new = 30  # past the windows
    found = export.theirs.generate(**prompt, max_new_tokens=new, do_sample=False)[0].tolist()

    expected = prompt["input_ids"][0].tolist()
    while len(expected) < len(found):
        padded = torch.zeros(1, context, dtype=torch.long)
        padded[0, : len(expected)] = torch.tensor(expected)
        expected.append(int(export.ours.logits(padded)[0, len(expected) - 1].argmax()))
    assert found == expected
    assert len(found) == prompt["input_ids"].shape[1] + new or found[-1] == SEPARATOR


@pytest.mark.parametrize("name", FAMILIES)
def test_the_weights_are_those_that_the_library_expects(exports: dict[str, Exported], name: str) -> None:
    ours, theirs = to_huggingface(exports[name].ours), exports[name].theirs.state_dict()
    if exports[name].ours.head is None:
        theirs.pop("lm_head.weight", None)  # our own code has none

    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("name", ["llama", "llama, untied, all heads, BPE", "qwen3, untied, BPE", "ministral"])
@pytest.mark.parametrize(
    "text",
    [
        "the quick brown fox",
        "",
        " \n\n\t x  \r\n",
        "it's 3.14",
        "日本語 naïve 👩‍🚀 e\u0301\u00a0",
        "\x01\x7f ~",
        SAMPLE,
    ],
)
def test_tokens_agree(exports: dict[str, Exported], tokenizers: dict[int, Tokenizer], name: str, text: str) -> None:
    export = exports[name]
    ours = tokenizers[export.ours.architecture.vocabulary].encode(text).tolist()

    assert export.tokenizer(text)["input_ids"] == ours
    assert export.tokenizer.decode(ours) == text


@pytest.mark.parametrize("name", ["llama", "qwen3, untied, BPE"])
def test_the_separator_is_every_special_token(exports: dict[str, Exported], name: str) -> None:
    tokenizer = exports[name].tokenizer
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (SEPARATOR,) * 3
    assert tokenizer(tokenizer.bos_token + "a")["input_ids"] == [SEPARATOR, *tokenizer("a")["input_ids"]]
    assert tokenizer(["a", "zzz"], padding=True)["input_ids"][0][0] == SEPARATOR  # padded on the left
    assert tokenizer.model_max_length == exports[name].ours.architecture.context
    assert exports[name].theirs.generation_config.eos_token_id == SEPARATOR


@pytest.mark.parametrize("name", OWN)
@torch.inference_mode()
def test_padding_on_the_left_changes_nothing(exports: dict[str, Exported], name: str) -> None:
    """Two prompts of different lengths continue together as each does alone."""
    export = exports[name]
    prompts = ["the quick brown fox", "it's"]
    together = export.tokenizer(prompts, return_tensors="pt", padding=True)
    made = export.theirs.generate(**together, max_new_tokens=20, do_sample=False)
    for prompt, found in zip(prompts, made, strict=True):
        alone = export.tokenizer(prompt, return_tensors="pt")
        expected = export.theirs.generate(**alone, max_new_tokens=20, do_sample=False)[0]
        new = expected[alone["input_ids"].shape[1] :]
        assert found[together["input_ids"].shape[1] :][: len(new)].tolist() == new.tolist()


@pytest.mark.parametrize("name", OWN)
def test_it_can_be_tuned_further(exports: dict[str, Exported], name: str) -> None:
    """The loss of labels is ours, and every weight has a gradient."""
    export = exports[name]
    tokens = _tokens(export.ours.architecture)
    loss = export.theirs(input_ids=tokens, labels=tokens).loss
    loss.backward()
    expected = torch.nn.functional.cross_entropy(
        export.ours.logits(tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()
    )
    torch.testing.assert_close(loss, expected)
    assert all(parameter.grad is not None for parameter in export.theirs.parameters())
    export.theirs.zero_grad()


_STRANGER = """
import pathlib, re, sys
sys.modules["nas"] = None  # importing it fails
import numpy, torch, transformers
for folder in map(pathlib.Path, sys.argv[1:]):
    code = re.search("```python\\n(.*?)```", (folder / "README.md").read_text(), re.S)[1]
    card = {}
    exec(code.replace('"."', repr(str(folder))), card)
    tokens = torch.from_numpy(numpy.load(folder.with_suffix(".tokens.npy")))
    expected = torch.from_numpy(numpy.load(folder.with_suffix(".logits.npy")))
    with torch.inference_mode():
        found = card["model"](input_ids=tokens).logits
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max(), folder
    prompt = card["tokenizer"](["the quick", "a"], return_tensors="pt", padding=True)
    assert card["model"].generate(**prompt, max_new_tokens=5).shape[0] == 2
    print("same", folder.name)
"""


def test_a_stranger_loads_it_by_the_code_on_the_card(exports: dict[str, Exported], tmp_path: Path) -> None:
    folders = []
    for name in ("llama", "ministral", "qwen3, untied, BPE", "qwen3, windows", "nas, deviations", "nas, everything"):
        export = exports[name]
        tokens = _tokens(export.ours.architecture)
        with torch.inference_mode():
            np.save(export.folder.with_suffix(".logits.npy"), export.ours.logits(tokens).numpy())
        np.save(export.folder.with_suffix(".tokens.npy"), tokens.numpy())
        folders.append(str(export.folder))

    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", _STRANGER, *folders],
        cwd=tmp_path,
        env={"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("same") == len(folders)
    assert "warning" not in done.stderr.lower()


Weights = dict[str, torch.Tensor]


def _swap(first: str, second: str) -> Callable[[Weights], Weights]:
    def swapped(weights: Weights) -> Weights:
        first_key, second_key = f"model.layers.1.{first}.weight", f"model.layers.1.{second}.weight"
        return weights | {first_key: weights[second_key], second_key: weights[first_key]}

    swapped.__name__ = f"{first} for {second}"
    return swapped


@pytest.mark.parametrize(
    "fault",
    [
        {"activation": "swiglu"},
        {"softcap": 0.0},
        {"qk_norm": False},
        {"x0_shortcut": False},
        {"layers": "windows"},
        _swap("self_attn.k_proj", "self_attn.v_proj"),
    ],
    ids=lambda own: own.__name__ if callable(own) else str(own),
)
def test_a_difference_of_our_own_code_is_found_too(
    fault: Any,
    tokenizers: dict[int, Tokenizer],
    random_model: Callable[[Architecture], Transformer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = random_model(FAMILIES["nas, everything"])
    if isinstance(fault, dict):
        right = config(model.architecture)
        if "layers" in fault:
            fault = {"layers": [layer | {"window": 0} for layer in right["layers"]]}
        monkeypatch.setattr(huggingface, "config", lambda architecture: right | fault)
    else:
        monkeypatch.setattr(huggingface, "to_huggingface", lambda model: fault(to_huggingface(model)))

    with pytest.raises(ExportError):
        export_candidate(model, tokenizers[320], tmp_path / "export", "card")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "fault",
    [
        {"sliding_window": 15},
        {"sliding_window": 17},
        {"layer_types": ["full_attention", "sliding_attention", "full_attention", "full_attention"]},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 9000.0}, "rope_theta": 9000.0},
        {"rms_norm_eps": 1e-4},
        {"hidden_act": "gelu"},
        _swap("mlp.gate_proj", "mlp.up_proj"),
        _swap("self_attn.k_proj", "self_attn.v_proj"),
        _swap("self_attn.q_norm", "self_attn.k_norm"),
        _swap("input_layernorm", "post_attention_layernorm"),
    ],
    ids=lambda own: own.__name__ if callable(own) else str(own),
)
def test_a_difference_is_found_and_leaves_nothing(
    fault: Any,
    tokenizers: dict[int, Tokenizer],
    random_model: Callable[[Architecture], Transformer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if isinstance(fault, dict):
        monkeypatch.setattr(huggingface, "config", lambda architecture: config(architecture) | fault)
    else:
        monkeypatch.setattr(huggingface, "to_huggingface", lambda model: fault(to_huggingface(model)))
    model = random_model(replace(NORMED, window=16, window_pattern="SSL"))

    with pytest.raises(ExportError, match=r"logits differ after export: by .* with a largest logit of"):
        export_candidate(model, tokenizers[256], tmp_path / "export", "card")
    assert not list(tmp_path.iterdir())
