"""Queries on API keys. Each change raises their revision, by which other processes notice it."""

from collections.abc import Mapping
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from access_models import ApiKey
from database.slices import slices
from database.tables import api_keys, parameter, revisions

NAME = "api_keys"
FIRST = {"name": NAME, "number": 1}
NEXT = {"number": revisions.c.number + 1}
RAISE = {
    "sqlite": sqlite.insert(revisions).values(FIRST).on_conflict_do_update(index_elements=["name"], set_=NEXT),
    "postgresql": postgresql.insert(revisions).values(FIRST).on_conflict_do_update(index_elements=["name"], set_=NEXT),
}
REVISION = sa.select(revisions.c.number).where(revisions.c.name == NAME)
THIS_KEY = api_keys.c.key_id == parameter(api_keys.c.key_id)
GET = sa.select(api_keys).where(THIS_KEY)
USED = (
    sa.update(api_keys)
    .where(api_keys.c.key_id == sa.bindparam("used_key_id"))
    .values(last_used_at=parameter(api_keys.c.last_used_at))
)
AT_ONCE = 200  # keys that are read without a pause


class StoredKey(NamedTuple):
    """An API key with the HMAC by which it is recognised."""

    key: ApiKey
    digest: str


async def revision(connection: AsyncConnection) -> int:
    """Return the number of changes so far."""
    return await connection.scalar(REVISION) or 0


async def put_api_key(connection: AsyncConnection, stored: StoredKey) -> None:
    """Write a new key."""
    row = dict.fromkeys(api_keys.columns.keys()) | stored.key.model_dump(mode="json")
    await connection.execute(sa.insert(api_keys), row | {"digest": stored.digest})
    await _raise_revision(connection)


async def get_api_key(connection: AsyncConnection, key_id: str) -> ApiKey | None:
    """Return a key, None if it is unknown."""
    row = (await connection.execute(GET, {"key_id": key_id})).one_or_none()
    return None if row is None else _stored(row).key


async def change_api_key(connection: AsyncConnection, key_id: str, **values: str) -> None:
    """Set columns of a key, if it exists."""
    await connection.execute(sa.update(api_keys).where(api_keys.c.key_id == key_id).values(values))
    await _raise_revision(connection)


async def delete_api_keys(connection: AsyncConnection, owner: str) -> None:
    """Delete an owner's keys."""
    await connection.execute(sa.delete(api_keys).where(api_keys.c.owner == owner))
    await _raise_revision(connection)


async def list_api_keys(
    connection: AsyncConnection, *, owner: str | None, before: tuple[str, str] | None, limit: int
) -> list[ApiKey]:
    """Return the latest keys first, of one owner or of all. `before` is `created_at` and id of the page before."""
    place = (api_keys.c.created_at, api_keys.c.key_id)
    query = sa.select(api_keys).order_by(*(column.desc() for column in place)).limit(limit)
    if owner is not None:
        query = query.where(api_keys.c.owner == owner)
    if before is not None:
        query = query.where(sa.tuple_(*place) < before)
    return [_stored(row).key for row in await connection.execute(query)]


async def all_api_keys(connection: AsyncConnection) -> list[StoredKey]:
    """Return all keys that have not been revoked, read in slices."""
    valid = sa.select(api_keys).where(api_keys.c.revoked_at.is_(None))
    return [_stored(row) async for rows in slices(connection, valid, {}, at_once=AT_ONCE) for row in rows]


async def note_uses(connection: AsyncConnection, uses: Mapping[str, str]) -> None:
    """Record the times of one or more keys' last uses. This is no change of the keys."""
    rows = [{"used_key_id": key_id, "last_used_at": time} for key_id, time in sorted(uses.items())]
    await connection.execute(USED, rows)


async def _raise_revision(connection: AsyncConnection) -> None:
    await connection.execute(RAISE[connection.dialect.name])


def _stored(row: sa.Row[tuple[object, ...]]) -> StoredKey:
    fields = dict(row._mapping)
    digest = str(fields.pop("digest"))
    return StoredKey(ApiKey.model_validate(fields), digest)
