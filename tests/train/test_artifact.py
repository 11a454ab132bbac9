from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from nas.candidate import Architecture, Candidate, Deviation, Recipe
from nas.data.depot import Depot
from nas.data.texts import Texts
from nas.errors import NotFoundError, StorageError
from nas.train.artifact import (
    FILES,
    WEIGHTS,
    fetch_artifact,
    generate,
    load_artifact,
    publish_artifact,
    save_artifact,
)
from nas.train.decode import Decoder
from nas.train.model import Transformer

Build = Callable[..., Transformer]
PLAIN = Architecture(depth=2, width=16, heads=4, head_size=4, kv_heads=2, mlp_width=24, vocabulary=320, context=32)
WINDOWED = replace(PLAIN, window=8, window_pattern="SL")


@pytest.mark.parametrize(
    "architecture",
    [PLAIN, replace(PLAIN, tied=False, vocabulary=256), replace(WINDOWED, deviations=(Deviation(1, mlp_width=8),))],
)
def test_an_artifact_comes_back(
    architecture: Architecture, tmp_path: Path, tiny_texts: Texts, random_model: Build
) -> None:
    model, candidate = random_model(architecture), Candidate(architecture, Recipe(64, dropout=0.1))
    tokenizer = tiny_texts.tokenizer(architecture.vocabulary)
    save_artifact(tmp_path / "deep", model, tokenizer, candidate)
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == [
        "candidate.json",
        "tokenizer.json",
        "weights.safetensors",
    ]
    loaded, same_tokenizer, same = load_artifact(tmp_path / "deep")
    assert (same, same.id) == (candidate, candidate.id)
    assert same_tokenizer == tokenizer
    assert not loaded.training
    tokens = torch.randint(0, 256, (2, 32), generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded.logits(tokens), model.logits(tokens))
    size = (tmp_path / "deep" / WEIGHTS).stat().st_size
    assert 0 <= size - 4 * sum(parameter.numel() for parameter in model.parameters()) < 4096  # a shared head once


def test_an_artifact_goes_to_another_machine(tmp_path: Path, tiny_texts: Texts, random_model: Build) -> None:
    here, there, depot = tmp_path / "here", tmp_path / "there", Depot(str(tmp_path / "depot"))
    save_artifact(here, random_model(PLAIN), tiny_texts.tokenizer(320), Candidate(PLAIN, Recipe(64)))
    (here / "checkpoint.pt").write_bytes(b"not part of it")
    publish_artifact(here, depot, "s/7")
    fetch_artifact(there, depot, "s/7")
    assert {path.name for path in there.iterdir()} == set(FILES)
    assert all((there / name).read_bytes() == (here / name).read_bytes() for name in FILES)
    _, tokenizer, candidate = load_artifact(there)
    assert (tokenizer, candidate.architecture) == (tiny_texts.tokenizer(320), PLAIN)


def test_an_artifact_that_the_depot_has_not(tmp_path: Path) -> None:
    fetch_artifact(tmp_path / "there", Depot(str(tmp_path / "depot")), "s/7")
    assert list(tmp_path.rglob("*")) == []


def test_nothing_trained(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no trained weights in .*"):
        load_artifact(tmp_path)


def test_a_folder_that_cannot_be(tmp_path: Path, tiny_texts: Texts, random_model: Build) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        candidate = Candidate(PLAIN, Recipe(32))
        save_artifact(tmp_path / "file", random_model(PLAIN), tiny_texts.tokenizer(320), candidate)


@pytest.mark.parametrize("architecture", [PLAIN, WINDOWED])
def test_the_likeliest_continuation(architecture: Architecture, tiny_texts: Texts, random_model: Build) -> None:
    """Temperature 0, token by token, past the end of the context, with whole contexts only for windows."""
    model, tokenizer = random_model(architecture).eval(), tiny_texts.tokenizer(320)
    found = generate(model, tokenizer, "It was", tokens=50, temperature=0.0, seed=0)
    ids = [0, *tokenizer.encode("It was").tolist()]
    start = len(ids)
    with torch.no_grad():
        for _ in range(50):
            seen = ids[-32:]
            logits = model.logits(torch.tensor([seen + [5] * (32 - len(seen))]))[0, len(seen) - 1]
            following = int(logits.argmax())
            if following == 0:
                break
            ids.append(following)
    assert found == "It was" + tokenizer.decode(ids[start:])
    assert found == generate(model, tokenizer, "It was", tokens=50, temperature=0.0, seed=9)


def test_sampling_is_a_function_of_the_seed(tiny_texts: Texts, random_model: Build) -> None:
    model, tokenizer = random_model(PLAIN).eval(), tiny_texts.tokenizer(320)

    def sample(seed: int, temperature: float = 1.0) -> str:
        return generate(model, tokenizer, "Her ", tokens=20, temperature=temperature, seed=seed)

    torch.manual_seed(1)
    first = sample(1)
    torch.manual_seed(2)
    assert sample(1) == first
    assert len({sample(seed) for seed in range(5)}) > 1
    assert sample(3, 1e-4) == sample(4, 0.0)  # almost no temperature is none
    assert generate(model, tokenizer, "Her ", tokens=0, temperature=1.0, seed=0) == "Her "


def test_a_document_ends(tiny_texts: Texts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The separator is not text: generation stops there."""
    model = Transformer(replace(PLAIN, tied=False))
    model.initialise(0)
    said = iter([70, 71, 0, 72])
    monkeypatch.setattr(Decoder, "read", lambda self, tokens: F.one_hot(torch.tensor(next(said)), 320).float())
    text = generate(model, tiny_texts.tokenizer(320), "The", tokens=9, temperature=0.0, seed=0)
    assert text == "The" + tiny_texts.tokenizer(320).decode([70, 71])
    assert next(said) == 72
