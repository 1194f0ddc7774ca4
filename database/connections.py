"""Opens and pools connections to SQLite and PostgreSQL."""

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

from database.sqlite_driver import driver

TURN_S = 5.0  # the longest wait for a connection while all of the pool are in use
LOCK_S = 1.0  # SQLite's longest wait for another process's lock on its file
START_LOCK_S = 15.0  # the same at a service's start: a backup or another service's start is soon over
WAIT_S = "wait_s"  # an execution option: the seconds that a transaction may wait to begin, in place of LOCK_S
CONNECT_S = 2.0
SQLITE_READERS = 4
POSTGRESQL_CONNECTIONS = 10

as_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Engines(NamedTuple):
    """The pools for reading and for writing.

    `keeper` holds an in-memory database open: SQLite deletes it with its last connection.
    """

    reading: AsyncEngine
    writing: AsyncEngine
    keeper: sqlite3.Connection | None = None

    async def aclose(self) -> None:
        """Close every connection. The writing one comes last, since it merges the write-ahead log into the file."""
        await self.reading.dispose()
        await self.writing.dispose()
        if self.keeper is not None:
            self.keeper.close()


def engines(address: str) -> Engines:
    """Make the pools for the database at an SQLAlchemy URL. An SQLite file and its directory are created here.

    No connection is opened yet. Raise `OSError`, or `ArgumentError` for a URL that SQLAlchemy can't read.
    """
    url = make_url(address)
    return _sqlite(url) if url.get_backend_name() == "sqlite" else _postgresql(url)


def _postgresql(url: URL) -> Engines:
    """Make one pool for reading and writing. `pool_pre_ping` notices a broken connection before it is used."""
    engine = _engine(url, pool_size=POSTGRESQL_CONNECTIONS, pool_pre_ping=True, connect_args={"timeout": CONNECT_S})
    return Engines(engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True), engine)


def _sqlite(url: URL) -> Engines:
    """Make a pool of readers and a pool of one writer: SQLite has one writer at a time, so the others queue."""
    if url.database in (None, "", ":memory:"):
        # Without a name, each connection would have an in-memory database of its own.
        url = url.set(database=f"file:/{uuid4().hex}", query={"vfs": "memdb", "uri": "true"})
        keeper = sqlite3.connect(f"{url.database}?vfs=memdb", uri=True, check_same_thread=False)
        return Engines(_sqlite_engine(url, writes=False), _sqlite_engine(url, writes=True), keeper)
    assert url.database is not None
    if not url.database.startswith("file:"):
        _make_file(Path(url.database))
    return Engines(_sqlite_engine(url, writes=False), _sqlite_engine(url, writes=True))


def _make_file(path: Path) -> None:
    """Create the database's file and directory for the owner only. SQLite copies the mode to its other files."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600, exist_ok=True)


def _sqlite_engine(url: URL, *, writes: bool) -> AsyncEngine:
    # None turns off the driver's own BEGIN: it comes only before the first write, and is a deferred one.
    arguments = {"timeout": LOCK_S, "isolation_level": None}
    pool_size = 1 if writes else SQLITE_READERS
    engine = _engine(url, pool_size=pool_size, connect_args=arguments, module=driver())
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
        hide_parameters=True,  # keep callers' data out of errors that reach the log
        **options,
    )


def _set_up(connection: DBAPIConnection, record: ConnectionPoolEntry, *, pragmas: tuple[str, ...]) -> None:
    with closing(connection.cursor()) as cursor:
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")


# With a write-ahead log and NORMAL, a commit survives a crash of the process. A power cut may lose the last commits.
_set_up_writer = partial(_set_up, pragmas=("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"))
_set_up_reader = partial(_set_up, pragmas=("query_only=ON",))


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _begin_immediate(connection: Connection) -> None:
    """Begin with the write lock.

    A transaction that takes the lock only after it has read fails if another one wrote in between.
    """
    wait_s = connection.get_execution_options().get(WAIT_S)
    if wait_s is None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {wait_s * 1000:.0f}")
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {LOCK_S * 1000:.0f}")
