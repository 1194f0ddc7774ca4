"""Queries about pages of a session's messages, as callers read them: with each run's status, and each call's result.

An outline holds where every message is, and no message; then a page's messages are read alone. Both are read in slices,
between which the event loop goes on.
"""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from database.long_json import of_json
from database.messages import path_to_run, stored
from database.slices import slices
from database.tables import given, messages, runs
from session_models import FunctionCall, SessionMessage

OUTLINE_SLICE = 200
PAGE_CHARACTERS = 1024 * 1024  # of JSON, which an event loop parses and writes in some 10 ms

PLACE = sa.tuple_(messages.c.run_id, messages.c.position)
CONTENTS = (messages.c.content, messages.c.thinking, messages.c.tool_calls)
SIZES = [sa.func.coalesce(sa.func.length(sa.cast(column, sa.Text)), 0) for column in CONTENTS]
PATH = path_to_run()

BRANCH = (
    sa.select(messages.c.run_id, messages.c.position)
    .join(PATH, messages.c.run_id == PATH.c.run_id)
    .order_by(PATH.c.steps.desc(), messages.c.position)
)
TREE = (
    sa.select(messages.c.run_id, messages.c.position)
    .where(messages.c.session_id == given(messages.c.session_id))
    .order_by(messages.c.run_id, messages.c.position)
)
PARENTS = sa.select(runs.c.run_id, runs.c.parent_run_id).where(runs.c.session_id == given(runs.c.session_id))
SIZED = sa.select(messages.c.run_id, messages.c.position, (SIZES[0] + SIZES[1] + SIZES[2]).label("size"))
READ = sa.select(messages, runs.c.status, runs.c.error).join(runs, runs.c.run_id == messages.c.run_id)
RESULTS = sa.select(messages.c.tool_call_id, messages.c.content, messages.c.is_error).where(messages.c.role == "tool")


Row = Mapping[str, Any]


class UnknownMessage(Exception):
    """The message after which a page should begin is not there."""


class Place(NamedTuple):
    """Where a message is: its run, its number there, and the id of the message before it on its branch."""

    run_id: str
    position: int
    parent_id: str | None

    @property
    def message_id(self) -> str:
        """The message's id."""
        return f"{self.run_id}:{self.position}"


async def branch_outline(connection: AsyncConnection, run_id: str) -> list[Place]:
    """The messages of the conversation that ends with a run, from its beginning."""
    return await _following(None, await _places(connection, BRANCH, run_id=run_id))


async def tree_outline(connection: AsyncConnection, session_id: str) -> list[Place]:
    """All messages of a session: those of a run together, the oldest run first."""
    parents = {run.run_id: run.parent_run_id for run in await _places(connection, PARENTS, session_id=session_id)}
    said: dict[str, list[sa.Row[Any]]] = {}
    async for rows in slices(connection, TREE, {"session_id": session_id}, at_once=OUTLINE_SLICE):
        for row in rows:
            said.setdefault(row.run_id, []).append(row)

    def before(run_id: str) -> str | None:
        """What was said last before a run."""
        parent = parents[run_id]
        while parent in parents and parent not in said:
            parent = parents[parent]
        return f"{parent}:{said[parent][-1].position}" if parent in said else None

    outline: list[Place] = []
    for run_id, of_run in said.items():
        outline += await _following(before(run_id), of_run)
        if len(outline) // OUTLINE_SLICE > (len(outline) - len(of_run)) // OUTLINE_SLICE:
            await asyncio.sleep(0)
    return outline


def page_of(outline: Sequence[Place], after: str | None, limit: int) -> Sequence[Place]:
    """So many places, from the one behind the message `after` on. Raise `UnknownMessage`."""
    if after is None:
        return outline[:limit]
    run_id, _, position = after.rpartition(":")
    for number, place in enumerate(outline, start=1):
        if place.run_id == run_id and str(place.position) == position:
            return outline[number : number + limit]
    raise UnknownMessage


async def read_page(connection: AsyncConnection, page: Sequence[Place]) -> list[SessionMessage]:
    """The messages at these places; where they are long, the first of them, and one at least."""
    sizes = {_key(row): row.size for row in await _rows(connection, SIZED.where(_are_at(page)))}
    page = page[: _fitting([sizes[_key(place)] for place in page])]
    rows = {_key(row): await stored(row._asdict()) for row in await _rows(connection, READ.where(_are_at(page)))}
    results = await _results(connection, list(rows.values()))
    return [_message(place, rows[_key(place)], results) for place in page]


def _fitting(sizes: Sequence[int]) -> int:
    """How many of these go onto one page."""
    whole = [end for end, size in enumerate(accumulate(sizes), start=1) if size <= PAGE_CHARACTERS]
    return max(whole, default=1)


async def _results(connection: AsyncConnection, rows: Sequence[Row]) -> Mapping[str, Row]:
    """The results of the calls in these messages, by the call's id."""
    calls = [call["tool_call_id"] for row in rows for call in row["tool_calls"] or ()]
    if not calls:
        return {}
    of_calls = sa.and_(messages.c.run_id.in_({row["run_id"] for row in rows}), messages.c.tool_call_id.in_(calls))
    return {
        row.tool_call_id: {"result": await of_json(row.content), "is_error": row.is_error}
        for row in await _rows(connection, RESULTS.where(of_calls))
    }


def _message(place: Place, row: Row, results: Mapping[str, Row]) -> SessionMessage:
    told = {name: value for name, value in row.items() if name in SessionMessage.model_fields}
    calls = [FunctionCall(**call, **results.get(call["tool_call_id"], {})) for call in row["tool_calls"] or ()]
    told["tool_calls"] = calls or None
    return SessionMessage(message_id=place.message_id, parent_id=place.parent_id, **told)


async def _following(parent_id: str | None, rows: Sequence[sa.Row[Any]]) -> list[Place]:
    """Places each of which follows the one before."""
    following = []
    for number, row in enumerate(rows, start=1):
        if number % OUTLINE_SLICE == 0:
            await asyncio.sleep(0)
        place = Place(row.run_id, row.position, parent_id)
        parent_id = place.message_id
        following.append(place)
    return following


def _key(of: Place | sa.Row[Any]) -> tuple[str, int]:
    return of.run_id, of.position


def _are_at(page: Sequence[Place]) -> sa.ColumnElement[bool]:
    return PLACE.in_([_key(place) for place in page])


async def _places(connection: AsyncConnection, query: sa.Select[Any], **given: str) -> list[sa.Row[Any]]:
    """All rows of a query that reads no contents."""
    return [row async for rows in slices(connection, query, given, at_once=OUTLINE_SLICE) for row in rows]


async def _rows(connection: AsyncConnection, query: sa.Select[Any]) -> list[sa.Row[Any]]:
    return [row async for rows in slices(connection, query, {}) for row in rows]
