"""Reads many rows in slices, so that other tasks run in between."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

SLICE = 25  # rows with contents, which take some milliseconds to parse


async def slices(
    connection: AsyncConnection, query: sa.Select[Any], parameters: Mapping[str, str], *, at_once: int = SLICE
) -> AsyncGenerator[Sequence[sa.Row[Any]], None]:
    """Yield the rows of a query, at most `at_once` at a time."""
    result = await connection.stream(query, parameters)
    async for rows in result.partitions(at_once):
        yield rows
