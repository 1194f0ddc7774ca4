"""Brings a database's tables to what the code expects, through the migrations in `database/migrations`."""

import logging
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

logger = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"
ONE_AT_A_TIME = 2026_11_24  # any number that nothing else on this database takes for a lock

# What it tells of its steps is one line of ours.
logging.getLogger("alembic").setLevel(logging.WARNING)


class NewerDatabase(Exception):
    """A later version of the code has changed the tables: this one can't know what they mean."""

    def __init__(self, revision: str) -> None:
        super().__init__(
            f"The database is at revision {revision}, which this version of the code does not know: "
            "update the code, or choose another database with DATABASE_URL."
        )


def configuration() -> Config:
    """Where alembic finds the migrations, from any working directory."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


@cache
def scripts() -> ScriptDirectory:
    """The migrations, read once in a process: they are files, and each is a module."""
    return ScriptDirectory.from_config(configuration())


def newest() -> str:
    """The revision that the code expects."""
    head = scripts().get_current_head()
    assert head is not None
    return head


async def current(engine: AsyncEngine) -> str | None:
    """The revision that the database is at; None before the first migration."""
    async with engine.connect() as connection:
        return await connection.run_sync(_current)


async def migrate(engine: AsyncEngine) -> None:
    """Apply what is missing, all or nothing. Raise `NewerDatabase`, or what the driver raises.

    Don't migrate two databases at once in one process: alembic's context is a global.
    """
    async with engine.begin() as connection:
        await connection.run_sync(_migrate)


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _migrate(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":  # SQLite's transactions wait for each other anyway
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ONE_AT_A_TIME})
    before = _current(connection)
    if before is not None and before not in {script.revision for script in scripts().walk_revisions()}:
        raise NewerDatabase(before)
    if before == newest():
        return
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    logger.info("the database is migrated from revision %s to %s", before, newest())
