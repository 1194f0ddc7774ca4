"""Makes one run of a request that is sent several times with the same idempotency key."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from weakref import WeakValueDictionary

from database.engine import Database
from database.idempotency import Key, delete_key, get_key, put_key
from errors import IdempotencyKeyReused, RunExpired, RunNotFound
from event_logs.base import EventLog
from json_codec.writing import pieces
from models import AgentRequest
from run_models import now

VALID = timedelta(hours=24)

# The fields of the first requests whose keys were stored, in their order. A key keeps its meaning when the service is
# upgraded, so a field that was added later is part of the fingerprint only in requests that have it.
FIRST_FIELDS = (
    *("input", "model", "tools", "client_tools", "mcp_servers", "require_approval", "instructions", "messages"),
    *("max_steps", "temperature", "top_p", "max_tokens", "reasoning_effort", "stop", "seed", "response_format"),
    *("metadata", "on_disconnect", "session_id", "parent_run_id", "parent_state", "multitask"),
)


async def fingerprint(request: AgentRequest) -> str:
    """Return a hash of the request's body."""
    digest = hashlib.sha256()
    async for piece in pieces(_body(request)):
        digest.update(piece)
    return digest.hexdigest()


def _body(request: AgentRequest) -> dict[str, Any]:
    given = request.model_dump(mode="json")
    body = {name: given.pop(name) for name in FIRST_FIELDS}
    if body["messages"] is not None:
        body["messages"] = [_present(message) for message in body["messages"]]
    return body | _present(given)


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


class IdempotencyKeys:
    """Remembers for 24 hours which run each key started."""

    def __init__(self, database: Database, log: EventLog) -> None:
        self._database = database
        self._log = log
        # A lock is collected when nobody holds it or waits for it, so the dictionary doesn't grow with the keys.
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def claim(self, owner: str, key: str, request: AgentRequest, run_id: str) -> AsyncGenerator[str, None]:
        """Yield the id of the key's run: the one that it started before, or `run_id`, which the caller starts inside.

        Each owner has keys of its own.

        If that raises, the key is free again. Raise `IdempotencyKeyReused` if the key was used with another body, or
        `StoreUnavailable`.
        """
        async with self._locks.setdefault((owner, key), asyncio.Lock()):
            body = await fingerprint(request)
            async with self._database.reading() as connection:
                known = await get_key(connection, owner, key)
            if known is not None and _is_valid(known.created_at) and await self._has_begun(known.run_id):
                if known.fingerprint != body:
                    raise IdempotencyKeyReused
                yield known.run_id
                return
            async with self._database.writing() as connection:
                await put_key(connection, Key(owner, key, body, run_id, now()))
            try:
                yield run_id
            except BaseException:  # a cancellation, too
                async with self._database.writing() as connection:
                    await delete_key(connection, owner, key)
                raise

    async def _has_begun(self, run_id: str) -> bool:
        """Whether the run has begun. The key is recorded first, so a crash can leave a key without a run."""
        try:
            await self._log.position(run_id)
        except RunExpired:
            return True
        except RunNotFound:
            return False
        return True


def _is_valid(created_at: str) -> bool:
    return datetime.now(UTC) - datetime.fromisoformat(created_at) < VALID
