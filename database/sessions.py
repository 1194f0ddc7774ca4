"""Queries about sessions."""

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from database.tables import given, idempotency_keys, insert_new, runs, sessions
from session_models import Session

NOTHING = dict.fromkeys(sessions.columns.keys())

CREATE = insert_new(sessions)
GET = sa.select(sessions).where(sessions.c.session_id == given(sessions.c.session_id))


async def create_session(connection: AsyncConnection, session: Session) -> bool:
    """Write a new session; False where there is one with this id, which stays as it is."""
    row = NOTHING | session.model_dump(mode="json")
    return (await connection.execute(CREATE[connection.dialect.name], row)).rowcount == 1


async def get_session(connection: AsyncConnection, session_id: str) -> Session | None:
    """One session."""
    row = (await connection.execute(GET, {"session_id": session_id})).one_or_none()
    return None if row is None else _session(row)


async def list_sessions(connection: AsyncConnection, *, before: tuple[str, str] | None, limit: int) -> list[Session]:
    """The last used sessions first; `before` is the `updated_at` and the id that the last page ended with."""
    place = sa.tuple_(sessions.c.updated_at, sessions.c.session_id)
    query = sa.select(sessions).order_by(sessions.c.updated_at.desc(), sessions.c.session_id.desc()).limit(limit)
    if before is not None:
        query = query.where(place < before)
    return [_session(row) for row in await connection.execute(query)]


async def update_session(connection: AsyncConnection, session_id: str, values: Mapping[str, object]) -> None:
    """Set columns, at least one, of a session, if it is there."""
    await connection.execute(sa.update(sessions).where(sessions.c.session_id == session_id).values(values))


async def touch_session(
    connection: AsyncConnection, session_id: str, *, head_run_id: str, now: str, title: str | None
) -> None:
    """A run has begun in a session: it is the head, and `title` is the session's where that has none."""
    values = {"head_run_id": head_run_id, "updated_at": now, "title": sa.func.coalesce(sessions.c.title, title)}
    await update_session(connection, session_id, values)


async def set_head(connection: AsyncConnection, session_id: str, run_id: str | None) -> None:
    """The next run will follow this one, or begin the session."""
    await update_session(connection, session_id, {"head_run_id": run_id})


async def delete_session(connection: AsyncConnection, session_id: str) -> list[str]:
    """Let go of a session with its runs, their messages and keys. Its run ids, the oldest first."""
    query = sa.select(runs.c.run_id).where(runs.c.session_id == session_id)
    run_ids = list(await connection.scalars(query.order_by(runs.c.run_id)))
    await connection.execute(sa.delete(idempotency_keys).where(idempotency_keys.c.run_id.in_(query)))
    await connection.execute(sa.delete(sessions).where(sessions.c.session_id == session_id))
    return run_ids


def _session(row: sa.Row[tuple[object, ...]]) -> Session:
    return Session.model_validate(dict(row._mapping))
