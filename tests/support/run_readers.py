"""Readers of runs: open streams that a test reads piece by piece."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from service import STREAM, Service


def events_url(run_id: str) -> str:
    return f"/api/agent/runs/{run_id}/events"


class Reader:
    """An open stream, read piece by piece."""

    def __init__(self, response: httpx.Response) -> None:
        self.run_id: str = response.headers["x-run-id"]
        self.seen = b""
        self._pieces = response.aiter_raw()

    async def until(self, mark: bytes, times: int = 1) -> bytes:
        """Read until the mark has come this number of times, and return all that was read."""
        while self.seen.count(mark) < times:
            self.seen += await anext(self._pieces)
        return self.seen

    async def rest(self) -> bytes:
        """Read to the end of the body, and return all that was read."""
        async for piece in self._pieces:
            self.seen += piece
        return self.seen


@asynccontextmanager
async def reading(agent: Service, path: str = STREAM, **body: object) -> AsyncIterator[Reader]:
    """An open stream of a new run. Leaving the block closes its connection."""
    body = {"input": "?"} | body
    async with agent.client.stream("POST", path, json=body) as response:
        assert response.status_code == 200
        yield Reader(response)


@asynccontextmanager
async def attached(agent: Service, run_id: str) -> AsyncIterator[Reader]:
    """An open stream of an existing run."""
    async with agent.client.stream("GET", events_url(run_id)) as response:
        yield Reader(response)
