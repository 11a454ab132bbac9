"""The command that hands a search to a server."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.errors import StateError
from services.cli import remote
from services.cli.ahead import ask_forecast
from services.cli.control import follow
from services.cli.output import Format, Output, emit_json, say, tell
from services.home import home

if TYPE_CHECKING:
    from nas.client.client import Client

Spec = Annotated[str, typer.Argument(metavar="SPEC", help="A search in YAML; - for standard input.")]
Watch = Annotated[bool, typer.Option("--watch", help="Follow it until it ends; Ctrl-C only stops following.")]
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Agree to what would otherwise be asked.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say whether the server would take it, and its forecast.")]
Key = Annotated[str, typer.Option("--idempotency-key", help="The same key again gives the same search.")]


def submit(
    spec: Spec,
    watch: Watch = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    key: Key = "",
    output: Output = Format.ID,
) -> None:
    """Hand a search to a server, which runs it.

    Texts and a space of this machine go with it. The id is on stdout.

    Example: nas submit search.yaml --watch
    """
    from nas.client.store import RemoteStore
    from services.cli.packing import packed, read

    where = home()
    address = remote.server(where) or remote.DEFAULT
    raw, base, located = read(spec)
    with remote.client(where, address) as client:
        with located():
            if dry_run:
                client.validate(packed(raw, base, client, upload=False))  # before it gets texts
            sent = packed(raw, base, client, upload=True)
            if dry_run:
                _foretell(client, sent)
                say(f"{address} would take it")
                return
            made = client.submit(sent, agreed=yes, key=key)
        url = f"{address}/api/v1/searches/{made.id}"
        if output is Format.JSON:
            emit_json({"id": made.id, "state": str(made.state), "url": url})
        else:
            print(made.id, flush=True)
        tell("url", url)
        if watch:
            follow(RemoteStore(client), made.id)
            return
    option = "" if remote.server(where) else f" --server {address}"
    tell("next", ", ".join(f"nas {command} {made.id}{option}" for command in ("watch", "front", "cancel")))


def _foretell(client: "Client", sent: Mapping[str, Any]) -> None:
    """A server that cannot foresee a search may take it all the same."""
    try:
        ask_forecast(client, sent, "", tell)
    except StateError as error:
        tell("forecast", f"there is none: {error}")
