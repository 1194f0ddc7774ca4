"""Opens the database and runs transactions.

This is the one place where the driver's errors become this service's.
"""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from math import inf
from time import monotonic
from typing import Self

from sqlalchemy import text
from sqlalchemy.exc import DatabaseError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.ext.asyncio import AsyncConnection

from database.connections import START_LOCK_S, WAIT_S, Engines, engines
from database.migrate import current, foreign_keys_off, is_newest, migrate
from errors import StoreUnavailable

logger = logging.getLogger(__name__)

CHECK_S = 2.0
PROBE = text("UPDATE alembic_version SET version_num = version_num")  # a write that changes nothing
OUTAGES = ("08", "25006", "40", "53", "55P03", "57", "58", "XX001", "XX002")
"""Prefixes of the PostgreSQL error codes of an outage: no connection, read-only, full, locked, shut down, damaged."""

Connection = AsyncConnection
"""The type that queries accept."""


class Conflict(Exception):
    """A constraint failed: a row that another refers to is missing, or a unique row exists already."""


class Database:
    """A database with up-to-date tables. Its threads and connections are released by `aclose` only."""

    def __init__(self, connections: Engines) -> None:
        self._connections = connections
        self._refused_at = -inf

    @classmethod
    async def open(cls, url: str) -> Self:
        """Open the database at an SQLAlchemy URL; create and migrate it where needed.

        Raise `StoreUnavailable`, or `NewerDatabase` if a later version of the code has changed the tables.
        """
        with _outages():
            database = cls(engines(url))
            patient = database._connections.writing.execution_options(**{WAIT_S: START_LOCK_S})
            try:
                async with patient.begin() as connection:
                    if is_done := await connection.run_sync(is_newest):
                        await connection.execute(PROBE)
                if not is_done:
                    async with patient.connect() as connection, foreign_keys_off(connection), connection.begin():
                        await connection.run_sync(migrate)
            except BaseException:
                await database.aclose()
                raise
        return database

    async def aclose(self) -> None:
        """Close every connection."""
        await self._connections.aclose()

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[AsyncConnection, None]:
        """Open a read-only snapshot of the database. Later writes don't change it.

        Raise `StoreUnavailable`. Run only queries inside, and leave soon: connections are few.
        """
        with _outages():
            async with self._connections.reading.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[AsyncConnection, None]:
        """Open a transaction. It is committed at the end, and rolled back on any error, the caller's included.

        SQLite runs one at a time and the others wait, so one within another would never begin. Run only queries
        inside. Raise `StoreUnavailable` or `Conflict`.
        """
        since = monotonic()
        with _outages():
            async with self._connections.writing.connect() as connection:
                await self._begin(connection, since)
                yield connection
                await connection.commit()

    async def check(self) -> None:
        """Check that the database accepts writes. Raise `StoreUnavailable` within about 2 s."""
        with _outages():
            async with asyncio.timeout(CHECK_S), self.writing() as connection:
                await connection.execute(PROBE)

    async def _begin(self, connection: AsyncConnection, since: float) -> None:
        """Begin a transaction that was requested at the time `since`.

        If another transaction failed to begin since then, this one fails at once. Otherwise each of many waiting
        callers would wait out LOCK_S in turn.
        """
        if since < self._refused_at:
            raise StoreUnavailable
        try:
            await connection.begin()
        except OperationalError:
            self._refused_at = monotonic()
            raise


async def revision(url: str) -> str | None:
    """Return the revision of a database, None before the first migration. Raise `StoreUnavailable`."""
    with _outages():
        connections = engines(url)
        try:
            return await current(connections.reading)
        finally:
            await connections.aclose()


@contextmanager
def _outages() -> Generator[None, None, None]:
    """Translate the driver's errors. Its errors about a statement are bugs in the code, and pass unchanged."""
    try:
        yield
    except IntegrityError as error:
        raise Conflict(str(error.orig)) from error
    except DBAPIError as error:
        if not _is_outage(error):
            raise
        logger.warning("the database is unavailable: %s", error.orig)
        raise StoreUnavailable from error
    except (NoConnectionFree, OSError) as error:
        logger.warning("the database is unavailable: %s: %s", type(error).__name__, error)
        raise StoreUnavailable from error


def _is_outage(error: DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    if state := getattr(error.orig, "sqlstate", None):
        return str(state).startswith(OUTAGES)
    # SQLITE_ERROR is about the statement. Any other code is about the file, the disk or a lock.
    code = getattr(error.orig, "sqlite_errorcode", None)
    return type(error) in (OperationalError, DatabaseError) and code != sqlite3.SQLITE_ERROR
