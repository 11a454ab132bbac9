"""Commands that start something: searches, single runs, plans."""

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.errors import CancelledError, InfeasibleError, SpecError
from services.cli.access import find_search, opened
from services.cli.output import Format, Output, emit_json, say
from services.cli.progress import Progress

if TYPE_CHECKING:
    from nas.forecast import Forecast
    from nas.ports import Store
    from nas.records import SearchRecord
    from nas.spec import SearchSpec
    from services.home import Home

SpecFile = Annotated[Path, typer.Argument(metavar="SPEC", help="A search in YAML.")]
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Agree to what would otherwise be asked.")]
Corpus = Annotated[str, typer.Option(help="A corpus by name, or a glob of text files.")]
SpaceName = Annotated[str, typer.Option("--space", help="A space by name or path.")]


def run(spec: SpecFile, yes: Yes = False, output: Output = Format.TABLE) -> None:
    """Search in the foreground, then make the final run."""
    from nas.spec import load_spec

    _search(load_spec(spec), spec.absolute().parent, yes, output)


def fit(
    corpus: Annotated[str, typer.Argument(help='Text files, e.g. "books/*.txt".')],
    time: Annotated[str, typer.Option("--time", help="For everything, e.g. 30min or 2h.")],
    space: SpaceName = "",
    parallel: Annotated[int, typer.Option(help="Candidates at a time; 0: as fits the machine.")] = 0,
    seed: Annotated[int, typer.Option(help="Of the whole search.")] = 0,
    yes: Yes = False,
    output: Output = Format.TABLE,
) -> None:
    """Search without a spec: the best model for these texts in this time, on this machine."""
    from nas.units import parse_seconds
    from services.quick import quick_spec

    spec = quick_spec(corpus, parse_seconds(time, "time"), space, parallel, seed)
    _search(spec, Path.cwd(), yes, output)


def resume(
    search: Annotated[str, typer.Argument(metavar="ID", help="A search that was interrupted.")],
    yes: Yes = False,
    output: Output = Format.TABLE,
) -> None:
    """Go on with a search that was interrupted; candidates in training go on from their checkpoints."""
    from nas.errors import StateError
    from nas.records import SearchState

    with opened() as (home, store):
        record = find_search(store, search)
        if record.state in (SearchState.COMPLETED, SearchState.CANCELLED):
            raise StateError(f"search {record.id} is {record.state}; there is nothing to resume")
        _foreground(home, store, record, yes, output)


def _search(spec: "SearchSpec", base: Path, yes: bool, output: Format) -> None:
    from services.foreground import new_search

    with opened() as (home, store):
        _foreground(home, store, new_search(store, spec, base), yes, output)


def _foreground(home: "Home", store: "Store", record: "SearchRecord", yes: bool, output: Format) -> None:
    from services.foreground import Foreground

    say(f"search {record.id}")
    progress = Progress(store, record.id)
    try:
        with progress:
            done = Foreground(home, store, record, say, lambda found: _agree(found, yes), progress.event).run()
    except KeyboardInterrupt:
        say(f"interrupted; what was done is kept. Go on with: nas resume {record.id}")
        raise
    if output is Format.JSON:
        emit_json({"id": done.id, "state": str(done.state), "result": done.result})
    elif output is Format.ID:
        print(done.id)
    else:
        _print_result(store, done)
    if done.result is None:
        raise InfeasibleError(done.reason)


def _print_result(store: "Store", record: "SearchRecord") -> None:
    from dashboards.text import front_plot, front_table
    from dashboards.view import view

    seen = view(store, record.id)
    print(f"\n{front_table(seen)}\n\n{front_plot(seen)}\n")
    if record.result is not None:
        print(record.result["sentence"])


def _agree(found: "Forecast", yes: bool) -> None:
    """Prints what will happen before anything is spent; many epochs need consent."""
    from nas.forecast import EPOCHS_CONSENT, EPOCHS_WARNING
    from nas.units import format_seconds

    ending = f", expected to take {format_seconds(found.seconds)}" if math.isfinite(found.seconds) else ""
    say(f"binding limit: {found.binding}; pays for {found.full_trainings:.1f} full trainings{ending}")
    say(f"the gate admits {found.admitted_share:.0%} of the space")
    say(f"dial (rules, no search): {_knobs(found.dial)}; {found.epochs:.2g} epochs, final run {found.final_epochs:.2g}")
    say(f"largest that fits: {_knobs(found.largest)}")
    most = max(found.epochs, found.final_epochs)
    if most > EPOCHS_WARNING:
        say(f"warning: {most:.1f} epochs over the corpus; beyond {EPOCHS_WARNING:g} repeated text is worth less")
    if most > EPOCHS_CONSENT and not yes:
        if not sys.stdin.isatty():
            raise SpecError("budget", f"must not repeat the corpus more than {EPOCHS_CONSENT:g} times without --yes", most)
        if not typer.confirm(f"{most:.0f} epochs over the corpus: go on?", err=True):
            raise CancelledError("not started")


def _knobs(knobs: Mapping[str, Any] | None) -> str:
    if knobs is None:
        return "none fits"
    names = ("depth", "width", "vocabulary", "context", "mlp_ratio")
    return ", ".join(f"{name} {knobs[name]:g}" for name in names if name in knobs)


def train(
    candidate: Annotated[Path, typer.Argument(metavar="CANDIDATE", help="A candidate in YAML.")],
    compute: Annotated[str, typer.Option("--compute", help="Training FLOPs, e.g. 5TFLOP.")],
    corpus: Corpus = "austen",
    time: Annotated[str, typer.Option("--time", help="At most so long, e.g. 10min.")] = "",
    memory: Annotated[str, typer.Option("--memory", help="Peak memory, e.g. 1GiB.")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of weights and batches.")] = 0,
    test: Annotated[bool, typer.Option("--test", help="Also score the test split.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for weights, tokenizer and checkpoint.")] = None,
) -> None:
    """Train one candidate, no search: gate, train, and the result as JSON on stdout."""
    from nas.plan import Allowance
    from nas.units import parse_bytes, parse_flops, parse_seconds
    from services.single import read_candidate, train_one

    grant = Allowance(
        flops=parse_flops(compute, "compute"),
        seconds=parse_seconds(time, "time") if time else math.inf,
        memory=parse_bytes(memory, "memory") if memory else None,
    )
    emit_json(train_one(read_candidate(candidate), grant, corpus, device, seed, test=test, out=out, tell=say))


def plan(
    compute: Annotated[str, typer.Option("--compute", help="Training FLOPs, e.g. 1PFLOP.")],
    corpus: Corpus = "austen",
    space: SpaceName = "llama-tiny",
    memory: Annotated[str, typer.Option("--memory", help="Peak memory, e.g. 1GiB.")] = "",
    out: Annotated[Path | None, typer.Option("--out", help="Write the candidate, for `nas train`.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """The dial: what scaling rules choose for a budget with no search, and what it costs."""
    from nas.units import parse_bytes, parse_flops
    from services.single import dial_plan

    found = dial_plan(
        parse_flops(compute, "compute"), corpus, space, parse_bytes(memory, "memory") if memory else None
    )
    if out is not None:
        from ruamel.yaml import YAML

        with out.open("w") as file:
            YAML().dump(found.candidate.to_dict(), file)
        say(f"wrote {out}")
    if output is Format.JSON:
        emit_json({"id": found.candidate.id, **found.to_dict()})
    elif output is Format.ID:
        print(found.candidate.id)
    else:
        print(found.text())


def validate(spec: SpecFile) -> None:
    """Check a spec without running it; complaints name the field, the rule, the value and the line."""
    from nas.space import load_space
    from nas.spec import load_spec

    read = load_spec(spec)
    space = load_space(read.space, spec.absolute().parent)
    print(f"{spec}: {read.name}, {len(space.knobs)} knobs of {space.name}, {', '.join(read.minimize)}")


def spaces(output: Output = Format.TABLE) -> None:
    """List the search spaces that come with the package."""
    from nas.space import load_space, space_names

    known = [load_space(name) for name in space_names()]
    if output is Format.JSON:
        emit_json({"spaces": [{"name": own.name, "about": own.about, **own.to_dict()} for own in known]})
    elif output is Format.ID:
        print("\n".join(own.name for own in known))
    else:
        for own in known:
            print(f"{own.name:<14} {own.about}")


