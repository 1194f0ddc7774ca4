"""Queries about deleted runs whose events may still be in the log.

A mark is written in the transaction that deletes a run's record, and removed once the events are deleted too.
"""

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from database.tables import deleted_runs, given, insert_new

THIS_RUN = deleted_runs.c.run_id == given(deleted_runs.c.run_id)
MARK = insert_new(deleted_runs)
IS_MARKED = sa.select(deleted_runs.c.run_id).where(THIS_RUN)
ALL = sa.select(deleted_runs.c.run_id).order_by(deleted_runs.c.run_id)
UNMARK = sa.delete(deleted_runs).where(THIS_RUN)


async def mark_deleted(connection: AsyncConnection, run_ids: Collection[str]) -> None:
    """Mark runs whose events have to be deleted."""
    if run_ids:
        await connection.execute(MARK[connection.dialect.name], [{"run_id": run_id} for run_id in run_ids])


async def is_deleted(connection: AsyncConnection, run_id: str) -> bool:
    """Whether a run is marked."""
    return await connection.scalar(IS_MARKED, {"run_id": run_id}) is not None


async def marked_runs(connection: AsyncConnection) -> list[str]:
    """All marked runs, the oldest first."""
    return list(await connection.scalars(ALL))


async def unmark(connection: AsyncConnection, run_ids: Collection[str]) -> None:
    """Remove the marks of runs whose events are deleted."""
    if run_ids:
        await connection.execute(UNMARK, [{"run_id": run_id} for run_id in run_ids])
