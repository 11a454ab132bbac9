"""The command that starts a server."""

from typing import Annotated, Literal

import typer

from services.cli.output import tell
from services.home import home

Host = Annotated[str, typer.Option(help="Address to listen at; beyond the loopback tokens are needed.")]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")]
Database = Annotated[str, typer.Option("--db", metavar="URL", help="Database; an SQLite file without.")]
Ray = Annotated[str, typer.Option("--ray", metavar="ADDRESS", help="A Ray cluster, or none; one of its own without.")]
Artifacts = Annotated[str, typer.Option("--artifacts", metavar="URL", help="Folder or URL that machines share.")]
Auth = Annotated[Literal["token", "none"], typer.Option(help="token: whoever asks needs one.")]
Hosts = Annotated[list[str] | None, typer.Option("--allowed-host", help="A further name that it answers to.")]
Running = Annotated[int, typer.Option(min=1, help="Searches that run at the same time.")]


def serve(
    host: Host = "127.0.0.1",
    port: Port = 8470,
    db: Database = "",
    ray: Ray = "",
    artifacts: Artifacts = "",
    auth: Auth = "none",
    hosts: Hosts = None,
    running: Running = 4,
) -> None:
    """Start a server: the REST API, and searches that it runs.

    Ended and started again it goes on where it was.

    Example: nas serve --port 8470
    """
    from dataclasses import replace

    from nas.adapters.sql.engine import redacted_url
    from services.controller.serve import serve as run
    from services.controller.settings import Settings

    settings = Settings(host, port, auth == "token", tuple(hosts or ()), ray, running)
    here = home()
    where = replace(here, database=db or here.database, storage=artifacts or here.storage)
    shown = f"[{host}]" if ":" in host else host
    tell("server", f"http://{shown}:{port} (dashboard; API: /docs), database {redacted_url(where.database)}")
    if not settings.auth:
        tell("access", "everybody on this machine; with --auth token, whoever has one: nas token create")
    run(where, settings)
