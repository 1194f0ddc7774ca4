"""Queries on all that an owner has: they delete it, or give it to another owner."""

from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from database.tables import deleted_runs, idempotency_keys, insert_from, parameter, runs, sessions, waiting_runs

OF_OWNER = sa.select(runs.c.run_id).where(runs.c.owner == parameter(runs.c.owner))
MARK = insert_from(deleted_runs, OF_OWNER)
DELETIONS = (
    sa.delete(waiting_runs).where(waiting_runs.c.run_id.in_(OF_OWNER)),
    sa.delete(idempotency_keys).where(idempotency_keys.c.owner == parameter(idempotency_keys.c.owner)),
    sa.delete(sessions).where(sessions.c.owner == parameter(sessions.c.owner)),
    sa.delete(runs).where(runs.c.owner == parameter(runs.c.owner)),
)
"""What deletes all rows of an owner, in this order. Runs and messages go with their session, or with their run."""


class Moved(NamedTuple):
    """How many rows have another owner now."""

    sessions: int
    runs: int


async def delete_owner(connection: AsyncConnection, owner: str) -> None:
    """Delete an owner's sessions, runs, messages and idempotency keys, and mark the runs' events for deletion."""
    await connection.execute(MARK[connection.dialect.name], {"owner": owner})
    for deletion in DELETIONS:
        await connection.execute(deletion, {"owner": owner})


async def sessions_of_both(connection: AsyncConnection, owner: str, other: str) -> list[str]:
    """Return the ids of sessions that two owners have."""
    mine, theirs = sessions.alias(), sessions.alias()
    both = sa.select(mine.c.session_id).join(theirs, mine.c.session_id == theirs.c.session_id)
    both = both.where(mine.c.owner == owner, theirs.c.owner == other).order_by(mine.c.session_id)
    return list(await connection.scalars(both))


async def give(connection: AsyncConnection, owner: str, to: str) -> Moved:
    """Change the owner of all sessions and runs of an owner. The new owner must have none of their ids.

    Idempotency keys are deleted: the new owner may have used the same ones.
    """
    count = sa.select(sa.func.count()).where(runs.c.owner == owner)
    moved_runs = await connection.scalar(count) or 0
    # The runs of sessions follow by their foreign key.
    moved = await connection.execute(sa.update(sessions).where(sessions.c.owner == owner).values(owner=to))
    await connection.execute(sa.update(runs).where(runs.c.owner == owner).values(owner=to))
    await connection.execute(sa.delete(idempotency_keys).where(idempotency_keys.c.owner == owner))
    return Moved(moved.rowcount, moved_runs)
