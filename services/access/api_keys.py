"""Creates, lists, rotates and revokes API keys, for the routes of admins and for the command line."""

import logging
from datetime import UTC, datetime
from typing import Any

from access_models import ApiKey, ApiKeyList, KeyCreate, KeyRotation, NewApiKey
from database.api_keys import StoredKey, change_api_key, delete_api_keys, get_api_key, list_api_keys, put_api_key
from database.engine import Database
from errors import ErrorDetail, InvalidCursor, InvalidRequest, KeyNotFound
from run_models import now, utc_text
from services.access.key_table import KeyTable
from services.access.keys import digest_of, new_key

logger = logging.getLogger(__name__)

IN_THE_PAST = "The key would never be valid."
REVOKED = "The key has been revoked."


class ApiKeys:
    """The operations on the API keys of the database. The table of this process, if there is one, has them at once."""

    def __init__(self, database: Database, secret: bytes, table: KeyTable | None = None) -> None:
        self._database = database
        self._secret = secret
        self._table = table

    async def create(self, request: KeyCreate) -> NewApiKey:
        """Create a key. Its text is not stored. Raise `InvalidRequest` or a `CapacityError`."""
        return await self._put(
            owner=request.owner,
            name=request.name,
            scopes=sorted(set(request.scopes)),
            models=request.models,
            expires_at=_end(request.expires_at),
        )

    async def page(self, owner: str | None, cursor: str | None, limit: int) -> ApiKeyList:
        """Return a page of keys, the latest first, of one owner or of all. Raise `InvalidCursor`."""
        before = None if cursor is None else _place(cursor)
        async with self._database.reading() as connection:
            keys = await list_api_keys(connection, owner=owner, before=before, limit=limit + 1)
        last = keys[limit - 1] if len(keys) > limit else None
        return ApiKeyList(keys=keys[:limit], next_cursor=last and f"{last.created_at}_{last.key_id}")

    async def revoke(self, key_id: str) -> ApiKey:
        """Make a key invalid for ever. Raise `KeyNotFound`."""
        key = await self._get(key_id)
        if key.revoked_at is not None:
            return key
        return await self._change(key, revoked_at=now())

    async def rotate(self, key_id: str, request: KeyRotation) -> NewApiKey:
        """Create a key with the rights of another one, which stays valid for some time.

        Raise `KeyNotFound` or `InvalidRequest`.
        """
        old = await self._get(key_id)
        if old.revoked_at is not None:
            raise InvalidRequest(REVOKED)
        new = await self._put(
            owner=old.owner,
            name=old.name,
            scopes=old.scopes,
            models=old.models,
            expires_at=_end(request.expires_at) or old.expires_at,
        )
        end = now(request.overlap_s)
        if request.overlap_s == 0:
            await self._change(old, revoked_at=end)
        elif old.expires_at is None or end < old.expires_at:
            await self._change(old, expires_at=end)
        return new

    async def delete_all(self, owner: str) -> None:
        """Delete an owner's keys, which makes them invalid."""
        async with self._database.writing() as connection:
            await delete_api_keys(connection, owner)
        await self._changed()

    async def _put(self, **fields: Any) -> NewApiKey:
        """Store a new key and return it with its text."""
        key_id, text = new_key()
        key = ApiKey(key_id=key_id, created_at=now(), **fields)
        async with self._database.writing() as connection:
            await put_api_key(connection, StoredKey(key, digest_of(self._secret, text)))
        await self._changed()
        logger.info("API key %s of %s was created", key.key_id, key.owner)
        return NewApiKey(**key.model_dump(), key=text)

    async def _get(self, key_id: str) -> ApiKey:
        async with self._database.reading() as connection:
            key = await get_api_key(connection, key_id)
        if key is None:
            raise KeyNotFound
        return key

    async def _change(self, key: ApiKey, **values: str) -> ApiKey:
        async with self._database.writing() as connection:
            await change_api_key(connection, key.key_id, **values)
        await self._changed()
        logger.info("API key %s of %s ends: %s", key.key_id, key.owner, next(iter(values.values())))
        return key.model_copy(update=values)

    async def _changed(self) -> None:
        if self._table is not None:
            await self._table.refresh()


def _end(expires_at: datetime | None) -> str | None:
    """Return the end of a key as it is stored. Raise `InvalidRequest` if it is over."""
    if expires_at is None:
        return None
    if expires_at <= datetime.now(UTC):
        raise InvalidRequest(details=[ErrorDetail("body.expires_at", IN_THE_PAST)])
    return utc_text(expires_at)


def _place(cursor: str) -> tuple[str, str]:
    created_at, _, key_id = cursor.partition("_")
    if not key_id:
        raise InvalidCursor("The cursor is not a next_cursor of this list.")
    return created_at, key_id
