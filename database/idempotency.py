"""Queries about idempotency keys."""

from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from database.tables import given, upsert
from database.tables import idempotency_keys as keys

THIS_KEY = keys.c.key == given(keys.c.key)
GET = sa.select(keys).where(THIS_KEY)
PUT = upsert(keys)
DELETE = sa.delete(keys).where(THIS_KEY)


class Key(NamedTuple):
    """A key, what tells its request from others, and the run that this has started."""

    key: str
    fingerprint: str
    run_id: str
    created_at: str


async def get_key(connection: AsyncConnection, key: str) -> Key | None:
    """One key."""
    row = (await connection.execute(GET, {"key": key})).one_or_none()
    return None if row is None else Key(*row)


async def put_key(connection: AsyncConnection, key: str, fingerprint: str, run_id: str, created_at: str) -> None:
    """Write a key, in place of what it stood for before."""
    await connection.execute(PUT[connection.dialect.name], Key(key, fingerprint, run_id, created_at)._asdict())


async def delete_key(connection: AsyncConnection, key: str) -> None:
    """Let go of a key, if it is there."""
    await connection.execute(DELETE, {"key": key})


async def expire_keys(connection: AsyncConnection, created_before: str) -> int:
    """Let go of older keys; how many they were."""
    return (await connection.execute(sa.delete(keys).where(keys.c.created_at < created_before))).rowcount
