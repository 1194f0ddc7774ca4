"""The valid API keys, in memory: those of the database and those of API_KEYS."""

import asyncio
import hmac
import logging
from collections.abc import Iterable
from typing import NamedTuple, Self

from database.api_keys import StoredKey, all_api_keys, note_uses, revision
from database.engine import Database
from errors import StoreUnavailable
from run_models import now
from services.access.caller import Caller
from services.access.keys import digest_of, id_in
from services.leave_signal import LeaveSignal
from setting_keys import EnvironmentKey

logger = logging.getLogger(__name__)

REFRESH_S = 2.0  # a key that another process revokes is refused after this and a query: within 5 s
USES_S = 60.0  # how often the last uses of keys are written


class KnownKey(NamedTuple):
    """A valid key: its HMAC, its caller and its end."""

    digest: str
    caller: Caller
    expires_at: str | None

    @property
    def has_expired(self) -> bool:
        """Whether the key's time is over."""
        return self.expires_at is not None and self.expires_at <= now()


class KeyTable:
    """Finds the caller of an API key without a query, and signals to a key's streams that it is no longer valid.

    An unknown key takes the same time as a known one. `open` it in a running loop.
    """

    def __init__(self, database: Database, secret: bytes, environment: Iterable[EnvironmentKey]) -> None:
        self._database = database
        self._secret = secret
        callers = ((digest_of(secret, known.key.get_secret_value()), known) for known in environment)
        self._environment = {digest: Caller(known.owner, frozenset(known.scopes)) for digest, known in callers}
        self._nobody = KnownKey(digest_of(secret, ""), Caller("", frozenset()), None)
        self._keys: dict[str, KnownKey] = {}
        self._revision = -1
        self._used: set[str] = set()
        self._left: dict[str, LeaveSignal] = {}
        self._refreshing: asyncio.Task[None]

    @classmethod
    async def open(cls, database: Database, secret: bytes, environment: Iterable[EnvironmentKey]) -> Self:
        """Read the keys, and read them again whenever they change, until `aclose`. Raise `StoreUnavailable`."""
        table = cls(database, secret, environment)
        await table.refresh()
        table._refreshing = asyncio.create_task(table._refresh_repeatedly(), name="API keys")
        table._refreshing.add_done_callback(_log_failure)
        return table

    async def aclose(self) -> None:
        """Stop reading, and write the last uses."""
        self._refreshing.cancel()
        await asyncio.wait({self._refreshing})
        try:
            await self._write_uses()
        except StoreUnavailable:
            logger.warning("the last uses of API keys were not recorded: the database is unavailable")

    @property
    def is_empty(self) -> bool:
        """Whether there is no key at all."""
        return not (self._keys or self._environment)

    def caller_of(self, key: str) -> Caller | None:
        """Return the caller of a key, or None if the key isn't valid."""
        digest = digest_of(self._secret, key)
        known = self._keys.get(id_in(key), self._nobody)
        if hmac.compare_digest(known.digest, digest) and known.caller.key_id is not None and not known.has_expired:
            self._used.add(known.caller.key_id)
            return known.caller
        return self._environment.get(digest)

    def is_valid(self, key_id: str) -> bool:
        """Whether a key of the database is valid."""
        known = self._keys.get(key_id)
        return known is not None and not known.has_expired

    def left(self, key_id: str) -> LeaveSignal:
        """Return the signal that is given when a key of the database is no longer valid."""
        return self._left.setdefault(key_id, LeaveSignal())

    async def refresh(self) -> None:
        """Read the keys if they have changed, and signal to the streams of removed keys.

        Raise `StoreUnavailable`.
        """
        async with self._database.reading() as connection:
            number = await revision(connection)
            if number != self._revision:
                keys = await all_api_keys(connection)
                self._keys = {stored.key.key_id: _known(stored) for stored in keys}
                self._revision = number
        for key_id in [key_id for key_id in self._left if not self.is_valid(key_id)]:
            self._left.pop(key_id).give()

    async def _refresh_repeatedly(self) -> None:
        pauses = 0
        while True:
            await asyncio.sleep(REFRESH_S)
            pauses += 1
            try:
                await self.refresh()
                if pauses % round(USES_S / REFRESH_S) == 0:
                    await self._write_uses()
            except StoreUnavailable:
                logger.warning("API keys can't be read: those that are known stay valid")

    async def _write_uses(self) -> None:
        if used := set(self._used):
            async with self._database.writing() as connection:
                await note_uses(connection, dict.fromkeys(used, now()))
            self._used -= used


def _log_failure(refreshing: asyncio.Task[None]) -> None:
    """Log that a bug has ended the task: from then on, other processes' changes aren't noticed."""
    if not refreshing.cancelled() and (failure := refreshing.exception()):
        logger.critical("changes of API keys aren't noticed any more: restart the service", exc_info=failure)


def _known(stored: StoredKey) -> KnownKey:
    key = stored.key
    models = None if key.models is None else tuple(key.models)
    return KnownKey(stored.digest, Caller(key.owner, frozenset(key.scopes), key.key_id, models), key.expires_at)
