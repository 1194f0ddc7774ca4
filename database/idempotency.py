"""Queries on idempotency keys."""

from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from database.tables import idempotency_keys as keys
from database.tables import parameter, upsert

THIS_KEY = keys.c.key == parameter(keys.c.key)
GET = sa.select(keys).where(THIS_KEY)
PUT = upsert(keys)
DELETE = sa.delete(keys).where(THIS_KEY)


class Key(NamedTuple):
    """A key, the hash of its request's body, and the run that the request started."""

    key: str
    fingerprint: str
    run_id: str
    created_at: str


async def get_key(connection: AsyncConnection, key: str) -> Key | None:
    """Return a key, None if it is unknown."""
    row = (await connection.execute(GET, {"key": key})).one_or_none()
    return None if row is None else Key(*row)


async def put_key(connection: AsyncConnection, key: str, fingerprint: str, run_id: str, created_at: str) -> None:
    """Write a key. It replaces an earlier one of the same name."""
    await connection.execute(PUT[connection.dialect.name], Key(key, fingerprint, run_id, created_at)._asdict())


async def delete_key(connection: AsyncConnection, key: str) -> None:
    """Delete a key, if it exists."""
    await connection.execute(DELETE, {"key": key})


async def expire_keys(connection: AsyncConnection, created_before: str) -> int:
    """Delete the keys that were created before a time. Returns their number."""
    return (await connection.execute(sa.delete(keys).where(keys.c.created_at < created_before))).rowcount
