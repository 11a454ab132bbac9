"""Commands that use a candidate of a search."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.records import SearchRecord
from services.cli import remote
from services.cli.access import find_candidate, find_trained, opened
from services.cli.ahead import consent
from services.cli.output import Format, Output, emit_json, emit_lines, say, tell

if TYPE_CHECKING:
    from services.scaling import Scaled

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
    with opened() as (home, store):
        search, record = find_trained(store, candidate)
        if (client := remote.client_of(store)) is not None:
            print(client.generate(search.id, record.number, prompt, tokens, temperature, seed))
            return
    from nas.train.artifact import generate as sample
    from nas.train.artifact import load_artifact
    from services.worker.writing import weights_of

    model, tokenizer, _ = load_artifact(weights_of(home, record))
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
    with opened() as (home, store):
        search, record = find_trained(store, candidate)
        if (client := remote.client_of(store)) is not None:
            from services.cli.packing import unpack

            found = client.export(search.id, record.number)
            unpack(client.download(found), out, force=force)
            say(f"wrote {out}: {found.detail}")
            return
    from services.worker.writing import export_to, said_of, weights_of

    parity = export_to(out, search, record, weights_of(home, record), force=force)
    say(f"wrote {out}: {said_of(parity)}")


def scale(
    candidate: CandidateId,
    compute: Annotated[str, typer.Option("--compute", metavar="FLOPS", help="For training, e.g. 5TFLOP.")],
    out: Annotated[Path | None, typer.Option("--out", help="Write the candidate, for `nas train`.")] = None,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Agree to what would otherwise be asked.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Carry a candidate to another budget by scaling rules.

    Nothing is trained: what comes out is an extrapolation, unless a run has verified it.

    Example: nas scale austen/12 --compute 1TFLOP --out candidate.yaml
    """
    from nas.units import parse_flops

    flops = parse_flops(compute, "--compute")
    with opened() as (home, store):
        search, record = find_candidate(store, candidate)
        if (client := remote.client_of(store)) is not None:
            from services.scaling import Scaled

            found = Scaled.received(record, client.scale(search.id, record.number, flops))
        else:
            from services.worker.scaling import scale_candidate

            found = scale_candidate(home, store, search, record, flops)
    _caution(found)
    consent(found.transfer.plan.epochs, "--compute", yes)
    if output is Format.JSON:
        emit_json(found.to_dict())
    elif output is Format.ID:
        print(found.candidate.id)
    else:
        emit_lines(found.text())
    if out is not None:
        from services.single import write_candidate

        write_candidate(found.candidate, out)
        say(f"wrote {out}; train it with: {_training(search, out, compute)}")


def _caution(found: "Scaled") -> None:
    """What is doubtful of the candidate and of the budget."""
    from nas.forecast import EPOCHS_WARNING
    from nas.records import CandidateState

    origin, epochs = found.origin, found.transfer.plan.epochs
    if origin.state is not CandidateState.COMPLETED:
        tell("warning", f"candidate {origin.number} is {origin.state}: how good it would have become is not known")
    if epochs > EPOCHS_WARNING:
        tell("warning", f"{epochs:.2g} epochs over the corpus; beyond {EPOCHS_WARNING:g}, repeated text teaches less")


def _training(search: SearchRecord, out: Path, compute: str) -> str:
    """The command that trains what was written, on the text of the search."""
    corpus = search.spec["corpus"]
    named = corpus if isinstance(corpus, str) else "TEXTS"
    return shlex.join(["nas", "train", str(out), "--compute", compute, "--corpus", named])
