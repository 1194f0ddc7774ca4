"""Queries on provider states: the parts of a model's answers that its provider wants back with later requests."""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from database.long_json import of_json, to_json
from database.slices import slices
from database.tables import parameter, provider_states, runs, upsert
from session_models import ProviderState

PUT = upsert(provider_states, where=sa.exists().where(runs.c.run_id == parameter(provider_states.c.run_id)))


async def put_provider_state(connection: AsyncConnection, state: ProviderState) -> None:
    """Write the state of one step, if its run exists."""
    row = state.model_dump(mode="json")
    row |= {"message": await to_json(row["message"]), "calls": await to_json(row["calls"])}
    await connection.execute(PUT[connection.dialect.name], row)


async def states_of(connection: AsyncConnection, run_ids: Collection[str], family: str) -> list[ProviderState]:
    """Read the states that models of one family left in these runs."""
    wanted = sa.and_(provider_states.c.run_id.in_(run_ids), provider_states.c.family == family)
    read = slices(connection, sa.select(provider_states).where(wanted), {})
    return [await _state(row) async for rows in read for row in rows]


async def _state(row: sa.Row[Any]) -> ProviderState:
    values = dict(row._mapping) | {"message": await of_json(row.message), "calls": await of_json(row.calls)}
    return ProviderState.model_validate(values)
