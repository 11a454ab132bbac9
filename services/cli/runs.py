"""Commands that start something: searches, single runs, plans."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.document import read_file
from nas.errors import (
    CancelledError,
    CorpusError,
    InfeasibleError,
    LeaseError,
    NasError,
    NotFoundError,
    SpecError,
    StateError,
)
from nas.records import RequestKind, SearchState
from services.cli import remote
from services.cli.access import find_search, opened, opened_here
from services.cli.ahead import agree, ask_forecast, foretell
from services.cli.output import Format, Output, TableOrJson, emit_json, emit_lines, print_topic, say, tell
from services.cli.progress import Progress
from services.home import home as here

if TYPE_CHECKING:
    from nas.plan import Allowance
    from nas.ports import PublicStore, Store
    from nas.records import SearchRecord
    from nas.spec import SearchSpec
    from services.ground import Ground
    from services.home import Home
    from services.worker.fleet import Fleet

PAUSED_EXIT = 130


class Engine(StrEnum):
    RAY = "ray"
    INLINE = "inline"


EngineName = Annotated[Engine, typer.Option("--engine", help="ray, or inline: in this process, one at a time.")]
SpecFile = Annotated[Path, typer.Argument(metavar="SPEC", help="A search in YAML.")]
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Agree to what would otherwise be asked.")]
RayAddress = Annotated[str, typer.Option("--ray", metavar="ADDRESS", help="A Ray cluster; a local Ray without.")]
Corpus = Annotated[str, typer.Option(help="A corpus by name, or a glob of text files.")]
SpaceName = Annotated[str, typer.Option("--space", help="A space by name or path.")]


def run(
    spec: SpecFile,
    yes: Yes = False,
    engine: EngineName = Engine.RAY,
    ray: RayAddress = "",
    output: Output = Format.TABLE,
) -> None:
    """Search under a budget, then make the final run.

    Interrupted once, it pauses: what is in training saves a checkpoint. `nas resume` goes on.

    Example: nas run search.yaml
    """
    from nas.spec import load_spec
    from services.foreground import begin

    read = _for_engine(load_spec(spec), engine)
    with opened_here() as (home, store), _fleet(ray) as fleet:
        with _begins(), _located(spec):
            base = spec.absolute().parent
            record, ground = begin(home, store, read, base, tell, lambda found: agree(found, yes), fleet)
        _drive(home, store, record.id, ground, engine, output, cluster=bool(ray))


def fit(
    texts: Annotated[list[str], typer.Argument(metavar="TEXTS", help="Text files, or globs in quotes.")],
    time: Annotated[str, typer.Option("--time", metavar="TIME", help="For everything, e.g. 30min or 2h.")],
    space: SpaceName = "",
    parallel: Annotated[int, typer.Option(min=0, help="Candidates at a time; 0: as fits the machine.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of the whole search.")] = 0,
    yes: Yes = False,
    engine: EngineName = Engine.RAY,
    ray: RayAddress = "",
    output: Output = Format.TABLE,
) -> None:
    """Find the best model for texts in a given time; no spec needed.

    Example: nas fit 'books/*.txt' --time 30min
    """
    from nas.units import parse_seconds
    from services.foreground import begin
    from services.quick import quick_spec

    seconds = parse_seconds(time, "--time")
    corpus = texts[0] if len(texts) == 1 else {"train": texts}
    with opened_here() as (home, store), _fleet(ray) as fleet:
        with _begins():
            spec = _for_engine(quick_spec(corpus, seconds, space, parallel, seed, home, tell), engine)
            record, ground = begin(home, store, spec, Path.cwd(), tell, lambda found: agree(found, yes), fleet)
        _drive(home, store, record.id, ground, engine, output, cluster=bool(ray))


def resume(
    search: Annotated[str, typer.Argument(metavar="ID", help="A search that was interrupted.")],
    engine: EngineName = Engine.RAY,
    ray: RayAddress = "",
    output: Output = Format.TABLE,
) -> None:
    """Go on with a search that was interrupted.

    Candidates in training go on from their last checkpoints.

    Example: nas resume austen
    """
    from nas.spec import parse_spec
    from services.worker.driver import OVER
    from services.worker.lease import driving

    if address := remote.server(here()):
        with opened() as (_, there):
            found = find_search(there, search)
            there.add_request(found.id, RequestKind.RESUME, {}, at=0.0)
            say(f"search {found.id} goes on at {address}; follow it with: nas watch {found.id}")
        return
    with opened_here() as (home, store):
        record = find_search(store, search)
        if record.state in OVER:
            raise StateError(f"search {record.id} is {record.state}; there is nothing to resume")
        if (lease := driving(store, record.id)) is not None:
            raise LeaseError(
                f"search {record.id} is driven by {lease.holder}; follow it with `nas watch`, or `nas pause` it first"
            )
        from services.ground import survey_again

        ground = survey_again(parse_spec(record.spec), record.setting, home, tell)
        with _fleet(ray):
            _drive(home, store, record.id, ground, engine, output, cluster=bool(ray))


@contextmanager
def _begins() -> Iterator[None]:
    """The time before there is a search to go on with."""
    try:
        yield
    except KeyboardInterrupt:
        say("interrupted before the search began; nothing is kept")
        raise


@contextmanager
def _located(spec: Path, missing: str = "space") -> Iterator[None]:
    """Complaints about what a spec refers to get the file and the line that refers to it; ``missing`` is the field
    that refers to what is not there."""
    places = {CorpusError: ("corpus", ""), NotFoundError: (missing, ""), InfeasibleError: ("budget", "budget: ")}
    try:
        yield
    except SpecError as error:
        raise read_file(spec).locate(error) from error
    except tuple(places) as error:
        field, topic = places[type(error)]
        raise type(error)(f"{spec}:{read_file(spec).line(field)}: {topic}{error}") from error


def _for_engine(spec: "SearchSpec", engine: Engine) -> "SearchSpec":
    """In this process there is room for one candidate at a time."""
    return replace(spec, method=replace(spec.method, parallel=1)) if engine is Engine.INLINE else spec


@contextmanager
def _fleet(address: str) -> Iterator["Fleet | None"]:
    """The machines of a cluster, connected within the block; ``None`` without an address."""
    if not address:
        yield None
        return
    from services.worker.cluster import connected

    with connected(address):
        from services.worker.fleet import Fleet

        yield Fleet()


def _drive(
    home: "Home", store: "Store", search_id: str, ground: "Ground", engine: Engine, output: Format, *, cluster: bool
) -> None:
    """Drives a search and prints how it ended."""
    from services.foreground import drive_inline, drive_on_ray

    tell("search", search_id)
    seen = max((event.sequence for event in store.events(search_id)), default=0)
    try:
        with Progress(store, search_id, after=seen) as progress:
            if engine is Engine.INLINE:
                drive_inline(home, store, search_id, ground, progress.look, say)
            elif cluster:
                drive_on_ray(home, store, search_id, progress.look, say, cluster=True)
            else:
                from services.worker.cluster import connected

                with connected(None, ground.threads * ground.spec.method.parallel):
                    drive_on_ray(home, store, search_id, progress.look, say, cluster=False)
    except (Exception, KeyboardInterrupt) as error:
        if not isinstance(error, LeaseError):
            happened = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            say(f"{happened}; what was done is kept. Go on with: nas resume {search_id}")
        raise
    conclude(store, search_id, output)


def conclude(store: "PublicStore", search_id: str, output: Format) -> None:
    """Prints how a search ended; the exit code says it too."""
    done = store.search(search_id)
    if output is Format.JSON:
        emit_json({"id": done.id, "state": str(done.state), "result": done.result})
    elif output is Format.ID:
        print(done.id)
    elif done.result is not None:
        _print_front(store, done.id)
    raise_outcome(done)
    if done.result is not None:
        (print if output is Format.TABLE else say)(done.result["sentence"])


def raise_outcome(done: "SearchRecord") -> None:
    """The exit code of a search that did not complete."""
    if done.state is SearchState.PAUSED:
        say(f"paused ({done.reason}); what was done is kept. Go on with: nas resume {done.id}")
        raise typer.Exit(PAUSED_EXIT)
    if done.state is SearchState.CANCELLED:
        raise CancelledError(f"search {done.id} was cancelled")
    if done.state is SearchState.FAILED:
        raise InfeasibleError(done.reason)
    if done.result is None:
        raise StateError(f"search {done.id} is {done.state}, and nothing drives it; go on with: nas resume {done.id}")


def _print_front(store: "PublicStore", search_id: str) -> None:
    from dashboards.text import front_plot, front_table
    from dashboards.view import view

    seen = view(store, search_id)
    print(f"\n{front_table(seen)}\n\n{front_plot(seen)}\n")


def train(
    candidate: Annotated[Path, typer.Argument(metavar="CANDIDATE", help="A candidate in YAML.")],
    compute: Annotated[str, typer.Option("--compute", metavar="FLOPS", help="For training, e.g. 5TFLOP.")],
    corpus: Corpus = "austen",
    time: Annotated[str, typer.Option("--time", metavar="TIME", help="At most so long, e.g. 10min.")] = "",
    memory: Annotated[str, typer.Option("--memory", metavar="BYTES", help="Peak memory, e.g. 1GiB.")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Of weights and batches.")] = 0,
    test: Annotated[bool, typer.Option("--test", help="Also score the test split.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for weights, tokenizer and checkpoint.")] = None,
) -> None:
    """Train one candidate, without a search.

    The candidate passes the gate first. The result is JSON on stdout.

    Example: nas train candidate.yaml --compute 1TFLOP --out trained
    """
    from services.single import read_candidate, train_one

    grant = _grant(compute, time, memory)
    emit_json(train_one(read_candidate(candidate), grant, corpus, device, seed, test=test, out=out, tell=say))


def plan(
    compute: Annotated[str, typer.Option("--compute", metavar="FLOPS", help="For training, e.g. 1PFLOP.")],
    corpus: Corpus = "austen",
    space: SpaceName = "llama-tiny",
    memory: Annotated[str, typer.Option("--memory", metavar="BYTES", help="Peak memory, e.g. 1GiB.")] = "",
    out: Annotated[Path | None, typer.Option("--out", help="Write the candidate, for `nas train`.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """Say what scaling rules choose for a budget, and its cost.

    Example: nas plan --compute 1TFLOP --out candidate.yaml
    """
    from services.single import dial_plan, write_candidate

    grant = _grant(compute, "", memory)
    found = dial_plan(grant.flops, corpus, space, grant.memory)
    if out is not None:
        write_candidate(found.candidate, out)
        say(f"wrote {out}")
    if output is Format.JSON:
        emit_json({"id": found.candidate.id, **found.to_dict()})
    elif output is Format.ID:
        print(found.candidate.id)
    else:
        print(found.text())


def _grant(compute: str, time: str, memory: str) -> "Allowance":
    from nas.plan import Allowance
    from nas.units import parse_bytes, parse_flops, parse_seconds

    return Allowance(
        flops=parse_flops(compute, "--compute"),
        seconds=parse_seconds(time, "--time") if time else math.inf,
        memory=parse_bytes(memory, "--memory") if memory else None,
    )


def forecast(
    spec: SpecFile,
    device: Annotated[
        str, typer.Option("--device", help="Instead of the spec's: auto, cpu, cuda, or one of the catalogue: rtx-4090.")
    ] = "",
    output: TableOrJson = "table",
) -> None:
    """Say what a search would do, here or on a GPU that is not here.

    Nothing is trained, and there is no search afterwards.

    Example: nas forecast search.yaml --device rtx-4090
    """
    show = tell if output == "json" else print_topic
    if address := remote.server(here()):
        found_there = _forecast_there(address, spec, device, show)
        if output == "json":
            emit_json(found_there)
        return
    from nas.spec import load_spec
    from services.forecasting import look_ahead, target

    read = load_spec(spec)
    with nullcontext() if device else _located(spec, missing="device"):
        aim = target(device or read.device, read.method.parallel)
    with opened_here() as (home, store), _located(spec):
        found = look_ahead(read, spec.absolute().parent, home, store, aim, show)
    foretell(found.likely, show, found.interval)
    if output == "json":
        emit_json(found.to_dict())


def _forecast_there(address: str, spec: Path, device: str, show: Callable[[str, str], None]) -> dict[str, Any]:
    """By a server, which gets the texts for it. Complaints are as they are here."""
    from services.cli.packing import packed, read

    raw, base, _ = read(str(spec))
    with remote.client(here(), address) as client:
        with _located(spec):
            sent = packed(raw, base, client, upload=True)
        try:
            return ask_forecast(client, sent, device, show)
        except NasError as error:
            named = isinstance(error, NotFoundError) or (isinstance(error, SpecError) and error.field == "device")
            with nullcontext() if device and named else _located(spec, missing="device"):
                raise


def spaces(output: Output = Format.TABLE) -> None:
    """List the search spaces that come with the package.

    Example: nas spaces
    """
    if address := remote.server(here()):
        with remote.client(here(), address) as client:
            known = [(own.name, own.about, own.space) for own in client.spaces().spaces]
    else:
        from nas.space import load_space, space_names

        known = [(own.name, own.about, own.to_dict()) for own in map(load_space, space_names())]
    if output is Format.JSON:
        emit_json({"spaces": [{"name": name, "about": about, **space} for name, about, space in known]})
    elif output is Format.ID:
        emit_lines(name for name, _, _ in known)
    else:
        emit_lines(f"{name:<14} {about}" for name, about, _ in known)


def validate(spec: SpecFile) -> None:
    """Check a spec without running it.

    A complaint names the file, the line, the field, the rule and the value.

    Example: nas validate search.yaml
    """
    from nas.space import load_space
    from nas.spec import load_spec

    read = load_spec(spec)
    with _located(spec):
        space = load_space(read.space, spec.absolute().parent)
    print(f"{spec} is valid: search {read.name}, {len(space.knobs)} knobs of space {space.name}, corpus {_named(read)}")


def _named(spec: Any) -> str:
    return spec.corpus if isinstance(spec.corpus, str) else "by fields"
