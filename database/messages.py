"""Queries on the messages of sessions. They form a tree, as their runs do."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from database.long_json import of_json, to_json
from database.slices import slices
from database.tables import messages, parameter, runs, upsert
from session_models import StoredMessage

EMPTY_ROW = dict.fromkeys(messages.columns.keys())
STORED = set(StoredMessage.model_fields)
LONG_JSON = ("content", "tool_calls", "data")

ADD = upsert(messages, where=sa.exists().where(runs.c.run_id == parameter(messages.c.run_id)))


def path_to_run(max_runs: int | None = None) -> sa.CTE:
    """Select a run and the runs before it, each with its distance (`steps`). The nearest `max_runs`, None for all.

    The query's parameter is `run_id`.
    """
    run = (runs.c.run_id, runs.c.owner, runs.c.session_id, runs.c.parent_run_id)
    start = sa.select(*run, sa.literal(0).label("steps")).where(runs.c.run_id == parameter(runs.c.run_id))
    path = start.cte("back", recursive=True)
    # A parent of another session ends the path: what others said isn't part of this conversation.
    is_parent = sa.and_(
        runs.c.run_id == path.c.parent_run_id,
        runs.c.owner == path.c.owner,
        runs.c.session_id == path.c.session_id,
    )
    if max_runs is not None:
        is_parent = sa.and_(is_parent, path.c.steps < max_runs - 1)
    return path.union_all(sa.select(*run, path.c.steps + 1).where(is_parent))


RUNS_AT_ONCE = 50
CHARACTERS_AT_ONCE = 1024 * 1024  # of JSON in one reading; a single run may be longer

PATH = path_to_run()
LATEST = path_to_run(RUNS_AT_ONCE)
FOR_CALLERS = ("thinking", "sources", "data", "attempts")
FOR_MODELS = [messages.c[name] for name in StoredMessage.model_fields if name not in FOR_CALLERS]
"""The columns that the messages for a model are made of."""
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
    """The messages of some runs, as a model gets them, the latest run first. `before` is the run before them."""

    turns: dict[str, list[StoredMessage]]
    before: str | None


async def add_messages(connection: AsyncConnection, added: Sequence[StoredMessage], *, first: int = 0) -> None:
    """Write messages of one run, numbered from `first`. They replace those with the same numbers.

    Nothing is written if the run has been deleted.
    """
    if added:
        rows = [await _row(message, position) for position, message in enumerate(added, start=first)]
        await connection.execute(ADD[connection.dialect.name], rows)


async def _row(message: StoredMessage, position: int) -> dict[str, Any]:
    row = EMPTY_ROW | message.model_dump(mode="json", include=STORED)
    row |= {name: await to_json(row[name]) for name in LONG_JSON}
    return row | {"position": position}


async def stored(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message's row with its JSON parsed. `data` is left out if the message has none."""
    fields = dict(row) | {name: await of_json(row[name]) for name in LONG_JSON if name in row}
    if fields.get("attempts") is None:
        fields.pop("data", None)
    return fields


async def replace_answer(connection: AsyncConnection, run_id: str, answer: Sequence[StoredMessage]) -> None:
    """Write the messages that a run added after its question. They replace the earlier ones."""
    superfluous = sa.and_(messages.c.run_id == run_id, messages.c.position > len(answer))
    await connection.execute(sa.delete(messages).where(superfluous))
    await add_messages(connection, answer, first=1)


async def latest_turns(connection: AsyncConnection, run_id: str) -> LatestTurns:
    """Read the messages of a run and of some runs before it. There are no turns if the run doesn't exist."""
    sizes = (await connection.execute(SIZES, {"run_id": run_id})).all()
    totals = enumerate(accumulate(row.size for row in sizes), 1)
    fitting = [count for count, total in totals if total <= CHARACTERS_AT_ONCE]
    chosen = sizes[: max(fitting, default=1)]
    turns: dict[str, list[StoredMessage]] = {row.run_id: [] for row in chosen}
    query = sa.select(*FOR_MODELS).where(messages.c.run_id.in_(turns)).order_by(messages.c.run_id, messages.c.position)
    async for rows in slices(connection, query, {}):
        for row in rows:
            turns[row.run_id].append(StoredMessage(**await stored(row._asdict())))
    return LatestTurns(turns, chosen[-1].parent_run_id if chosen else None)


async def count_questions(connection: AsyncConnection, run_id: str) -> int:
    """Count the questions in the conversation that ends with a run."""
    return await connection.scalar(QUESTIONS, {"run_id": run_id}) or 0
