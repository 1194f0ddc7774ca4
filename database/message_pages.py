"""Queries on pages of a session's messages, in the form that callers get: with run status and call results.

An outline is read first: the places of all messages, without their contents. Then the messages of one page are read.
Both are read in slices, between which other tasks run.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from database.long_json import of_json
from database.messages import path_to_run, stored
from database.runs import OF_SESSION
from database.slices import slices
from database.tables import messages, runs
from run_models import SessionKey
from session_models import FunctionCall, SessionMessage

OUTLINE_SLICE = 200  # rows without contents
YIELD_AFTER = 5000  # runs, which take 2 ms
PAGE_CHARACTERS = 1024 * 1024  # of JSON, which takes about 10 ms of the event loop to parse and write

PLACE = sa.tuple_(messages.c.run_id, messages.c.position)
CONTENTS = [messages.c[name] for name in ("content", "thinking", "tool_calls", "sources", "data")]
SIZE = sum((sa.func.coalesce(sa.func.length(sa.cast(column, sa.Text)), 0) for column in CONTENTS), sa.literal(0))
PATH = path_to_run()

BRANCH = (
    sa.select(messages.c.run_id, messages.c.position)
    .join(PATH, messages.c.run_id == PATH.c.run_id)
    .order_by(PATH.c.steps.desc(), messages.c.position)
)
TREE = (
    sa.select(messages.c.run_id, messages.c.position)
    .join(runs, runs.c.run_id == messages.c.run_id)
    .where(OF_SESSION)
    .order_by(messages.c.run_id, messages.c.position)
)
PARENTS = sa.select(runs.c.run_id, runs.c.parent_run_id).where(OF_SESSION)
SIZED = sa.select(messages.c.run_id, messages.c.position, SIZE.label("size"))
OF_RUN = (runs.c.status, runs.c.answered_by, runs.c.error)
READ = sa.select(messages, *OF_RUN).join(runs, runs.c.run_id == messages.c.run_id)
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


class Outline:
    """The ids of a conversation's messages, in their order.

    Ids are strings because the garbage collector doesn't look at those: as 50,000 rows, they made it stop the event
    loop for 70 ms. `before_run` has the id of the message before each run, if that isn't the one before it in `ids`.
    """

    def __init__(self, ids: Sequence[str] = (), before_run: Mapping[str, str | None] | None = None) -> None:
        self._ids = ids
        self._before_run = before_run

    def page(self, after: str | None, limit: int) -> list[Place]:
        """Return at most `limit` places that follow the message `after`. Raise `UnknownMessage`."""
        try:
            start = 0 if after is None else self._ids.index(after) + 1
        except ValueError:
            raise UnknownMessage from None
        return [self._place(number) for number in range(start, min(start + limit, len(self._ids)))]

    def ends_with(self, message_id: str) -> bool:
        """Return whether this is the last message."""
        return self._ids[-1] == message_id

    def _place(self, number: int) -> Place:
        run_id, _, position = self._ids[number].rpartition(":")
        before = self._ids[number - 1] if number else None
        if self._before_run is not None and not (before and before.startswith(f"{run_id}:")):
            before = self._before_run[run_id]
        return Place(run_id, int(position), before)


async def branch_outline(connection: AsyncConnection, run_id: str) -> Outline:
    """Return the outline of the conversation that ends with a run, from its beginning."""
    return Outline([message_id async for message_id in _ids(connection, BRANCH, run_id=run_id)])


async def tree_outline(connection: AsyncConnection, key: SessionKey) -> Outline:
    """Return the outline of all messages of a session, run by run, the oldest run first."""
    ids = [message_id async for message_id in _ids(connection, TREE, **key._asdict())]
    last_of_run = {message_id.partition(":")[0]: message_id for message_id in ids}
    parents: dict[str, str | None] = {}
    async for rows in slices(connection, PARENTS, key._asdict(), at_once=OUTLINE_SLICE):
        parents.update((row.run_id, row.parent_run_id) for row in rows)
    before_run: dict[str, str | None] = {}
    for number, run_id in enumerate(last_of_run):
        if number % YIELD_AFTER == 0:
            await asyncio.sleep(0)
        parent = parents[run_id]
        while parent in parents and parent not in last_of_run:  # runs without messages are skipped
            parent = parents[parent]
        before_run[run_id] = last_of_run.get(parent or "")
    return Outline(ids, before_run)


async def _ids(connection: AsyncConnection, query: sa.Select[Any], **parameters: str) -> AsyncGenerator[str, None]:
    async for rows in slices(connection, query, parameters, at_once=OUTLINE_SLICE):
        for row in rows:
            yield f"{row.run_id}:{row.position}"


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


def _key(message: Place | sa.Row[Any]) -> tuple[str, int]:
    return message.run_id, message.position


def _are_at(page: Sequence[Place]) -> sa.ColumnElement[bool]:
    return PLACE.in_([_key(place) for place in page])


async def _rows(connection: AsyncConnection, query: sa.Select[Any]) -> list[sa.Row[Any]]:
    return [row async for rows in slices(connection, query, {}) for row in rows]
