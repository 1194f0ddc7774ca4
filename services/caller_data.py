"""All that a caller has: exports it, and deletes it."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

from pydantic import BaseModel

from access_models import ApiKey
from errors import RunExpired, RunNotFound
from event_logs.base import EventLog
from event_logs.reading import frames_in, json_of
from json_codec.writing import written
from run_models import Run
from services.access.api_keys import ApiKeys
from services.runs.records import RunRecords
from services.sessions.sessions import Sessions
from session_models import Session, SessionMessage

logger = logging.getLogger(__name__)

AT_ONCE = 100  # items that are read in one query
END = b'{"kind":"end"}\n'

ItemT = TypeVar("ItemT")
ReadPage = Callable[[str | None], Awaitable[tuple[Sequence[ItemT], str | None]]]
"""Reads the page that begins at a cursor, and returns its items with the cursor of the next one."""


class CallerData:
    """The operations on all that an owner has."""

    def __init__(self, log: EventLog, records: RunRecords, sessions: Sessions, keys: ApiKeys) -> None:
        self._log = log
        self._records = records
        self._sessions = sessions
        self._keys = keys

    async def delete(self, owner: str) -> None:
        """Delete an owner's API keys, cancel its runs, and delete its runs, sessions and messages. Idempotent.

        Raise `RunActive` if a run doesn't end, or `StoreUnavailable`.
        """
        await self._keys.delete_all(owner)
        await self._sessions.delete_all(owner)
        logger.info("all that the caller %s had is deleted", owner)

    async def export(self, owner: str) -> AsyncGenerator[bytes, None]:
        """Yield all that an owner has as JSON lines, each `{"kind": …, "value": …}`. The last one has the kind `end`.

        The kinds are `key`, `session`, `message`, `run` and `event`. Raise a `CapacityError`.
        """
        async for key in _all(lambda cursor: self._key_page(owner, cursor)):
            yield await _line(b"key", key)
        async for session in _all(lambda cursor: self._session_page(owner, cursor)):
            yield await _line(b"session", session)
            async for line in self._exported_messages(session):
                yield line
        async for run in _all(lambda cursor: self._run_page(owner, cursor)):
            yield await _line(b"run", run)
            async for line in self._exported_events(run.run_id):
                yield line
        yield END

    async def _exported_messages(self, session: Session) -> AsyncGenerator[bytes, None]:
        async for message in _all(lambda cursor: self._message_page(session, cursor)):
            yield await _line(b"message", message)

    async def _exported_events(self, run_id: str) -> AsyncGenerator[bytes, None]:
        """Yield a run's events so far. After their retention there are none, although there is the run."""
        try:
            async with aclosing(frames_in(self._log.read(run_id, 0, follow=False))) as pages:
                async for frames in pages:
                    yield b"".join(b'{"kind":"event","value":%b}\n' % json_of(frame) for frame in frames)
        except (RunNotFound, RunExpired):
            return

    async def _key_page(self, owner: str, cursor: str | None) -> tuple[Sequence[ApiKey], str | None]:
        page = await self._keys.page(owner, cursor, AT_ONCE)
        return page.keys, page.next_cursor

    async def _session_page(self, owner: str, cursor: str | None) -> tuple[Sequence[Session], str | None]:
        page = await self._sessions.page(owner, cursor, AT_ONCE)
        return page.sessions, page.next_cursor

    async def _message_page(self, session: Session, cursor: str | None) -> tuple[Sequence[SessionMessage], str | None]:
        page = await self._sessions.messages(session.key, None, True, cursor, AT_ONCE)
        return page.messages, page.next_cursor

    async def _run_page(self, owner: str, cursor: str | None) -> tuple[Sequence[Run], str | None]:
        page = await self._records.page(owner, None, None, cursor, AT_ONCE)
        return page.runs, page.next_cursor


async def _all(read: ReadPage[ItemT]) -> AsyncGenerator[ItemT, None]:
    """Yield the items of all pages."""
    cursor = None
    while True:
        items, cursor = await read(cursor)
        for item in items:
            yield item
        if cursor is None:
            return


async def _line(kind: bytes, value: BaseModel) -> bytes:
    return b'{"kind":"%b","value":%b}\n' % (kind, await written(value.model_dump(mode="json")))
