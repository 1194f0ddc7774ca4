"""Reads many rows without holding up the event loop, which goes on between slices."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

SLICE = 25  # rows with contents: some milliseconds of parsing


async def slices(
    connection: AsyncConnection, query: sa.Select[Any], parameters: Mapping[str, str], *, at_once: int = SLICE
) -> AsyncGenerator[Sequence[sa.Row[Any]], None]:
    """The rows of a query, so many at a time."""
    result = await connection.stream(query, parameters)
    async for rows in result.partitions(at_once):
        yield rows
