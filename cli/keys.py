"""`python -m cli keys`: creates, lists, rotates and revokes API keys. The running service notices within 5 seconds."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from pydantic import ValidationError

from access_models import CALLS, ApiKey, KeyCreate, KeyRotation, NewApiKey, Scope
from cli.opened import opened_keys

AT_ONCE = 200
NONE = "-"

app = typer.Typer(help="Create, list, rotate and revoke API keys.", no_args_is_help=True)

KeyId = Annotated[str, typer.Argument(help="The beginning of the key, as `list` shows it.")]
Days = Annotated[float | None, typer.Option(min=0, help="Days until the key ends. Without it, the key has no end.")]


@app.command()
def create(
    owner: Annotated[str, typer.Option(help="The owner of the key, and of the runs and sessions that it starts.")],
    name: Annotated[str | None, typer.Option(help="A note, to tell the keys of an owner apart.")] = None,
    scope: Annotated[list[Scope] | None, typer.Option(help="A right of the key. Repeat it for several rights.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="A model that it may use, such as 'openai/*'.")] = None,
    expires_in_days: Days = None,
) -> None:
    """Create a key, and print it. It can't be shown again."""
    try:
        request = KeyCreate(
            owner=owner, name=name, scopes=scope or list(CALLS), models=model or None, expires_at=_end(expires_in_days)
        )
    except ValidationError as error:
        raise typer.BadParameter(error.errors()[0]["msg"]) from None
    _show(asyncio.run(_create(request)))


@app.command("list")
def list_keys(owner: Annotated[str | None, typer.Option(help="List the keys of this owner alone.")] = None) -> None:
    """List the keys, the latest first."""
    typer.echo(f"{'KEY':<16}{'OWNER':<24}{'SCOPES':<24}{'STATUS':<34}{'LAST USED':<26}NAME")
    for key in asyncio.run(_list(owner)):
        scopes = ",".join(key.scopes)
        used = key.last_used_at or NONE
        typer.echo(f"{key.key_id:<16}{key.owner:<24}{scopes:<24}{_status(key):<34}{used:<26}{key.name or NONE}")


@app.command()
def rotate(
    key_id: KeyId,
    overlap_hours: Annotated[float, typer.Option(min=0, help="How long the old key stays valid.")] = 0,
    expires_in_days: Days = None,
) -> None:
    """Replace a key by a new one with the same rights, and print that."""
    request = KeyRotation(overlap_s=overlap_hours * 3600, expires_at=_end(expires_in_days))
    _show(asyncio.run(_rotate(key_id, request)))


@app.command()
def revoke(key_id: KeyId) -> None:
    """Make a key invalid for ever. Its streams end, and its runs go on."""
    key = asyncio.run(_revoke(key_id))
    typer.echo(f"{key.key_id} of {key.owner}: {_status(key)}")


async def _create(request: KeyCreate) -> NewApiKey:
    async with opened_keys() as keys:
        return await keys.create(request)


async def _list(owner: str | None) -> list[ApiKey]:
    async with opened_keys() as keys:
        page = await keys.page(owner, None, AT_ONCE)
        listed = page.keys
        while page.next_cursor is not None:
            page = await keys.page(owner, page.next_cursor, AT_ONCE)
            listed = [*listed, *page.keys]
        return listed


async def _rotate(key_id: str, request: KeyRotation) -> NewApiKey:
    async with opened_keys() as keys:
        return await keys.rotate(key_id, request)


async def _revoke(key_id: str) -> ApiKey:
    async with opened_keys() as keys:
        return await keys.revoke(key_id)


def _show(key: NewApiKey) -> None:
    """Print the key alone to the standard output, so that a script can take it."""
    typer.echo(f"A key of {key.owner} with the scopes {', '.join(key.scopes)}. It is shown once:", err=True)
    typer.echo(key.key)


def _end(days: float | None) -> datetime | None:
    return None if days is None else datetime.now(UTC) + timedelta(days=days)


def _status(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return f"revoked {key.revoked_at}"
    return "valid" if key.expires_at is None else f"until {key.expires_at}"
