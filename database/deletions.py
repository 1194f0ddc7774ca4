"""Queries on the marks of deleted runs, whose events may still be in the log.

A mark is written in the transaction that deletes a run's row. It is removed once the run's events are deleted.
"""

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from database.runs import OF_SESSION
from database.tables import deleted_runs, insert_from, insert_new, parameter, runs
from run_models import SessionKey

THIS_RUN = deleted_runs.c.run_id == parameter(deleted_runs.c.run_id)
MARK = insert_new(deleted_runs)
IS_MARKED = sa.select(deleted_runs.c.run_id).where(THIS_RUN)
MARKED = sa.select(deleted_runs.c.run_id).order_by(deleted_runs.c.run_id)
MARK_SESSION = insert_from(deleted_runs, sa.select(runs.c.run_id).where(OF_SESSION))
UNMARK = sa.delete(deleted_runs).where(THIS_RUN)


async def mark_deleted(connection: AsyncConnection, run_ids: Collection[str]) -> None:
    """Mark runs, so that their events get deleted."""
    if run_ids:
        await connection.execute(MARK[connection.dialect.name], [{"run_id": run_id} for run_id in run_ids])


async def mark_session_deleted(connection: AsyncConnection, key: SessionKey) -> None:
    """Mark all runs of a session in one statement."""
    await connection.execute(MARK_SESSION[connection.dialect.name], key._asdict())


async def is_deleted(connection: AsyncConnection, run_id: str) -> bool:
    """Return whether a run is marked."""
    return await connection.scalar(IS_MARKED, {"run_id": run_id}) is not None


async def marked_runs(connection: AsyncConnection, *, after: str = "", limit: int | None = None) -> list[str]:
    """Return the ids of at most `limit` marked runs, the oldest first, that follow the run `after`."""
    return list(await connection.scalars(MARKED.where(deleted_runs.c.run_id > after).limit(limit)))


async def unmark(connection: AsyncConnection, run_ids: Collection[str]) -> None:
    """Remove the marks of runs whose events have been deleted."""
    if run_ids:
        await connection.execute(UNMARK, [{"run_id": run_id} for run_id in run_ids])
