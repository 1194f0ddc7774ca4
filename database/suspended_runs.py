"""Queries on suspended runs, which wait for answers, and on queued runs, which wait for their turn."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from database.long_json import of_json, to_json
from database.tables import parameter, upsert, waiting_runs

THIS_RUN = waiting_runs.c.run_id == parameter(waiting_runs.c.run_id)
GET = sa.select(waiting_runs).where(THIS_RUN)
NEXT = sa.select(sa.func.coalesce(sa.func.max(waiting_runs.c.position), 0) + 1)
EMPTY_ROW = dict.fromkeys(waiting_runs.columns.keys())
GET_REQUEST = sa.select(waiting_runs.c.request).where(THIS_RUN)
PUT = upsert(waiting_runs)
DELETE = sa.delete(waiting_runs).where(THIS_RUN)


class SuspendedRun(NamedTuple):
    """The data to resume a run from, as JSON: its request and its checkpoint (`state`).

    `pending` are the ids of what it waits for.
    """

    run_id: str
    pending: Sequence[str]
    request: dict[str, Any]
    state: dict[str, Any]
    expires_at: str


class QueuedRun(NamedTuple):
    """The data to begin a run with: its request as JSON. Queued runs begin in the order of `position`."""

    run_id: str
    request: dict[str, Any]
    position: int


async def get_suspended_run(connection: AsyncConnection, run_id: str) -> SuspendedRun | QueuedRun | None:
    """Return what is stored of a run, None if it neither waits nor has waited."""
    row = (await connection.execute(GET, {"run_id": run_id})).one_or_none()
    if row is None:
        return None
    request = await of_json(row.request)
    if row.state is None:
        return QueuedRun(row.run_id, request, row.position)
    return SuspendedRun(row.run_id, row.pending, request, await of_json(row.state), row.expires_at)


async def get_suspended_request(connection: AsyncConnection, run_id: str) -> dict[str, Any] | None:
    """Return a run's request without its state, which can be large."""
    request: dict[str, Any] | None = await of_json(await connection.scalar(GET_REQUEST, {"run_id": run_id}))
    return request


async def put_suspended_run(connection: AsyncConnection, run: SuspendedRun) -> None:
    """Write a suspended run. It replaces the run's earlier suspension."""
    row = run._asdict() | {"request": await to_json(run.request), "state": await to_json(run.state)}
    await connection.execute(PUT[connection.dialect.name], EMPTY_ROW | row)


async def put_queued_run(connection: AsyncConnection, run_id: str, request: dict[str, Any]) -> None:
    """Write a queued run, behind those that are queued already."""
    position = await connection.scalar(NEXT)
    row: dict[str, Any] = {"run_id": run_id, "pending": [], "request": await to_json(request), "position": position}
    await connection.execute(PUT[connection.dialect.name], EMPTY_ROW | row)


async def delete_waiting_runs(connection: AsyncConnection, run_ids: Collection[str]) -> None:
    """Delete what is stored of these runs, where it exists."""
    if run_ids:
        await connection.execute(DELETE, [{"run_id": run_id} for run_id in run_ids])


async def keep_waiting_runs(connection: AsyncConnection, run_ids: Collection[str]) -> None:
    """Delete what is stored of all other runs."""
    known = await connection.scalars(sa.select(waiting_runs.c.run_id))
    await delete_waiting_runs(connection, set(known) - set(run_ids))
