"""Entry point: the commands by name, and errors as exit codes. Heavy packages are imported by the commands that need
them, so that help is there at once."""

import os
import sys
from collections.abc import Callable

import typer

from nas.errors import NasError, SpecError
from services.cli import control, database, health, models, profile, remote, runs, searches, serving, submitting, tokens

app = typer.Typer(
    name="nas",
    help="Find the best language model you can afford, and prove that it fits.",
    epilog="Begin with: nas fit 'texts/*.txt' --time 10min",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS: tuple[Callable[..., None], ...] = (
    runs.run,
    runs.fit,
    runs.resume,
    control.pause,
    control.stop,
    control.cancel,
    control.enqueue,
    control.watch,
    control.wait,
    control.logs,
    searches.ls,
    searches.status,
    searches.candidates,
    searches.front,
    runs.train,
    runs.plan,
    models.scale,
    runs.forecast,
    models.generate,
    models.export,
    searches.report,
    runs.spaces,
    runs.validate,
    serving.serve,
    submitting.submit,
    tokens.login,
    tokens.logout,
    health.doctor,
)
for command in COMMANDS:
    app.command()(command)
app.add_typer(profile.profile, name="profile")
app.add_typer(tokens.token, name="token")
app.add_typer(database.db, name="db")

OF_THIS_MACHINE = {
    "run": "nas submit hands a search to a server",
    "fit": "nas submit hands a search to a server",
    "train": "it trains on this machine",
    "plan": "it plans for a text of this machine",
    "serve": "it is the server",
    "login": "it is told where: nas login ADDRESS",
    "db": "NAS_DATABASE names the database",
}
"""Commands that one must not believe to be done by a server, and why they are not."""


@app.callback(invoke_without_command=True)
def options(
    version: bool = typer.Option(False, "--version", help="Print the version."),
    server: str = typer.Option("", "--server", metavar="ADDRESS", help="Use a server; may stand anywhere."),
) -> None:
    if version:
        from importlib.metadata import version as installed

        print(installed("nas"))
        raise typer.Exit


def main() -> None:
    """Runs a command; a `NasError` becomes one line on stderr and its exit code, Ctrl-C becomes 130."""
    # OpenMP's threads spin while they wait; on a machine that others use too that stalls a run tenfold.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        app(_arguments())
    except NasError as error:
        print(f"nas: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    finally:
        _flush()


def _arguments() -> list[str]:
    """What was typed, without the server; raises `SpecError` where a server was named for what it does not do."""
    given = sys.argv[1:]
    left = remote.take_option(given)
    command = next((own for own in left if not own.startswith("-")), "")
    if left != given and command in OF_THIS_MACHINE:
        raise SpecError(remote.OPTION, f"is not for nas {command}: {OF_THIS_MACHINE[command]}")
    return left


def _flush() -> None:
    """A reader that has gone (``nas ls | head``) is no error, also when only the last lines are left to write."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
