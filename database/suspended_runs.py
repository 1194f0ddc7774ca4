"""Queries about runs that wait, for a person or for their turn."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from database.long_json import of_json, to_json
from database.tables import given, upsert, waiting_runs

THIS_RUN = waiting_runs.c.run_id == given(waiting_runs.c.run_id)
GET = sa.select(waiting_runs).where(THIS_RUN)
NEXT = sa.select(sa.func.coalesce(sa.func.max(waiting_runs.c.position), 0) + 1)
NOTHING = dict.fromkeys(waiting_runs.columns.keys())
GET_REQUEST = sa.select(waiting_runs.c.request).where(THIS_RUN)
PUT = upsert(waiting_runs)
DELETE = sa.delete(waiting_runs).where(THIS_RUN)


class SuspendedRun(NamedTuple):
    """What a run needs to go on, as JSON: what it is asked for, and where it is. `pending` are the ids of its calls."""

    run_id: str
    pending: Sequence[str]
    request: dict[str, Any]
    state: dict[str, Any]
    expires_at: str


class QueuedRun(NamedTuple):
    """What a run needs to begin: what it is asked for, as JSON. Turns are taken in the order of `position`."""

    run_id: str
    request: dict[str, Any]
    position: int


async def get_suspended_run(connection: AsyncConnection, run_id: str) -> SuspendedRun | QueuedRun | None:
    """One run."""
    row = (await connection.execute(GET, {"run_id": run_id})).one_or_none()
    if row is None:
        return None
    request = await of_json(row.request)
    if row.state is None:
        return QueuedRun(row.run_id, request, row.position)
    return SuspendedRun(row.run_id, row.pending, request, await of_json(row.state), row.expires_at)


async def get_suspended_request(connection: AsyncConnection, run_id: str) -> dict[str, Any] | None:
    """What a run is asked for, without its state, which can be large."""
    request: dict[str, Any] | None = await of_json(await connection.scalar(GET_REQUEST, {"run_id": run_id}))
    return request


async def put_suspended_run(connection: AsyncConnection, run: SuspendedRun) -> None:
    """Write it, in place of what it needed before."""
    row = run._asdict() | {"request": await to_json(run.request), "state": await to_json(run.state)}
    await connection.execute(PUT[connection.dialect.name], NOTHING | row)


async def put_queued_run(connection: AsyncConnection, run_id: str, request: dict[str, Any]) -> None:
    """Write a run that waits for its turn, behind those that are there."""
    position = await connection.scalar(NEXT)
    row: dict[str, Any] = {"run_id": run_id, "pending": [], "request": await to_json(request), "position": position}
    await connection.execute(PUT[connection.dialect.name], NOTHING | row)


async def delete_waiting_runs(connection: AsyncConnection, run_ids: Collection[str]) -> None:
    """Let go of runs that have ended, where they are there."""
    if run_ids:
        await connection.execute(DELETE, [{"run_id": run_id} for run_id in run_ids])


async def keep_waiting_runs(connection: AsyncConnection, run_ids: Collection[str]) -> None:
    """Let go of all others."""
    known = await connection.scalars(sa.select(waiting_runs.c.run_id))
    await delete_waiting_runs(connection, set(known) - set(run_ids))
