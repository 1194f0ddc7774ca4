"""Queries about runs."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from database.suspended_runs import delete_waiting_runs
from database.tables import given, idempotency_keys, runs, sessions, upsert
from models import Run, RunStatus

NOTHING = dict.fromkeys(runs.columns.keys())
UNFINISHED = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.WAITING)

THIS_RUN = runs.c.run_id == given(runs.c.run_id)
SESSION_THERE = sa.exists().where(sessions.c.session_id == given(runs.c.session_id))
SAVE = upsert(runs, where=sa.or_(given(runs.c.session_id).is_(None), SESSION_THERE))
GET = sa.select(runs).where(THIS_RUN)
DELETE = sa.delete(runs).where(THIS_RUN)
DELETE_KEYS = sa.delete(idempotency_keys).where(idempotency_keys.c.run_id == given(idempotency_keys.c.run_id))

PARENT = runs.alias()
SAME_SESSION = sa.and_(PARENT.c.run_id == runs.c.parent_run_id, PARENT.c.session_id == runs.c.session_id)
CHILDREN = (
    sa.select(runs.c.run_id)
    .join(PARENT, SAME_SESSION)
    .where(PARENT.c.run_id == given(runs.c.run_id))
    .order_by(runs.c.run_id)
)


async def save_runs(connection: AsyncConnection, saved: Sequence[Run]) -> None:
    """Write whole rows, new or known, in one statement. Runs whose session is gone are left out."""
    if saved:
        # In one order everywhere, two transactions can't wait for each other's rows.
        rows = [
            NOTHING | run.model_dump(mode="json", exclude={"pending"})
            for run in sorted(saved, key=lambda run: run.run_id)
        ]
        await connection.execute(SAVE[connection.dialect.name], rows)


async def get_run(connection: AsyncConnection, run_id: str) -> Run | None:
    """One run."""
    row = (await connection.execute(GET, {"run_id": run_id})).one_or_none()
    return None if row is None else _run(row)


async def list_runs(
    connection: AsyncConnection, *, session_id: str | None, status: RunStatus | None, before: str | None, limit: int
) -> list[Run]:
    """The latest runs, the newest first; `before` is the run id that the last page ended with."""
    query = sa.select(runs).order_by(runs.c.run_id.desc()).limit(limit)
    if session_id is not None:
        query = query.where(runs.c.session_id == session_id)
    if status is not None:
        query = query.where(runs.c.status == status.value)
    if before is not None:
        query = query.where(runs.c.run_id < before)
    return [_run(row) for row in await connection.execute(query)]


async def unfinished_runs(connection: AsyncConnection) -> list[Run]:
    """The runs that have not ended, the oldest first."""
    query = sa.select(runs).where(runs.c.status.in_(UNFINISHED)).order_by(runs.c.run_id)
    return [_run(row) for row in await connection.execute(query)]


async def children(connection: AsyncConnection, run_id: str) -> list[str]:
    """The runs that follow a run in its session."""
    return list(await connection.scalars(CHILDREN, {"run_id": run_id}))


async def delete_run(connection: AsyncConnection, run_id: str) -> None:
    """Let go of a run with its messages, its idempotency keys and what it waited with, if it is there."""
    await delete_waiting_runs(connection, [run_id])
    await connection.execute(DELETE_KEYS, {"run_id": run_id})
    await connection.execute(DELETE, {"run_id": run_id})


async def expire_runs(connection: AsyncConnection, created_before: str) -> int:
    """Let go of older runs that have ended and are of no session, with their keys; how many they were."""
    old = sa.and_(runs.c.created_at < created_before, runs.c.session_id.is_(None), runs.c.status.not_in(UNFINISHED))
    keys = idempotency_keys.c.run_id.in_(sa.select(runs.c.run_id).where(old))
    await connection.execute(sa.delete(idempotency_keys).where(keys))
    return (await connection.execute(sa.delete(runs).where(old))).rowcount


def _run(row: sa.Row[tuple[object, ...]]) -> Run:
    return Run.model_validate(dict(row._mapping))
