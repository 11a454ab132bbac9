"""Commands that say what a device does and what a candidate needs there."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import remote
from services.cli.access import find_candidate, opened, opened_here
from services.cli.output import TableOrJson, emit_json, emit_lines, tell
from services.home import home

if TYPE_CHECKING:
    from nas.calibration import DeviceProfile
    from nas.candidate import Candidate
    from nas.cost import Cost
    from nas.measure.modules import ModuleRow

profile = typer.Typer(
    no_args_is_help=True, help="Say what a device does, or what a candidate needs there.", rich_markup_mode=None
)

DeviceName = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, or one of the catalogue: rtx-4090.")]


class By(StrEnum):
    WHOLE = "whole"
    MODULE = "module"


@profile.command()
def device(
    name: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    parallel: Annotated[int, typer.Option(min=1, help="Runs that share the machine's threads.")] = 1,
    refit: Annotated[bool, typer.Option("--refit", help="Probe again, though it is known.")] = False,
    output: TableOrJson = "table",
) -> None:
    """Probe the device of this machine, or of a server, so that memory and time are predicted as well as they can be.

    Example: nas profile device --refit
    """
    if address := remote.server(home()):
        found = _profile_there(address, name, parallel, refit=refit)
    else:
        from services.profiling import device_profile

        with opened_here() as (_, store):
            found = device_profile(store, name, parallel, tell, refit=refit)
    if output == "json":
        emit_json({"key": found.fingerprint.key, **found.to_dict()})
    else:
        from services.profiling import describe_profile

        emit_lines(describe_profile(found))


def _profile_there(address: str, name: str, parallel: int, *, refit: bool) -> "DeviceProfile":
    """By a worker of a server; Ctrl-C only stops waiting for it."""
    from nas.calibration import DeviceProfile

    with remote.client(home(), address) as client:
        job = client.profile(name, full=True, parallel=parallel, refit=refit)
        tell("profile", f"{job.id} of {address}: waits until nothing is trained there, and takes minutes if it is new")
        made = client.profiled(job)
        return next(
            DeviceProfile.from_dict(own.profile)
            for own in client.devices().devices
            if own.fingerprint == made.fingerprint
        )


@profile.command()
def candidate(
    which: Annotated[str, typer.Argument(metavar="FILE|ID/N", help="A candidate in YAML, or one of a search.")],
    name: DeviceName = "auto",
    batch: Annotated[int, typer.Option(min=0, help="Sequences in a pass; 0: the whole batch.")] = 0,
    measure: Annotated[bool, typer.Option("--measure", help="Make real steps too.")] = False,
    by: Annotated[By, typer.Option("--by", help="whole, or module: parameters and FLOPs of each.")] = By.WHOLE,
    corpus: Annotated[str, typer.Option(help="That the bytes of a token are counted on, for a file.")] = "austen",
    output: TableOrJson = "table",
) -> None:
    """Say what a candidate needs: parameters, FLOPs, memory, seconds and energy of a training step.

    The candidate may be a server's; the device is that of this machine.

    Example: nas profile candidate austen/12 --measure
    """
    own, cost = _read(which, corpus)
    if by is By.MODULE:
        from nas.measure.modules import module_table

        _show_modules(module_table(own), output)
        return
    from services.profiling import profile_candidate

    with opened_here() as (_, store):
        found = profile_candidate(own, cost, name, batch, store, tell, measure=measure)
    if output == "json":
        emit_json(found.to_dict())
    else:
        emit_lines(found.text())


def _read(which: str, corpus: str) -> "tuple[Candidate, Cost]":
    from nas.candidate import Candidate
    from nas.cost import Cost
    from nas.cost import cost as cost_of
    from services.single import open_texts, read_candidate

    if Path(which).suffix in (".yaml", ".yml") or Path(which).is_file():
        own = read_candidate(Path(which))
        texts = open_texts(corpus, own.architecture.context)
        return own, cost_of(own, texts.bytes_per_token(own.architecture.vocabulary))
    with opened() as (_, store):
        _, record = find_candidate(store, which)
    names = Cost.__dataclass_fields__
    return Candidate.from_dict(record.candidate), Cost(**{name: record.costs[name] for name in names})


def _show_modules(rows: "list[ModuleRow]", output: str) -> None:
    if output == "json":
        fields: list[dict[str, Any]] = [
            {
                "name": row.name,
                "kind": row.kind,
                "params": row.params,
                "forward_flops": row.flops,
                "other_flops": row.other_flops,
            }
            for row in rows
        ]
        emit_json({"modules": fields})
        return
    from nas.units import format_count, format_flops

    lines = [("module", "parameters", "forward", "beside")]
    for row in rows:
        label = "  " * row.depth + (row.name.rpartition(".")[2] or "model") + f" ({row.kind})"
        lines.append((label, format_count(row.params), format_flops(row.flops), format_flops(row.other_flops)))
    widths = [max(len(line[at]) for line in lines) for at in range(4)]
    emit_lines(
        f"{name:<{widths[0]}}  {params:>{widths[1]}}  {forward:>{widths[2]}}  {beside:>{widths[3]}}"
        for name, params, forward, beside in lines
    )
    tell("", "forward: one sequence of full context by model_flops_v1; beside: norms, softmax and such, not charged")
