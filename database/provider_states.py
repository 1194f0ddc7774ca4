"""Queries about what goes back to a model's provider with its answers."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from database.slices import slices
from database.tables import given, provider_states, runs, upsert
from session_models import ProviderState

PUT = upsert(provider_states, where=sa.exists().where(runs.c.run_id == given(provider_states.c.run_id)))
OF_SESSION = (
    sa.select(provider_states)
    .join(runs, runs.c.run_id == provider_states.c.run_id)
    .where(runs.c.session_id == given(runs.c.session_id), provider_states.c.family == given(provider_states.c.family))
)


async def put_provider_state(connection: AsyncConnection, state: ProviderState) -> None:
    """Write the state of one step, if its run is there."""
    await connection.execute(PUT[connection.dialect.name], state.model_dump(mode="json"))


async def session_states(connection: AsyncConnection, session_id: str, family: str) -> list[ProviderState]:
    """The states of a session's runs that models of one family left."""
    read = slices(connection, OF_SESSION, {"session_id": session_id, "family": family})
    return [ProviderState.model_validate(dict(row._mapping)) async for rows in read for row in rows]
