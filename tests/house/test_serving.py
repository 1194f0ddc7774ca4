"""Tests that the server accepts several connections in each turn of the event loop, also under uvloop."""

import asyncio
import socket
from collections.abc import Callable

import pytest
import uvloop

from serving import several

COMING = 64  # waiting connections
FEW_TURNS = COMING // 4


async def turns_to_accept() -> int:
    """Return how many turns of the event loop pass until all waiting connections are accepted."""
    accepted = 0

    class Accepting(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            nonlocal accepted
            accepted += 1
            transport.close()

    sockets = several(socket.create_server(("127.0.0.1", 0), backlog=COMING))
    coming = [socket.create_connection(sockets[0].getsockname()) for _ in range(COMING)]
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(Accepting, sock=each) for each in sockets]
    turns = 0
    while accepted < COMING:
        await asyncio.sleep(0)
        turns += 1
    for server in servers:
        server.close()
    for connection in coming:
        connection.close()
    return turns


@pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_connections_that_wait_are_accepted_in_few_turns(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """A health check behind a flood of connections waits for few turns, however long a turn is."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(turns_to_accept()) <= FEW_TURNS
