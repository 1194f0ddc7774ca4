"""Queries about the messages of sessions, which form a tree as their runs do."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from database.long_json import of_json, to_json
from database.slices import slices
from database.tables import given, messages, runs, upsert
from session_models import StoredMessage

NOTHING = dict.fromkeys(messages.columns.keys())
STORED = set(StoredMessage.model_fields)

ADD = upsert(messages, where=sa.exists().where(runs.c.run_id == given(messages.c.run_id)))


def path_to_run(most: int | None = None) -> sa.CTE:
    """A run and those before it, with how many steps each is back; with `most`, no more than so many runs."""
    run = (runs.c.run_id, runs.c.session_id, runs.c.parent_run_id)
    begin = sa.select(*run, sa.literal(0).label("steps")).where(runs.c.run_id == given(runs.c.run_id))
    back = begin.cte("back", recursive=True)
    is_parent = sa.and_(runs.c.run_id == back.c.parent_run_id, runs.c.session_id == back.c.session_id)
    if most is not None:
        is_parent = sa.and_(is_parent, back.c.steps < most - 1)
    return back.union_all(sa.select(*run, back.c.steps + 1).where(is_parent))


RUNS_AT_ONCE = 50
CHARACTERS_AT_ONCE = 1024 * 1024  # of the JSON of several runs; one alone may be longer

PATH = path_to_run()
LATEST = path_to_run(RUNS_AT_ONCE)
TOLD = [messages.c[name] for name in StoredMessage.model_fields if name != "thinking"]
SIZE = sum(
    (sa.func.coalesce(sa.func.length(sa.cast(messages.c[name], sa.Text)), 0) for name in ("content", "tool_calls")),
    sa.literal(0),
)
SIZES = (
    sa.select(LATEST.c.run_id, LATEST.c.parent_run_id, sa.func.coalesce(sa.func.sum(SIZE), 0).label("size"))
    .outerjoin(messages, messages.c.run_id == LATEST.c.run_id)
    .group_by(LATEST.c.run_id, LATEST.c.parent_run_id, LATEST.c.steps)
    .order_by(LATEST.c.steps)
)
QUESTIONS = (
    sa.select(sa.func.count())
    .select_from(messages)
    .join(PATH, messages.c.run_id == PATH.c.run_id)
    .where(messages.c.position == 0)
)


class LatestTurns(NamedTuple):
    """What some runs said, the latest run first, without the thinking, and the run before them."""

    turns: dict[str, list[StoredMessage]]
    before: str | None


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


async def latest_turns(connection: AsyncConnection, run_id: str) -> LatestTurns:
    """What a run and some of those before it said. No turns where there is no such run."""
    sizes = (await connection.execute(SIZES, {"run_id": run_id})).all()
    whole = [end for end, size in enumerate(accumulate(row.size for row in sizes), 1) if size <= CHARACTERS_AT_ONCE]
    taken = sizes[: max(whole, default=1)]
    turns: dict[str, list[StoredMessage]] = {row.run_id: [] for row in taken}
    query = sa.select(*TOLD).where(messages.c.run_id.in_(turns)).order_by(messages.c.run_id, messages.c.position)
    async for rows in slices(connection, query, {}):
        for row in rows:
            turns[row.run_id].append(StoredMessage(**await stored(row._asdict())))
    return LatestTurns(turns, taken[-1].parent_run_id if taken else None)


async def count_questions(connection: AsyncConnection, run_id: str) -> int:
    """How many questions the conversation has that ends with a run."""
    return await connection.scalar(QUESTIONS, {"run_id": run_id}) or 0
