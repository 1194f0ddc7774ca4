"""Migrates a database to the newest revision in `database/migrations`, and reports which one it has."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

logger = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"
ADVISORY_LOCK = 2026_11_24  # any number that no other program uses as a lock on this database


class NewerDatabase(Exception):
    """The database has a revision of a later version of the code, which this version can't read."""

    def __init__(self, revision: str) -> None:
        super().__init__(
            f"The database is at revision {revision}, which this version of the code does not know: "
            "update the code, or choose another database with DATABASE_URL."
        )


def configuration() -> Config:
    """Make alembic's configuration. It finds the migrations from any working directory."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


@cache
def scripts() -> ScriptDirectory:
    """Load the migrations, once in a process: each is a module to import."""
    return ScriptDirectory.from_config(configuration())


def newest() -> str:
    """Return the revision that the code expects."""
    head = scripts().get_current_head()
    assert head is not None
    return head


async def current(engine: AsyncEngine) -> str | None:
    """Return the database's revision, None before the first migration."""
    async with engine.connect() as connection:
        return await connection.run_sync(_current)


def is_newest(connection: Connection) -> bool:
    """Return whether a database has the revision that the code expects. Raise `NewerDatabase`."""
    revision = _current(connection)
    if revision is not None and revision not in {script.revision for script in scripts().walk_revisions()}:
        raise NewerDatabase(revision)
    return revision == newest()


def migrate(connection: Connection) -> None:
    """Apply the missing migrations in the connection's transaction. Raise `NewerDatabase`, or the driver's errors.

    Don't migrate two databases at the same time in one process: alembic's context is global.
    """
    if connection.dialect.name == "postgresql":  # SQLite's write transactions exclude each other already
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
    if is_newest(connection):
        return  # another process has migrated the database meanwhile
    before = _current(connection)
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    logger.info("migrated the database from revision %s to %s", before, newest())


def _current(connection: Connection) -> str | None:
    logging.getLogger("alembic").setLevel(logging.WARNING)  # in place of its line for each step, one of this module
    return MigrationContext.configure(connection).get_current_revision()


@asynccontextmanager
async def foreign_keys_off(connection: AsyncConnection) -> AsyncGenerator[None, None]:
    """Let migrations on SQLite drop tables. Enter it outside of a transaction.

    To change a table, a migration copies it and drops the old one. With foreign keys, that would delete the rows that
    refer to the table.
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    driver: Any = (await connection.get_raw_connection()).driver_connection
    await driver.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        await driver.execute("PRAGMA foreign_keys=ON")
