"""Commands that use a trained candidate."""

from pathlib import Path
from typing import Annotated

import typer

from nas.errors import SpecError, StateError
from services.cli.access import find_candidate, opened
from services.cli.output import say

CandidateId = Annotated[str, typer.Argument(metavar="ID/N", help="A candidate; ID alone means the search's result.")]


def generate(
    candidate: CandidateId,
    prompt: Annotated[str, typer.Argument(help="The text to go on from.")] = "",
    tokens: Annotated[int, typer.Option(help="Tokens to write.")] = 200,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token.")] = 0.8,
    seed: Annotated[int, typer.Option(help="Of the sampling.")] = 0,
) -> None:
    """Text from a trained candidate."""
    if tokens < 1:
        raise SpecError("tokens", "must be at least 1", tokens)
    if temperature < 0:
        raise SpecError("temperature", "must be at least 0", temperature)
    from nas.train.artifact import generate as sample
    from nas.train.artifact import load_artifact

    with opened() as (home, store):
        search, record = find_candidate(store, candidate)
    if not record.artifact:
        raise StateError(f"candidate {search.id}/{record.number} is {record.state}: only completed ones keep weights")
    model, tokenizer, _ = load_artifact(home.artifacts / record.artifact)
    print(sample(model, tokenizer, prompt, tokens=tokens, temperature=temperature, seed=seed))


def export(
    candidate: CandidateId,
    out: Annotated[Path, typer.Option("--out", help="The folder to write.")] = Path("model"),
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
) -> None:
    """Write a folder that transformers loads without `nas`; logits are compared at every export."""
    from nas.export.card import model_card
    from nas.export.huggingface import export_candidate
    from nas.train.artifact import load_artifact

    with opened() as (home, store):
        search, record = find_candidate(store, candidate)
    if not record.artifact:
        raise StateError(f"candidate {search.id}/{record.number} is {record.state}: only completed ones can be exported")
    model, tokenizer, _ = load_artifact(home.artifacts / record.artifact)
    card = model_card(
        record,
        search_name=search.name,
        corpus=str(search.setting.get("corpus", {}).get("name", "unknown")),
        limits=search.spec.get("limits", {}),
        device=str(search.setting.get("device", "unknown")),
        seed=int(search.spec.get("method", {}).get("seed", 0)),
    )
    parity = export_candidate(model, tokenizer, out, card, force=force)
    if parity.checked:
        say(f"wrote {out}: transformers gives the same logits (relative error {parity.max_relative_error:.1e})")
    else:
        say(f"wrote {out}; not compared with transformers: {parity.reason}")
