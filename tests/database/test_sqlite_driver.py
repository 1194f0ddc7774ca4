"""Tests that the driver of one call for each statement does what SQLAlchemy's own adapter does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from database.sqlite_driver import OneCallDriver, driver

pytestmark = pytest.mark.anyio

ITEMS = sa.Table("items", sa.MetaData(), sa.Column("key", sa.Integer, primary_key=True), sa.Column("name", sa.String))
STATEMENTS: tuple[tuple[Any, Any], ...] = (
    (sa.text("CREATE TABLE items (key INTEGER PRIMARY KEY, name TEXT)"), None),
    (sa.insert(ITEMS), {"name": "one"}),
    (sa.insert(ITEMS), [{"name": f"many {n}"} for n in range(2000)]),
    (sa.insert(ITEMS).returning(ITEMS.c.key), [{"name": "two"}, {"name": "three"}]),
    (sa.select(ITEMS).where(ITEMS.c.key > 1), None),
    (sa.select(ITEMS).where(ITEMS.c.key < 0), None),
    (sa.update(ITEMS).values(name="changed"), None),
    (sa.delete(ITEMS).where(ITEMS.c.key == sa.bindparam("b_key")), [{"b_key": 1}, {"b_key": 2}, {"b_key": -1}]),
    (sa.text("PRAGMA user_version"), None),
    (sa.insert(ITEMS), {"key": 3, "name": "taken"}),
    (sa.text("SELECT nothing FROM nowhere"), None),
    (sa.select(ITEMS.c.name).limit(2), None),
)


@asynccontextmanager
async def connected(file: Path, module: OneCallDriver | None = None) -> AsyncIterator[AsyncConnection]:
    engine = create_async_engine(f"sqlite+aiosqlite:///{file}", module=module)
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


async def outcome(connection: AsyncConnection, statement: Any, parameters: Any) -> object:
    """Return everything that a statement says of itself, or its error."""
    try:
        result = await connection.execute(statement, parameters)
    except sa.exc.DBAPIError as error:
        return type(error), str(error.orig)
    if result.returns_rows:
        return list(result.keys()), result.all()
    return result.rowcount, result.lastrowid


async def test_each_statement_has_the_outcome_of_the_library(tmp_path: Path) -> None:
    """Rows, names, counts, new keys and errors are those of SQLAlchemy's own adapter, statement by statement."""
    async with connected(tmp_path / "a.db") as library, connected(tmp_path / "b.db", driver()) as ours:
        for statement, parameters in STATEMENTS:
            expected = await outcome(library, statement, parameters)
            assert await outcome(ours, statement, parameters) == expected, statement


async def test_each_statement_is_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement takes one call to the connection's thread, with and without rows, and with many parameters."""
    calls = []
    execute: Any = aiosqlite.Connection._execute

    async def counted(self: aiosqlite.Connection, *arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        return await execute(self, *arguments, **options)

    async with connected(tmp_path / "a.db", driver()) as connection:
        monkeypatch.setattr(aiosqlite.Connection, "_execute", counted)
        for number, (statement, parameters) in enumerate(STATEMENTS, 1):
            await outcome(connection, statement, parameters)
            assert len(calls) == number, statement


async def test_slices_are_not_read_ahead(tmp_path: Path) -> None:
    """A result in slices is still read as it is asked for: the second million of rows is never made."""
    made: list[int] = []
    numbers = "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000) SELECT made(i) FROM n"
    async with connected(tmp_path / "a.db", driver()) as connection:
        raw = (await connection.get_raw_connection()).driver_connection
        assert raw is not None
        await raw.create_function("made", 1, made.append)
        async for _ in (await connection.stream(sa.text(numbers))).partitions(5):
            break
    assert 5 <= len(made) < 1000


async def test_a_closed_connection_is_the_driver_s_error(tmp_path: Path) -> None:
    """A statement on a connection that was closed raises the error that SQLAlchemy's own adapter raises."""
    found = []
    for module in (None, driver()):
        async with connected(tmp_path / "a.db", module) as connection:
            raw = (await connection.get_raw_connection()).driver_connection
            assert raw is not None
            await raw.close()
            found.append(await outcome(connection, sa.text("SELECT 1"), None))
    assert found[0] == found[1] == (sa.exc.OperationalError, "no active connection")
