"""Queries about the messages of sessions, which form a tree as their runs do."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from database.tables import given, messages, runs, upsert
from session_models import FunctionCall, SessionMessage, StoredMessage

NOTHING = dict.fromkeys(messages.columns.keys())
STORED = set(StoredMessage.model_fields)

ADD = upsert(messages, where=sa.exists().where(runs.c.run_id == given(messages.c.run_id)))


def _branch() -> sa.Select[Any]:
    """The stored messages of a run and of those before it, each with its run's status and error."""
    run = (runs.c.run_id, runs.c.session_id, runs.c.parent_run_id, runs.c.status, runs.c.error)
    begin = sa.select(*run, sa.literal(0).label("steps")).where(runs.c.run_id == given(runs.c.run_id))
    back = begin.cte("back", recursive=True)
    is_parent = sa.and_(runs.c.run_id == back.c.parent_run_id, runs.c.session_id == back.c.session_id)
    path = back.union_all(sa.select(*run, back.c.steps + 1).where(is_parent))
    said = sa.select(messages, path.c.status, path.c.error).join(path, messages.c.run_id == path.c.run_id)
    return said.order_by(path.c.steps.desc(), messages.c.position)


BRANCH = _branch()


async def add_messages(
    connection: AsyncConnection, session_id: str, added: Sequence[StoredMessage], *, first: int = 0
) -> None:
    """Write messages of one run, numbered from `first`, in place of those with their numbers.

    Their ids are made of the numbers. Where the run is gone they are left out.
    """
    if added:
        rows = [
            NOTHING | message.model_dump(mode="json", include=STORED) | {"session_id": session_id, "position": position}
            for position, message in enumerate(added, start=first)
        ]
        await connection.execute(ADD[connection.dialect.name], rows)


async def replace_answer(
    connection: AsyncConnection, session_id: str, run_id: str, answer: Sequence[StoredMessage]
) -> None:
    """Write what a run said after its question, in place of what was there."""
    superfluous = sa.and_(messages.c.run_id == run_id, messages.c.position > len(answer))
    await connection.execute(sa.delete(messages).where(superfluous))
    await add_messages(connection, session_id, answer, first=1)


async def branch(connection: AsyncConnection, run_id: str) -> list[SessionMessage]:
    """The conversation that ends with a run, from its beginning."""
    return _following(None, (await connection.execute(BRANCH, {"run_id": run_id})).all())


async def tree(connection: AsyncConnection, session_id: str) -> list[SessionMessage]:
    """All messages of a session: those of a run together, the oldest run first."""
    query = sa.select(runs.c.run_id, runs.c.parent_run_id).where(runs.c.session_id == session_id)
    parents = {run.run_id: run.parent_run_id for run in await connection.execute(query)}
    stored = sa.select(messages, runs.c.status, runs.c.error).join(runs, runs.c.run_id == messages.c.run_id)
    of_session = stored.where(messages.c.session_id == session_id).order_by(messages.c.run_id, messages.c.position)
    rows = await connection.execute(of_session)
    said = {run_id: list(of_run) for run_id, of_run in groupby(rows, key=lambda row: row.run_id)}

    def before(run_id: str) -> str | None:
        """What was said last before a run."""
        parent = parents[run_id]
        while parent in parents and parent not in said:
            parent = parents[parent]
        return _id(said[parent][-1]) if parent in said else None

    return [message for run_id, of_run in said.items() for message in _following(before(run_id), of_run)]


def _following(parent_id: str | None, rows: Sequence[sa.Row[Any]]) -> list[SessionMessage]:
    """Messages each of which follows the one before. Each call has its result, which a later message holds."""
    results = {row.tool_call_id: row for row in rows if row.role == "tool"}
    following = []
    for row in rows:
        stored = {name: value for name, value in row._mapping.items() if name in SessionMessage.model_fields}
        stored["tool_calls"] = row.tool_calls and [_with_result(call, results) for call in row.tool_calls]
        message = SessionMessage(message_id=_id(row), parent_id=parent_id, **stored)
        parent_id = message.message_id
        following.append(message)
    return following


def _with_result(call: Mapping[str, Any], results: Mapping[str, sa.Row[Any]]) -> FunctionCall:
    if result := results.get(call["tool_call_id"]):
        return FunctionCall(**call, result=result.content, is_error=result.is_error)
    return FunctionCall(**call)


def _id(row: sa.Row[Any]) -> str:
    return f"{row.run_id}:{row.position}"
