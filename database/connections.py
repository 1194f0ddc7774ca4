"""How connections are made and shared, on SQLite and on PostgreSQL."""

import json
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from sqlalchemy import URL, AsyncAdaptedQueuePool, Connection, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

TURN_S = 5.0  # how long a connection is waited for while others use them all
LOCK_S = 1.0  # how long SQLite waits for other processes' locks on its file
START_LOCK_S = 15.0  # the same when a service starts: a backup, or another start, is soon over
WAIT_S = "wait_s"  # the execution option with the seconds that a transaction may wait for its beginning, if not LOCK_S
CONNECT_S = 2.0
SQLITE_READERS = 4
POSTGRESQL_CONNECTIONS = 10

as_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Engines(NamedTuple):
    """Connections for reading and for writing, and what holds an in-memory database while none is open."""

    reading: AsyncEngine
    writing: AsyncEngine
    keeper: sqlite3.Connection | None = None

    async def aclose(self) -> None:
        """Close every connection, the writing one last, which puts the write-ahead log into the file."""
        await self.reading.dispose()
        await self.writing.dispose()
        if self.keeper is not None:
            self.keeper.close()


def engines(address: str) -> Engines:
    """The connections to the database at an SQLAlchemy URL; none is opened yet, but an SQLite file gets its directory.

    Raise `OSError`, or `ArgumentError` where it is no such URL.
    """
    url = make_url(address)
    return _sqlite(url) if url.get_backend_name() == "sqlite" else _postgresql(url)


def _postgresql(url: URL) -> Engines:
    """One pool for both; a connection that broke meanwhile is noticed before it is used."""
    engine = _engine(url, pool_size=POSTGRESQL_CONNECTIONS, pool_pre_ping=True, connect_args={"timeout": CONNECT_S})
    return Engines(engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True), engine)


def _sqlite(url: URL) -> Engines:
    """A few connections that read, and one that writes: SQLite has one writer at a time, so the others queue for it."""
    if url.database in (None, "", ":memory:"):
        # A name makes it one database for all connections of the process.
        url = url.set(database=f"file:/{uuid4().hex}", query={"vfs": "memdb", "uri": "true"})
        keeper = sqlite3.connect(f"{url.database}?vfs=memdb", uri=True, check_same_thread=False)
        return Engines(_sqlite_engine(url, writes=False), _sqlite_engine(url, writes=True), keeper)
    assert url.database is not None
    if not url.database.startswith("file:"):
        _make_file(Path(url.database))
    return Engines(_sqlite_engine(url, writes=False), _sqlite_engine(url, writes=True))


def _make_file(path: Path) -> None:
    """Make the database's file and directory, the owner's alone; SQLite gives its other files the mode of this one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600, exist_ok=True)


def _sqlite_engine(url: URL, *, writes: bool) -> AsyncEngine:
    # isolation_level None is the driver's own BEGIN turned off: it would come late, and be a deferred one.
    arguments = {"timeout": LOCK_S, "isolation_level": None}
    engine = _engine(url, pool_size=1 if writes else SQLITE_READERS, connect_args=arguments)
    event.listen(engine.sync_engine, "connect", _set_up_writer if writes else _set_up_reader)
    event.listen(engine.sync_engine, "begin", _begin_immediate if writes else _begin)
    return engine


def _engine(url: URL, **options: Any) -> AsyncEngine:
    return create_async_engine(
        url,
        poolclass=AsyncAdaptedQueuePool,
        max_overflow=0,
        pool_timeout=TURN_S,
        json_serializer=as_json,
        hide_parameters=True,  # an error that reaches the log tells nothing of what callers said
        **options,
    )


def _set_up(connection: DBAPIConnection, record: ConnectionPoolEntry, *, pragmas: tuple[str, ...]) -> None:
    with closing(connection.cursor()) as cursor:
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")


# With a write-ahead log and NORMAL, a commit survives the end of the process; one at a power cut may be lost.
_set_up_writer = partial(_set_up, pragmas=("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"))
_set_up_reader = partial(_set_up, pragmas=("query_only=ON",))


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _begin_immediate(connection: Connection) -> None:
    """Wait for the lock at once: a transaction that begins to write after it has read fails when another wrote."""
    wait_s = connection.get_execution_options().get(WAIT_S)
    if wait_s is None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {wait_s * 1000:.0f}")
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {LOCK_S * 1000:.0f}")
