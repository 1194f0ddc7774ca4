"""Frames onto the wire, as they are. The only user of sse_starlette, which brings ping, disconnect and send timeout."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import AppStatus
from starlette.types import Send

from errors import AgentStreamError
from services.agent_service import RunStream

logger = logging.getLogger(__name__)

MAX_WRITE = 64 * 1024  # bytes handed to the server at once, which bounds what a reader that doesn't read costs
PING = b": ping\n\n"
DRAINING = b"event: draining\nretry: 2000\n\n"

AppStatus.enable_automatic_graceful_drain = False  # the service drains by itself, and its readers with it


class FrameStream(EventSourceResponse):
    """A run's frames as a response body.

    It ends cleanly only after the run's last event or a `draining` frame; in every other case the body is torn, so
    that no reader takes a cut for the end. Times are in seconds.
    """

    def __init__(
        self,
        stream: RunStream,
        *,
        location: str,
        leave: asyncio.Event,
        heartbeat_s: float,
        send_timeout_s: float,
    ) -> None:
        super().__init__(
            stream.frames,
            headers={"Cache-Control": "no-cache, no-transform", "X-Run-ID": stream.run_id, "Location": location},
            ping=heartbeat_s,
            ping_message_factory=lambda: ServerSentEvent(comment="ping", sep="\n"),
            send_timeout=send_timeout_s,
            sep="\n",
        )
        self._frames = stream.frames
        self._leave = leave
        self._started: asyncio.Future[Send] = asyncio.get_running_loop().create_future()

    async def _stream_response(self, send: Send) -> None:
        """In place of the library's: the same per write, without its layers for what is already bytes."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await self._write(send, PING)
        self._started.set_result(send)
        async with aclosing(self._frames):
            try:
                async for page in self._frames:
                    if len(page) <= MAX_WRITE:
                        await self._write(send, page)
                        continue
                    for start in range(0, len(page), MAX_WRITE):
                        await self._write(send, page[start : start + MAX_WRITE])
            except (AgentStreamError, TornBody, TimeoutError) as error:
                logger.warning("a stream was cut: %s", type(error).__name__)
                return
        await self._end(send)

    async def _write(self, send: Send, data: bytes) -> None:
        async with asyncio.timeout(self.send_timeout):
            await send({"type": "http.response.body", "body": data, "more_body": True})

    async def _end(self, send: Send) -> None:
        self.active = False
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _listen_for_exit_signal_with_grace(self) -> None:
        """In place of the library's, which ends streams as soon as the server is told to stop."""
        await self._leave.wait()
        send = await self._started
        await self._write(send, DRAINING)
        await self._end(send)


class TornBody(Exception):
    """The body is to be torn here."""


async def torn(frames: AsyncGenerator[bytes, None], after: int) -> AsyncGenerator[bytes, None]:
    """The frames up to an event, and then a torn body, as from a proxy that gives up."""
    last = b"id: %d\n" % after
    async with aclosing(frames):
        async for page in frames:
            start = page.find(last)
            if start < 0:
                yield page
                continue
            yield page[: page.index(b"\n\n", start) + 2]
            raise TornBody
