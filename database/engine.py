"""The way to the database: connections, transactions, and the one place where the driver's errors become ours."""

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
from database.migrate import current, migrate
from errors import StoreUnavailable

logger = logging.getLogger(__name__)

CHECK_S = 2.0
PROBE = text("UPDATE alembic_version SET version_num = version_num")  # which changes nothing
OUTAGES = ("08", "25006", "40", "53", "55P03", "57", "58", "XX001", "XX002")
"""How those of PostgreSQL's states begin that say that it can't be used now: gone, read-only, full, locked, broken."""

Connection = AsyncConnection
"""What the queries take."""


class Conflict(Exception):
    """A row that another refers to is gone, or one that has to be the only one of its kind is there already."""


class Database:
    """A database with up-to-date tables. `aclose` it: its threads and connections are only let go there."""

    def __init__(self, connections: Engines) -> None:
        self._connections = connections
        self._refused_at = -inf

    @classmethod
    async def open(cls, url: str) -> Self:
        """The database at an SQLAlchemy URL, made and migrated where needed.

        Raise `StoreUnavailable`, or `NewerDatabase` where the tables are of a later version of the code.
        """
        with _outages():
            database = cls(engines(url))
            patient = database._connections.writing.execution_options(**{WAIT_S: START_LOCK_S})
            try:
                await migrate(patient)
                async with patient.begin() as connection:
                    await connection.execute(PROBE)
            except BaseException:
                await database.aclose()
                raise
        return database

    async def aclose(self) -> None:
        """Close every connection."""
        await self._connections.aclose()

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[AsyncConnection, None]:
        """One view of the database, which what is written meanwhile does not change. Only for queries that read.

        Raise `StoreUnavailable`. Leave it soon, and do nothing but queries inside.
        """
        with _outages():
            async with self._connections.reading.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[AsyncConnection, None]:
        """A transaction: committed at the end, rolled back on an error, also one of the caller's.

        SQLite has one at a time, so the others wait, and one inside another never gets its turn. Raise
        `StoreUnavailable`, or `Conflict`. Do nothing but queries inside.
        """
        since = monotonic()
        with _outages():
            async with self._connections.writing.connect() as connection:
                await self._begin(connection, since)
                yield connection
                await connection.commit()

    async def check(self) -> None:
        """Write something that changes nothing. Raise `StoreUnavailable`, within about 2 s."""
        with _outages():
            async with asyncio.timeout(CHECK_S), self.writing() as connection:
                await connection.execute(PROBE)

    async def _begin(self, connection: AsyncConnection, since: float) -> None:
        """Begin a transaction that was asked for at a time `since`.

        Who waited while one before was refused is refused, too: one after the other, many would wait for long.
        """
        if since < self._refused_at:
            raise StoreUnavailable
        try:
            await connection.begin()
        except OperationalError:
            self._refused_at = monotonic()
            raise


async def revision(url: str) -> str | None:
    """The migration that a database is at, None before the first. Raise `StoreUnavailable`."""
    with _outages():
        connections = engines(url)
        try:
            return await current(connections.reading)
        finally:
            await connections.aclose()


@contextmanager
def _outages() -> Generator[None, None, None]:
    """Where the driver's errors become ours. Its errors about a statement are mistakes of the code and stay."""
    try:
        yield
    except IntegrityError as error:
        raise Conflict(str(error.orig)) from error
    except DBAPIError as error:
        if not _is_outage(error):
            raise
        logger.warning("the database can't be used: %s", error.orig)
        raise StoreUnavailable from error
    except (NoConnectionFree, OSError) as error:
        logger.warning("the database can't be used: %s: %s", type(error).__name__, error)
        raise StoreUnavailable from error


def _is_outage(error: DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    if state := getattr(error.orig, "sqlstate", None):
        return str(state).startswith(OUTAGES)
    # SQLite's plain error is about the statement; with any other, it is the file's, the disk's or a lock's.
    code = getattr(error.orig, "sqlite_errorcode", None)
    return type(error) in (OperationalError, DatabaseError) and code != sqlite3.SQLITE_ERROR
