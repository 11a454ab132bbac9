"""The folder: whole or not there, and never in the place of something else."""

import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nas.candidate import Architecture, Deviation
from nas.data.tokenizer import Tokenizer
from nas.errors import ExportError, StorageError
from nas.export.huggingface import CODE, FILES, config, export_candidate
from nas.export.weights import to_huggingface
from nas.train.model import Transformer

TINY = Architecture(
    depth=2, width=32, heads=2, head_size=16, kv_heads=1, mlp_width=48, vocabulary=256, context=32, qk_norm=False
)
Export = Callable[..., object]


@pytest.fixture
def model(random_model: Callable[[Architecture], Transformer]) -> Transformer:
    return random_model(TINY)


@pytest.fixture
def export(model: Transformer, tokenizers: dict[int, Tokenizer]) -> Export:
    def run(folder: Path, *, force: bool = False) -> object:
        return export_candidate(model, tokenizers[256], folder, "# Card 日本\n", force=force)

    return run


def test_it_writes_these_files_and_nothing_beside_them(export: Export, tmp_path: Path) -> None:
    export(tmp_path / "deep" / "export")

    assert sorted(path.name for path in (tmp_path / "deep" / "export").iterdir()) == sorted(FILES)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["export"]
    assert (tmp_path / "deep" / "export" / "README.md").read_text(encoding="utf-8") == "# Card 日本\n"


def test_an_export_does_not_need_transformers(export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)

    parity = export(tmp_path / "export")

    assert (parity.checked, parity.max_relative_error) == (False, None)  # type: ignore[attr-defined]
    assert "transformers is not installed" in parity.reason  # type: ignore[attr-defined]
    assert sorted(path.name for path in (tmp_path / "export").iterdir()) == sorted(FILES)


def test_the_model_is_left_as_it_was(model: Transformer, export: Export, tmp_path: Path) -> None:
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    export(tmp_path / "export")

    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("tied", [True, False])
def test_weights_are_float32_with_a_head_only_if_it_is_untied(
    tied: bool,
    random_model: Callable[[Architecture], Transformer],
    tokenizers: dict[int, Tokenizer],
    tmp_path: Path,
) -> None:
    model = random_model(replace(TINY, tied=tied))
    export_candidate(model, tokenizers[256], tmp_path / "export", "card")

    weights = load_file(tmp_path / "export" / "model.safetensors")

    assert ("lm_head.weight" in weights) is not tied
    assert json.loads((tmp_path / "export" / "config.json").read_text())["tie_word_embeddings"] is tied
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert sum(tensor.numel() for tensor in weights.values()) == sum(p.numel() for p in model.parameters())


def test_fused_matrices_are_split_into_copies(model: Transformer) -> None:
    weights = to_huggingface(model)
    attention, mlp = model.blocks[1].attention, model.blocks[1].mlp

    parts = [weights[f"model.layers.1.self_attn.{name}_proj.weight"] for name in "qkv"]
    assert [part.shape[0] for part in parts] == [32, 16, 16]
    assert torch.equal(torch.cat(parts), attention.qkv.weight)  # type: ignore[union-attr, arg-type]
    halves = [weights[f"model.layers.1.mlp.{name}_proj.weight"] for name in ("gate", "up")]
    assert torch.equal(torch.cat(halves), mlp.gate_up.weight)  # type: ignore[union-attr, arg-type]
    owned = {tensor.untyped_storage().data_ptr() for tensor in weights.values()}
    assert len(owned) == len(weights)


def test_windows_are_written_only_where_they_are() -> None:
    windowed = replace(TINY, depth=3, qk_norm=True, window=8, window_pattern="S")
    short, full = "sliding_attention", "full_attention"

    found = config(windowed)

    assert (found["use_sliding_window"], found["sliding_window"]) == (True, 8)
    assert found["layer_types"] == [short, short, full]
    assert "layer_types" not in config(replace(TINY, qk_norm=True))
    assert config(replace(TINY, heads=3, kv_heads=3))["sliding_window"] is None  # mistral would have 4096


def test_rope_is_written_for_transformers_4_and_5() -> None:
    found = config(TINY)
    assert found["rope_theta"] == found["rope_parameters"]["rope_theta"] == 10_000


def test_layers_of_two_shapes_take_their_code_with_them(
    random_model: Callable[[Architecture], Transformer], tokenizers: dict[int, Tokenizer], tmp_path: Path
) -> None:
    folder = tmp_path / "export"
    export_candidate(
        random_model(replace(TINY, deviations=(Deviation(1, mlp_width=64),))), tokenizers[256], folder, "card"
    )

    assert sorted(path.name for path in folder.iterdir()) == sorted((*FILES, *CODE))
    found = json.loads((folder / "config.json").read_text())
    assert [layer["mlp_width"] for layer in found["layers"]] == [48, 64]
    assert "nas." not in "".join((folder / name).read_text(encoding="utf-8") for name in CODE)
    export_candidate(random_model(TINY), tokenizers[256], folder, "card", force=True)
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


def test_settings_of_the_config_are_those_of_the_architecture() -> None:
    found = config(replace(TINY, qk_norm=True, softcap=15.0, x0_shortcut=True, value_embeddings="alternate"))
    assert (found["softcap"], found["x0_shortcut"], found["qk_norm"], found["activation"]) == (15, True, True, "swiglu")
    assert [layer["value_embedding"] for layer in found["layers"]] == [False, True]
    assert config(replace(TINY, activation="relu2"))["hidden_act"] == "relu2"


def test_a_tokenizer_of_another_vocabulary_is_refused(
    model: Transformer, tokenizers: dict[int, Tokenizer], tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match="vocabulary of 256, found 320"):
        export_candidate(model, tokenizers[320], tmp_path / "export", "card")
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_numbers_are_refused(model: Transformer, export: Export, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    with torch.no_grad():
        model.embedding.weight[3, 3] = math.nan
    with pytest.raises(ExportError, match="logits differ after export: by nan"):
        export(tmp_path / "export")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_transformers_cannot_read_is_refused(model: Transformer, tmp_path: Path) -> None:
    pytest.importorskip("transformers")

    class Broken:
        vocabulary = 256

        def to_json(self) -> str:
            return "{}"

    with pytest.raises(ExportError, match=r"transformers .* cannot use the export"):
        export_candidate(model, Broken(), tmp_path / "export", "card")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_other_tokens_are_refused(model: Transformer, tokenizers: dict[int, Tokenizer], tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    definition = json.loads(tokenizers[256].definition)
    vocabulary = definition["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    swapped = Tokenizer(json.dumps(definition))

    with pytest.raises(ExportError, match="tokenizer differs after export"):
        export_candidate(model, swapped, tmp_path / "export", "card")
    assert not list(tmp_path.iterdir())


def test_other_text_is_refused(model: Transformer, tokenizers: dict[int, Tokenizer], tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    undecoded = Tokenizer(json.dumps(json.loads(tokenizers[256].definition) | {"decoder": None}))

    with pytest.raises(ExportError, match="comes back as"):
        export_candidate(model, undecoded, tmp_path / "export", "card")
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_is_used(export: Export, tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    export(tmp_path / "export")
    assert (tmp_path / "export" / "config.json").exists()


def test_an_earlier_export_is_replaced_only_by_force(export: Export, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    export(folder)
    (folder / "README.md").write_text("mine")

    with pytest.raises(ExportError, match="is not empty"):
        export(folder)
    assert (folder / "README.md").read_text() == "mine"
    export(folder, force=True)
    assert (folder / "README.md").read_text(encoding="utf-8") == "# Card 日本\n"
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


@pytest.mark.parametrize("force", [True, False])
def test_other_things_are_never_replaced(export: Export, tmp_path: Path, force: bool) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("text")

    with pytest.raises(ExportError, match=r"thesis\.tex|is not empty"):
        export(tmp_path / "home", force=force)
    with pytest.raises(ExportError, match="is a file"):
        export(tmp_path / "file", force=force)
    assert (tmp_path / "home" / "thesis.tex").read_text() == "years of work"
    assert (tmp_path / "file").read_text() == "text"


def test_a_folder_below_a_file_is_a_storage_error(export: Export, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(StorageError, match="file"):
        export(tmp_path / "file" / "export")


def test_the_earlier_export_comes_back_when_the_move_fails(
    export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "export"
    export(folder)
    rename = Path.rename

    def refuse_new(self: Path, target: Path) -> Path:
        if self.suffix == ".tmp":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_new)
    with pytest.raises(StorageError, match="Input/output error"):
        export(folder, force=True)

    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert [path.name for path in tmp_path.iterdir()] == ["export"]
