"""Queries about the messages of sessions, which form a tree as their runs do."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from database.long_json import of_json, to_json
from database.slices import slices
from database.tables import given, messages, runs, upsert
from session_models import StoredMessage

NOTHING = dict.fromkeys(messages.columns.keys())
STORED = set(StoredMessage.model_fields)

ADD = upsert(messages, where=sa.exists().where(runs.c.run_id == given(messages.c.run_id)))


def path_to_run() -> sa.CTE:
    """A run and those before it, with how many steps each is back."""
    run = (runs.c.run_id, runs.c.session_id, runs.c.parent_run_id)
    begin = sa.select(*run, sa.literal(0).label("steps")).where(runs.c.run_id == given(runs.c.run_id))
    back = begin.cte("back", recursive=True)
    is_parent = sa.and_(runs.c.run_id == back.c.parent_run_id, runs.c.session_id == back.c.session_id)
    return back.union_all(sa.select(*run, back.c.steps + 1).where(is_parent))


PATH = path_to_run()
TOLD = [messages.c[name] for name in StoredMessage.model_fields if name != "thinking"]
BRANCH = (
    sa.select(*TOLD).join(PATH, messages.c.run_id == PATH.c.run_id).order_by(PATH.c.steps.desc(), messages.c.position)
)


async def add_messages(
    connection: AsyncConnection, session_id: str, added: Sequence[StoredMessage], *, first: int = 0
) -> None:
    """Write messages of one run, numbered from `first`, in place of those with their numbers.

    Their ids are made of the numbers. Where the run is gone they are left out.
    """
    if added:
        rows = [await _row(message, session_id, position) for position, message in enumerate(added, start=first)]
        await connection.execute(ADD[connection.dialect.name], rows)


async def _row(message: StoredMessage, session_id: str, position: int) -> dict[str, Any]:
    row = NOTHING | message.model_dump(mode="json", include=STORED)
    row |= {"content": await to_json(row["content"]), "tool_calls": await to_json(row["tool_calls"])}
    return row | {"session_id": session_id, "position": position}


async def stored(row: Mapping[str, Any]) -> dict[str, Any]:
    """A message's row with its JSON parsed."""
    return dict(row) | {"content": await of_json(row["content"]), "tool_calls": await of_json(row["tool_calls"])}


async def replace_answer(
    connection: AsyncConnection, session_id: str, run_id: str, answer: Sequence[StoredMessage]
) -> None:
    """Write what a run said after its question, in place of what was there."""
    superfluous = sa.and_(messages.c.run_id == run_id, messages.c.position > len(answer))
    await connection.execute(sa.delete(messages).where(superfluous))
    await add_messages(connection, session_id, answer, first=1)


async def branch(connection: AsyncConnection, run_id: str) -> list[StoredMessage]:
    """The conversation that ends with a run, from its beginning, without the thinking. It is read in slices."""
    return [
        StoredMessage(**await stored(row._asdict()))
        async for rows in slices(connection, BRANCH, {"run_id": run_id})
        for row in rows
    ]
