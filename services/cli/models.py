"""Commands that use a trained candidate."""

from pathlib import Path
from typing import Annotated

import typer

from services.cli.access import find_trained, opened, trained_folder
from services.cli.output import say

CandidateId = Annotated[str, typer.Argument(metavar="ID/N", help="A candidate; ID alone means the search's result.")]


def generate(
    candidate: CandidateId,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="The text to go on from.")] = "",
    tokens: Annotated[int, typer.Option(min=1, help="Tokens to write, at most.")] = 200,
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the likeliest token.")] = 0.8,
    seed: Annotated[int, typer.Option(min=0, help="Of the sampling.")] = 0,
) -> None:
    """Write text with a trained candidate.

    Example: nas generate austen/12 "It is a truth" --tokens 60
    """
    from nas.train.artifact import generate as sample
    from nas.train.artifact import load_artifact

    with opened() as (home, store):
        _, record = find_trained(store, candidate)
    model, tokenizer, _ = load_artifact(trained_folder(home, record))
    print(sample(model, tokenizer, prompt, tokens=tokens, temperature=temperature, seed=seed))


def export(
    candidate: CandidateId,
    out: Annotated[Path, typer.Option("--out", help="The folder to write.")] = Path("model"),
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
) -> None:
    """Export a trained candidate for transformers.

    The folder loads without this program; where transformers is installed, its logits are compared first.

    Example: nas export austen/12 --out model
    """
    from nas.export.card import model_card
    from nas.export.huggingface import export_candidate
    from nas.train.artifact import load_artifact

    with opened() as (home, store):
        search, record = find_trained(store, candidate)
    model, tokenizer, _ = load_artifact(trained_folder(home, record))
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
