"""Queries on runs."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from database.suspended_runs import delete_waiting_runs
from database.tables import idempotency_keys, parameter, runs, sessions, upsert
from run_models import Run, RunStatus

EMPTY_ROW = dict.fromkeys(runs.columns.keys())
UNFINISHED = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.WAITING)

THIS_RUN = runs.c.run_id == parameter(runs.c.run_id)
OF_SESSION = sa.and_(runs.c.owner == parameter(runs.c.owner), runs.c.session_id == parameter(runs.c.session_id))
SESSION_THERE = sa.exists().where(
    sessions.c.owner == parameter(runs.c.owner), sessions.c.session_id == parameter(runs.c.session_id)
)
SAVE = upsert(runs, where=sa.or_(parameter(runs.c.session_id).is_(None), SESSION_THERE))
GET = sa.select(runs).where(THIS_RUN)
DELETE = sa.delete(runs).where(THIS_RUN)
DELETE_KEYS = sa.delete(idempotency_keys).where(idempotency_keys.c.run_id == parameter(idempotency_keys.c.run_id))

PARENT = runs.alias()
IN_ITS_SESSION = sa.and_(
    PARENT.c.run_id == runs.c.parent_run_id, PARENT.c.owner == runs.c.owner, PARENT.c.session_id == runs.c.session_id
)
CHILDREN = (
    sa.select(runs.c.run_id)
    .join(PARENT, IN_ITS_SESSION)
    .where(PARENT.c.run_id == parameter(runs.c.run_id))
    .order_by(runs.c.run_id)
)


async def save_runs(connection: AsyncConnection, saved: Sequence[Run]) -> None:
    """Write whole rows, new or known, in one statement. Runs of a deleted session are not written."""
    if saved:
        # Rows are written in the order of their ids, so no two transactions can deadlock on each other's rows.
        rows = [
            EMPTY_ROW | run.model_dump(mode="json", exclude={"pending"}) | {"owner": run.owner}
            for run in sorted(saved, key=lambda run: run.run_id)
        ]
        await connection.execute(SAVE[connection.dialect.name], rows)


async def get_run(connection: AsyncConnection, run_id: str) -> Run | None:
    """Return a run, None if it is unknown."""
    row = (await connection.execute(GET, {"run_id": run_id})).one_or_none()
    return None if row is None else _run(row)


async def list_runs(
    connection: AsyncConnection,
    owner: str,
    *,
    session_id: str | None,
    status: RunStatus | None,
    before: str | None,
    limit: int,
) -> list[Run]:
    """Return an owner's newest runs first. `before` is the last run id of the page before."""
    query = sa.select(runs).where(runs.c.owner == owner).order_by(runs.c.run_id.desc()).limit(limit)
    if session_id is not None:
        query = query.where(runs.c.session_id == session_id)
    if status is not None:
        query = query.where(runs.c.status == status.value)
    if before is not None:
        query = query.where(runs.c.run_id < before)
    return [_run(row) for row in await connection.execute(query)]


async def unfinished_runs(connection: AsyncConnection) -> list[Run]:
    """Return the runs without an end, of all owners, the oldest first."""
    query = sa.select(runs).where(runs.c.status.in_(UNFINISHED)).order_by(runs.c.run_id)
    return [_run(row) for row in await connection.execute(query)]


async def children(connection: AsyncConnection, run_id: str) -> list[str]:
    """Return the ids of the runs that follow a run in its session."""
    return list(await connection.scalars(CHILDREN, {"run_id": run_id}))


async def delete_run(connection: AsyncConnection, run_id: str) -> None:
    """Delete a run with its messages, idempotency keys and suspension, if it exists."""
    await delete_waiting_runs(connection, [run_id])
    await connection.execute(DELETE_KEYS, {"run_id": run_id})
    await connection.execute(DELETE, {"run_id": run_id})


async def expire_runs(connection: AsyncConnection, created_before: str) -> int:
    """Delete ended runs without a session that were created before a time, and their keys. Returns their number."""
    old = sa.and_(runs.c.created_at < created_before, runs.c.session_id.is_(None), runs.c.status.not_in(UNFINISHED))
    keys = idempotency_keys.c.run_id.in_(sa.select(runs.c.run_id).where(old))
    await connection.execute(sa.delete(idempotency_keys).where(keys))
    return (await connection.execute(sa.delete(runs).where(old))).rowcount


def _run(row: sa.Row[tuple[object, ...]]) -> Run:
    return Run.model_validate(dict(row._mapping))
