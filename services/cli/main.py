"""Entry point: the commands by name, and errors as exit codes. Heavy packages are imported by the commands that need
them, so that help is there at once."""

import os
import sys
from collections.abc import Callable

import typer

from nas.errors import NasError
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
        app(remote.take_option(sys.argv[1:]))
    except NasError as error:
        print(f"nas: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    finally:
        _flush()


def _flush() -> None:
    """A reader that has gone (``nas ls | head``) is no error, also when only the last lines are left to write."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
