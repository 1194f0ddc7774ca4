"""Queries on pages of a session's messages, in the form that callers get: with run status and call results.

An outline is read first: the places of all messages, without their contents. Then the messages of one page are read.
Both are read in slices, between which other tasks run.
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
from database.tables import messages, parameter, runs
from session_models import FunctionCall, SessionMessage

OUTLINE_SLICE = 200
PAGE_CHARACTERS = 1024 * 1024  # of JSON, which takes about 10 ms of the event loop to parse and write

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
    .where(messages.c.session_id == parameter(messages.c.session_id))
    .order_by(messages.c.run_id, messages.c.position)
)
PARENTS = sa.select(runs.c.run_id, runs.c.parent_run_id).where(runs.c.session_id == parameter(runs.c.session_id))
SIZED = sa.select(messages.c.run_id, messages.c.position, (SIZES[0] + SIZES[1] + SIZES[2]).label("size"))
READ = sa.select(messages, runs.c.status, runs.c.error).join(runs, runs.c.run_id == messages.c.run_id)
RESULTS = sa.select(messages.c.tool_call_id, messages.c.content, messages.c.is_error).where(messages.c.role == "tool")

Row = Mapping[str, Any]


class UnknownMessage(Exception):
    """The message after which a page should begin doesn't exist."""


class Place(NamedTuple):
    """The place of a message: its run, its number there, and the id of the message before it on its branch."""

    run_id: str
    position: int
    parent_id: str | None

    @property
    def message_id(self) -> str:
        """Return the message's id."""
        return f"{self.run_id}:{self.position}"


async def branch_outline(connection: AsyncConnection, run_id: str) -> list[Place]:
    """Return the places of the conversation that ends with a run, from its beginning."""
    return await _chained(None, await _places(connection, BRANCH, run_id=run_id))


async def tree_outline(connection: AsyncConnection, session_id: str) -> list[Place]:
    """Return the places of all messages of a session, run by run, the oldest run first."""
    parents = {run.run_id: run.parent_run_id for run in await _places(connection, PARENTS, session_id=session_id)}
    rows_of: dict[str, list[sa.Row[Any]]] = {}
    async for rows in slices(connection, TREE, {"session_id": session_id}, at_once=OUTLINE_SLICE):
        for row in rows:
            rows_of.setdefault(row.run_id, []).append(row)

    def message_before(run_id: str) -> str | None:
        """Return the id of the last message before a run. Runs without messages are skipped."""
        parent = parents[run_id]
        while parent in parents and parent not in rows_of:
            parent = parents[parent]
        return f"{parent}:{rows_of[parent][-1].position}" if parent in rows_of else None

    outline: list[Place] = []
    for run_id, rows in rows_of.items():
        slices_before = len(outline) // OUTLINE_SLICE
        outline += await _chained(message_before(run_id), rows)
        if len(outline) // OUTLINE_SLICE > slices_before:  # many short runs have to give turns, too
            await asyncio.sleep(0)
    return outline


def page_of(outline: Sequence[Place], after: str | None, limit: int) -> Sequence[Place]:
    """Return at most `limit` places that follow the message `after`. Raises `UnknownMessage`."""
    if after is None:
        return outline[:limit]
    run_id, _, position = after.rpartition(":")
    for number, place in enumerate(outline, start=1):
        if place.run_id == run_id and str(place.position) == position:
            return outline[number : number + limit]
    raise UnknownMessage


async def read_page(connection: AsyncConnection, page: Sequence[Place]) -> list[SessionMessage]:
    """Read the messages at these places: as many from the first on as fit PAGE_CHARACTERS, but at least one."""
    sizes = {_key(row): row.size for row in await _rows(connection, SIZED.where(_are_at(page)))}
    page = page[: _fitting([sizes[_key(place)] for place in page])]
    rows = {_key(row): await stored(row._asdict()) for row in await _rows(connection, READ.where(_are_at(page)))}
    results = await _results(connection, list(rows.values()))
    return [_message(place, rows[_key(place)], results) for place in page]


def _fitting(sizes: Sequence[int]) -> int:
    """Return how many messages of these sizes fit on one page, at least one."""
    fitting = [count for count, total in enumerate(accumulate(sizes), start=1) if total <= PAGE_CHARACTERS]
    return max(fitting, default=1)


async def _results(connection: AsyncConnection, rows: Sequence[Row]) -> Mapping[str, Row]:
    """Read the results of the calls in these messages, by the call's id."""
    calls = [call["tool_call_id"] for row in rows for call in row["tool_calls"] or ()]
    if not calls:
        return {}
    of_calls = sa.and_(messages.c.run_id.in_({row["run_id"] for row in rows}), messages.c.tool_call_id.in_(calls))
    return {
        row.tool_call_id: {"result": await of_json(row.content), "is_error": row.is_error}
        for row in await _rows(connection, RESULTS.where(of_calls))
    }


def _message(place: Place, row: Row, results: Mapping[str, Row]) -> SessionMessage:
    fields = {name: value for name, value in row.items() if name in SessionMessage.model_fields}
    calls = [FunctionCall(**call, **results.get(call["tool_call_id"], {})) for call in row["tool_calls"] or ()]
    fields["tool_calls"] = calls or None
    return SessionMessage(message_id=place.message_id, parent_id=place.parent_id, **fields)


async def _chained(parent_id: str | None, rows: Sequence[sa.Row[Any]]) -> list[Place]:
    """Make places of rows. Each is the parent of the next one."""
    places = []
    for number, row in enumerate(rows, start=1):
        if number % OUTLINE_SLICE == 0:
            await asyncio.sleep(0)
        place = Place(row.run_id, row.position, parent_id)
        parent_id = place.message_id
        places.append(place)
    return places


def _key(message: Place | sa.Row[Any]) -> tuple[str, int]:
    return message.run_id, message.position


def _are_at(page: Sequence[Place]) -> sa.ColumnElement[bool]:
    return PLACE.in_([_key(place) for place in page])


async def _places(connection: AsyncConnection, query: sa.Select[Any], **parameters: str) -> list[sa.Row[Any]]:
    """Read all rows of a query that reads no contents."""
    return [row async for rows in slices(connection, query, parameters, at_once=OUTLINE_SLICE) for row in rows]


async def _rows(connection: AsyncConnection, query: sa.Select[Any]) -> list[sa.Row[Any]]:
    return [row async for rows in slices(connection, query, {}) for row in rows]
