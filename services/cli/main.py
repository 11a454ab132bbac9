"""Entry point: the commands by name, and errors as exit codes. Heavy packages are imported by the commands that need
them, so that help is there at once."""

import sys

import typer

from nas.errors import NasError
from services.cli import models, runs, searches

app = typer.Typer(
    name="nas",
    help="Find the best language model you can afford, and prove that it fits.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (runs.run, runs.fit, runs.resume, runs.train, runs.plan, runs.validate, runs.spaces):
    app.command()(command)
for command in (searches.ls, searches.status, searches.candidates, searches.front, searches.report):
    app.command()(command)
for command in (models.generate, models.export):
    app.command()(command)


@app.callback(invoke_without_command=True)
def options(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if version:
        from importlib.metadata import version as installed

        print(installed("nas"))
        raise typer.Exit


def main() -> None:
    """Runs a command; a `NasError` becomes one line on stderr and its exit code."""
    try:
        app()
    except NasError as error:
        print(f"nas: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    main()
