"""`python -m cli db`: changes the service's data while the service is stopped."""

import asyncio
import os
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from access_models import KeyOwner
from cli.opened import opened_database
from database.callers import Moved, give, sessions_of_both
from event_logs.directory_lock import DirectoryInUse, locked
from run_models import ANONYMOUS
from settings import Settings

SHOWN = 10  # ids in a message

app = typer.Typer(help="Change the service's data. Stop the service first.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Change the service's data. Stop the service first."""


@app.command()
def adopt(owner: Annotated[str, typer.Option(help="The new owner.")]) -> None:
    """Give all that was made without authentication to an owner."""
    try:
        TypeAdapter(KeyOwner).validate_python(owner)
    except ValidationError as error:
        raise typer.BadParameter(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
    moved = asyncio.run(_adopt(Settings(), owner))
    typer.echo(f"{owner} has {moved.sessions} more sessions and {moved.runs} more runs.")


async def _adopt(settings: Settings, owner: str) -> Moved:
    """Change the owner in one transaction. Exit if the service uses the data, or if ids are taken."""
    try:
        lock = locked(settings.data_dir)
    except DirectoryInUse as error:
        raise _refused(str(error)) from None
    try:
        async with opened_database(settings) as database, database.writing() as connection:
            if taken := await sessions_of_both(connection, ANONYMOUS, owner):
                raise _refused(
                    f"{owner} has sessions with the same ids: {', '.join(taken[:SHOWN])}. Delete one of each."
                )
            return await give(connection, ANONYMOUS, owner)
    finally:
        os.close(lock)


def _refused(why: str) -> typer.Exit:
    typer.echo(why, err=True)
    return typer.Exit(1)
