"""Idempotency keys: the same request sent twice, however close together, is one run."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from weakref import WeakValueDictionary

from database.engine import Database
from database.idempotency import delete_key, get_key, put_key
from errors import IdempotencyKeyReused, RunExpired, RunNotFound
from event_logs.base import EventLog
from json_codec.writing import pieces
from models import AgentRequest, now

VALID = timedelta(hours=24)


async def fingerprint(request: AgentRequest) -> str:
    """What tells one request's body from another's."""
    digest = hashlib.sha256()
    async for piece in pieces(request.model_dump(mode="json")):
        digest.update(piece)
    return digest.hexdigest()


class IdempotencyKeys:
    """Remembers for 24 hours which run a key has started."""

    def __init__(self, database: Database, log: EventLog) -> None:
        self._database = database
        self._log = log
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def claim(self, key: str, request: AgentRequest, run_id: str) -> AsyncGenerator[str, None]:
        """Yield the id of the key's run: one that it started before, or `run_id`, which the caller starts inside.

        If that raises, the key is free again. Raise `IdempotencyKeyReused` if the key came with another body, or
        `StoreUnavailable`.
        """
        async with self._locks.setdefault(key, asyncio.Lock()):
            body = await fingerprint(request)
            async with self._database.reading() as connection:
                known = await get_key(connection, key)
            if known is not None and _is_valid(known.created_at) and await self._is_there(known.run_id):
                if known.fingerprint != body:
                    raise IdempotencyKeyReused
                yield known.run_id
                return
            async with self._database.writing() as connection:
                await put_key(connection, key, body, run_id, now())
            try:
                yield run_id
            except BaseException:
                async with self._database.writing() as connection:
                    await delete_key(connection, key)
                raise

    async def _is_there(self, run_id: str) -> bool:
        """Whether the run has begun: the key is recorded before, and a crash may have come in between."""
        try:
            await self._log.position(run_id)
        except RunExpired:
            return True
        except RunNotFound:
            return False
        return True


def _is_valid(created_at: str) -> bool:
    return datetime.now(UTC) - datetime.fromisoformat(created_at) < VALID
