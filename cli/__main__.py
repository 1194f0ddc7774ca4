"""Runs `python -m cli`."""

import sys

import typer
from pydantic import ValidationError

from cli import db, keys
from database.migrate import NewerDatabase
from errors import AgentStreamError
from settings import validation_errors


def main() -> int:
    """Run a command. Returns the exit status: 1 if it was refused or failed, with a sentence that says why."""
    app = typer.Typer(name="python -m cli", help="Operates Agent Stream.", no_args_is_help=True, add_completion=False)
    app.add_typer(keys.app, name="keys")
    app.add_typer(db.app, name="db")
    try:
        app(standalone_mode=True)
    except ValidationError as error:
        typer.echo(validation_errors(error), err=True)
    except AgentStreamError as error:
        typer.echo("\n".join([error.message, *(f"{loc}: {message}" for loc, message in error.details)]), err=True)
    except (NewerDatabase, OSError) as error:
        typer.echo(str(error), err=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
