"""Queries on idempotency keys."""

from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from database.tables import idempotency_keys as keys
from database.tables import parameter, upsert

THIS_KEY = sa.and_(keys.c.owner == parameter(keys.c.owner), keys.c.key == parameter(keys.c.key))
GET = sa.select(keys).where(THIS_KEY)
PUT = upsert(keys)
DELETE = sa.delete(keys).where(THIS_KEY)


class Key(NamedTuple):
    """A key of an owner, the hash of its request's body, and the run that the request started."""

    owner: str
    key: str
    fingerprint: str
    run_id: str
    created_at: str


async def get_key(connection: AsyncConnection, owner: str, key: str) -> Key | None:
    """Return a key, None if it is unknown."""
    row = (await connection.execute(GET, {"owner": owner, "key": key})).one_or_none()
    return None if row is None else Key(*row)


async def put_key(connection: AsyncConnection, key: Key) -> None:
    """Write a key. It replaces an earlier one of the same name and owner."""
    await connection.execute(PUT[connection.dialect.name], key._asdict())


async def delete_key(connection: AsyncConnection, owner: str, key: str) -> None:
    """Delete a key, if it exists."""
    await connection.execute(DELETE, {"owner": owner, "key": key})


async def expire_keys(connection: AsyncConnection, created_before: str) -> int:
    """Delete the keys that were created before a time. Returns their number."""
    return (await connection.execute(sa.delete(keys).where(keys.c.created_at < created_before))).rowcount
